//! The peer dies of what a peer of that time can't live with. Were it not so, the other tests would prove nothing.

use bytes::Bytes;
use ilp_clp::ws::{Listener, Socket, SocketLimits};
use ilp_oer::clp::{Body, Dialect, Entry, Fulfill, Packet, Prepare, ProtocolData, Reject};
use ilp_oer::ilp::{AddrList, ErrorPacket, Packet as IlpPacket, Payment};
use ilp_oer::{Addr, Amount, ErrorCode, Timestamp};
use ilp_tests::{Peer2017, id_of, preimage, text};
use std::future::poll_fn;

/// A server that says what the test wants said.
struct Server {
    listener: Listener,
    socket: Option<Socket>,
}

impl Server {
    async fn start() -> Self {
        Self { listener: Listener::bind("127.0.0.1:0", None, SocketLimits::default()).await.unwrap(), socket: None }
    }

    fn url(&self) -> String {
        format!("ws://{}/api", self.listener.local_addr().unwrap())
    }

    async fn accept(&mut self) {
        self.socket = Some(self.listener.accept().await);
    }

    async fn send(&mut self, request_id: u32, body: Body<'_>) {
        let socket = self.socket.as_mut().unwrap();
        socket.send(Bytes::from(Packet { request_id, body }.to_vec().unwrap()));
        poll_fn(|cx| socket.poll_flush(cx)).await.unwrap();
    }
}

/// A peer that listens by now.
async fn connected() -> (Server, Peer2017) {
    let mut server = Server::start().await;
    let mut peer = Peer2017::start().await;
    peer.dial(&server.url(), "jane", "token").await;
    server.accept().await;
    peer.event("open").await;
    (server, peer)
}

fn fulfill(n: u8) -> Body<'static> {
    Body::Fulfill(Fulfill { transfer_id: id_of(n), fulfillment: preimage(n), data: ProtocolData::EMPTY })
}

/// An error with contents of this length.
fn error(contents_len: usize) -> ErrorPacket<'static> {
    let data = &[b'x'; 200][..contents_len - 49];
    let triggered_at = Timestamp::from_unix_millis(1_500_000_000_000).unwrap();
    let triggered_by = Addr::new("test.node").unwrap();
    let code = ErrorCode::F02_UNREACHABLE;
    let error = ErrorPacket { code, name: "Unreachable", triggered_by, forwarded_by: AddrList::EMPTY, triggered_at, data };
    let overhead = if contents_len < 128 { 2 } else { 3 };
    assert_eq!(error.to_vec().unwrap().len(), contents_len + overhead);
    error
}

#[tokio::test]
async fn it_loses_what_comes_in_the_first_instant() {
    let mut server = Server::start().await;
    let mut peer = Peer2017::start().await;
    peer.dial(&server.url(), "jane", "token").await;
    server.accept().await;
    server.send(1, fulfill(1)).await;
    peer.event("lost").await;
    peer.event("open").await;
    server.send(2, fulfill(2)).await;
    peer.received("fulfill").await;
    assert_eq!(peer.count_received("fulfill"), 1);
}

#[tokio::test]
async fn it_dies_of_a_second_outcome_on_whatever_connection() {
    let (mut server, mut peer) = connected().await;
    server.send(1, fulfill(1)).await;
    peer.received("fulfill").await;
    server.socket = None;
    server.accept().await;
    peer.event("open").await;
    server.send(2, Body::Reject(Reject { transfer_id: id_of(1), reason: error(60).into(), data: ProtocolData::EMPTY })).await;
    assert!(text(&peer.event("died").await["why"]).starts_with("repeated: outcome"));
}

#[tokio::test]
async fn it_dies_of_a_repeated_prepare() {
    let (mut server, mut peer) = connected().await;
    let destination = Addr::new("test.node.jane").unwrap();
    let payment = IlpPacket::Payment(Payment { amount: Amount::new(1), account: destination, data: b"" }).to_vec().unwrap();
    let entries = [Entry::named("ilp", 0, &payment)];
    let data = ProtocolData::entries(Dialect::Named, &entries);
    let expires_at = Timestamp::from_unix_millis(4_000_000_000_000).unwrap();
    let (amount, condition) = (Amount::new(1), preimage(1).condition());
    let prepare = Prepare { transfer_id: id_of(1), amount, condition, expires_at, data };
    server.send(1, Body::Prepare(prepare)).await;
    peer.received("prepare").await;
    server.send(2, Body::Prepare(prepare)).await;
    assert!(text(&peer.event("died").await["why"]).starts_with("repeated: prepare"));
}

#[tokio::test]
async fn it_reads_an_error_of_127_bytes_and_dies_of_one_of_128() {
    for (contents_len, dies) in [(127, false), (128, true)] {
        let (mut server, mut peer) = connected().await;
        server.send(1, Body::Error { reason: error(contents_len).into(), data: ProtocolData::EMPTY }).await;
        match dies {
            true => drop(peer.event("died").await),
            false => assert_eq!(peer.received("error").await["reason"]["code"], "F02"),
        }
    }
}
