//! Takes connections and reads requests from them, each in a task of its own: who is slow or sends nonsense loses its own connection.

use super::super::Log;
use super::desk::Desk;
use super::protocol::{Code, REQUEST_LEN_MAX, Refused, Request, answer_line};
use super::socket::Socket;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::UnixStream;
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{Instant, sleep, sleep_until, timeout, timeout_at};

/// Commands at once; more than an operator has hands.
const CONNECTIONS_MAX: usize = 16;
/// A connection that says nothing for so long is closed.
const IDLE_MAX: Duration = Duration::from_secs(60);
/// How long a client may take to read an answer.
const WRITE_MAX: Duration = Duration::from_secs(10);
/// A connection's requests are taken no faster than this.
const REQUEST_EVERY: Duration = Duration::from_millis(10);

/// Answers at a socket until it is stopped.
#[derive(Debug)]
pub(crate) struct Server {
    /// Until when requests may still be answered, once it is to stop.
    stopping: watch::Sender<Option<Instant>>,
    task: JoinHandle<()>,
}

impl Server {
    /// Begins to answer.
    pub(crate) fn start(socket: Socket, desk: Arc<Desk>, log: Log) -> Self {
        let (stopping, stopped) = watch::channel(None);
        Self { stopping, task: tokio::spawn(accept(socket, desk, log, stopped)) }
    }

    /// Takes no more requests, waits for those that are being answered, but not longer than this, and removes the socket. Nothing of the
    /// [`Desk`] is in use when this returns.
    pub(crate) async fn stop(self, patience: Duration) {
        let until = Instant::now().checked_add(patience).unwrap_or_else(Instant::now);
        let _ = self.stopping.send(Some(until));
        let _ = self.task.await;
    }
}

async fn accept(socket: Socket, desk: Arc<Desk>, log: Log, mut stopped: watch::Receiver<Option<Instant>>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            _ = stopped.changed() => break,
            Some(_) = connections.join_next() => {}
            accepted = socket.listener.accept() => match accepted {
                Ok((stream, _)) => {
                    let may = stream.peer_cred().map(|peer| peer.uid() == socket.owner || peer.uid() == 0);
                    if !may.unwrap_or(false) {
                        log.stranger("a process of another user was turned away at the admin socket");
                    } else if connections.len() >= CONNECTIONS_MAX {
                        let busy = Refused::new(Code::Busy, format!("there are {CONNECTIONS_MAX} connections to this socket already"));
                        if let Ok(line) = answer_line::<()>(&Err(busy)) {
                            let _ = stream.try_write(&line);
                        }
                    } else {
                        connections.spawn(serve(stream, desk.clone(), stopped.clone()));
                    }
                }
                // No files are left, as a rule: that passes.
                Err(error) => {
                    log.stranger(format_args!("the admin socket can't take a connection: {error}"));
                    sleep(Duration::from_millis(100)).await;
                }
            },
        }
    }
    drop(socket);
    let until = stopped.borrow().unwrap_or_else(Instant::now);
    let answered = async { while connections.join_next().await.is_some() {} };
    let _ = timeout_at(until, answered).await;
    // What waits for the disk, perhaps; nothing of it may be left.
    connections.shutdown().await;
}

async fn serve(stream: UnixStream, desk: Arc<Desk>, mut stopped: watch::Receiver<Option<Instant>>) {
    let mut stream = BufReader::new(stream);
    let mut line = Vec::new();
    while stopped.borrow().is_none() {
        let next = Instant::now().checked_add(REQUEST_EVERY);
        line.clear();
        let mut limited = (&mut stream).take(u64::try_from(REQUEST_LEN_MAX).unwrap_or(u64::MAX));
        let read = tokio::select! {
            read = timeout(IDLE_MAX, limited.read_until(b'\n', &mut line)) => read,
            _ = stopped.changed() => return,
        };
        if !matches!(read, Ok(Ok(1..))) {
            return;
        }
        let whole = line.last() == Some(&b'\n');
        let answer = match whole {
            true => desk.answer(Request::from_line(&line)).await,
            false if line.len() < REQUEST_LEN_MAX => return,
            false => {
                let why = format!("a request has at most {REQUEST_LEN_MAX} bytes");
                answer_line::<()>(&Err(Refused::new(Code::BadRequest, why))).unwrap_or_default()
            }
        };
        let sent = timeout(WRITE_MAX, stream.get_mut().write_all(&answer)).await;
        if !matches!(sent, Ok(Ok(()))) || !whole {
            return;
        }
        if let Some(next) = next {
            sleep_until(next).await;
        }
    }
}
