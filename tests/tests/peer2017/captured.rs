//! The conversations of a real node of 2017, with the connector in that node's place.

use super::url_2017;
use bytes::Bytes;
use ilp_clp::ws::{Socket, SocketLimits, TlsClientConfig, dial};
use ilp_core::link::PeerProtocol;
use ilp_core::{AccountConfig, AccountId, Asset, Timing};
use ilp_oer::clp::{Body, Dialect, Extensions, Packet};
use ilp_oer::ilp::{Packet as IlpPacket, Payment};
use ilp_oer::sub::Info;
use ilp_tests::{JumpingClock, Network};
use serde::Deserialize;
use std::collections::{HashMap, VecDeque};
use std::future::poll_fn;
use std::path::Path;
use std::time::Duration;

#[derive(Deserialize)]
struct Capture {
    name: String,
    #[serde(default)]
    paths: HashMap<String, String>,
    messages: Vec<Message>,
}

#[derive(Deserialize, Clone)]
struct Message {
    from: String,
    to: String,
    hex: String,
}

impl Message {
    fn bytes(&self) -> Vec<u8> {
        hex::decode(&self.hex).unwrap()
    }
}

fn capture(name: &str) -> Capture {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("vectors/captures.json");
    let captures: Vec<Capture> = serde_json::from_str(&std::fs::read_to_string(file).unwrap()).unwrap();
    captures.into_iter().find(|capture| capture.name == name).unwrap()
}

/// A socket, frame by frame.
struct Frames {
    socket: Socket,
    read: VecDeque<Bytes>,
}

impl Frames {
    async fn dial(url: &str) -> Self {
        let tls = TlsClientConfig::public_roots().unwrap();
        Self { socket: dial(&url.parse().unwrap(), &tls, &SocketLimits::default()).await.unwrap(), read: VecDeque::new() }
    }

    async fn send(&mut self, frame: Vec<u8>) {
        self.socket.send(frame.into());
        poll_fn(|cx| self.socket.poll_flush(cx)).await.unwrap();
    }

    async fn next(&mut self) -> Bytes {
        while self.read.is_empty() {
            let mut frames = Vec::new();
            let received = poll_fn(|cx| self.socket.poll_receive(cx, &mut frames, 64));
            tokio::time::timeout(Duration::from_secs(20), received).await.expect("nothing came").unwrap();
            self.read.extend(frames);
        }
        self.read.pop_front().unwrap()
    }
}

fn packet(frame: &[u8]) -> Packet<'_> {
    Packet::decode(frame, Dialect::Named, Extensions::NONE).unwrap()
}

/// The frame with another transfer id: that is the one thing which a hop makes up.
fn with_id(frame: &[u8], id: ilp_oer::TransferId) -> Vec<u8> {
    let Packet { request_id, mut body } = packet(frame);
    match &mut body {
        Body::Prepare(prepare) => prepare.transfer_id = id,
        Body::Fulfill(fulfill) => fulfill.transfer_id = id,
        other => panic!("{other:?} has no transfer id"),
    }
    Packet { request_id, body }.to_vec().unwrap()
}

/// An account whose peer comes with this path's name and token.
async fn add_account(network: &Network, name: &str, path: &str, route: Option<ilp_oer::Address>) {
    let id = AccountId::new(1, name).unwrap();
    let mut segments = path.rsplit('/');
    let (token, login) = (segments.next().unwrap(), segments.next().unwrap());
    network.tokens.insert(login.as_bytes(), id.clone(), PeerProtocol::Clp2017, token.as_bytes());
    let account = AccountConfig {
        credit_limit: 10,
        protocol: PeerProtocol::Clp2017,
        routes: route.into_iter().collect(),
        ..AccountConfig::new(id, Asset::new("XRP", 6))
    };
    network.connector.add_account(account).await.unwrap();
}

#[tokio::test]
async fn the_captured_payment_passes_byte_for_byte() {
    let Capture { paths, messages, .. } = capture("payment-2017");
    let [info, info_answer, prepare, ack, forwarded, forwarded_ack, fulfill, fulfill_ack, passed_on, passed_on_ack] = &messages[..] else {
        panic!("another conversation")
    };
    let first = prepare.bytes();
    let Body::Prepare(transfer) = packet(&first).body else { panic!() };
    let Ok(IlpPacket::Payment(Payment { account, .. })) = IlpPacket::decode(transfer.data.first().unwrap().data) else { panic!() };
    // That node took off 10 s.
    let clock = JumpingClock::starting_at(transfer.expires_at.saturating_sub_millis(100_000));
    let timing = Timing { window_ms: 10_000, ..Timing::default() };
    let address = account.as_str().split(".downstream_").next().unwrap();
    let network = Network::at(address, |builder| builder.clock(clock).timing(timing)).await;
    add_account(&network, "peer1", &paths["peer1"], Some(account.to_address())).await;
    add_account(&network, "peer2", &paths["peer2"], None).await;
    let mut peer1 = Frames::dial(&format!("{}{}", network.url, paths["peer1"])).await;
    let mut peer2 = Frames::dial(&format!("{}{}", network.url, paths["peer2"])).await;

    // The addresses of our accounts are shorter: the form of the answer is the same, with its number.
    peer1.send(info.bytes()).await;
    let (answer, captured) = (peer1.next().await, info_answer.bytes());
    assert_eq!(packet(&answer).request_id, packet(&captured).request_id);
    let Body::Response(data) = packet(&answer).body else { panic!("{answer:?}") };
    let expected = ilp_oer::Address::new(format!("{address}.peer1")).unwrap();
    assert_eq!(Info::decode(data.first().unwrap().data), Ok(Info::Answer(expected.as_addr())));
    // The rest is the same, byte for byte.
    peer2.send(prepare.bytes()).await;
    assert_eq!(peer2.next().await, ack.bytes());
    let sent_on = peer1.next().await;
    let Body::Prepare(outgoing) = packet(&sent_on).body else { panic!("{sent_on:?}") };
    assert_eq!(sent_on, with_id(&forwarded.bytes(), outgoing.transfer_id));
    peer1.send(forwarded_ack.bytes()).await;
    peer1.send(with_id(&fulfill.bytes(), outgoing.transfer_id)).await;
    assert_eq!(peer1.next().await, fulfill_ack.bytes());
    assert_eq!(peer2.next().await, passed_on.bytes());
    peer2.send(passed_on_ack.bytes()).await;
    assert_eq!((network.balance("peer1").await, network.balance("peer2").await), (1, -1));
    let _ = network.connector.stop(Duration::ZERO).await;
}

#[tokio::test]
async fn the_captured_vouches_are_acknowledged_byte_for_byte() {
    let Capture { messages, .. } = capture("vouch-2017");
    let network = Network::start().await;
    super::add_account(&network, "jane", 0).await;
    let mut peer = Frames::dial(&format!("{}/jane/jane-token", url_2017(&network))).await;
    let (said, answered) = messages.iter().partition::<Vec<_>, _>(|message| message.from == "peer1" && message.hex.starts_with("07"));
    let answers: Vec<_> = answered.into_iter().filter(|message| message.to == "peer1" && message.hex.starts_with("01")).collect();
    assert_eq!((said.len(), answers.len()), (2, 2));
    for (vouch, ack) in said.into_iter().zip(answers) {
        peer.send(vouch.bytes()).await;
        assert_eq!(peer.next().await, ack.bytes());
    }
    let _ = network.connector.stop(Duration::ZERO).await;
}
