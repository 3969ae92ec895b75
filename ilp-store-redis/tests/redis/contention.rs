//! Several processes on one server.

use crate::support::{DISK, Server, batch, durable, lease, move_of, moved, open, setup, slot};
use futures::future::join_all;
use ilp_core::store::{BalanceStore, CommitOutcome, Lease, MoveChange, MoveOutcome, Renewal};
use ilp_store_redis::{RedisStore, Required};

/// For servers whose disk isn't what a test is about.
async fn stores(server: &Server) -> (RedisStore, RedisStore) {
    let config = server.config().require(Required::Nothing);
    (RedisStore::connect(config.clone()).await.unwrap(), RedisStore::connect(config).await.unwrap())
}

#[tokio::test]
async fn epochs_fence() {
    let server = Server::start(DISK);
    let (one, two) = stores(&server).await;
    let old = open(&one, "a").await.epoch;
    durable(&one, batch("a", old, 1)).await;
    let opened = open(&two, "a").await;
    assert_eq!((opened.last_seq, opened.epoch), (1, old + 1));
    for seq in [1, 2, 9] {
        assert_eq!(one.commit(batch("a", old, seq)).await, CommitOutcome::Fenced { epoch: old + 1 });
    }
    assert_eq!(one.renew(&slot("a"), old, &lease()).await, Renewal::Fenced { epoch: old + 1 });
    durable(&two, batch("a", opened.epoch, 2)).await;
}

#[tokio::test]
async fn leases_keep_out() {
    let server = Server::start(&[]);
    let (one, two) = stores(&server).await;
    let of = |holder: &str, ms| Lease { holder: holder.into(), address: Some(format!("{holder}:1").into()), ms };
    let epoch = one.open(&slot("a"), &of("ann", 60_000)).await.unwrap().epoch;
    let refused = two.open(&slot("a"), &of("bob", 60_000)).await.unwrap_err();
    let (holder, left) = refused.held_by.unwrap();
    assert_eq!(&*holder, "ann");
    assert!((1..=60_000).contains(&left), "{left}");
    // Anybody can read who has it.
    assert_eq!(server.text(&["HGET", "lease:{a}", "holder"]), "ann");
    assert_eq!(server.text(&["HGET", "lease:{a}", "address"]), "ann:1");
    // Given up: it lasts no longer than now.
    assert_eq!(one.renew(&slot("a"), epoch, &of("ann", 0)).await, Renewal::Kept);
    assert_eq!(one.directory().await.unwrap().slots[0].lease, None);
    let opened = two.open(&slot("a"), &of("bob", 60_000)).await.unwrap();
    assert_eq!(opened.epoch, epoch + 1);
    assert_eq!(&*two.directory().await.unwrap().slots[0].lease.as_ref().unwrap().holder, "bob");
}

/// Many openings at once: each has an epoch of its own, and only the last one counts.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn openings_at_once() {
    let server = Server::start(&[]);
    let (one, two) = stores(&server).await;
    let (slot, lease) = (slot("a"), lease());
    let all = join_all((0..16).map(|no| (if no % 2 == 0 { &one } else { &two }).open(&slot, &lease))).await;
    let mut epochs: Vec<_> = all.into_iter().map(|opened| opened.unwrap().epoch).collect();
    epochs.sort_unstable();
    assert_eq!(epochs, (1..=16).collect::<Vec<_>>());
    for (epoch, store) in (1..=16).flat_map(|epoch| [(epoch, &one), (epoch, &two)]) {
        let outcome = store.commit(batch("a", epoch, 1)).await;
        assert_eq!(outcome == CommitOutcome::Durable, epoch == 16, "epoch {epoch}: {outcome:?}");
    }
}

/// Four tasks in two processes draw and give back one account's money; with the worst of luck nothing comes or goes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn moves_conserve_the_total() {
    const TOTAL: i128 = 1_000_003;
    let server = Server::start(&[]);
    let (one, two) = stores(&server).await;
    one.set_up(&setup("ann", 0)).await.unwrap();
    moved(&one, &move_of("ann", 100, 1, MoveChange::Give { amount: TOTAL })).await;
    let task = |slot: u16| {
        let store = if slot.is_multiple_of(2) { one.clone() } else { two.clone() };
        tokio::spawn(async move {
            let mut hot = 0;
            for n in 1..=100 {
                let step = i128::from(n) * 7 % 23 + i128::from(slot);
                let change = match n % 3 {
                    0 => MoveChange::Give { amount: hot / 2 },
                    1 => MoveChange::Draw { needed: step, least: step, share: 8 },
                    _ => MoveChange::Draw { needed: step * 1_000, least: step * 1_000, share: u32::MAX },
                };
                let request = move_of("ann", slot, n, change);
                let MoveOutcome::Done { result, .. } = moved(&store, &request).await else { panic!("{request:?}") };
                hot += result.moved;
                assert!(hot >= 0);
                // A second time: the same.
                let again = moved(&store, &request).await;
                assert!(matches!(again, MoveOutcome::Done { result: same, .. } if same == result), "{again:?}");
            }
            hot
        })
    };
    let hot: i128 = join_all((1..=4).map(task)).await.into_iter().map(Result::unwrap).sum();
    let row = &one.directory().await.unwrap().accounts[0].1;
    assert!(row.cold >= 0);
    assert_eq!(row.cold + hot, TOTAL);
    assert_eq!(row.difference(), 0);
}

/// What one process has changed, another sees: of all rows the ones that it hasn't seen yet.
#[tokio::test]
async fn directories_are_new() {
    let server = Server::start(&[]);
    let (one, two) = stores(&server).await;
    let both = async || {
        let (a, b) = (one.directory().await.unwrap(), two.directory().await.unwrap());
        // But for what is left of the leases.
        assert_eq!((&a.accounts, &a.balances), (&b.accounts, &b.balances));
        assert_eq!(a.slots.len(), b.slots.len());
        let picture = one.read(&slot("a")).await.unwrap().map_or_else(Vec::new, |picture| picture.accounts);
        if !a.slots.is_empty() {
            assert_eq!(a.accounts, picture);
        }
        a.accounts
    };
    assert_eq!(both().await, []);
    open(&one, "a").await;
    for no in 0..20 {
        let store = if no % 2 == 0 { &one } else { &two };
        store.set_up(&setup(&format!("account-{no}"), no)).await.unwrap();
        assert_eq!(both().await.len(), usize::try_from(no).unwrap() + 1);
        moved(store, &move_of("account-0", 1, no + 1, MoveChange::Give { amount: 1 })).await;
        assert_eq!(both().await[0].1.cold, i128::from(no) + 1);
    }
    // The numbers of changes begin anew.
    server.ask(&["SET", "changes", "3"]);
    assert_eq!(both().await.len(), 20);
}
