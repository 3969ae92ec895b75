//! Cuts, silence and crashes: nothing is ever sent to it twice. It would die of that, and the tests with it.

use super::{add_account, fulfilled, jane, url_2017};
use ilp_core::Timing;
use ilp_core::store::Fault;
use ilp_tests::{JumpingClock, Network, Peer2017, Seen, id_of, preimage, text};
use serde_json::json;
use std::time::Duration;

#[tokio::test]
async fn after_a_cut_between_ack_and_fulfill_its_fulfill_is_taken_and_the_prepare_not_sent_again() {
    let network = Network::start().await;
    let mut jane = jane(&network).await;
    let mut alice = network.login("alice").await;
    let expires_at = network.connector.now().saturating_add_millis(60_000);
    jane.answer_with("cut", &[preimage(1)], json!(null)).await;
    alice.prepare(id_of(1), "test.ann.jane.hi", 5, preimage(1).condition(), expires_at).await;
    assert!(matches!(alice.next().await, Seen::Ack(_)));
    let prepare = jane.received("prepare").await;
    jane.event("closed").await;
    // It dials again after a second.
    jane.event("open").await;
    jane.address().await;
    jane.tell(json!({"do": "release", "transferId": prepare["transferId"]})).await;
    fulfilled(&mut alice, id_of(1), preimage(1)).await;
    jane.address().await;
    assert_eq!((jane.count_received("prepare"), network.balance("jane").await), (1, 5));
    let _ = network.connector.stop(Duration::ZERO).await;
    jane.quit().await;
}

#[tokio::test]
async fn while_it_is_away_its_answer_is_waited_for_until_the_expiry_and_not_beyond() {
    let clock = JumpingClock::default();
    let network = Network::with(|builder| builder.clock(clock.clone())).await;
    let mut jane = jane(&network).await;
    let mut alice = network.login("alice").await;
    let expires_at = network.connector.now().saturating_add_millis(60_000);
    jane.answer_with("cut", &[preimage(1)], json!(null)).await;
    jane.tell(json!({"do": "habits", "redial": false})).await;
    alice.prepare(id_of(1), "test.ann.jane.hi", 5, preimage(1).condition(), expires_at).await;
    assert!(matches!(alice.next().await, Seen::Ack(_)));
    let prepare = jane.received("prepare").await;
    jane.event("closed").await;
    // A payment that comes now is refused at once; the one that it has is held.
    let gone = async {
        while network.connector.status().await.unwrap().worker.accounts.iter().any(|a| a.id.name() == "jane" && a.connected) {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), gone).await.expect("the end of the connection isn't seen");
    let request = alice.prepare(id_of(2), "test.ann.jane.hi", 5, preimage(2).condition(), expires_at).await;
    assert_eq!(alice.next().await, Seen::Error(request, "T01".into()));
    assert_eq!(network.balance("alice").await, -5);
    clock.jump_ms(60_000);
    let Seen::Reject { request, id, code } = alice.next().await else { panic!("not rejected") };
    assert_eq!((id, code.as_str()), (id_of(1), "R00"));
    alice.ack(request).await;
    // It comes back too late: it is told so, and has earned nothing.
    jane.tell(json!({"do": "reconnect"})).await;
    jane.event("open").await;
    jane.tell(json!({"do": "release", "transferId": prepare["transferId"]})).await;
    assert_eq!(jane.received("error").await["reason"]["triggeredBy"], "test.ann");
    assert_eq!((network.balance("jane").await, network.balance("alice").await), (0, 0));
    assert_eq!(jane.count_received("prepare"), 1);
    let _ = network.connector.stop(Duration::ZERO).await;
    jane.quit().await;
}

#[tokio::test]
async fn after_an_ack_and_then_nothing_the_connectors_timer_ends_the_payment() {
    let clock = JumpingClock::default();
    let network = Network::with(|builder| builder.clock(clock.clone())).await;
    let mut jane = jane(&network).await;
    let mut alice = network.login("alice").await;
    let timing = Timing::default();
    let expires_at = network.connector.now().saturating_add_millis(20_000);
    jane.answer_with("nothing", &[], json!(null)).await;
    alice.prepare(id_of(1), "test.ann.jane.hi", 5, preimage(1).condition(), expires_at).await;
    assert!(matches!(alice.next().await, Seen::Ack(_)));
    jane.sent("ack").await;
    assert_eq!((alice.ready().await, network.balance("alice").await), (vec![], -5));
    // At the outgoing expiry and the grace, so that the sender hears of it before its own expiry.
    clock.jump_ms(20_000 - timing.window_ms + timing.grace_ms);
    let Seen::Reject { id, code, .. } = alice.next().await else { panic!("not rejected") };
    assert_eq!((id, code.as_str(), network.balance("alice").await), (id_of(1), "R00", 0));
    jane.address().await;
    assert_eq!(jane.count_received("prepare"), 1);
    let _ = network.connector.stop(Duration::ZERO).await;
    jane.quit().await;
}

#[tokio::test]
async fn an_answer_that_it_was_sent_is_not_sent_again_on_a_new_connection() {
    let network = Network::start().await;
    let mut jane = jane(&network).await;
    let mut bob = network.login("bob").await;
    let expires_at = network.connector.now().saturating_add_millis(60_000);
    jane.tell(json!({"do": "policy", "mute": true})).await;
    jane.pay(id_of(1), "test.ann.bob", 5, preimage(1).condition(), expires_at, json!({})).await;
    super::fulfill(&mut bob, 5, preimage(1)).await;
    jane.received("fulfill").await;
    for _ in 0..2 {
        jane.tell(json!({"do": "disconnect"})).await;
        jane.event("closed").await;
        jane.tell(json!({"do": "reconnect"})).await;
        jane.event("open").await;
        jane.address().await;
        // Not even if it repeats its prepare: that is acknowledged.
        jane.pay(id_of(1), "test.ann.bob", 5, preimage(1).condition(), expires_at, json!({})).await;
        jane.address().await;
    }
    assert_eq!((jane.count_received("fulfill"), jane.count_received("error")), (1, 0));
    assert_eq!(network.balance("jane").await, -5);
    let _ = network.connector.stop(Duration::ZERO).await;
    jane.quit().await;
}

#[tokio::test]
async fn an_answer_that_it_was_never_sent_comes_once_and_not_in_the_first_instant() {
    let network = Network::start().await;
    add_account(&network, "jane", 1_000).await;
    let mut bob = network.login("bob").await;
    // Without a ledger account it has nothing to vouch for, and doesn't speak first.
    let mut jane = Peer2017::start().await;
    jane.connect(&url_2017(&network), "jane", "jane-token").await;
    let expires_at = network.connector.now().saturating_add_millis(60_000);
    jane.pay(id_of(1), "test.ann.bob", 5, preimage(1).condition(), expires_at, json!({})).await;
    jane.received("ack").await;
    jane.tell(json!({"do": "disconnect"})).await;
    jane.event("closed").await;
    super::fulfill(&mut bob, 5, preimage(1)).await;
    for _ in 0..2 {
        jane.tell(json!({"do": "reconnect"})).await;
        jane.event("open").await;
        if jane.count_received("fulfill") == 0 {
            assert_eq!(text(&jane.received("fulfill").await["fulfillment"]), hex::encode([1; 32]));
        }
        jane.address().await;
        jane.tell(json!({"do": "disconnect"})).await;
        jane.event("closed").await;
    }
    assert_eq!(jane.count_received("fulfill"), 1);
    let _ = network.connector.stop(Duration::ZERO).await;
    jane.quit().await;
}

#[tokio::test]
async fn after_a_crash_of_the_connector_nothing_is_sent_twice_and_all_that_was_held_goes_on() {
    let network = Network::start().await;
    let mut jane = jane(&network).await;
    let mut alice = network.login("alice").await;
    let mut bob = network.login("bob").await;
    let expires_at = network.connector.now().saturating_add_millis(60_000);
    let fulfillments = [hex::encode([2; 32])];
    jane.tell(json!({"do": "policy", "answer": "hold", "fulfillments": fulfillments, "mute": true})).await;
    // One is fulfilled, and not acknowledged; one is held by bob, one by jane.
    jane.pay(id_of(1), "test.ann.bob", 5, preimage(1).condition(), expires_at, json!({})).await;
    super::fulfill(&mut bob, 5, preimage(1)).await;
    jane.received("fulfill").await;
    jane.pay(id_of(3), "test.ann.bob", 5, preimage(3).condition(), expires_at, json!({})).await;
    let Seen::Prepare { request, .. } = bob.next().await else { panic!("no prepare") };
    bob.ack(request).await;
    alice.prepare(id_of(2), "test.ann.jane.hi", 5, preimage(2).condition(), expires_at).await;
    assert!(matches!(alice.next().await, Seen::Ack(_)));
    let held = jane.received("prepare").await;

    network.store.inject(Fault::Fenced);
    alice.prepare(id_of(9), "test.ann.jane.hi", 5, preimage(9).condition(), expires_at).await;
    assert_eq!((alice.next_or_end().await, bob.next_or_end().await), (None, None));
    jane.event("closed").await;
    jane.event("open").await;
    jane.address().await;
    assert_eq!((jane.count_received("prepare"), jane.count_received("fulfill")), (1, 1));

    let mut alice = network.login("alice").await;
    let mut bob = network.login("bob").await;
    let Seen::Prepare { id, .. } = bob.next().await else { panic!("bob isn't asked again") };
    bob.fulfill(id, preimage(3)).await;
    assert_eq!(text(&jane.received("fulfill").await["transferId"]), hex::encode([3; 16]), "decided after the crash, never sent before");
    jane.tell(json!({"do": "release", "transferId": held["transferId"]})).await;
    fulfilled(&mut alice, id_of(2), preimage(2)).await;
    let names = ["alice", "bob", "jane"];
    let balances = [network.balance(names[0]).await, network.balance(names[1]).await, network.balance(names[2]).await];
    assert_eq!(balances, [-5, 10, -5]);
    let _ = network.connector.stop(Duration::ZERO).await;
    jane.quit().await;
}
