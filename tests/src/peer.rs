//! A peer that is nothing but a socket: it sends and sees single packets.

use bytes::Bytes;
use ilp_clp::ws::{Socket, SocketLimits, TlsClientConfig, dial};
use ilp_oer::clp::{Body, Dialect, Entry, Extensions, Fulfill, Packet, Prepare, ProtocolData};
use ilp_oer::ilp::{ErrorPacket, Packet as IlpPacket, Payment};
use ilp_oer::sub::{Setup, names};
use ilp_oer::{Address, Amount, Condition, Fulfillment, Timestamp, TransferId};
use std::collections::VecDeque;
use std::future::poll_fn;
use std::task::Poll;
use std::time::Duration;

/// A connection in the named dialect, packet by packet.
#[derive(Debug)]
pub struct RawPeer {
    socket: Socket,
    read: VecDeque<Bytes>,
    next_id: u32,
}

/// A packet as a peer sees it, with what the tests ask for.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs, reason = "the fields are those of the packets")]
pub enum Seen {
    Ack(u32),
    Response(u32, Vec<u8>),
    Error(u32, String),
    Prepare { request: u32, id: TransferId, amount: u64, condition: Condition, expires_at: Timestamp },
    Fulfill { request: u32, id: TransferId, fulfillment: Fulfillment },
    Reject { request: u32, id: TransferId, code: String },
    Message(u32),
}

impl RawPeer {
    /// Connects, says nothing.
    pub async fn dial(url: &str, tls: &TlsClientConfig) -> Self {
        let socket = dial(&url.parse().unwrap(), tls, &SocketLimits::default()).await.unwrap();
        Self { socket, read: VecDeque::new(), next_id: 1 }
    }

    /// Connects over plain WebSocket and authenticates.
    pub async fn login(url: &str, name: &str, token: &str) -> Self {
        let mut peer = Self::dial(url, &TlsClientConfig::public_roots().unwrap()).await;
        let request = peer.authenticate(name, token).await;
        match peer.next().await {
            Seen::Response(id, _) if id == request => peer,
            other => panic!("{name} isn't let in: {other:?}"),
        }
    }

    /// Sends setup 0.1.
    pub async fn authenticate(&mut self, name: &str, token: &str) -> u32 {
        let setup = Setup::Authenticate { token: token.as_bytes(), account: name.as_bytes(), target: b"" };
        self.message(names::SETUP, &setup.to_vec().unwrap()).await
    }

    /// Sends a message.
    pub async fn message(&mut self, name: &str, data: &[u8]) -> u32 {
        let entries = [Entry::named(name, 0, data)];
        self.request(Body::Message(ProtocolData::entries(Dialect::Named, &entries))).await
    }

    /// Sends a prepare with an ILP payment of the same amount.
    pub async fn prepare(&mut self, id: TransferId, to: &str, amount: u64, condition: Condition, expires_at: Timestamp) -> u32 {
        let destination = Address::new(to).unwrap();
        let payment = IlpPacket::Payment(Payment { amount: Amount::new(amount), account: destination.as_addr(), data: b"" });
        let packet = payment.to_vec().unwrap();
        let entries = [Entry::named(names::ILP, 0, &packet)];
        let data = ProtocolData::entries(Dialect::Named, &entries);
        self.request(Body::Prepare(Prepare { transfer_id: id, amount: Amount::new(amount), condition, expires_at, data })).await
    }

    /// Fulfills a transfer.
    pub async fn fulfill(&mut self, id: TransferId, fulfillment: Fulfillment) -> u32 {
        self.request(Body::Fulfill(Fulfill { transfer_id: id, fulfillment, data: ProtocolData::EMPTY })).await
    }

    /// Acknowledges a request.
    pub async fn ack(&mut self, request_id: u32) {
        self.send(Packet { request_id, body: Body::Ack(ProtocolData::EMPTY) }).await;
    }

    /// Sends a request under the next id.
    pub async fn request(&mut self, body: Body<'_>) -> u32 {
        let request_id = self.next_id;
        self.next_id += 1;
        self.send(Packet { request_id, body }).await;
        request_id
    }

    /// Sends a packet.
    pub async fn send(&mut self, packet: Packet<'_>) {
        self.send_bytes(packet.to_vec().unwrap().into()).await;
    }

    /// Sends a frame.
    pub async fn send_bytes(&mut self, frame: Bytes) {
        self.socket.send(frame);
        // What comes in meanwhile is kept for later.
        poll_fn(|cx| self.socket.poll_flush(cx)).await.unwrap();
    }

    /// The next packet; panics if none comes within ten seconds.
    pub async fn next(&mut self) -> Seen {
        tokio::time::timeout(Duration::from_secs(10), self.next_or_end()).await.expect("nothing came").expect("the connection ended")
    }

    /// The next packet, or `None` at the end of the connection.
    pub async fn next_or_end(&mut self) -> Option<Seen> {
        while self.read.is_empty() {
            let mut frames = Vec::new();
            poll_fn(|cx| self.socket.poll_receive(cx, &mut frames, 64)).await.ok()?;
            self.read.extend(frames);
        }
        self.read.pop_front().map(|frame| seen(&frame))
    }

    /// What has come by now, without waiting.
    pub async fn ready(&mut self) -> Vec<Seen> {
        poll_fn(|cx| {
            let mut frames = Vec::new();
            while let Poll::Ready(Ok(_)) = self.socket.poll_receive(cx, &mut frames, 64) {}
            self.read.extend(frames);
            Poll::Ready(())
        })
        .await;
        self.read.drain(..).map(|frame| seen(&frame)).collect()
    }
}

fn seen(frame: &[u8]) -> Seen {
    let Packet { request_id, body } = Packet::decode(frame, Dialect::Named, Extensions::NONE).unwrap();
    let code = |error: ErrorPacket<'_>| error.code.as_str().to_owned();
    match body {
        Body::Ack(_) => Seen::Ack(request_id),
        Body::Response(data) => Seen::Response(request_id, data.first().map(|entry| entry.data.to_vec()).unwrap_or_default()),
        Body::Error { reason, .. } => Seen::Error(request_id, code(reason.error())),
        Body::Prepare(p) => Seen::Prepare {
            request: request_id,
            id: p.transfer_id,
            amount: p.amount.get(),
            condition: p.condition,
            expires_at: p.expires_at,
        },
        Body::Fulfill(f) => Seen::Fulfill { request: request_id, id: f.transfer_id, fulfillment: f.fulfillment },
        Body::Reject(r) => Seen::Reject { request: request_id, id: r.transfer_id, code: code(r.reason.error()) },
        Body::Message(_) => Seen::Message(request_id),
        Body::Transfer(_) => unreachable!("not negotiated"),
    }
}
