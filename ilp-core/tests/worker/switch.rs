//! What goes where between workers, by itself.

use crate::bench::{condition, error_bytes, id, payment, preimage};
use ilp_core::AccountId;
use ilp_core::colleagues::{Arrived, Relay, Routed, Sent, Switch, slots_for};
use ilp_core::link::{Answer, Claim, ClaimKind, IncomingPrepare, LinkCommand, LinkEvent, Payload, SubProtocol};
use ilp_core::store::{AccountRow, AccountSetup, SlotNo};
use ilp_core::worker::{ConnectionId, Input, Note};
use ilp_oer::{Amount, Timestamp, TransferId};

fn wide(parallelism: u8, name: &str) -> AccountId {
    AccountId::new(parallelism, name).unwrap()
}

fn row(id: &AccountId, slots: &[SlotNo], key: u8) -> AccountRow {
    AccountRow::new(&AccountSetup { id: id.clone(), slots: slots.into(), key: [key; 16], credit_limit: 0 })
}

const ALL: [SlotNo; 4] = [1, 2, 3, 4];

/// A switch whose colleagues are all there, and which has a connection of an account of parallelism 4.
fn switch(slot: SlotNo, key: u8) -> (Switch, ConnectionId) {
    let (mut switch, alice) = (Switch::new(slot), wide(4, "alice"));
    switch.set_known(ALL);
    assert!(switch.set_open(ALL).is_empty());
    switch.set_account(&alice, &row(&alice, &[2, 3, 4, 1], key));
    let connection = ConnectionId(5);
    assert_eq!(switch.connected(connection, &alice), Relay::Connected { connection, account: alice });
    (switch, connection)
}

fn transfer_id(n: u64) -> TransferId {
    let mut id = [0; 16];
    id[8..].copy_from_slice(&n.to_be_bytes());
    TransferId::new(id)
}

fn prepare(id: TransferId) -> LinkEvent {
    let transfer = IncomingPrepare {
        id,
        amount: Amount::new(1),
        condition: condition(1),
        expires_at: Timestamp::from_unix_millis(9_000).unwrap(),
        payload: Payload::ilp(payment("test.ann.bob", 1)),
    };
    LinkEvent::Prepare { request: 1, transfer }
}

fn fulfill(slot: SlotNo) -> LinkEvent {
    let mut id = [9; 16];
    id[..2].copy_from_slice(&slot.to_be_bytes());
    LinkEvent::Fulfill { request: 2, id: TransferId::new(id), fulfillment: preimage(1) }
}

/// The slot that an event goes to.
fn goes_to(switch: &mut Switch, own: SlotNo, connection: ConnectionId, event: LinkEvent) -> SlotNo {
    match switch.event(connection, event.clone()) {
        Routed::Here(Input::Link { connection: at, event: same }) if (at, &same) == (connection, &event) => own,
        Routed::Colleague(slot, Relay::Event { connection: at, event: same }) if (at, &same) == (connection, &event) => slot,
        other => panic!("{other:?}"),
    }
}

#[test]
fn every_worker_deals_a_transfer_to_the_same_slot_and_who_does_not_know_the_key_cannot_tell_which() {
    let mut switches = ALL.map(|slot| (slot, switch(slot, 1)));
    let (mut other, at) = switch(1, 2);
    let (mut counts, mut elsewhere) = ([0; 4], 0);
    for n in 0..400 {
        let id = transfer_id(n);
        let owners = switches.each_mut().map(|(slot, (switch, at))| goes_to(switch, *slot, *at, prepare(id)));
        assert!(owners.iter().all(|owner| *owner == owners[0]), "{owners:?}");
        counts[usize::from(owners[0]) - 1] += 1;
        elsewhere += u32::from(goes_to(&mut other, 1, at, prepare(id)) != owners[0]);
        // An unconditional transfer is dealt like any other.
        let event = LinkEvent::Transfer { request: 1, id, amount: Amount::new(1), expires_at: None, payload: Payload::EMPTY };
        assert_eq!(goes_to(&mut other, 1, at, event), goes_to(&mut other, 1, at, prepare(id)));
    }
    assert!(counts.iter().all(|count| (70..=130).contains(count)), "{counts:?}");
    assert!((250..=350).contains(&elsewhere), "{elsewhere} of 400");
}

#[test]
fn an_owner_never_changes() {
    let (mut switch, at) = switch(1, 1);
    let owners: Vec<_> = (0..12).map(|n| goes_to(&mut switch, 1, at, prepare(transfer_id(n)))).collect();
    // The first 8 bytes of SHA-256(key ‖ id), modulo 4.
    assert_eq!(owners, [3, 4, 1, 1, 3, 1, 1, 1, 2, 4, 1, 2]);
}

#[test]
fn an_account_of_parallelism_1_has_all_its_transfers_at_its_slot() {
    let (mut switch, _) = switch(1, 1);
    let (bob, at) = (id("bob"), ConnectionId(6));
    switch.set_account(&bob, &row(&bob, &[3], 1));
    switch.connected(at, &bob);
    assert!((0..20).all(|n| goes_to(&mut switch, 1, at, prepare(transfer_id(n))) == 3));
}

#[test]
fn answers_of_next_hops_go_to_the_slot_in_the_id_and_statements_home() {
    let (mut switch, at) = switch(1, 1);
    for slot in ALL {
        assert_eq!(goes_to(&mut switch, 1, at, fulfill(slot)), slot);
        let LinkEvent::Fulfill { id, .. } = fulfill(slot) else { unreachable!() };
        let reject = LinkEvent::Reject { request: 3, id, reason: error_bytes("F99", "test.bob") };
        assert_eq!(goes_to(&mut switch, 1, at, reject), slot);
    }
    // Nobody ever had such a slot: this worker says so.
    assert_eq!(goes_to(&mut switch, 1, at, fulfill(77)), 1);
    let claim = Claim { kind: ClaimKind::Mine, subject: "a".into(), proof: Default::default() };
    assert_eq!(goes_to(&mut switch, 1, at, LinkEvent::Claim { request: 4, claim }), 2);
    let message = |protocol| LinkEvent::Message { request: 5, payload: Payload { protocol, data: Default::default() } };
    assert_eq!(goes_to(&mut switch, 1, at, message(SubProtocol::Vouch)), 2);
    assert_eq!(goes_to(&mut switch, 1, at, message(SubProtocol::Info)), 1);
}

#[test]
fn what_a_slot_that_is_not_open_would_decide_is_left_to_its_mailbox_or_asked_for_again() {
    let (mut switch, at) = switch(1, 1);
    switch.set_open([2, 4]);
    assert!(matches!(switch.event(at, fulfill(3)), Routed::Mail { slot: 3, .. }));
    let n = (0..).find(|n| matches!(switch.event(at, prepare(transfer_id(*n))), Routed::Unanswerable(1)));
    assert!(n.is_some_and(|n| n < 50));
    // The answer to what it had asked for is nobody's.
    let command = LinkCommand::Fulfill { tag: 3, id: transfer_id(1), fulfillment: preimage(1) };
    let Arrived::Command(_, LinkCommand::Fulfill { tag, .. }) = switch.arrived(2, Relay::Command { connection: at, command }) else {
        panic!()
    };
    switch.set_open([4]);
    assert!(matches!(switch.event(at, LinkEvent::Answered { tag, answer: Answer::Ack }), Routed::Nobody));
}

#[test]
fn the_answer_to_a_colleagues_request_goes_back_to_it_once_with_its_own_tag() {
    let (mut switch, at) = switch(1, 1);
    let command = |tag| LinkCommand::Fulfill { tag, id: transfer_id(1), fulfillment: preimage(1) };
    let mut ask = |from, tag| match switch.arrived(from, Relay::Command { connection: at, command: command(tag) }) {
        Arrived::Command(connection, LinkCommand::Fulfill { tag, .. }) if connection == at => tag,
        other => panic!("{other:?}"),
    };
    let tags = [ask(2, 3), ask(3, 3), ask(2, 9)];
    assert!(tags.iter().all(|tag| tag >> 63 == 1) && tags[0] != tags[1] && tags[1] != tags[2]);
    let answered = |tag| LinkEvent::Answered { tag, answer: Answer::Ack };
    for (tag, (slot, own)) in tags.into_iter().zip([(2, 3), (3, 3), (2, 9)]).rev() {
        match switch.event(at, answered(tag)) {
            Routed::Colleague(to, Relay::Event { connection, event }) => assert_eq!((to, connection, event), (slot, at, answered(own))),
            other => panic!("{other:?}"),
        }
        assert!(matches!(switch.event(at, answered(tag)), Routed::Nobody), "once");
    }
    // The worker's own come to it as they are.
    assert_eq!(goes_to(&mut switch, 1, at, answered(3)), 1);
}

#[test]
fn a_colleagues_connection_has_a_number_of_its_own_that_is_never_used_twice() {
    let (mut switch, _) = switch(1, 1);
    let (there, account) = (ConnectionId(5), wide(4, "alice"));
    let mut numbers = Vec::new();
    for round in 0..3 {
        for slot in [2, 3] {
            match switch.arrived(slot, Relay::Connected { connection: there, account: account.clone() }) {
                Arrived::Input(Input::Connected { connection, relayed: true, .. }) => numbers.push((slot, connection)),
                other => panic!("{other:?}"),
            }
            // Said twice, it is the same one.
            assert!(matches!(switch.arrived(slot, Relay::Connected { connection: there, account: account.clone() }), Arrived::Nothing));
        }
        let close = |reason: &str| LinkCommand::Close { reason: reason.into() };
        for (slot, number) in &numbers[numbers.len() - 2..] {
            match switch.command(*number, close("x")) {
                Sent::Colleague(to, Relay::Command { connection, .. }) => assert_eq!((to, connection), (*slot, there)),
                other => panic!("{other:?}"),
            }
            match switch.arrived(*slot, Relay::Event { connection: there, event: fulfill(1) }) {
                Arrived::Input(Input::Link { connection, .. }) => assert_eq!(connection, *number),
                other => panic!("{other:?}"),
            }
        }
        for (_, number) in &numbers[..numbers.len() - 2] {
            assert!(matches!(switch.command(*number, close("x")), Sent::Nobody), "that one is gone");
        }
        let gone: Vec<_> = match round {
            0 => [2, 3].iter().map(|slot| switch.arrived(*slot, Relay::Disconnected { connection: there })).map(input).collect(),
            1 => [2, 3].iter().flat_map(|slot| switch.reopened(*slot)).collect(),
            _ => switch.set_open([4]),
        };
        let gone: Vec<_> =
            gone.into_iter().map(|input| if let Input::Disconnected { connection } = input { connection } else { panic!() }).collect();
        assert_eq!(gone, numbers[numbers.len() - 2..].iter().map(|(_, number)| *number).collect::<Vec<_>>());
    }
    let mut once: Vec<_> = numbers.iter().map(|(_, number)| *number).collect();
    once.sort();
    once.dedup();
    assert_eq!(once.len(), 6);
}

fn input(arrived: Arrived) -> Input {
    match arrived {
        Arrived::Input(input) => input,
        other => panic!("{other:?}"),
    }
}

#[test]
fn who_was_opened_is_told_of_all_connections() {
    let (mut switch, at) = switch(1, 1);
    let alice = wide(4, "alice");
    match switch.arrived(2, Relay::Hello) {
        Arrived::Reply(relays) => assert_eq!(relays, [Relay::Connected { connection: at, account: alice.clone() }]),
        other => panic!("{other:?}"),
    }
    assert_eq!(switch.disconnected(at), Some(Relay::Disconnected { connection: at }));
    assert_eq!(switch.disconnected(at), None);
    assert!(matches!(switch.arrived(2, Relay::Hello), Arrived::Reply(relays) if relays.is_empty()));
    // What is to be said on it can't be said any more.
    let command = LinkCommand::Close { reason: "x".into() };
    assert!(matches!(switch.arrived(2, Relay::Command { connection: at, command }), Arrived::Nothing));
    let note = switch.arrived(3, Relay::Noted { account: alice.clone(), note: Note::Drain });
    assert!(matches!(note, Arrived::Input(Input::Noted { from: 3, account, note: Note::Drain }) if account == alice));
}

#[test]
fn a_worker_alone_passes_nothing_on() {
    let mut switch = Switch::new(1);
    switch.set_known([1]);
    let (alice, at) = (wide(4, "alice"), ConnectionId(5));
    switch.set_account(&alice, &row(&alice, &[1], 1));
    switch.connected(at, &alice);
    assert_eq!(goes_to(&mut switch, 1, at, fulfill(2)), 1);
    assert_eq!(goes_to(&mut switch, 1, at, prepare(transfer_id(1))), 1);
}

#[test]
fn an_accounts_slots_are_as_many_as_its_parallelism_and_other_slots_move_few_accounts() {
    let slots: Vec<SlotNo> = (1..=8).collect();
    let mut moved = 0;
    for n in 0..200 {
        let id = wide(3, &format!("account-{n}"));
        let chosen = slots_for(&id, &slots);
        assert_eq!(chosen.len(), 3);
        let mut reversed = slots.clone();
        reversed.reverse();
        assert_eq!(slots_for(&id, &reversed), chosen, "whatever their order");
        // One more slot takes a place from one account in nine for each of its places, and moves nothing else.
        let more: Vec<SlotNo> = (1..=9).collect();
        let after = slots_for(&id, &more);
        assert!(after.iter().filter(|slot| !chosen.contains(slot)).all(|slot| *slot == 9));
        moved += u32::from(after.contains(&9));
    }
    assert!((40..=95).contains(&moved), "{moved} of 200, a third expected");
    assert_eq!(slots_for(&wide(200, "x"), &slots).len(), 8);
    assert_eq!(slots_for(&wide(0, "x"), &slots).len(), 1);
}
