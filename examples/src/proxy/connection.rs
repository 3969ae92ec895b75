//! One connection through the proxy: two lanes, each with its own troubles.

use super::fault::{Kind, Lanes};
use super::lock;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::sync::Notify;
use tokio::time::{Instant, sleep, sleep_until};

/// What happens to a connection.
#[derive(Debug, Default)]
pub(super) struct Connection {
    up: Lane,
    down: Lane,
    /// To be cut: with RST (`true`) or FIN.
    cut: Mutex<Option<bool>>,
    cutting: Notify,
}

/// One direction.
#[derive(Debug, Default)]
struct Lane {
    mode: Mutex<Mode>,
    changed: Notify,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Mode {
    #[default]
    Forward,
    Hold(Instant),
    Trickle(Instant),
    /// Everything is thrown away, the end too.
    Swallow,
    /// FIN, and everything after it is thrown away.
    Finish,
    /// At most so many bytes more, then the connection is cut.
    Cut {
        bytes: usize,
        reset: bool,
    },
}

/// Why a connection ended before both sides had said all.
enum End {
    /// A side broke: the other one gets the same.
    Broken,
    /// It was to be cut.
    Cut { reset: bool },
}

impl Connection {
    /// Whether it can still suffer: nothing final has happened to it.
    pub(super) fn is_well(&self) -> bool {
        let well = |lane: &Lane| matches!(lane.mode(), Mode::Forward | Mode::Hold(_) | Mode::Trickle(_));
        lock(&self.cut).is_none() && well(&self.up) && well(&self.down)
    }

    pub(super) fn suffer(&self, kind: Kind) {
        let now = Instant::now();
        match kind {
            Kind::Cut { reset, within: None } => {
                *lock(&self.cut) = Some(reset);
                self.cutting.notify_one();
            }
            Kind::Cut { reset, within: Some(bytes) } => self.up.set(Mode::Cut { bytes, reset }),
            Kind::Delay { lanes, time } => self.each(lanes, Mode::Hold(now + time)),
            Kind::HalfClose { lanes, silent } => {
                self.each(lanes, Mode::Finish);
                if silent {
                    self.each(if lanes == Lanes::Up { Lanes::Down } else { Lanes::Up }, Mode::Swallow);
                }
            }
            Kind::BlackHole => self.each(Lanes::Both, Mode::Swallow),
            Kind::Trickle { time } => self.each(Lanes::Both, Mode::Trickle(now + time)),
        }
    }

    pub(super) fn heal(&self) {
        for lane in [&self.up, &self.down] {
            if matches!(lane.mode(), Mode::Hold(_) | Mode::Trickle(_) | Mode::Cut { .. }) {
                lane.set(Mode::Forward);
            }
        }
    }

    fn each(&self, lanes: Lanes, mode: Mode) {
        if lanes != Lanes::Down {
            self.up.set(mode);
        }
        if lanes != Lanes::Up {
            self.down.set(mode);
        }
    }

    async fn cut(&self) -> End {
        loop {
            if let Some(reset) = *lock(&self.cut) {
                return End::Cut { reset };
            }
            self.cutting.notified().await;
        }
    }
}

impl Lane {
    fn mode(&self) -> Mode {
        *lock(&self.mode)
    }

    fn set(&self, mode: Mode) {
        *lock(&self.mode) = mode;
        self.changed.notify_one();
    }
}

/// Carries bytes both ways until both sides have ended.
pub(super) async fn carry(mut client: TcpStream, target: SocketAddr, connection: Arc<Connection>) {
    let Ok(mut server) = TcpStream::connect(target).await else { return };
    // A byte shall get through when it is sent on.
    let _ = (client.set_nodelay(true), server.set_nodelay(true));
    let (mut from_client, mut to_client) = client.split();
    let (mut from_server, mut to_server) = server.split();
    let pumps = async {
        let up = pump(&mut from_client, &mut to_server, &connection.up);
        let down = pump(&mut from_server, &mut to_client, &connection.down);
        tokio::try_join!(up, down)
    };
    let end = tokio::select! {
        ended = pumps => ended.err(),
        cut = connection.cut() => Some(cut),
    };
    if matches!(end, Some(End::Broken | End::Cut { reset: true })) {
        let _ = (client.set_zero_linger(), server.set_zero_linger());
    }
}

async fn pump(from: &mut ReadHalf<'_>, to: &mut WriteHalf<'_>, lane: &Lane) -> Result<(), End> {
    let mut buffer = vec![0; BUFFER_BYTES];
    loop {
        let read = tokio::select! {
            read = from.read(&mut buffer) => read.map_err(broken)?,
            // Half closing and cutting don't wait for the next byte.
            () = lane.changed.notified() => {
                if lane.mode() == Mode::Finish {
                    let _ = to.shutdown().await;
                }
                continue;
            }
        };
        if read == 0 {
            return end(to, lane).await;
        }
        forward(buffer.get(..read).unwrap_or_default(), to, lane).await?;
    }
}

/// Passes on what was read, as the lane's trouble has it.
async fn forward(mut bytes: &[u8], to: &mut WriteHalf<'_>, lane: &Lane) -> Result<(), End> {
    while !bytes.is_empty() {
        let now = Instant::now();
        let count = match lane.mode() {
            Mode::Forward => bytes.len(),
            Mode::Hold(until) | Mode::Trickle(until) if until <= now => {
                *lock(&lane.mode) = Mode::Forward;
                continue;
            }
            Mode::Hold(until) => {
                wait(lane, until).await;
                continue;
            }
            Mode::Trickle(_) => {
                sleep(TRICKLE).await;
                1
            }
            Mode::Swallow => return Ok(()),
            Mode::Finish => {
                let _ = to.shutdown().await;
                return Ok(());
            }
            Mode::Cut { bytes: count, reset } => {
                let part = bytes.get(..count.min(bytes.len().saturating_sub(1))).unwrap_or_default();
                to.write_all(part).await.map_err(broken)?;
                return Err(End::Cut { reset });
            }
        };
        let (part, rest) = bytes.split_at_checked(count).unwrap_or((bytes, &[]));
        to.write_all(part).await.map_err(broken)?;
        bytes = rest;
    }
    Ok(())
}

/// One side has said all: the other is told, in time or never.
async fn end(to: &mut WriteHalf<'_>, lane: &Lane) -> Result<(), End> {
    while let Mode::Hold(until) = lane.mode() {
        if until <= Instant::now() {
            break;
        }
        wait(lane, until).await;
    }
    if lane.mode() != Mode::Swallow {
        let _ = to.shutdown().await;
    }
    Ok(())
}

async fn wait(lane: &Lane, until: Instant) {
    tokio::select! {
        () = sleep_until(until) => {}
        () = lane.changed.notified() => {}
    }
}

fn broken(_: io::Error) -> End {
    End::Broken
}

const BUFFER_BYTES: usize = 16 << 10;
/// Between two bytes.
const TRICKLE: Duration = Duration::from_millis(2);
