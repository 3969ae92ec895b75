//! A connector of its own kind: it passes payments on between `sender-N` and `receiver-N`, keeps no promises, and can be told to
//! break one.

use bytes::{Bytes, BytesMut};
use ilp_clp::ws::{Listener, Socket, SocketLimits};
use ilp_oer::clp::{Body, Dialect, Entry, Extensions, Fulfill, Packet, Prepare, ProtocolData, Reject, RejectionReason};
use ilp_oer::ilp::{AddrList, ErrorPacket};
use ilp_oer::sub::{self, Liquidity, LiquidityAnswer, Setup};
use ilp_oer::{Addr, ErrorCode, Fulfillment, Timestamp, TransferId};
use std::collections::HashMap;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

/// Which promise is broken, at the tenth payment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Lie {
    /// None.
    Nothing,
    /// The fulfill is sent twice.
    FulfillTwice,
    /// The payment is rejected after it was fulfilled.
    RejectToo,
    /// The fulfill has another preimage, then the right one.
    WrongPreimage,
    /// The sender is charged one unit too much.
    Balance,
    /// The payment is rejected.
    Reject,
    /// The payment is refused by an Error.
    Refuse,
    /// The connection is closed.
    HangUp,
    /// Nothing follows the Ack.
    Swallow,
}

#[derive(Default)]
struct Books {
    balances: HashMap<String, i128>,
    under_way: HashMap<TransferId, (String, u64)>,
    payments: u64,
}

struct Connection {
    socket: Socket,
    account: String,
    out: BytesMut,
    next_id: u32,
    closed: bool,
}

/// Serves for ever. `lied` is set when the promise has been broken.
pub(super) async fn serve(mut listener: Listener, lie: Lie, lied: Arc<AtomicBool>) {
    let mut connections: Vec<Connection> = Vec::new();
    let mut books = Books::default();
    let mut frames = Vec::new();
    loop {
        let mut accept = pin!(listener.accept());
        let socket = poll_fn(|cx| {
            let mut busy = false;
            for place in 0..connections.len() {
                busy |= serve_one(&mut connections, place, &mut books, &mut frames, lie, cx);
            }
            for connection in &mut connections {
                let _ = connection.socket.poll_flush(cx);
            }
            connections.retain(|connection| !connection.closed);
            lied.store(books.payments >= 10, Ordering::Release);
            if busy {
                cx.waker().wake_by_ref();
            }
            accept.as_mut().poll(cx)
        })
        .await;
        connections.push(Connection { socket, account: String::new(), out: BytesMut::new(), next_id: 1, closed: false });
    }
}

/// A listener for it, and the URL to reach it.
pub(super) async fn listen() -> (Listener, String) {
    let listener = Listener::bind("127.0.0.1:0", None, SocketLimits::default()).await.unwrap();
    let url = format!("ws://{}", listener.local_addr().unwrap());
    (listener, url)
}

fn serve_one(
    connections: &mut [Connection],
    place: usize,
    books: &mut Books,
    frames: &mut Vec<Bytes>,
    lie: Lie,
    cx: &mut Context<'_>,
) -> bool {
    let mut busy = false;
    for _ in 0..16 {
        match connections[place].socket.poll_receive(cx, frames, 256) {
            Poll::Ready(Ok(_)) => busy = true,
            Poll::Ready(Err(_)) => {
                connections[place].closed = true;
                return busy;
            }
            Poll::Pending => break,
        }
        for frame in frames.drain(..) {
            let packet = Packet::decode(&frame, Dialect::Named, Extensions::NONE).unwrap();
            handle(connections, place, books, packet, lie);
        }
    }
    busy
}

fn handle(connections: &mut [Connection], place: usize, books: &mut Books, packet: Packet<'_>, lie: Lie) {
    let id = packet.request_id;
    match packet.body {
        Body::Message(data) => message(&mut connections[place], books, id, data),
        Body::Prepare(prepare) => {
            books.payments += 1;
            let lies = books.payments == 10;
            if lies && lie == Lie::Refuse {
                return connections[place].send(id, Body::Error { reason: reason(), data: ProtocolData::EMPTY });
            }
            connections[place].send(id, Body::Ack(ProtocolData::EMPTY));
            if lies && lie == Lie::HangUp {
                connections[place].closed = true;
                return;
            }
            let payer = connections[place].account.clone();
            if lies && lie == Lie::Swallow {
                return;
            }
            if lies && lie == Lie::Reject {
                let reject = Reject { transfer_id: prepare.transfer_id, reason: reason(), data: ProtocolData::EMPTY };
                return find(connections, &payer).request(Body::Reject(reject));
            }
            let amount = prepare.amount.get();
            *books.balances.entry(payer.clone()).or_default() -= i128::from(amount) + i128::from(lies && lie == Lie::Balance);
            let payee = payer.replace("sender", "receiver");
            books.under_way.insert(prepare.transfer_id, (payer, amount));
            let expires_at = prepare.expires_at.saturating_sub_millis(1000);
            find(connections, &payee).request(Body::Prepare(Prepare { expires_at, ..prepare }));
        }
        Body::Fulfill(fulfill) => {
            connections[place].send(id, Body::Ack(ProtocolData::EMPTY));
            let (payer, amount) = books.under_way.remove(&fulfill.transfer_id).unwrap();
            *books.balances.entry(connections[place].account.clone()).or_default() += i128::from(amount);
            pass_on(find(connections, &payer), fulfill, if books.payments == 10 { lie } else { Lie::Nothing });
        }
        _ => {}
    }
}

fn pass_on(payer: &mut Connection, fulfill: Fulfill<'_>, lie: Lie) {
    if lie == Lie::WrongPreimage {
        payer.request(Body::Fulfill(Fulfill { fulfillment: Fulfillment::new([0; 32]), ..fulfill }));
    }
    payer.request(Body::Fulfill(fulfill));
    if lie == Lie::FulfillTwice {
        payer.request(Body::Fulfill(fulfill));
    }
    if lie == Lie::RejectToo {
        payer.request(Body::Reject(Reject { transfer_id: fulfill.transfer_id, reason: reason(), data: ProtocolData::EMPTY }));
    }
}

fn message(connection: &mut Connection, books: &Books, id: u32, data: ProtocolData<'_>) {
    let entry = data.first().unwrap();
    let (name, answer) = match Setup::decode_request(entry.data) {
        Ok(Setup::Authenticate { account, token: b"secret", .. }) => {
            connection.account = String::from_utf8(account.to_vec()).unwrap();
            let address = format!("test.fake.{}", connection.account);
            (sub::names::SETUP, Setup::Authenticated { address: Addr::new(&address).unwrap() }.to_vec().unwrap())
        }
        Ok(Setup::Authenticate { .. }) => return connection.send(id, Body::Error { reason: reason(), data: ProtocolData::EMPTY }),
        _ => {
            let balance = books.balances.get(&connection.account).copied().unwrap_or_default();
            let answer = LiquidityAnswer { balance, ..LiquidityAnswer::default() };
            (sub::names::LIQUIDITY, Liquidity::Answer(answer).to_vec().unwrap())
        }
    };
    connection.send(id, Body::Response(ProtocolData::entries(Dialect::Named, &[Entry::named(name, 0, &answer)])));
}

fn find<'a>(connections: &'a mut [Connection], account: &str) -> &'a mut Connection {
    connections.iter_mut().find(|connection| connection.account == account).unwrap()
}

fn reason() -> RejectionReason<'static> {
    RejectionReason::from(ErrorPacket {
        code: ErrorCode::T99_APPLICATION_ERROR,
        name: "Application Error",
        triggered_by: Addr::new("test.fake").unwrap(),
        forwarded_by: AddrList::EMPTY,
        triggered_at: Timestamp::from_unix_millis(0).unwrap(),
        data: b"",
    })
}

impl Connection {
    fn request(&mut self, body: Body<'_>) {
        self.next_id += 1;
        self.send(self.next_id, body);
    }

    fn send(&mut self, request_id: u32, body: Body<'_>) {
        Packet { request_id, body }.encode(&mut self.out).unwrap();
        self.socket.send(self.out.split().freeze());
    }
}
