//! Waiting for replicas.

use crate::error::RedisError;
use crate::metrics::{Counters, count};
use crate::reply;
use crate::server::Server;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::sync::Mutex;

/// Lets everything that was written on one server before reach all replicas. Whoever comes while replicas are waited for shares the next
/// wait with all others who have come by then.
#[derive(Debug, Default)]
pub(crate) struct Barrier {
    /// How many have come.
    come: AtomicU64,
    /// How many of them the last wait was for, and what came of it.
    last: Mutex<(u64, Option<RedisError>)>,
}

impl Barrier {
    /// `WAIT` counts what its own connection has written. A repeated commit writes nothing, and what it repeats may have been written on
    /// another connection, so something is written here: it is behind all that was there before.
    pub(crate) async fn pass(
        &self,
        server: &Server,
        key: &str,
        replicas: u8,
        timeout: Duration,
        counters: &Counters,
    ) -> Result<(), RedisError> {
        let mine = self.come.fetch_add(1, Ordering::SeqCst).saturating_add(1);
        let mut last = self.last.lock().await;
        if last.0 < mine {
            let upto = self.come.load(Ordering::SeqCst);
            count(&counters.waits, 1);
            let outcome = wait(server, key, replicas, timeout).await;
            *last = (upto, outcome.err());
        }
        last.1.clone().map_or(Ok(()), Err)
    }
}

async fn wait(server: &Server, key: &str, replicas: u8, timeout: Duration) -> Result<(), RedisError> {
    let doing = "WAIT";
    let ms = timeout.as_millis();
    let mut both = redis::pipe();
    both.cmd("SET").arg(key).arg("").ignore();
    both.cmd("WAIT").arg(replicas).arg(u64::try_from(ms).unwrap_or(u64::MAX));
    let replies: Vec<redis::Value> =
        both.query_async(&mut server.client.clone()).await.map_err(|error| RedisError::of(&server.place, doing, server.timeout, error))?;
    match replies.last().and_then(reply::number::<i64>) {
        Some(acknowledged) if acknowledged >= i64::from(replicas) => Ok(()),
        Some(acknowledged) => Err(RedisError::Unacknowledged { place: server.place.clone(), acknowledged, needed: replicas, ms }),
        None => Err(server.strange(doing, &replies)),
    }
}
