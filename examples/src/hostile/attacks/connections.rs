//! Attacks of strangers: logins and handshakes.

use super::super::client::{Client, FIN, Incoming, decode, describe, put_frame, request};
use super::{ACCOMPLICE, EVE, HONEST, Target, swarm};
use futures::future::BoxFuture;
use ilp_oer::clp::Body;
use std::sync::Arc;
use std::time::{Duration, Instant};

pub(super) fn wrong_token(target: Arc<Target>) -> BoxFuture<'static, ()> {
    swarm(target, 64, |target, place| async move {
        let mut client = target.upgraded().await?;
        let name = if place % 2 == 0 { HONEST } else { "nobody" };
        client.authenticate(name, &format!("guess {place}")).await?;
        refused(&target, &mut client).await;
        Ok(())
    })
}

/// Waits for the answer to a wrong token, and for the end of the connection.
async fn refused(target: &Target, client: &mut Client) {
    let since = Instant::now();
    let answer = tokio::time::timeout(target.patience(), async {
        while let Ok(Incoming::Frame(opcode, frame)) = client.reader.next().await {
            target.score.saw(&describe(opcode, &frame));
            if let Some(Body::Response(_) | Body::Ack(_)) = decode(&frame).map(|packet| packet.body) {
                target.score.saw("!logged in with a wrong token");
            }
        }
    });
    match answer.await {
        Ok(()) => target.score.closed(since.elapsed()),
        Err(_) => target.score.saw("!not closed"),
    }
}

pub(super) fn wrong_path(target: Arc<Target>) -> BoxFuture<'static, ()> {
    swarm(target, 32, |target, place| async move {
        let long = format!("/{}", "x".repeat(8_000));
        let paths = ["/nobody/guess", "/receiver-1/guess", "/a/b/c/d", "/../../etc/passwd", "/%00/%ff", "/?token=guess", "*", &long];
        let path = paths.get(place % paths.len()).copied().unwrap_or("/");
        let mut client = Client::connect(target.port, &target.score).await?;
        client.writer.raw(request(path, "").as_bytes()).await?;
        let head = client.reader.head().await?;
        target.score.saw(head.as_deref().and_then(|head| head.lines().next()).unwrap_or("no answer"));
        if head.is_some_and(|head| head.contains(" 101 ")) {
            // A path that names nobody may still be used with the right setup; here it isn't.
            client.authenticate(HONEST, "guess").await?;
            refused(&target, &mut client).await;
        }
        Ok(())
    })
}

pub(super) fn ten_thousand(target: Arc<Target>) -> BoxFuture<'static, ()> {
    let count = target.many(10_000);
    swarm(target, count, |target, place| async move {
        // Not all in the same instant, or the system refuses them before the connector sees any.
        tokio::time::sleep(Duration::from_micros(u64::try_from(place).unwrap_or(u64::MAX).saturating_mul(100))).await;
        let port = if place % 5 == 0 { target.tls_port } else { target.port };
        let mut client = match place % 3 {
            0 => Client::connect(port, &target.score).await?,
            1 => {
                let mut client = Client::connect(port, &target.score).await?;
                client.writer.raw(b"GET / HTTP/1.1\r\nHost: ").await?;
                client
            }
            _ => match tokio::time::timeout(target.patience(), target.upgraded()).await {
                Ok(client) => client?,
                Err(_) => return Ok(()),
            },
        };
        if client.until_closed(target.patience()).await {
            target.score.saw("closed: too many");
        }
        // Tried again, but not all ten thousand in a busy loop.
        tokio::time::sleep(Duration::from_secs(1)).await;
        Ok(())
    })
}

pub(super) fn duplicate_logins(target: Arc<Target>) -> BoxFuture<'static, ()> {
    swarm(target, 16, |target, place| async move {
        if place % 4 == 0 {
            let mut client = target.upgraded().await?;
            client.authenticate(HONEST, "guess").await?;
            refused(&target, &mut client).await;
            return Ok(());
        }
        let name = if place % 2 == 0 { EVE } else { ACCOMPLICE };
        let mut owner = target.login(name).await?;
        // Another place has the account soon; if not, this one takes it from itself.
        let replaced = owner.until_closed(Duration::from_millis(100)).await;
        if !replaced {
            let _newer = target.login(name).await?;
            if !owner.until_closed(target.patience()).await {
                target.score.saw("!two connections of one account");
                return Ok(());
            }
        }
        target.score.saw("older connection closed");
        Ok(())
    })
}

pub(super) fn deflate(target: Arc<Target>) -> BoxFuture<'static, ()> {
    swarm(target, 8, |target, _| async move {
        let mut client = Client::connect(target.port, &target.score).await?;
        let offer =
            "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits; server_no_context_takeover, x-webkit-deflate-frame\r\n";
        client.writer.raw(request("/", offer).as_bytes()).await?;
        let head = client.reader.head().await?.unwrap_or_default().to_ascii_lowercase();
        target.score.saw(if head.contains("deflate") { "!compression agreed on" } else { "no compression" });
        // What a megabyte of zeros begins with, compressed; the bit says so.
        let mut frame = Vec::new();
        put_frame(FIN | 0x40 | 2, &[0xec, 0xc1, 0x01, 0x01, 0, 0, 0, 0x80, 0x90, 0xfe, 0xaf, 0xee, 0x08, 0x0a], &mut frame);
        client.writer.raw(&frame).await?;
        target.score.saw(if client.until_closed(target.patience()).await { "closed: compressed" } else { "!not closed" });
        Ok(())
    })
}

pub(super) fn headers(target: Arc<Target>) -> BoxFuture<'static, ()> {
    swarm(target, 8, |target, place| async move {
        let mut client = Client::connect(target.port, &target.score).await?;
        let (what, headers) = match place % 2 {
            0 => ("closed: one header", format!("X: {}\r\n", "x".repeat(1 << 20))),
            _ => ("closed: many headers", format!("X: {}\r\n", "x".repeat(1_000)).repeat(1_000)),
        };
        // The connector may close before it has taken all.
        let sent = client.writer.raw(request("/", &headers).as_bytes()).await;
        match client.until_closed(target.patience()).await {
            true => target.score.saw(what),
            false => target.score.saw("!not closed"),
        }
        // A connection that is reset while it is written to has been closed too.
        let _ = sent;
        Ok(())
    })
}
