//! Statements about ledger accounts: kept, and without effect.

use crate::bench::*;
use bytes::Bytes;
use ilp_core::Limits;
use ilp_core::link::{Claim, ClaimKind, LinkEvent, Payload, SubProtocol};
use ilp_core::worker::ConnectionId;
use ilp_oer::Address;
use ilp_oer::sub::{Vouch, VouchKind};

fn vouch(bench: &mut Bench, connection: ConnectionId, kind: VouchKind, subject: &str) -> Vec<ilp_core::worker::Released> {
    let address = Address::new(subject).unwrap();
    let data = Vouch { kind, address: address.as_addr() }.to_vec().unwrap();
    bench.event(connection, LinkEvent::Message { request: 5, payload: Payload { protocol: SubProtocol::Vouch, data: data.into() } })
}

fn claims(bench: &Bench, name: &str) -> Vec<(ClaimKind, String)> {
    let status = bench.status();
    let account = status.accounts.iter().find(|account| account.id.name() == name).unwrap();
    account.claims.iter().map(|claim| (claim.kind, claim.subject.clone())).collect()
}

#[test]
fn vouches_are_acknowledged_kept_across_a_crash_and_taken_back() {
    let mut bench = Bench::new();
    let (alice, _) = bench.connect("alice");
    assert!(is_ack(alice, &vouch(&mut bench, alice, VouchKind::For, "g.ledger.alice")));
    assert!(is_ack(alice, &vouch(&mut bench, alice, VouchKind::ReachMeAt, "g.ledger.alice")));
    let event = LinkEvent::Claim {
        request: 6,
        claim: Claim { kind: ClaimKind::Mine, subject: "XRP/test/r".into(), proof: Bytes::from_static(b"s") },
    };
    assert!(is_ack(alice, &bench.event(alice, event)));
    // Said again, as on every new connection, it is no news.
    let log = bench.log.len();
    assert!(is_ack(alice, &vouch(&mut bench, alice, VouchKind::For, "g.ledger.alice")));
    assert_eq!(bench.log.len(), log);
    let mut bench = bench.crash();
    let all =
        [(ClaimKind::Mine, "g.ledger.alice".into()), (ClaimKind::ReachMe, "g.ledger.alice".into()), (ClaimKind::Mine, "XRP/test/r".into())];
    assert_eq!(claims(&bench, "alice"), all);
    assert_eq!((bench.balance("alice"), claims(&bench, "bob")), (0, vec![]));
    let (alice, _) = bench.connect("alice");
    assert!(is_ack(alice, &vouch(&mut bench, alice, VouchKind::RollBack, "g.ledger.alice")));
    assert_eq!(claims(&bench, "alice"), all[2..]);
    assert_eq!(claims(&bench.crash(), "alice"), all[2..]);
}

#[test]
fn an_acknowledged_claim_is_durable_first() {
    let mut bench = Bench::new();
    let (alice, _) = bench.connect("alice");
    bench.durable = false;
    assert!(vouch(&mut bench, alice, VouchKind::For, "g.ledger.alice").is_empty());
    assert!(is_ack(alice, &bench.make_durable()));
}

#[test]
fn claims_are_limited_in_number_and_size() {
    let limits = Limits { claims_per_account: 2, ..Limits::default() };
    let mut bench = Bench::with(vec![account("alice", 0)], |config| config.limits = limits);
    let (alice, _) = bench.connect("alice");
    for subject in ["g.a", "g.b"] {
        assert!(is_ack(alice, &vouch(&mut bench, alice, VouchKind::For, subject)));
    }
    assert_eq!(error_code(alice, &vouch(&mut bench, alice, VouchKind::For, "g.c")), "T03");
    assert!(is_ack(alice, &vouch(&mut bench, alice, VouchKind::For, "g.b")));
    let long = Claim { kind: ClaimKind::Mine, subject: "x".repeat(5_000), proof: Bytes::new() };
    assert_eq!(error_code(alice, &bench.event(alice, LinkEvent::Claim { request: 6, claim: long })), "F00");
    let message = LinkEvent::Message { request: 7, payload: Payload { protocol: SubProtocol::Vouch, data: Bytes::from_static(b"\x09") } };
    assert_eq!(error_code(alice, &bench.event(alice, message)), "F00");
    assert!(is_ack(alice, &vouch(&mut bench, alice, VouchKind::RollBack, "g.unknown")));
    assert_eq!(claims(&bench, "alice").len(), 2);
}
