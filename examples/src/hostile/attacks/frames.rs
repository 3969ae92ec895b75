//! Attacks by bytes that are no packets.

use super::super::client::{Client, FIN, Incoming, packet, put_frame, put_header, request};
use super::{MALLORY, Target, swarm};
use futures::future::BoxFuture;
use ilp_oer::clp::{Body, ProtocolData};
use rand_chacha::ChaCha12Rng;
use rand_chacha::rand_core::{RngCore, SeedableRng};
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

pub(super) fn text(target: Arc<Target>) -> BoxFuture<'static, ()> {
    swarm(target, 8, |target, place| async move {
        // One place has the account, or they would throw each other out.
        let (mut client, what) = match place {
            0 => (target.login(MALLORY).await?, "closed after login"),
            _ => (target.upgraded().await?, "closed before login"),
        };
        client.writer.frame(1, b"{\"id\": 1, \"method\": \"send_transfer\"}").await?;
        closed(&target, &mut client, what).await
    })
}

pub(super) fn large(target: Arc<Target>) -> BoxFuture<'static, ()> {
    swarm(target, 7, |target, place| async move {
        let (mut client, what) = match place {
            0 => (target.login(MALLORY).await?, "closed: in pieces, after login"),
            _ => (target.upgraded().await?, ["closed: in pieces", "closed: whole", "closed: in part"][place % 3]),
        };
        // The connector may close before it has taken all; that is what is waited for.
        let _ = send_large(&mut client, what).await;
        closed(&target, &mut client, what).await
    })
}

async fn send_large(client: &mut Client, what: &str) -> io::Result<()> {
    let mut bytes = Vec::new();
    match what {
        "closed: whole" => put_frame(FIN | 2, &vec![7; LARGE], &mut bytes),
        "closed: in part" => {
            put_header(FIN | 2, LARGE, &mut bytes);
            bytes.extend_from_slice(&[7; 60_000]);
        }
        _ => {
            put_frame(2, &[7; PIECE], &mut bytes);
            client.writer.raw(&bytes).await?;
            bytes.clear();
            put_frame(0, &[7; PIECE], &mut bytes);
            for _ in 0..LARGE / PIECE {
                client.writer.raw(&bytes).await?;
            }
            return Ok(());
        }
    }
    client.writer.raw(&bytes).await
}

pub(super) fn half(target: Arc<Target>) -> BoxFuture<'static, ()> {
    swarm(target, 64, |target, place| async move {
        let (mut client, what) = match place % 4 {
            _ if place == 0 => {
                let mut client = target.login(MALLORY).await?;
                client.writer.raw(&frame_start(100_000, 50_000)).await?;
                // With a name there is no hurry; it is asked for a sign of life when nothing more comes.
                client.until_closed(target.patience()).await;
                return Ok(());
            }
            0 => (start(target.port, &target, b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgr").await?, "closed: half a request"),
            1 => (start(target.tls_port, &target, &tls_start()).await?, "closed: half a TLS record"),
            2 => {
                let mut client = target.upgraded().await?;
                client.writer.raw(&[FIN | 2]).await?;
                (client, "closed: half a header")
            }
            _ => {
                let mut client = target.upgraded().await?;
                client.writer.raw(&frame_start(100_000, 50_000)).await?;
                (client, "closed: half a frame")
            }
        };
        closed(&target, &mut client, what).await
    })
}

pub(super) fn garbage(target: Arc<Target>) -> BoxFuture<'static, ()> {
    swarm(target, 16, |target, place| async move {
        let seed = target.score.counts().opened;
        let mut random = ChaCha12Rng::seed_from_u64(seed);
        let mut bytes = vec![0; 10_000];
        random.fill_bytes(&mut bytes);
        let (mut client, what) = match place % 5 {
            0 => (start(target.port, &target, &bytes).await?, "closed: as HTTP"),
            1 => (start(target.tls_port, &target, &bytes).await?, "closed: as TLS"),
            2 => {
                let mut client = target.upgraded().await?;
                client.writer.raw(&bytes).await?;
                (client, "closed: as frames")
            }
            3 if place == 3 => {
                // Type and id are right, what is between them isn't.
                let mut client = target.login(MALLORY).await?;
                for piece in bytes.chunks(97) {
                    let mut packet = vec![4, 0, 0, 0, 1, 97];
                    packet.extend_from_slice(piece);
                    client.writer.frame(2, &packet).await?;
                }
                (client, "closed: in packets")
            }
            _ => {
                let mut client = target.upgraded().await?;
                for piece in bytes.chunks(501) {
                    client.writer.frame(2, piece).await?;
                }
                (client, "closed: in frames")
            }
        };
        closed(&target, &mut client, what).await
    })
}

pub(super) fn slow(target: Arc<Target>) -> BoxFuture<'static, ()> {
    swarm(target, 64, |target, place| async move {
        let (mut client, bytes, what) = match place % 3 {
            0 => (start(target.port, &target, b"").await?, request("/", "").into_bytes(), "closed: slow request"),
            1 => (start(target.tls_port, &target, b"").await?, tls_start(), "closed: slow TLS"),
            _ => (target.upgraded().await?, frame_start(120, 120), "closed: slow frame"),
        };
        let Client { reader, writer } = &mut client;
        let pause = Duration::from_millis(if target.small { 100 } else { 1_000 });
        let since = Instant::now();
        let write = async {
            for byte in bytes {
                writer.raw(&[byte]).await?;
                tokio::time::sleep(pause).await;
            }
            std::future::pending::<io::Result<()>>().await
        };
        let read = async { while let Ok(Incoming::Frame(..)) = reader.next().await {} };
        tokio::select! {
            result = write => result?,
            () = read => {}
        }
        target.score.closed(since.elapsed());
        target.score.saw(what);
        Ok(())
    })
}

pub(super) fn pings(target: Arc<Target>) -> BoxFuture<'static, ()> {
    swarm(target, 4, |target, place| async move {
        let mut client = if place == 0 { target.login(MALLORY).await? } else { target.upgraded().await? };
        let mut bytes = Vec::new();
        for _ in 0..64 {
            put_frame(FIN | 9, &[7; 125], &mut bytes);
            put_frame(FIN | 10, &[7; 125], &mut bytes);
            put_frame(FIN | 2, b"", &mut bytes);
        }
        // Undecodable frames end a connection, so all but one leave the empty ones out.
        let (bytes, reads) = match place {
            1 => (bytes, true),
            _ => (
                (0..64).fold(Vec::new(), |mut bytes, _| {
                    put_frame(FIN | 9, &[7; 125], &mut bytes);
                    bytes
                }),
                place != 2,
            ),
        };
        let Client { reader, writer } = &mut client;
        let write = async {
            loop {
                writer.raw(&bytes).await?;
            }
        };
        let read = async {
            if !reads {
                return std::future::pending().await;
            }
            loop {
                match reader.next().await? {
                    Incoming::Frame(10, _) => target.score.saw("Pong"),
                    Incoming::Frame(..) => {}
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

async fn start(port: u16, target: &Target, bytes: &[u8]) -> io::Result<Client> {
    let mut client = Client::connect(port, &target.score).await?;
    client.writer.raw(bytes).await?;
    Ok(client)
}

/// The end of the connection must come.
async fn closed(target: &Target, client: &mut Client, what: &str) -> io::Result<()> {
    target.score.saw(if client.until_closed(target.patience()).await { what } else { "!not closed" });
    Ok(())
}

/// A frame's header, and a part of what it announces.
fn frame_start(announced: usize, sent: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    put_header(FIN | 2, announced, &mut bytes);
    let message = packet(1, Body::Message(ProtocolData::EMPTY));
    bytes.extend(message.into_iter().cycle().take(sent));
    bytes
}

/// The first half of a ClientHello: the record's header announces 512 bytes.
fn tls_start() -> Vec<u8> {
    let mut bytes = vec![0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3];
    bytes.resize(261, 7);
    bytes
}

const LARGE: usize = 16_000_000;
const PIECE: usize = 16_000;
