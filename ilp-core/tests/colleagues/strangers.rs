//! What somebody on the network can do: cost a connection.

use crate::peer::Peer;
use crate::support::{Process, account, bind, books_are_right, run, until};
use ilp_core::runtime::{Notice, SocketColleagues};
use ilp_core::store::{BalanceStore, MemoryStore, SlotNo};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicUsize, Ordering};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};

const BOTH: [SlotNo; 2] = [0, 1];

#[test]
fn who_doesnt_know_the_secret_costs_only_connections() {
    run(async {
        let store = MemoryStore::new();
        let ann = Process::start(&store, "ann", &[0], &BOTH, &[]).await;
        let at = ann.colleagues.local_addr().unwrap();
        // More than may be there at once say nothing, or half of something.
        let mut silent = Vec::new();
        for place in 0..100 {
            let mut stream = TcpStream::connect(at).await.unwrap();
            if place % 2 == 0 {
                let _ = stream.write_all(b"ILPw").await;
            }
            silent.push(stream);
        }
        for garbage in
            [&b"GET / HTTP/1.1\r\n\r\n"[..], &[0; 500], &[0xff; 500], b"ILPw\x02", b"ILPw\x01 and thirty-two octets and some more \xff"]
        {
            let mut stream = TcpStream::connect(at).await.unwrap();
            let _ = stream.write_all(garbage).await;
            let _ = stream.shutdown().await;
            let mut answer = Vec::new();
            let _ = stream.read_to_end(&mut answer).await;
            // At most the acceptor's half of the handshake.
            assert!(answer.len() <= 100, "{answer:?}");
        }
        // Others find each other meanwhile.
        let other = bind(&store, "bea", 8).await;
        let wrong_at = other.local_addr().unwrap().to_string();
        let bea = Process::with(&store, "bea", &[1], &BOTH, &[], other, &wrong_at).await;
        let cid = Process::start(&store, "cid", &[2], &BOTH, &[]).await;
        ann.reaching(&[2]).await;
        cid.reaching(&[0]).await;
        until(|| bea.notices.lock().unwrap().iter().any(|notice| matches!(notice, Notice::EndpointTrouble { .. }))).await;
        assert!(bea.colleagues.linked().is_empty());
        assert_eq!(ann.colleagues.linked().len(), 1);
        for mut stream in silent {
            let mut answer = Vec::new();
            let _ = stream.read_to_end(&mut answer).await;
            assert!(answer.is_empty());
        }
        assert_eq!(ann.reaches(), [2]);
        assert!(!format!("{:?}", ann.colleagues).contains("[7, 7"));
    });
}

/// What the one in the middle does to the next octets that pass.
const NOTHING: u8 = 0;
const REPEAT: u8 = 1;
const ADD: u8 = 2;
const CHANGE: u8 = 3;
const LEAVE_OUT: u8 = 4;
const OVERLONG: u8 = 5;
/// From now on nothing passes, on this connection, and it stays open.
const FREEZE: u8 = 6;

/// Somebody on the way to a process.
struct Middle {
    at: String,
    deed: Arc<AtomicU8>,
    connections: Arc<AtomicUsize>,
    /// Whoever dials is turned away.
    closed: Arc<AtomicBool>,
}

impl Middle {
    async fn before(colleagues: &SocketColleagues) -> Self {
        let to = colleagues.local_addr().unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let at = listener.local_addr().unwrap().to_string();
        let (deed, connections) = (Arc::new(AtomicU8::new(NOTHING)), Arc::<AtomicUsize>::default());
        let closed = Arc::<AtomicBool>::default();
        let middle = Self { at, deed: deed.clone(), connections: connections.clone(), closed: closed.clone() };
        tokio::spawn(async move {
            while let Ok((dialler, _)) = listener.accept().await {
                if closed.load(Ordering::SeqCst) {
                    continue;
                }
                let Ok(acceptor) = TcpStream::connect(to).await else { continue };
                connections.fetch_add(1, Ordering::SeqCst);
                let ((a, b), (c, d)) = (dialler.into_split(), acceptor.into_split());
                tokio::spawn(pass(a, d, deed.clone()));
                tokio::spawn(pass(c, b, Arc::default()));
            }
        });
        middle
    }
}

async fn pass(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, deed: Arc<AtomicU8>) {
    let mut octets = vec![0; 100_000];
    while let Ok(len @ 1..) = from.read(&mut octets).await {
        let octets = &mut octets[..len];
        let passed = match deed.swap(NOTHING, Ordering::SeqCst) {
            REPEAT => to.write_all(&[&*octets, &*octets].concat()).await,
            ADD => to.write_all(&[&[0, 0, 0, 60], &[0; 60][..], octets].concat()).await,
            CHANGE => {
                octets[len / 2] ^= 4;
                to.write_all(octets).await
            }
            LEAVE_OUT => Ok(()),
            OVERLONG => to.write_all(&[&[0xff; 4], &*octets].concat()).await,
            FREEZE => std::future::pending().await,
            _ => to.write_all(octets).await,
        };
        if passed.is_err() {
            break;
        }
    }
}

#[test]
fn who_is_on_the_way_can_end_a_link_and_no_more() {
    run(async {
        let store = MemoryStore::new();
        let accounts = [account("alice", &[0], &BOTH, 1_000_000), account("bob", &[1], &BOTH, 0)];
        let [a, b] = accounts.each_ref().map(|account| account.id.name());
        let (of_ann, of_bea) = (bind(&store, "ann", 7).await, bind(&store, "bea", 7).await);
        let middle = Middle::before(&of_bea).await;
        // Ann can't be dialled, so all links are ann's and go through the one in the middle.
        let ann = Process::with(&store, "ann", &[0], &BOTH, &accounts, of_ann, "127.0.0.1:1").await;
        let bea = Process::with(&store, "bea", &[1], &BOTH, &accounts, of_bea, &middle.at).await;
        ann.reaching(&[1]).await;
        bea.reaching(&[0]).await;
        let (mut alice, mut bob) = (Peer::connect(&ann.connector, a).await, Peer::connect(&bea.connector, b).await);
        let mut n = 0;
        for deed in [NOTHING, REPEAT, ADD, CHANGE, LEAVE_OUT, OVERLONG, FREEZE] {
            let before = middle.connections.load(Ordering::SeqCst);
            middle.deed.store(deed, Ordering::SeqCst);
            // Pings pass all the time.
            until(|| middle.deed.load(Ordering::SeqCst) == NOTHING).await;
            if deed != NOTHING {
                until(|| middle.connections.load(Ordering::SeqCst) > before).await;
            }
            ann.reaching(&[1]).await;
            bea.reaching(&[0]).await;
            // Both have met anew: bob can be reached, once his worker has said so.
            n += 1;
            alice.hold(0, n, b, 10, ann.connector.now()).await;
            let prepared = bob.prepared().await;
            bob.fulfill(prepared.on, prepared.id, n);
            alice.fulfilled(n).await;
        }
        books_are_right(&[&ann.connector, &bea.connector]).await;
        ann.stop().await;
        bea.stop().await;
    });
}

#[test]
fn a_fulfill_while_the_way_is_cut_reaches_its_owner_when_it_is_there_again() {
    run(async {
        let store = MemoryStore::new();
        let accounts = [account("alice", &[0], &BOTH, 1_000_000), account("bob", &[1], &BOTH, 0)];
        let [a, b] = accounts.each_ref().map(|account| account.id.name());
        let (of_ann, of_bea) = (bind(&store, "ann", 7).await, bind(&store, "bea", 7).await);
        let middle = Middle::before(&of_bea).await;
        let ann = Process::with(&store, "ann", &[0], &BOTH, &accounts, of_ann, "127.0.0.1:1").await;
        let bea = Process::with(&store, "bea", &[1], &BOTH, &accounts, of_bea, &middle.at).await;
        let (mut alice, mut bob) = (Peer::connect(&ann.connector, a).await, Peer::connect(&bea.connector, b).await);
        alice.hold(0, 1, b, 10, ann.connector.now()).await;
        let prepared = bob.prepared().await;

        middle.closed.store(true, Ordering::SeqCst);
        middle.deed.store(OVERLONG, Ordering::SeqCst);
        bea.reaching(&[]).await;
        // It is left for whoever opens the slot next, too. What is said at the very moment of the cut is lost, and said again.
        while store.directory().await.unwrap().slots[0].letters == 0 {
            bob.fulfill(0, prepared.id, 1);
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
        middle.closed.store(false, Ordering::SeqCst);
        alice.fulfilled(1).await;
        books_are_right(&[&ann.connector, &bea.connector]).await;
        ann.stop().await;
        bea.stop().await;
    });
}
