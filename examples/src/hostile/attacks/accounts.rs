//! Attacks with an account, but without money.

use super::super::client::{Client, FIN, Incoming, describe, packet, put_frame};
use super::{MALLORY, Target, swarm};
use futures::future::BoxFuture;
use ilp_oer::clp::{Body, Dialect, Entry, ProtocolData};
use ilp_oer::sub::{self, Liquidity};
use std::io;
use std::sync::Arc;

pub(super) fn entries(target: Arc<Target>) -> BoxFuture<'static, ()> {
    swarm(target, 1, |target, _| async move {
        let mut client = target.login(MALLORY).await?;
        let entries = vec![Entry::named("x", 0, b""); 10_000];
        let message = packet(1, Body::Message(ProtocolData::entries(Dialect::Named, &entries)));
        for _ in 0..100 {
            // Too many that can't be decoded end the connection in between.
            if client.writer.frame(2, &message).await.is_err() {
                break;
            }
        }
        target.score.saw(if client.until_closed(target.patience()).await { "closed: entries" } else { "!not closed" });
        Ok(())
    })
}

pub(super) fn messages(target: Arc<Target>) -> BoxFuture<'static, ()> {
    swarm(target, 1, |target, _| async move {
        let mut client = target.login(MALLORY).await?;
        let bytes = questions(64);
        let Client { reader, writer } = &mut client;
        let write = async {
            loop {
                writer.raw(&bytes).await?;
            }
        };
        let read = async {
            loop {
                match reader.next().await? {
                    Incoming::Frame(opcode, frame) => target.score.saw(&describe(opcode, &frame)),
                    Incoming::End => return Ok(()),
                }
            }
        };
        let result: io::Result<()> = tokio::select! {
            result = write => result,
            result = read => result,
        };
        result
    })
}

/// Frames that each ask for the state of the account.
pub(super) fn questions(count: u32) -> Vec<u8> {
    let request = Liquidity::Request.to_vec().unwrap_or_default();
    let entries = [Entry::named(sub::names::LIQUIDITY, 0, &request)];
    let mut bytes = Vec::new();
    for id in 0..count {
        put_frame(FIN | 2, &packet(id, Body::Message(ProtocolData::entries(Dialect::Named, &entries))), &mut bytes);
    }
    bytes
}
