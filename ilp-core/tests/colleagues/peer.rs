//! A peer that is nothing but events and commands. It may have several connections, and acknowledges every answer at once.

use crate::support::PATIENCE;
use bytes::Bytes;
use ilp_core::link::{Answer, Credentials, IncomingPrepare, Link, LinkCommand, LinkEvent, LinkOutput, Payload, PeerProtocol, Tag};
use ilp_core::runtime::{Connector, NewConnection, Traffic, Transport, TransportError};
use ilp_oer::ilp::{ErrorPacket, Packet, Payment};
use ilp_oer::{Address, Amount, Fulfillment, Timestamp, TransferId};
use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::sync::mpsc;

pub(crate) struct Peer {
    name: String,
    connections: Vec<Connection>,
    says: mpsc::UnboundedSender<(usize, LinkCommand)>,
    hears: mpsc::UnboundedReceiver<(usize, LinkCommand)>,
    /// What it was told while it waited for something else.
    heard: VecDeque<(usize, LinkCommand)>,
    next_request: u32,
}

struct Connection {
    events: Arc<Mutex<VecDeque<LinkEvent>>>,
    wire: mpsc::UnboundedSender<Bytes>,
}

/// A prepare that came, and on which connection.
pub(crate) struct Prepared {
    pub(crate) on: usize,
    pub(crate) tag: Tag,
    pub(crate) id: TransferId,
}

pub(crate) fn preimage(n: u8) -> Fulfillment {
    Fulfillment::new([n; 32])
}

pub(crate) fn transfer_id(n: u8) -> TransferId {
    TransferId::new([n; 16])
}

impl Peer {
    /// Logs in, and is let in.
    pub(crate) async fn connect(connector: &Connector, name: &str) -> Self {
        let (says, hears) = mpsc::unbounded_channel();
        let mut peer = Self { name: name.into(), connections: Vec::new(), says, hears, heard: VecDeque::new(), next_request: 0 };
        peer.also(connector).await;
        peer
    }

    /// On one more connection.
    pub(crate) async fn also(&mut self, connector: &Connector) {
        let (wire, frames) = mpsc::unbounded_channel();
        let events = Arc::<Mutex<VecDeque<LinkEvent>>>::default();
        let on = self.connections.len();
        let link = FakeLink { on, events: events.clone(), says: self.says.clone(), pending: Vec::new() };
        self.connections.push(Connection { events, wire });
        let new = NewConnection {
            transport: Box::new(FakeTransport { frames }),
            link: Box::new(link),
            account: None,
            door: None,
            peer: format!("{} {on}", self.name),
            alive: None,
        };
        connector.connect(new).await.unwrap();
        self.say(
            on,
            LinkEvent::Authenticate(Credentials {
                protocol: PeerProtocol::Clp,
                account: self.name.clone().into(),
                token: b"token".to_vec().into(),
                target: Vec::new(),
                certificate: None,
            }),
        );
        self.hear(|at, command| (at == on && matches!(command, LinkCommand::Accept { .. })).then_some(())).await;
    }

    /// The connection breaks.
    pub(crate) fn leave(&mut self, on: usize) {
        self.connections[on].wire = mpsc::unbounded_channel().0;
    }

    /// The connector has let go of the connection.
    pub(crate) fn is_cut(&self, on: usize) -> bool {
        self.connections[on].wire.is_closed()
    }

    pub(crate) fn say(&self, on: usize, event: LinkEvent) {
        self.connections[on].events.lock().unwrap().push_back(event);
        let _ = self.connections[on].wire.send(Bytes::new());
    }

    /// The first thing it was told that something can be made of.
    pub(crate) async fn hear<T>(&mut self, mut wanted: impl FnMut(usize, &LinkCommand) -> Option<T>) -> T {
        if let Some((place, found)) = self.heard.iter().enumerate().find_map(|(place, (on, said))| Some((place, wanted(*on, said)?))) {
            self.heard.remove(place);
            return found;
        }
        loop {
            let next = tokio::time::timeout(PATIENCE, self.hears.recv()).await;
            let Ok(Some((on, said))) = next else { panic!("{} waits in vain; it was told {:?}", self.name, self.heard) };
            if let Some(found) = wanted(on, &said) {
                return found;
            }
            self.heard.push_back((on, said));
        }
    }

    /// Nothing of this kind was said until now.
    pub(crate) fn unheard(&mut self, unwanted: impl Fn(&LinkCommand) -> bool) -> bool {
        while let Ok(next) = self.hears.try_recv() {
            self.heard.push_back(next);
        }
        !self.heard.iter().any(|(_, said)| unwanted(said))
    }

    /// Asks for a payment of number `n`; how it was answered.
    pub(crate) async fn prepare(&mut self, on: usize, n: u8, to: &str, amount: u64, now: Timestamp) -> Answer {
        let request = self.ask(on, n, to, amount, now);
        self.answer(on, request).await
    }

    /// The same, again and again until it is held: workers tell each other of connections a moment after they are there.
    pub(crate) async fn hold(&mut self, on: usize, n: u8, to: &str, amount: u64, now: Timestamp) {
        loop {
            let answer = self.prepare(on, n, to, amount, now).await;
            if answer == Answer::Ack {
                return;
            }
            // Nobody is there to pay, or to decide.
            assert!(["T01", "T03"].contains(&&*code(&answer)), "{answer:?}");
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }

    pub(crate) fn ask(&mut self, on: usize, n: u8, to: &str, amount: u64, now: Timestamp) -> u32 {
        let destination = Address::new(format!("test.ann.{to}")).unwrap();
        let packet = Packet::Payment(Payment { amount: Amount::new(amount), account: destination.as_addr(), data: b"hello" });
        self.next_request += 1;
        let transfer = IncomingPrepare {
            id: transfer_id(n),
            amount: Amount::new(amount),
            condition: preimage(n).condition(),
            expires_at: now.saturating_add_millis(60_000),
            payload: Payload::ilp(packet.to_vec().unwrap().into()),
        };
        self.say(on, LinkEvent::Prepare { request: self.next_request, transfer });
        self.next_request
    }

    pub(crate) async fn answer(&mut self, on: usize, request: u32) -> Answer {
        self.hear(|at, said| match said {
            LinkCommand::Answer { request: to, answer } if (at, *to) == (on, request) => Some(answer.clone()),
            _ => None,
        })
        .await
    }

    /// Somebody's payment, acknowledged.
    pub(crate) async fn prepared(&mut self) -> Prepared {
        let prepared = self
            .hear(|on, said| match said {
                LinkCommand::Prepare { tag, id, .. } => Some(Prepared { on, tag: *tag, id: *id }),
                _ => None,
            })
            .await;
        self.say(prepared.on, LinkEvent::Answered { tag: prepared.tag, answer: Answer::Ack });
        prepared
    }

    pub(crate) fn fulfill(&mut self, on: usize, id: TransferId, n: u8) -> u32 {
        self.next_request += 1;
        self.say(on, LinkEvent::Fulfill { request: self.next_request, id, fulfillment: preimage(n) });
        self.next_request
    }

    /// Payment `n` of ours was fulfilled. On which connection that was.
    pub(crate) async fn fulfilled(&mut self, n: u8) -> usize {
        self.hear(|on, said| match said {
            LinkCommand::Fulfill { id, fulfillment, .. } if *id == transfer_id(n) => {
                assert_eq!(*fulfillment, preimage(n));
                Some(on)
            }
            _ => None,
        })
        .await
    }
}

/// The code of an error.
pub(crate) fn code(answer: &Answer) -> String {
    let Answer::Error(packet) = answer else { panic!("{answer:?}") };
    ErrorPacket::decode(packet).unwrap().code.to_string()
}

#[derive(Debug)]
struct FakeLink {
    on: usize,
    events: Arc<Mutex<VecDeque<LinkEvent>>>,
    says: mpsc::UnboundedSender<(usize, LinkCommand)>,
    pending: Vec<Tag>,
}

impl Link for FakeLink {
    fn start(&mut self, _: Timestamp, _: &mut LinkOutput) {}

    fn receive(&mut self, _: Bytes, _: Timestamp, out: &mut LinkOutput) {
        let event = self.events.lock().unwrap().pop_front().unwrap();
        if let LinkEvent::Answered { tag, .. } = &event {
            self.pending.retain(|other| other != tag);
        }
        out.events.push(event);
    }

    fn command(&mut self, command: LinkCommand, _: Timestamp, out: &mut LinkOutput) {
        match &command {
            LinkCommand::Prepare { tag, .. } => self.pending.push(*tag),
            LinkCommand::Fulfill { tag, .. } | LinkCommand::Reject { tag, .. } => {
                out.events.push(LinkEvent::Answered { tag: *tag, answer: Answer::Ack });
            }
            LinkCommand::Close { reason } => out.close = Some(reason.clone()),
            _ => {}
        }
        let _ = self.says.send((self.on, command));
    }

    fn tick(&mut self, _: Timestamp, _: &mut LinkOutput) {}

    fn closed(&mut self, out: &mut LinkOutput) {
        out.events.extend(self.pending.drain(..).map(|tag| LinkEvent::Answered { tag, answer: Answer::Lost }));
    }
}

#[derive(Debug)]
struct FakeTransport {
    frames: mpsc::UnboundedReceiver<Bytes>,
}

impl Transport for FakeTransport {
    fn poll_receive(&mut self, cx: &mut Context<'_>, frames: &mut Vec<Bytes>, max: usize) -> Poll<Result<usize, TransportError>> {
        match self.frames.poll_recv_many(cx, frames, max) {
            Poll::Ready(0) => Poll::Ready(Err(TransportError { message: "gone".into(), source: None })),
            Poll::Ready(count) => Poll::Ready(Ok(count)),
            Poll::Pending => Poll::Pending,
        }
    }

    fn send(&mut self, _: Bytes) {}

    fn poll_flush(&mut self, _: &mut Context<'_>) -> Poll<Result<(), TransportError>> {
        Poll::Ready(Ok(()))
    }

    fn poll_close(&mut self, _: &mut Context<'_>) -> Poll<()> {
        Poll::Ready(())
    }

    fn backlog(&self) -> usize {
        0
    }

    fn certificate(&self) -> Option<[u8; 32]> {
        None
    }

    fn traffic(&self) -> Traffic {
        Traffic::default()
    }
}
