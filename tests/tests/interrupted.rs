//! Whatever is given up in the middle, nothing is lost: calls that are dropped at each point where they wait, sockets that are closed at
//! each step of a payment, a receiver that panics, a connector that is dropped instead of stopped. On books that are on a disk.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use async_trait::async_trait;
use ilp_core::runtime::{Connector, PayError};
use ilp_core::store::EmbeddedStore;
use ilp_core::worker::WorkerStatus;
use ilp_core::{AccountConfig, AccountId, Asset, IncomingPayment, Receiver, Rejection, SettlementId};
use ilp_oer::{Address, Amount, Fulfillment, Timestamp, TransferId};
use ilp_tests::{JumpingClock, Network, RawPeer, Scratch, Seen, id_of, preimage};
use std::future::{Future, poll_fn};
use std::task::Poll;
use std::time::Duration;

/// Polls a future so often at most, and drops it if it isn't ready by then.
async fn give_up_after<T>(polls: u32, future: impl Future<Output = T>) -> Option<T> {
    let mut future = Box::pin(future);
    let mut left = polls;
    poll_fn(|cx| {
        if left == 0 {
            return Poll::Ready(None);
        }
        left -= 1;
        match future.as_mut().poll(cx) {
            Poll::Ready(value) => Poll::Ready(Some(value)),
            // The poll after the last one is ours.
            Poll::Pending if left == 0 => Poll::Ready(None),
            Poll::Pending => Poll::Pending,
        }
    })
    .await
}

async fn audited(connector: &Connector) -> WorkerStatus {
    let audit = connector.audit().await.unwrap();
    assert!(audit.iter().all(|audit| audit.violations.is_empty()), "{audit:?}");
    connector.status().await.unwrap().worker
}

async fn until(what: &str, connector: &Connector, done: impl Fn(&WorkerStatus) -> bool) -> WorkerStatus {
    let wait = async {
        loop {
            let status = connector.status().await.unwrap().worker;
            if done(&status) {
                return status;
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), wait).await.unwrap_or_else(|_| panic!("never happened: {what}"))
}

#[tokio::test]
async fn a_payment_whose_call_is_dropped_anywhere_ends_as_its_transfer_does() {
    let scratch = Scratch::new("dropped-pay");
    let store = EmbeddedStore::open(scratch.path()).unwrap();
    let network = Network::with(|builder| builder.store(store.clone())).await;
    let mut bob = network.login("bob").await;
    let to = Address::new("test.ann.bob.invoice").unwrap();
    let mut paid = 0;
    for polls in 0.. {
        let n = u8::try_from(polls).unwrap() + 1;
        let expires_at = network.connector.now().saturating_add_millis(20_000);
        let mut call = Box::pin(network.connector.pay(&to, Amount::new(5), preimage(n).condition(), expires_at));
        let given_up = give_up_after(polls, &mut call).await.is_none();
        if polls == 0 {
            // Never polled: nothing was asked for.
            drop(call);
            assert_eq!(audited(&network.connector).await.in_flight, 0);
            continue;
        }
        assert!(given_up, "it can't be ready before bob has answered");
        drop(call);
        let Seen::Prepare { request, id, .. } = bob.next().await else { panic!() };
        bob.ack(request).await;
        let fulfill = bob.fulfill(id, preimage(n)).await;
        assert_eq!(bob.next().await, Seen::Ack(fulfill));
        paid += 5;
        let status = audited(&network.connector).await;
        assert_eq!((network.balance("bob").await, status.own[0].1), (paid, -paid));
        if polls == 3 {
            break;
        }
    }
    let report = network.connector.stop(Duration::from_secs(5)).await;
    assert!(report.drained && report.in_flight.is_empty(), "{report:?}");
}

#[tokio::test]
async fn a_settlement_whose_call_is_dropped_anywhere_counts_once_when_it_is_told_again() {
    let scratch = Scratch::new("dropped-settle");
    let store = EmbeddedStore::open(scratch.path()).unwrap();
    let network = Network::with(|builder| builder.store(store.clone())).await;
    let bob = AccountId::new(1, "bob").unwrap();
    let mut balance = 0;
    for polls in 0..6 {
        let id: SettlementId = format!("wire-{polls}").parse().unwrap();
        let _ = give_up_after(polls, network.connector.settle(&bob, 11, &id)).await;
        balance += 11;
        assert_eq!(network.connector.settle(&bob, 11, &id).await.unwrap().balance, balance);
    }
    assert_eq!(audited(&network.connector).await.accounts.iter().map(|account| account.balance).sum::<i128>(), balance);
    let _ = network.connector.stop(Duration::ZERO).await;
}

#[tokio::test]
async fn calls_that_change_accounts_or_only_look_can_be_dropped_anywhere() {
    let scratch = Scratch::new("dropped-accounts");
    let store = EmbeddedStore::open(scratch.path()).unwrap();
    let network = Network::with(|builder| builder.store(store.clone())).await;
    for polls in 0..5 {
        let id = AccountId::new(1, &format!("carol-{polls}")).unwrap();
        let config = AccountConfig { initial_balance: 3, ..AccountConfig::new(id.clone(), Asset::new("XRP", 6)) };
        let _ = give_up_after(polls, network.connector.add_account(config.clone())).await;
        // Again is the same, whether or not the first call came through.
        network.connector.add_account(config).await.unwrap();
        let _ = give_up_after(polls, network.connector.status()).await;
        let _ = give_up_after(polls, network.connector.audit()).await;
        let _ = give_up_after(polls, network.connector.acknowledge_events(0, u64::MAX)).await;
        let _ = give_up_after(polls, network.connector.remove_account(&id, true)).await;
        let name = format!("carol-{polls}");
        let gone = |status: &WorkerStatus| !status.accounts.iter().any(|account| account.id.name() == name);
        if polls > 0 {
            until("the account is closed", &network.connector, gone).await;
        } else {
            network.connector.remove_account(&id, true).await.unwrap();
        }
    }
    let status = audited(&network.connector).await;
    assert_eq!((status.own[0].1, status.accounts.len()), (15, 2));
    let _ = network.connector.stop(Duration::ZERO).await;
}

#[tokio::test]
async fn a_connector_that_is_dropped_or_whose_stop_is_given_up_goes_on_from_its_books() {
    let scratch = Scratch::new("dropped-stop");
    for (round, polls) in [None, Some(0), Some(1), Some(2), Some(3)].into_iter().enumerate() {
        let store = EmbeddedStore::open(scratch.path()).unwrap();
        let network = Network::with(|builder| builder.store(store)).await;
        let n = u8::try_from(round).unwrap() + 1;
        let mut bob = network.login("bob").await;
        let mut alice = network.login("alice").await;
        let expires_at = network.connector.now().saturating_add_millis(60_000);
        // What earlier rounds left is there, held, and only that.
        let held = i128::from(n - 1) * 10;
        assert_eq!(network.balance("alice").await, -held);
        for _ in 1..n {
            assert!(matches!(bob.next().await, Seen::Prepare { .. }));
        }
        let request = alice.prepare(id_of(n), "test.ann.bob", 10, preimage(n).condition(), expires_at).await;
        assert_eq!(alice.next().await, Seen::Ack(request));
        assert!(matches!(bob.next().await, Seen::Prepare { .. }));
        audited(&network.connector).await;
        match polls {
            None => drop(network),
            Some(polls) => {
                let _ = give_up_after(polls, network.connector.stop(Duration::from_millis(300))).await;
            }
        }
        // Whatever of it still runs is on its way out: the store can be opened again when it has let go.
        let opened = async {
            while EmbeddedStore::open(scratch.path()).is_err() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(20), opened).await.unwrap();
    }
}

/// Alice and bob in one payment of 10, with whatever each knows of it.
struct Both<'a> {
    network: &'a Network,
    n: u8,
    expires_at: Timestamp,
    peers: [RawPeer; 2],
    /// Frames that either has sent or taken.
    steps: u32,
    /// Who is cut off after how many.
    cut: (usize, u32),
    paid: bool,
    /// The transfer that bob was asked for.
    asked: Option<TransferId>,
    earned: bool,
}

const ALICE: usize = 0;
const BOB: usize = 1;

impl Both<'_> {
    /// Goes on until both know the end. Whether the cut came before that.
    async fn finish(mut self) -> bool {
        self.prepare().await;
        while !(self.paid && self.earned) {
            for who in [ALICE, BOB] {
                for seen in self.peers[who].ready().await {
                    if self.step().await == Some(who) {
                        // What else came with it is lost with the connection.
                        break;
                    }
                    self.took(seen).await;
                }
            }
            tokio::task::yield_now().await;
        }
        self.steps >= self.cut.1
    }

    async fn took(&mut self, seen: Seen) {
        match seen {
            Seen::Prepare { request, id, amount: 10, .. } => {
                assert!(self.asked.replace(id).is_none_or(|before| before == id), "a second transfer for one payment");
                self.peers[BOB].ack(request).await;
                if self.step().await != Some(BOB) {
                    self.fulfill().await;
                }
            }
            Seen::Fulfill { request, id, fulfillment } => {
                assert_eq!((id, fulfillment), (id_of(self.n), preimage(self.n)));
                self.peers[ALICE].ack(request).await;
                self.paid = true;
                self.step().await;
            }
            Seen::Ack(_) => self.earned |= self.asked.is_some() && self.fulfilled_at_connector().await,
            other => panic!("{other:?}"),
        }
    }

    /// Bob's Ack is told from alice's by what it can be an answer to.
    async fn fulfilled_at_connector(&self) -> bool {
        self.network.balance("bob").await == i128::from(self.n) * 10
    }

    async fn prepare(&mut self) {
        self.peers[ALICE].prepare(id_of(self.n), "test.ann.bob", 10, preimage(self.n).condition(), self.expires_at).await;
        self.step().await;
    }

    async fn fulfill(&mut self) {
        if let Some(id) = self.asked {
            self.peers[BOB].fulfill(id, preimage(self.n)).await;
            self.step().await;
        }
    }

    /// Counts, and cuts if it is time: whoever is cut off dials again, and says again what had no answer.
    async fn step(&mut self) -> Option<usize> {
        self.steps += 1;
        let (who, at) = self.cut;
        if self.steps != at {
            return None;
        }
        let name = ["alice", "bob"][who];
        self.peers[who] = self.network.login(name).await;
        match who {
            ALICE if !self.paid => Box::pin(self.prepare()).await,
            BOB if !self.earned => Box::pin(self.fulfill()).await,
            _ => {}
        }
        Some(who)
    }
}

#[tokio::test]
async fn a_socket_closed_at_any_step_costs_nobody_anything() {
    let scratch = Scratch::new("closed-sockets");
    let store = EmbeddedStore::open(scratch.path()).unwrap();
    let network = Network::with(|builder| builder.store(store.clone())).await;
    let mut n = 0;
    for who in [ALICE, BOB] {
        let mut cuts = 0;
        loop {
            n += 1;
            let both = Both {
                network: &network,
                n,
                expires_at: network.connector.now().saturating_add_millis(30_000),
                peers: [network.login("alice").await, network.login("bob").await],
                steps: 0,
                cut: (who, cuts + 1),
                paid: false,
                asked: None,
                earned: false,
            };
            let cut = tokio::time::timeout(Duration::from_secs(30), both.finish()).await;
            let cut = cut.unwrap_or_else(|_| panic!("{} cut after {cuts}: stuck", ["alice", "bob"][who]));
            // Whoever was cut off before the Ack to the outcome reached the connector is asked once more.
            let mut alice = network.login("alice").await;
            let settled = async {
                while network.connector.status().await.unwrap().worker.in_flight > 0 {
                    for seen in alice.ready().await {
                        let Seen::Fulfill { request, .. } = seen else { panic!("{seen:?}") };
                        alice.ack(request).await;
                    }
                    tokio::task::yield_now().await;
                }
            };
            tokio::time::timeout(Duration::from_secs(20), settled).await.unwrap();
            let status = audited(&network.connector).await;
            let paid = i128::from(n) * 10;
            assert_eq!((network.balance("alice").await, network.balance("bob").await), (-paid, paid), "{who} cut after {cuts}");
            assert_eq!(status.counters.disputed + status.counters.unconfirmed + status.counters.lost, 0);
            cuts += 1;
            if !cut {
                break;
            }
        }
        assert!(cuts > 8, "a payment has at least eight steps, {cuts}");
    }
    let report = network.connector.stop(Duration::from_secs(5)).await;
    assert!(report.drained, "{report:?}");
}

#[derive(Debug)]
struct Panics;

#[async_trait]
impl Receiver for Panics {
    async fn receive(&self, payment: IncomingPayment) -> Result<Fulfillment, Rejection> {
        if payment.destination.as_str().ends_with("before") {
            panic!("a receiver that panics at once");
        }
        tokio::task::yield_now().await;
        panic!("a receiver that panics later");
    }
}

#[tokio::test]
async fn a_receiver_that_panics_costs_the_sender_nothing_and_leaves_nothing_held() {
    let scratch = Scratch::new("panicking-receiver");
    let store = EmbeddedStore::open(scratch.path()).unwrap();
    let network = Network::with(|builder| builder.store(store.clone()).receiver(Panics)).await;
    let mut alice = network.login("alice").await;
    for n in 1..=20 {
        let expires_at = network.connector.now().saturating_add_millis(20_000);
        let to = if n % 2 == 0 { "test.ann.shop.before" } else { "test.ann.shop.later" };
        let request = alice.prepare(id_of(n), to, 10, preimage(n).condition(), expires_at).await;
        assert_eq!(alice.next().await, Seen::Ack(request));
        let Seen::Reject { request, code, .. } = alice.next().await else { panic!() };
        assert_eq!(code, "T00");
        alice.ack(request).await;
    }
    let status = until("nothing is held", &network.connector, |status| status.in_flight == 0).await;
    assert_eq!(status.accounts.iter().map(|account| account.balance).collect::<Vec<_>>(), [0, 0]);
    audited(&network.connector).await;
    let _ = network.connector.stop(Duration::ZERO).await;
}

#[tokio::test]
async fn what_was_in_flight_at_a_kill_ends_by_time_in_the_next_life() {
    let scratch = Scratch::new("next-life");
    let clock = JumpingClock::default();
    {
        let store = EmbeddedStore::open(scratch.path()).unwrap();
        let network = Network::with(|builder| builder.store(store).clock(clock.clone())).await;
        let mut bob = network.login("bob").await;
        let mut alice = network.login("alice").await;
        let expires_at = network.connector.now().saturating_add_millis(20_000);
        alice.prepare(id_of(1), "test.ann.bob", 10, preimage(1).condition(), expires_at).await;
        assert!(matches!(bob.next().await, Seen::Prepare { .. }));
        drop(network);
    }
    let opened = async {
        loop {
            match EmbeddedStore::open(scratch.path()) {
                Ok(store) => return store,
                Err(_) => tokio::time::sleep(Duration::from_millis(5)).await,
            }
        }
    };
    let store = tokio::time::timeout(Duration::from_secs(20), opened).await.unwrap();
    let network = Network::with(|builder| builder.store(store).clock(clock.clone())).await;
    assert_eq!(network.balance("alice").await, -10);
    clock.jump_ms(30_000);
    until("the hold has ended", &network.connector, |status| status.accounts.iter().all(|account| account.balance == 0)).await;
    let nowhere = Address::new("test.nowhere").unwrap();
    let refused = network.connector.pay(&nowhere, Amount::new(1), preimage(9).condition(), network.connector.now()).await;
    assert!(matches!(refused, Err(PayError::Refused { .. })), "{refused:?}");
    audited(&network.connector).await;
    let _ = network.connector.stop(Duration::ZERO).await;
}
