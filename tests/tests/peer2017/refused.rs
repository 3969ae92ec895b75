//! Errors, in both directions: it can read every one that it gets.

use super::{add_account, jane, url_2017};
use ilp_core::{AccountConfig, AccountId, Asset, Timing};
use ilp_oer::clp::{Body, ProtocolData, Reject};
use ilp_oer::ilp::{AddrList, ErrorPacket};
use ilp_oer::{Address, ErrorCode, Timestamp, TransferId};
use ilp_tests::{JumpingClock, Network, Peer2017, RawPeer, Seen, id_of, preimage, text};
use serde_json::json;
use std::time::Duration;

/// As long as a 2017 node's: by itself too long for an error that a peer of that time can read.
fn long_address() -> String {
    format!("peer.testing.{}.downstream_{}", "5e".repeat(32), "c1".repeat(32))
}

#[tokio::test]
async fn every_refusal_is_an_error_that_it_can_read() {
    for address in ["test.ann".to_owned(), long_address()] {
        let network = Network::at(&address, |builder| builder).await;
        let mut jane = jane(&network).await;
        let _bob = network.login("bob").await;
        let away = AccountConfig::new(AccountId::new(1, "away").unwrap(), Asset::new("XRP", 6));
        network.connector.add_account(away).await.unwrap();
        let euros = AccountConfig::new(AccountId::new(1, "euros").unwrap(), Asset::new("EUR", 2));
        network.connector.add_account(euros).await.unwrap();
        let after = |ms| network.connector.now().saturating_add_millis(ms);
        let (bob, long) = (format!("{address}.bob"), format!("test.nowhere.{}", "x".repeat(900)));
        let other_entry = json!({"entries": [{"protocol": "ccp", "data": "00"}]});
        let damaged = json!({"entries": [{"protocol": "ilp", "data": "0102"}]});
        let quote = json!({"entries": [{"protocol": "ilp", "data": "0400"}]});
        let cases = [
            ("F02", "test.nowhere".to_owned(), 5, after(30_000), json!({})),
            ("F02", long, 5, after(30_000), json!({})),
            ("F02", format!("{address}.euros"), 5, after(30_000), json!({})),
            ("F02", format!("{address}.self"), 5, after(30_000), json!({})),
            ("T01", format!("{address}.away"), 5, after(30_000), json!({})),
            ("T04", bob.clone(), 1_001, after(30_000), json!({})),
            ("F03", bob.clone(), 1_000_001, after(30_000), json!({})),
            ("R01", bob.clone(), 5, after(30_000), json!({"arrives": "6"})),
            ("R02", bob.clone(), 5, after(1_000), json!({})),
            ("R02", bob.clone(), 5, after(-60_000), json!({})),
            ("F00", bob.clone(), 5, after(400_000), json!({})),
            ("F00", bob.clone(), 5, after(30_000), json!({"entries": []})),
            ("L03", bob.clone(), 5, after(30_000), other_entry),
            ("F01", bob.clone(), 5, after(30_000), damaged),
            ("F01", bob.clone(), 5, after(30_000), quote),
        ];
        for (n, (code, to, amount, expires_at, more)) in (1..).zip(cases) {
            jane.pay(id_of(n), &to, amount, preimage(n).condition(), expires_at, more.clone()).await;
            // Whether the receiver is there is found out after the ack.
            let kind = if to == format!("{address}.self") { "reject" } else { "error" };
            let refused = jane.received(kind).await;
            assert_eq!(refused["reason"]["code"], code, "{to} {amount} {more}: {refused}");
        }
        // The same id with other content, and messages.
        jane.pay(id_of(90), &bob, 5, preimage(90).condition(), after(30_000), json!({})).await;
        for _self_and_this in 0..2 {
            jane.received("ack").await;
        }
        jane.pay(id_of(90), &bob, 6, preimage(90).condition(), after(30_000), json!({})).await;
        assert_eq!(jane.received("error").await["reason"]["code"], "F00");
        for (code, entries) in [
            ("L02", json!([])),
            ("L03", json!([{"protocol": "x".repeat(200), "data": "00"}])),
            ("L03", json!([{"protocol": "ccp", "data": "01"}, {"protocol": "info", "data": "00"}])),
            ("F00", json!([{"protocol": "info", "data": "07"}])),
            ("F00", json!([{"protocol": "balance", "data": ""}])),
            ("F01", json!([{"protocol": "ilp", "data": "06"}])),
        ] {
            jane.tell(json!({"do": "message", "entries": entries})).await;
            assert_eq!(jane.received("error").await["reason"]["code"], code, "{entries}");
        }
        // Of all these only one holds money.
        assert_eq!(network.balance("jane").await, -5);
        let _ = network.connector.stop(Duration::ZERO).await;
        jane.quit().await;
    }
}

/// As an error of a next hop may be.
fn long_reason(data: &[u8]) -> Vec<u8> {
    let by = Address::new(long_address()).unwrap();
    let triggered_at = Timestamp::from_unix_millis(1_500_000_000_000).unwrap();
    let (code, name) = (ErrorCode::F99_APPLICATION_ERROR, "Refused for reasons that take long to tell");
    let error = ErrorPacket { code, name, triggered_by: by.as_addr(), forwarded_by: AddrList::EMPTY, triggered_at, data };
    error.to_vec().unwrap()
}

#[tokio::test]
async fn a_long_error_of_the_next_hop_reaches_it_in_a_form_that_it_can_read() {
    for address in ["test.ann".to_owned(), long_address()] {
        let network = Network::at(&address, |builder| builder).await;
        let mut jane = jane(&network).await;
        let mut bob = network.login("bob").await;
        let expires_at = network.connector.now().saturating_add_millis(30_000);
        let packet = long_reason(&[b'x'; 5_000]);
        for n in 1..=2 {
            jane.pay(id_of(n), &format!("{address}.bob"), 5, preimage(n).condition(), expires_at, json!({})).await;
            let Seen::Prepare { request, id, .. } = bob.next().await else { panic!("no prepare") };
            refuse(&mut bob, n == 1, request, id, &packet).await;
            let reject = jane.received("reject").await;
            assert_eq!(text(&reject["transferId"]), hex::encode([n; 16]));
            assert_eq!(reject["reason"]["code"], "F99");
        }
        assert_eq!((network.balance("jane").await, jane.count_received("ack")), (0, 4));
        let _ = network.connector.stop(Duration::ZERO).await;
        jane.quit().await;
    }
}

/// By an Error to the prepare, or by a Reject after its Ack.
async fn refuse(peer: &mut RawPeer, at_once: bool, request_id: u32, transfer_id: TransferId, packet: &[u8]) {
    let reason = ErrorPacket::decode(packet).unwrap().into();
    let data = ProtocolData::EMPTY;
    if at_once {
        peer.send(ilp_oer::clp::Packet { request_id, body: Body::Error { reason, data } }).await;
    } else {
        peer.ack(request_id).await;
        let request = peer.request(Body::Reject(Reject { transfer_id, reason, data })).await;
        assert_eq!(peer.next().await, Seen::Ack(request));
    }
}

#[tokio::test]
async fn its_own_errors_are_passed_on_however_long() {
    let network = Network::start().await;
    let mut jane = jane(&network).await;
    let mut alice = network.login("alice").await;
    let expires_at = network.connector.now().saturating_add_millis(30_000);
    let reasons = [
        json!({"code": "L53", "name": "Sent from a wallet that was not vouched for", "triggeredBy": long_address()}),
        json!({"code": "P01", "name": "Unknown call id", "triggeredBy": "peer.testing.x", "data": "y".repeat(1_000)}),
    ];
    for (n, reason) in (1..).zip(&reasons) {
        for (answer, m) in [("reject", n), ("error", n + 10)] {
            jane.answer_with(answer, &[], reason.clone()).await;
            alice.prepare(id_of(m), "test.ann.jane.hi", 5, preimage(m).condition(), expires_at).await;
            assert!(matches!(alice.next().await, Seen::Ack(_)));
            let Seen::Reject { request, id, code } = alice.next().await else { panic!("not rejected") };
            assert_eq!((id, json!(code)), (id_of(m), reason["code"].clone()));
            alice.ack(request).await;
        }
    }
    assert_eq!((network.balance("jane").await, network.balance("alice").await), (0, 0));
    let _ = network.connector.stop(Duration::ZERO).await;
    jane.quit().await;
}

#[tokio::test]
async fn a_payment_of_its_own_that_times_out_is_rejected_once_with_an_error_that_it_can_read() {
    let clock = JumpingClock::default();
    let timing = Timing { window_ms: 3_000, ..Timing::default() };
    let network = Network::at(&long_address(), |builder| builder.clock(clock.clone()).timing(timing)).await;
    add_account(&network, "jane", 1_000).await;
    let mut jane = Peer2017::login(&url_2017(&network), "jane", "jane-token").await;
    let mut bob = network.login("bob").await;
    let expires_at = network.connector.now().saturating_add_millis(30_000);
    jane.pay(id_of(1), &format!("{}.bob", long_address()), 5, preimage(1).condition(), expires_at, json!({})).await;
    let Seen::Prepare { request, .. } = bob.next().await else { panic!("no prepare") };
    bob.ack(request).await;
    clock.jump_ms(28_500);
    assert_eq!(jane.received("reject").await["reason"]["code"], "R00");
    assert_eq!(network.balance("jane").await, 0);
    let _ = network.connector.stop(Duration::ZERO).await;
    jane.quit().await;
}
