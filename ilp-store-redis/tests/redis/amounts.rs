//! Amounts are whole numbers, to the unit, wherever they go.

use crate::support::{DISK, Server, batch, durable, id, move_of, open, setup};
use ilp_core::store::{BalanceStore, Commit, MoveChange, MoveOutcome};

#[tokio::test]
async fn every_unit_is_kept() {
    let server = Server::start(DISK);
    let store = server.store().await;
    let epoch = open(&store, "slot-1").await.epoch;
    let bound = 1_i128 << 100;
    let amounts = [
        0,
        1,
        (1 << 53) - 1,
        1 << 53,
        (1 << 53) + 1,
        100_000_000_000_000_000,
        (1 << 63) - 1,
        (1 << 63) + 1,
        i128::from(u64::MAX),
        bound - 1,
        bound,
    ];
    store.set_up(&setup("ann", u64::MAX)).await.unwrap();
    let (mut n, mut seq) = (0, 0);
    for amount in amounts.into_iter().flat_map(|amount| [amount, -amount]) {
        let mut next = |change| {
            n += 1;
            move_of("ann", 1, n, change)
        };
        let request = next(MoveChange::Give { amount });
        for _ in 0..2 {
            let MoveOutcome::Done { result, cold } = store.make_move(&request).await else { panic!("{request:?}") };
            assert_eq!((result.moved, cold), (-amount, amount));
        }
        // As people read it.
        assert_eq!(server.text(&["GET", "coldBalance:{01616e6e}"]), amount.to_string());
        seq += 1;
        durable(&store, Commit { balances: vec![(id("ann"), Some(amount))], ..batch("slot-1", epoch, seq) }).await;
        assert_eq!(server.text(&["HGET", "hotBalance:{slot-1}", "01616e6e"]), amount.to_string());
        let picture = store.read(&"slot-1".into()).await.unwrap().unwrap();
        assert_eq!(picture.balances, [(id("ann"), amount)]);
        assert_eq!(picture.accounts[0].1.cold, amount);
        assert_eq!(picture.accounts[0].1.difference(), 0);
        let MoveOutcome::Done { cold, .. } = store.make_move(&next(MoveChange::Give { amount: -amount })).await else { panic!() };
        assert_eq!(cold, 0);
    }
    assert_eq!(store.directory().await.unwrap().accounts[0].1.credit_limit, u64::MAX);
}

/// Numbers of batches and letters likewise, though nobody will get so far.
#[tokio::test]
async fn numbers_beyond_those_of_lua() {
    let server = Server::start(DISK);
    let store = server.store().await;
    open(&store, "a").await;
    let far = (1_u64 << 53) + 1;
    server.ask(&[
        "HSET",
        "slot:{a}",
        "seq",
        &far.to_string(),
        "epoch",
        &far.to_string(),
        "letters",
        &far.to_string(),
        "cut",
        &far.to_string(),
    ]);
    server.ask(&["XADD", "log:{a}", &far.to_string(), "b", "x"]);
    store.mail(&"a".into(), "one".into()).await.unwrap();
    let opened = open(&store, "a").await;
    assert_eq!((opened.epoch, opened.last_seq, opened.log.len(), opened.mail[0].no), (far + 1, far, 1, far + 1));
    for seq in far + 1..far + 4 {
        durable(&store, batch("a", opened.epoch, seq)).await;
        durable(&store, batch("a", opened.epoch, seq)).await;
    }
    durable(&store, Commit { cut_below: Some(far + 4), mail_read: Some(far + 1), ..batch("a", opened.epoch, far + 4) }).await;
    let opened = open(&store, "a").await;
    assert_eq!((opened.last_seq, opened.mail.len()), (far + 4, 0));
    assert_eq!(server.text(&["HGET", "slot:{a}", "cut"]), (far + 4).to_string());
}
