//! The peer dials: logging in, asking, paying and being paid.

use super::{add_account, fulfill, fulfilled, jane, url_2017};
use ilp_oer::{Address, Amount};
use ilp_tests::{Network, Peer2017, Seen, id_of, preimage, text};
use serde_json::json;
use std::time::Duration;

#[tokio::test]
async fn it_connects_by_name_and_token_and_its_vouches_are_claims_without_effect() {
    let network = Network::start().await;
    add_account(&network, "jane", 1_000).await;
    let before = network.connector.status().await.unwrap().worker;
    let mut jane = Peer2017::start().await;
    jane.tell(json!({"do": "habits", "wallet": "test.crypto.xrp.rClientAcct"})).await;
    jane.connect(&url_2017(&network), "jane", "jane-token").await;
    for operation in [1, 2] {
        let vouch = jane.sent("message").await;
        assert_eq!((&vouch["requestId"], &vouch["entries"][0]["data"]), (&json!(operation), &json!(vouch_data(operation))));
        assert_eq!(jane.received("ack").await["requestId"], operation);
    }
    // A longer one has its length in two bytes, although one would do; and the third operation rolls back.
    for (operation, address) in [(1, format!("test.{}", "x".repeat(130))), (3, "test.crypto.xrp.rClientAcct".into())] {
        jane.tell(json!({"do": "vouch", "operation": operation, "address": address})).await;
        jane.received("ack").await;
    }
    let after = network.connector.status().await.unwrap().worker;
    assert!(after.accounts.iter().any(|account| account.id.name() == "jane" && account.connected));
    let books = |status: &ilp_core::worker::WorkerStatus| {
        status.accounts.iter().map(|account| (account.id.clone(), account.balance)).collect::<Vec<_>>()
    };
    assert_eq!(books(&before), books(&after));
    assert_eq!(jane.balance().await, 0);
    let _ = network.connector.stop(Duration::ZERO).await;
    jane.quit().await;
}

fn vouch_data(operation: u8) -> String {
    hex::encode([&[operation, 27][..], b"test.crypto.xrp.rClientAcct"].concat())
}

#[tokio::test]
async fn a_wrong_token_is_refused_like_an_unknown_name() {
    let network = Network::start().await;
    add_account(&network, "jane", 1_000).await;
    let mut transcripts = Vec::new();
    // Somebody else's name in another form of protocol doesn't do either.
    for (name, token) in [("jane", "wrong"), ("nobody", "jane-token"), ("alice", "alice-token")] {
        let mut peer = Peer2017::start().await;
        peer.tell(json!({"do": "habits", "wallet": "test.crypto.xrp.rClientAcct"})).await;
        peer.dial(&url_2017(&network), name, token).await;
        let code = peer.event("closed").await["code"].clone();
        let errors = peer.all_received().into_iter().map(|packet| {
            let reason = &packet["reason"];
            json!([packet["type"], packet["requestId"], reason["code"], reason["name"], reason["triggeredBy"], reason["data"]])
        });
        transcripts.push((code, errors.collect::<Vec<_>>()));
        peer.quit().await;
    }
    let (_, refusals) = &transcripts[0];
    assert_eq!(refusals[0], json!(["error", 1, "F00", refusals[0][3], "test.ann", "not authenticated"]));
    assert_eq!(refusals.len(), 2, "{refusals:?}");
    assert!(transcripts.iter().all(|transcript| *transcript == transcripts[0]), "{transcripts:#?}");
    let _ = network.connector.stop(Duration::ZERO).await;
}

#[tokio::test]
async fn it_dials_again_every_second_and_the_newer_connection_counts() {
    let network = Network::start().await;
    let mut jane = jane(&network).await;
    let account = ilp_core::AccountId::new(1, "jane").unwrap();
    network.connector.remove_account(&account, false).await.unwrap();
    jane.event("closed").await;
    // The name is unknown for a while: it is let in on one of its next attempts.
    add_account(&network, "jane", 1_000).await;
    jane.event("open").await;
    assert_eq!(jane.address().await, "test.ann.jane");
    jane.tell(json!({"do": "habits", "redial": false})).await;
    let mut again = Peer2017::login(&url_2017(&network), "jane", "jane-token").await;
    jane.event("closed").await;
    assert_eq!(again.address().await, "test.ann.jane");
    let _ = network.connector.stop(Duration::ZERO).await;
    jane.quit().await;
    again.quit().await;
}

#[tokio::test]
async fn it_is_told_its_address_and_its_balance() {
    let network = Network::start().await;
    let mut jane = jane(&network).await;
    let mut alice = network.login("alice").await;
    let mut bob = network.login("bob").await;
    assert_eq!((jane.address().await.as_str(), jane.balance().await), ("test.ann.jane", 0));
    let expires_at = network.connector.now().saturating_add_millis(30_000);

    // It is paid 7 …
    jane.answer_with("fulfill", &[preimage(1)], json!(null)).await;
    alice.prepare(id_of(1), "test.ann.jane.hi", 7, preimage(1).condition(), expires_at).await;
    assert!(matches!(alice.next().await, Seen::Ack(_)));
    fulfilled(&mut alice, id_of(1), preimage(1)).await;
    assert_eq!(jane.balance().await, 7);

    // … and pays 3: they are gone as soon as they are promised …
    jane.pay(id_of(2), "test.ann.bob", 3, preimage(2).condition(), expires_at, json!({})).await;
    jane.received("ack").await;
    let Seen::Prepare { request, id, .. } = bob.next().await else { panic!() };
    assert_eq!(jane.balance().await, 4);
    bob.ack(request).await;
    bob.fulfill(id, preimage(2)).await;
    jane.received("fulfill").await;
    assert_eq!(jane.balance().await, 4);

    // … and then 5: that it owes 1 now can't be said in an unsigned number.
    jane.pay(id_of(3), "test.ann.bob", 5, preimage(3).condition(), expires_at, json!({})).await;
    jane.received("ack").await;
    assert_eq!(jane.balance().await, 0);
    assert_eq!(network.balance("jane").await, -1);
    let _ = network.connector.stop(Duration::ZERO).await;
    jane.quit().await;
}

#[tokio::test]
async fn it_pays_a_clp_peer() {
    let network = Network::start().await;
    let mut jane = jane(&network).await;
    let mut bob = network.login("bob").await;
    let expires_at = network.connector.now().saturating_add_millis(30_000);
    jane.pay(id_of(1), "test.ann.bob.invoice", 9, preimage(1).condition(), expires_at, json!({})).await;
    let ack = jane.received("ack").await;
    assert_eq!(ack["requestId"], jane.sent("prepare").await["requestId"]);
    fulfill(&mut bob, 9, preimage(1)).await;
    let fulfilled = jane.received("fulfill").await;
    assert_eq!(text(&fulfilled["transferId"]), hex::encode([1; 16]));
    assert_eq!(text(&fulfilled["fulfillment"]), hex::encode([1; 32]));
    assert_eq!((network.balance("jane").await, network.balance("bob").await), (-9, 9));
    let _ = network.connector.stop(Duration::ZERO).await;
    jane.quit().await;
}

#[tokio::test]
async fn it_is_paid_by_a_clp_peer() {
    let network = Network::start().await;
    let mut jane = jane(&network).await;
    let mut alice = network.login("alice").await;
    let expires_at = network.connector.now().saturating_add_millis(30_000);
    jane.answer_with("fulfill", &[preimage(1)], json!(null)).await;
    alice.prepare(id_of(1), "test.ann.jane.hi", 9, preimage(1).condition(), expires_at).await;
    assert!(matches!(alice.next().await, Seen::Ack(_)));
    fulfilled(&mut alice, id_of(1), preimage(1)).await;
    let prepare = jane.received("prepare").await;
    let payment = json!([prepare["amount"], prepare["first"]["amount"], prepare["first"]["account"], prepare["entries"][0]["protocol"]]);
    assert_eq!(payment, json!(["9", "9", "test.ann.jane.hi", "ilp"]));
    assert_ne!(text(&prepare["transferId"]), hex::encode([1; 16]), "each hop has its own id");
    let outgoing: ilp_oer::Timestamp = text(&prepare["expiresAt"]).parse().unwrap();
    assert_eq!(expires_at.millis_since(outgoing), ilp_core::Timing::default().window_ms);
    assert_eq!((network.balance("jane").await, network.balance("alice").await), (9, -9));
    // Its fulfill has the number that it set aside, and was acknowledged.
    let request = jane.sent("fulfill").await["requestId"].clone();
    jane.address().await;
    assert!(jane.all_received().iter().any(|packet| packet["type"] == "ack" && packet["requestId"] == request));
    let _ = network.connector.stop(Duration::ZERO).await;
    jane.quit().await;
}

#[tokio::test]
async fn it_is_paid_by_the_connector_itself_and_by_another_of_its_kind() {
    let network = Network::start().await;
    let mut jane = jane(&network).await;
    add_account(&network, "joan", 50).await;
    let mut joan = Peer2017::login(&url_2017(&network), "joan", "joan-token").await;
    jane.answer_with("fulfill", &[preimage(1), preimage(2)], json!(null)).await;
    let expires_at = network.connector.now().saturating_add_millis(30_000);
    let to = Address::new("test.ann.jane").unwrap();
    let paid = network.connector.pay(&to, Amount::new(2), preimage(1).condition(), expires_at).await;
    assert_eq!(paid, Ok(preimage(1)));
    joan.pay(id_of(2), "test.ann.jane.hi", 50, preimage(2).condition(), expires_at, json!({})).await;
    assert_eq!(text(&joan.received("fulfill").await["fulfillment"]), hex::encode([2; 32]));
    assert_eq!((network.balance("jane").await, network.balance("joan").await), (52, -50));
    let _ = network.connector.stop(Duration::ZERO).await;
    jane.quit().await;
    joan.quit().await;
}

#[tokio::test]
async fn its_numbers_may_be_0_repeat_and_come_out_of_order() {
    let network = Network::start().await;
    let mut bob = network.login("bob").await;
    let mut alice = network.login("alice").await;
    add_account(&network, "jane", 1_000).await;
    let mut jane = Peer2017::start().await;
    // All its requests are number 0, even those that wait beside each other.
    jane.tell(json!({"do": "habits", "firstId": 0, "sameId": true, "wallet": "test.crypto.xrp.rClientAcct"})).await;
    jane.connect(&url_2017(&network), "jane", "jane-token").await;
    jane.address().await;
    let expires_at = network.connector.now().saturating_add_millis(30_000);
    for n in 1..=3 {
        jane.pay(id_of(n), "test.ann.bob", 5, preimage(n).condition(), expires_at, json!({})).await;
    }
    let mut prepared = Vec::new();
    for _ in 1..=3 {
        let Seen::Prepare { id, .. } = bob.next().await else { panic!("no prepare") };
        prepared.push(id);
    }
    for (n, id) in (1..=3).zip(prepared) {
        let request = bob.fulfill(id, preimage(n)).await;
        assert_eq!(bob.next().await, Seen::Ack(request));
        assert_eq!(text(&jane.received("fulfill").await["fulfillment"]), hex::encode([n; 32]));
    }
    jane.address().await;
    let acks: Vec<_> = jane.all_received().into_iter().filter(|packet| packet["type"] == "ack").collect();
    assert!(acks.len() == 5 && acks.iter().all(|ack| ack["requestId"] == 0), "two vouches and three prepares: {acks:?}");

    // The number of a fulfill is set aside when the prepare comes; requests made meanwhile have higher ones.
    jane.tell(json!({"do": "habits", "sameId": false})).await;
    jane.answer_with("hold", &[preimage(4), preimage(5)], json!(null)).await;
    for n in [4, 5] {
        alice.prepare(id_of(n), "test.ann.jane.hi", 5, preimage(n).condition(), expires_at).await;
        assert!(matches!(alice.next().await, Seen::Ack(_)));
    }
    let held = [jane.received("prepare").await, jane.received("prepare").await].map(|prepare| prepare["transferId"].clone());
    assert_eq!(jane.balance().await, 0);
    let mut numbers = Vec::new();
    for (n, id) in [(5, &held[1]), (4, &held[0])] {
        jane.tell(json!({"do": "release", "transferId": id})).await;
        fulfilled(&mut alice, id_of(n), preimage(n)).await;
        numbers.push(jane.sent("fulfill").await["requestId"].as_u64().unwrap());
    }
    assert_eq!(numbers, [1, 0]);
    assert_eq!(jane.balance().await, 0, "10 came, 15 had gone");
    assert_eq!(network.balance("jane").await, -5);
    let _ = network.connector.stop(Duration::ZERO).await;
    jane.quit().await;
}

#[tokio::test]
async fn a_response_without_entries_is_an_ack() {
    let network = Network::start().await;
    let mut jane = jane(&network).await;
    let mut alice = network.login("alice").await;
    let mut bob = network.login("bob").await;
    let fulfillments = [hex::encode([1; 32])];
    jane.tell(json!({"do": "policy", "response": true, "fulfillments": fulfillments})).await;
    let expires_at = network.connector.now().saturating_add_millis(30_000);
    // To a prepare …
    alice.prepare(id_of(1), "test.ann.jane.hi", 5, preimage(1).condition(), expires_at).await;
    assert!(matches!(alice.next().await, Seen::Ack(_)));
    fulfilled(&mut alice, id_of(1), preimage(1)).await;
    // … and to a fulfill: then nothing is owed any more.
    jane.pay(id_of(2), "test.ann.bob", 5, preimage(2).condition(), expires_at, json!({})).await;
    fulfill(&mut bob, 5, preimage(2)).await;
    jane.received("fulfill").await;
    let all_confirmed = async {
        while network.connector.status().await.unwrap().worker.in_flight > 0 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), all_confirmed).await.expect("a response isn't taken for an ack");
    assert_eq!(jane.sent("response").await["entries"], json!(null));
    let _ = network.connector.stop(Duration::ZERO).await;
    jane.quit().await;
}
