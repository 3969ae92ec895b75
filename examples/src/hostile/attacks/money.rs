//! Attacks with accounts that have credit.

use super::super::client::{Client, FIN, Incoming, Writer, decode, describe, packet, put_frame};
use super::super::connector::ADDRESS;
use super::accounts::questions;
use super::{ACCOMPLICE, EVE, MALLORY, Target, swarm};
use futures::future::BoxFuture;
use ilp_oer::clp::{Body, Dialect, Entry, Fulfill, Prepare, ProtocolData, Reject, RejectionReason};
use ilp_oer::ilp::{AddrList, ErrorPacket};
use ilp_oer::{Address, Amount, ErrorCode, Fulfillment, Timestamp, TransferId, ilp, sub};
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

pub(super) fn million_prepares(target: Arc<Target>) -> BoxFuture<'static, ()> {
    swarm(target, 1, |target, _| async move {
        let silent = target.login(ACCOMPLICE).await?;
        let paying = target.login(MALLORY).await?;
        let (mut silent, mut paying) = (silent, paying);
        let mut payments = Payments::to(ACCOMPLICE);
        let pay = async {
            for _ in 0..1_000_000 / BATCH {
                payments.send(&target, &mut paying.writer).await?;
            }
            std::future::pending::<io::Result<()>>().await
        };
        tokio::select! {
            result = pay => result,
            result = listen(&target, &mut paying.reader) => result,
            result = discard(&mut silent.reader) => result,
        }
    })
}

pub(super) fn never_reads(target: Arc<Target>) -> BoxFuture<'static, ()> {
    swarm(target, 2, |target, place| async move {
        if place == 0 {
            let mut client = target.login_deaf(MALLORY).await?;
            let bytes = questions(64);
            let since = Instant::now();
            while client.writer.raw(&bytes).await.is_ok() {}
            target.score.closed(since.elapsed());
            target.score.saw("cut off: asks");
            return Ok(());
        }
        let mut deaf = target.login_deaf(ACCOMPLICE).await?;
        let mut paying = target.login(EVE).await?;
        let since = Instant::now();
        let mut payments = Payments::to(ACCOMPLICE);
        let pay = async {
            loop {
                payments.send(&target, &mut paying.writer).await?;
                // Refusals are made faster than payments: this leaves the attack enough of both.
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        // A deaf peer learns of its end only when it says something.
        let end = async {
            loop {
                tokio::time::sleep(Duration::from_millis(50)).await;
                if deaf.writer.frame(10, b"").await.is_err() {
                    return Ok(());
                }
            }
        };
        let result: io::Result<()> = tokio::select! {
            result = pay => result,
            result = listen(&target, &mut paying.reader) => result,
            result = end => result,
        };
        result?;
        target.score.closed(since.elapsed());
        target.score.saw("cut off: is paid");
        Ok(())
    })
}

pub(super) fn foreign_ids(target: Arc<Target>) -> BoxFuture<'static, ()> {
    swarm(target, 1, |target, _| async move {
        let mut paid = target.login(ACCOMPLICE).await?;
        let mut paying = target.login(MALLORY).await?;
        let mut stranger = target.login(EVE).await?;
        let mut payments = Payments::to(ACCOMPLICE);
        loop {
            payments.send_one(&target, &mut paying.writer).await?;
            let (request, transfer) = prepared(&mut paid).await?;
            // The stranger knows the ids of the request and of the transfer, and answers in its own name first.
            for body in foreign(transfer, &target.address) {
                stranger.writer.frame(2, &packet(request, body)).await?;
            }
            for guess in 0..200 {
                stranger.writer.frame(2, &packet(guess, Body::Ack(ProtocolData::EMPTY))).await?;
                stranger.writer.frame(2, &packet(guess, error_answer(&target.address))).await?;
            }
            refusals(&target, &mut stranger, request).await?;
            let fulfill = Fulfill { transfer_id: transfer, fulfillment: FULFILLMENT, data: ProtocolData::EMPTY };
            paid.writer.frame(2, &packet(request, Body::Ack(ProtocolData::EMPTY))).await?;
            paid.writer.frame(2, &packet(1, Body::Fulfill(fulfill))).await?;
            loop {
                let Incoming::Frame(2, frame) = paying.reader.next().await? else { continue };
                let Some(answer) = decode(&frame) else { continue };
                match answer.body {
                    Body::Ack(_) => continue,
                    Body::Fulfill(_) => {
                        paying.writer.frame(2, &packet(answer.request_id, Body::Ack(ProtocolData::EMPTY))).await?;
                        target.score.saw("paid all the same");
                    }
                    _ => target.score.saw(&format!("!the payment's outcome: {}", describe(2, &frame))),
                }
                break;
            }
        }
    })
}

pub(super) fn reasons(target: Arc<Target>) -> BoxFuture<'static, ()> {
    swarm(target, 1, |target, _| async move {
        let mut refusing = target.login(ACCOMPLICE).await?;
        let mut paying = target.login(MALLORY).await?;
        let mut payments = Payments::to(ACCOMPLICE);
        let pay = async {
            loop {
                payments.send(&target, &mut paying.writer).await?;
            }
        };
        let data = vec![7; 7_900];
        let refuse = async {
            let Client { reader, writer } = &mut refusing;
            let mut number = 0_u32;
            loop {
                let frame = match reader.next().await? {
                    Incoming::Frame(2, frame) => frame,
                    Incoming::Frame(..) => continue,
                    Incoming::End => return Ok(()),
                };
                let Some(prepare) = decode(&frame) else { continue };
                let Body::Prepare(Prepare { transfer_id, .. }) = prepare.body else { continue };
                number = number.wrapping_add(1);
                let error = ErrorPacket { code: ErrorCode::F99_APPLICATION_ERROR, data: &data, ..no_error(&target.address) };
                let reject = Reject { transfer_id, reason: RejectionReason::from(error), data: ProtocolData::EMPTY };
                let mut bytes = Vec::new();
                put_frame(FIN | 2, &packet(prepare.request_id, Body::Ack(ProtocolData::EMPTY)), &mut bytes);
                put_frame(FIN | 2, &packet(number, Body::Reject(reject)), &mut bytes);
                writer.raw(&bytes).await?;
            }
        };
        let result: io::Result<()> = tokio::select! {
            result = pay => result,
            result = refuse => result,
            result = listen(&target, &mut paying.reader) => result,
        };
        result
    })
}

/// Prepares of one payer.
struct Payments {
    destination: Option<Address>,
    number: u32,
    started: u128,
}

impl Payments {
    fn to(account: &str) -> Self {
        let started = std::time::SystemTime::now().duration_since(std::time::SystemTime::UNIX_EPOCH).unwrap_or_default().as_nanos();
        Self { destination: format!("{ADDRESS}.{account}").parse().ok(), number: 0, started }
    }

    async fn send(&mut self, target: &Target, writer: &mut Writer) -> io::Result<()> {
        let mut bytes = Vec::new();
        let expires_at = target.expiry();
        for _ in 0..BATCH {
            self.put(expires_at, &mut bytes);
        }
        writer.pong().await?;
        writer.raw(&bytes).await
    }

    async fn send_one(&mut self, target: &Target, writer: &mut Writer) -> io::Result<()> {
        let mut bytes = Vec::new();
        self.put(target.expiry(), &mut bytes);
        writer.pong().await?;
        writer.raw(&bytes).await
    }

    fn put(&mut self, expires_at: Timestamp, out: &mut Vec<u8>) {
        let Some(destination) = &self.destination else { return };
        let amount = Amount::new(1);
        let payment = ilp::Packet::Payment(ilp::Payment { amount, account: destination.as_addr(), data: b"" });
        let payment = payment.to_vec().unwrap_or_default();
        let entries = [Entry::named(sub::names::ILP, sub::names::OCTETS, &payment)];
        self.number = self.number.wrapping_add(1);
        let id = TransferId::new((self.started.wrapping_mul(1 << 32) | u128::from(self.number)).to_be_bytes());
        let data = ProtocolData::entries(Dialect::Named, &entries);
        let prepare = Prepare { transfer_id: id, amount, condition: FULFILLMENT.condition(), expires_at, data };
        put_frame(FIN | 2, &packet(self.number, Body::Prepare(prepare)), out);
    }
}

/// Scores what comes in, and answers nothing.
async fn listen(target: &Target, reader: &mut super::super::client::Reader) -> io::Result<()> {
    loop {
        match reader.next().await? {
            Incoming::Frame(opcode, frame) => target.score.saw(&describe(opcode, &frame)),
            Incoming::End => return Ok(()),
        }
    }
}

async fn discard(reader: &mut super::super::client::Reader) -> io::Result<()> {
    while let Incoming::Frame(..) = reader.next().await? {}
    Ok(())
}

/// Waits for a prepare: the number of its request, and its own.
async fn prepared(client: &mut Client) -> io::Result<(u32, TransferId)> {
    loop {
        match client.reader.next().await? {
            Incoming::Frame(2, frame) => {
                if let Some(packet) = decode(&frame)
                    && let Body::Prepare(prepare) = packet.body
                {
                    return Ok((packet.request_id, prepare.transfer_id));
                }
            }
            Incoming::Frame(..) => {}
            Incoming::End => return Err(io::ErrorKind::UnexpectedEof.into()),
        }
    }
}

/// All that could end a transfer, or be taken for an answer to its prepare.
fn foreign(transfer_id: TransferId, by: &Address) -> [Body<'_>; 5] {
    let data = ProtocolData::EMPTY;
    let reason = RejectionReason::from(no_error(by));
    [
        Body::Ack(data),
        Body::Response(data),
        error_answer(by),
        Body::Fulfill(Fulfill { transfer_id, fulfillment: FULFILLMENT, data }),
        Body::Reject(Reject { transfer_id, reason, data }),
    ]
}

/// The stranger's fulfill and reject, both with the request's number, must be refused.
async fn refusals(target: &Target, stranger: &mut Client, number: u32) -> io::Result<()> {
    for what in ["Fulfill", "Reject"] {
        loop {
            let frame = match stranger.reader.next().await? {
                Incoming::Frame(2, frame) => frame,
                Incoming::Frame(..) => continue,
                Incoming::End => return Err(io::ErrorKind::UnexpectedEof.into()),
            };
            match decode(&frame).filter(|packet| packet.request_id == number).map(|packet| packet.body) {
                Some(Body::Error { .. }) => target.score.saw(&format!("refused: {what}")),
                Some(_) => target.score.saw(&format!("!accepted from a stranger: {what}")),
                None => continue,
            }
            break;
        }
    }
    Ok(())
}

fn error_answer(by: &Address) -> Body<'_> {
    Body::Error { reason: RejectionReason::from(no_error(by)), data: ProtocolData::EMPTY }
}

fn no_error(by: &Address) -> ErrorPacket<'_> {
    ErrorPacket {
        code: ErrorCode::F00_BAD_REQUEST,
        name: "Bad Request",
        triggered_by: by.as_addr(),
        forwarded_by: AddrList::EMPTY,
        triggered_at: Timestamp::MAX,
        data: b"",
    }
}

const FULFILLMENT: Fulfillment = Fulfillment::new([7; 32]);
const BATCH: u32 = 100;
