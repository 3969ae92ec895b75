//! One link: what waits to be written, who is at the other end, and the loops that read and write.

use super::SocketOptions;
use super::frame::{self, Opener, Sealer};
use super::handshake::Session;
use super::table::Table;
use super::wire::{Body, Message, Station};
use crate::colleagues::Relay;
use crate::runtime::Inbox;
use crate::store::SlotNo;
use bytes::BytesMut;
use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::Notify;
use tokio::time::timeout;

/// Read at once, and written at once: some times what the kernel takes.
const CHUNK: usize = 256 << 10;

/// A link to another process.
#[derive(Debug)]
pub(super) struct Link {
    pub(super) holder: Arc<str>,
    pub(super) peer: String,
    /// By us.
    pub(super) dialled: bool,
    /// The workers at the other end, each with its epoch and the number that it has here.
    slots: Mutex<BTreeMap<SlotNo, (u64, u64)>>,
    waiting: Mutex<Waiting>,
    written: Notify,
    ended: Notify,
}

/// For the other end.
#[derive(Debug, Default)]
struct Waiting {
    bodies: VecDeque<Body>,
    relays: usize,
    bytes: usize,
    /// Our workers that it was told of.
    announced: BTreeMap<SlotNo, u64>,
}

impl Link {
    pub(super) fn new(holder: Arc<str>, peer: String, dialled: bool) -> Self {
        Self { holder, peer, dialled, slots: Mutex::default(), waiting: Mutex::default(), written: Notify::new(), ended: Notify::new() }
    }

    /// Another link takes its place, or it is of no use.
    pub(super) fn end(&self) {
        self.ended.notify_one();
    }

    /// The workers at the other end: slot, epoch, number.
    pub(super) fn slots(&self) -> Vec<(SlotNo, u64, u64)> {
        lock(&self.slots).iter().map(|(slot, (epoch, number))| (*slot, *epoch, *number)).collect()
    }

    /// The epoch of the worker that has this number here.
    pub(super) fn epoch_of(&self, slot: SlotNo, number: u64) -> Option<u64> {
        lock(&self.slots).get(&slot).filter(|(_, known)| *known == number).map(|(epoch, _)| *epoch)
    }

    /// Tells the other end which workers are here, as far as it doesn't know.
    pub(super) fn announce(&self, inbox: &Inbox) {
        let mut waiting = lock(&self.waiting);
        // Asked under the lock: whoever has sent something is in it.
        let here: BTreeMap<_, _> = inbox.here().into_iter().collect();
        let gone: Vec<_> =
            waiting.announced.iter().filter(|(slot, _)| !here.contains_key(slot)).map(|(slot, epoch)| (*slot, *epoch)).collect();
        for station in gone {
            waiting.announced.remove(&station.0);
            waiting.push(Body::closed(station));
        }
        here.into_iter().for_each(|station| waiting.introduce(station));
        drop(waiting);
        self.written.notify_one();
    }

    /// Puts a batch on its way. The number of relays that have no room: what is about payments, since whoever isn't answered says it again. What
    /// says which connections there are nobody says again, so it is let in beyond the limit, and where there is no end of it the link
    /// ends.
    pub(super) fn send(&self, from: Station, to: Station, relays: &[Relay], options: &SocketOptions) -> usize {
        let (bodies, mut lost) = Body::batch(from, to, relays);
        let mut waiting = lock(&self.waiting);
        waiting.introduce(from);
        if waiting.has_room(&bodies, options.queue_relays, options.queue_bytes) {
            bodies.into_iter().for_each(|body| waiting.push(body));
        } else {
            let kept = relays.iter().filter(|relay| !matches!(relay, Relay::Event { .. } | Relay::Command { .. }));
            let (bodies, _) = Body::batch(from, to, kept);
            lost = relays.len().saturating_sub(bodies.iter().map(|body| body.relays).sum());
            if waiting.has_room(&bodies, options.queue_relays.saturating_mul(2), options.queue_bytes.saturating_mul(2)) {
                bodies.into_iter().for_each(|body| waiting.push(body));
            } else {
                lost = relays.len();
                self.end();
            }
        }
        drop(waiting);
        self.written.notify_one();
        lost
    }

    /// Runs the link until it breaks; says why.
    pub(super) async fn run(&self, stream: TcpStream, session: Session, table: &Table, inbox: &Inbox, options: &SocketOptions) -> String {
        let (reads, writes) = stream.into_split();
        tokio::select! {
            why = self.read(reads, session.opener, table, inbox, options) => why,
            why = self.write(writes, session.sealer, options) => why,
            () = self.ended.notified() => "another link took its place, or too much waited for it".into(),
        }
    }

    async fn read<S: AsyncRead + Unpin>(
        &self,
        mut stream: S,
        mut opener: Opener,
        table: &Table,
        inbox: &Inbox,
        options: &SocketOptions,
    ) -> String {
        let mut buffer = BytesMut::new();
        loop {
            // What isn't read waits in the sender's buffers, and then in its queue.
            inbox.room().await;
            let frame = match timeout(options.silence, next(&mut stream, &mut buffer)).await {
                Ok(Ok(frame)) => frame,
                Ok(Err(why)) => return why,
                Err(_) => return format!("silence for {} ms", options.silence.as_millis()),
            };
            let body = match opener.open(&frame) {
                Ok(body) => body,
                Err(broken) => return broken.to_string(),
            };
            match Message::decode(body) {
                Ok(message) => self.take(message, table, inbox),
                Err(malformed) => return format!("a message that can't be read: {malformed}"),
            }
        }
    }

    fn take(&self, message: Message, table: &Table, inbox: &Inbox) {
        match message {
            Message::Ping => {}
            Message::Open((slot, epoch)) => {
                lock(&self.slots).insert(slot, (epoch, table.number()));
                inbox.changed();
            }
            Message::Closed((slot, epoch)) => {
                let mut slots = lock(&self.slots);
                if slots.get(&slot).is_some_and(|(known, _)| *known == epoch) {
                    slots.remove(&slot);
                }
                drop(slots);
                inbox.changed();
            }
            Message::Relays { from: (slot, epoch), to, relays } => {
                // It said `Open` before, unless it is gone.
                let number = lock(&self.slots).get(&slot).filter(|(known, _)| *known == epoch).map(|(_, number)| *number);
                if let Some(number) = number {
                    inbox.deliver((slot, number), to, relays);
                }
            }
        }
    }

    /// Writes all that waits, and then waits again.
    async fn write<S: AsyncWrite + Unpin>(&self, mut stream: S, mut sealer: Sealer, options: &SocketOptions) -> String {
        let mut out = Vec::new();
        loop {
            out.clear();
            while out.len() < CHUNK
                && let Some(body) = lock(&self.waiting).pop()
            {
                if let Err(broken) = sealer.seal(&body.bytes, &mut out) {
                    return broken.to_string();
                }
            }
            if out.is_empty() {
                if timeout(options.ping, self.written.notified()).await.is_err() {
                    lock(&self.waiting).push(Body::ping());
                }
                continue;
            }
            match timeout(options.silence, stream.write_all(&out)).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => return error.to_string(),
                Err(_) => return format!("nothing was taken for {} ms", options.silence.as_millis()),
            }
            out.shrink_to(CHUNK);
        }
    }
}

impl Waiting {
    /// Before it says anything.
    fn introduce(&mut self, (slot, epoch): Station) {
        if self.announced.insert(slot, epoch) != Some(epoch) {
            self.push(Body::open((slot, epoch)));
        }
    }

    fn has_room(&self, bodies: &[Body], relays_max: usize, bytes_max: usize) -> bool {
        let relays = bodies.iter().map(|body| body.relays).fold(self.relays, usize::saturating_add);
        let bytes = bodies.iter().map(|body| body.bytes.len()).fold(self.bytes, usize::saturating_add);
        relays <= relays_max && bytes <= bytes_max
    }

    fn push(&mut self, body: Body) {
        self.relays = self.relays.saturating_add(body.relays);
        self.bytes = self.bytes.saturating_add(body.bytes.len());
        self.bodies.push_back(body);
    }

    fn pop(&mut self) -> Option<Body> {
        let body = self.bodies.pop_front()?;
        self.relays = self.relays.saturating_sub(body.relays);
        self.bytes = self.bytes.saturating_sub(body.bytes.len());
        Some(body)
    }
}

/// The next frame; the buffer grows with what comes, and never with what is announced.
async fn next<S: AsyncRead + Unpin>(stream: &mut S, buffer: &mut BytesMut) -> Result<bytes::Bytes, String> {
    loop {
        if let Some(frame) = frame::take(buffer).map_err(|broken| broken.to_string())? {
            return Ok(frame);
        }
        buffer.reserve(CHUNK / 4);
        match stream.read_buf(buffer).await {
            Ok(0) => return Err("it was closed".into()),
            Ok(_) => {}
            Err(error) => return Err(error.to_string()),
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Nothing panics while one is held, so what is inside is whole.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::link::LinkCommand;
    use crate::worker::ConnectionId;

    const CLOSE: Relay = Relay::Command { connection: ConnectionId(1), command: LinkCommand::Close { reason: String::new() } };
    const GONE: Relay = Relay::Disconnected { connection: ConnectionId(1) };

    fn waiting(link: &Link) -> Vec<Message> {
        std::iter::from_fn(|| lock(&link.waiting).pop()).map(|body| Message::decode(&body.bytes).unwrap()).collect()
    }

    #[test]
    fn without_room_payments_are_dropped_and_connections_are_not() {
        let options = SocketOptions { queue_relays: 4, ..SocketOptions::default() };
        let link = Link::new("bob".into(), String::new(), true);
        let (from, to) = ((1, 5), (2, 7));
        assert_eq!(link.send(from, to, &[CLOSE, CLOSE, CLOSE], &options), 0);
        assert_eq!(link.send(from, to, &[CLOSE, GONE], &options), 1);
        // Room again for one.
        assert_eq!(link.send(from, to, &[CLOSE], &options), 1);
        assert_eq!(
            waiting(&link),
            [
                Message::Open(from),
                Message::Relays { from, to, relays: vec![CLOSE, CLOSE, CLOSE] },
                Message::Relays { from, to, relays: vec![GONE] },
            ]
        );
        assert_eq!(link.send(from, to, &[CLOSE], &options), 0);
        assert_eq!(waiting(&link), [Message::Relays { from, to, relays: vec![CLOSE] }]);
    }

    #[test]
    fn bytes_count_as_well_and_a_link_that_takes_nothing_ends() {
        let options = SocketOptions { queue_relays: 1_000, queue_bytes: 100, ..SocketOptions::default() };
        let link = Link::new("bob".into(), String::new(), true);
        let mut sent = 0;
        while link.send((1, 5), (2, 7), &[GONE], &options) == 0 {
            sent += 1;
            assert!(sent < 100);
        }
        let ended = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        ended.block_on(async { timeout(options.silence, link.ended.notified()).await }).unwrap();
    }

    #[test]
    fn a_worker_is_introduced_before_it_speaks_and_anew_under_another_epoch() {
        let link = Link::new("bob".into(), String::new(), true);
        let options = SocketOptions::default();
        for epoch in [5, 5, 6] {
            link.send((1, epoch), (2, 7), &[GONE], &options);
        }
        let opened: Vec<_> = waiting(&link).into_iter().map(|message| matches!(message, Message::Open(_))).collect();
        assert_eq!(opened, [true, false, false, true, false]);
    }
}
