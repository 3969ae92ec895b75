//! A peer that keeps to no rules: bytes on a TCP connection, and as much of WebSocket and CLP as an attack wants.

use super::score::Score;
use bytes::{Buf, Bytes, BytesMut};
use ilp_oer::clp::{Body, Dialect, Entry, Extensions, Packet, ProtocolData};
use ilp_oer::sub::{self, Setup};
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpSocket, TcpStream};

/// One connection.
#[derive(Debug)]
pub(super) struct Client {
    pub(super) reader: Reader,
    pub(super) writer: Writer,
}

/// What comes in.
#[derive(Debug)]
pub(super) struct Reader {
    half: OwnedReadHalf,
    buffer: BytesMut,
    /// The last ping that wasn't answered.
    ping: Ping,
    score: Score,
}

/// What goes out. Counts as the connection: it is open as long as this lives.
#[derive(Debug)]
pub(super) struct Writer {
    half: OwnedWriteHalf,
    ping: Ping,
    score: Score,
}

type Ping = Arc<Mutex<Option<Bytes>>>;

/// What came in.
#[derive(Debug)]
pub(super) enum Incoming {
    /// A whole frame: its opcode, and what is in it.
    Frame(u8, Bytes),
    /// The connection has ended.
    End,
}

impl Client {
    /// A TCP connection and nothing more.
    pub(super) async fn connect(port: u16, score: &Score) -> io::Result<Self> {
        Self::over(TcpStream::connect(("127.0.0.1", port)).await?, score)
    }

    /// A TCP connection for which the system takes in little that isn't read.
    pub(super) async fn connect_deaf(port: u16, score: &Score) -> io::Result<Self> {
        let socket = TcpSocket::new_v4()?;
        socket.set_recv_buffer_size(DEAF_BYTES)?;
        Self::over(socket.connect(SocketAddr::from(([127, 0, 0, 1], port))).await?, score)
    }

    fn over(stream: TcpStream, score: &Score) -> io::Result<Self> {
        stream.set_nodelay(true)?;
        score.opened();
        let (read, write) = stream.into_split();
        let ping = Ping::default();
        let reader = Reader { half: read, buffer: BytesMut::new(), ping: ping.clone(), score: score.clone() };
        Ok(Self { reader, writer: Writer { half: write, ping, score: score.clone() } })
    }

    /// A WebSocket.
    pub(super) async fn upgraded(port: u16, score: &Score) -> io::Result<Self> {
        let mut client = Self::connect(port, score).await?;
        client.upgrade().await?;
        Ok(client)
    }

    /// Makes it a WebSocket.
    pub(super) async fn upgrade(&mut self) -> io::Result<()> {
        self.writer.raw(request("/", "").as_bytes()).await?;
        match self.reader.head().await?.as_deref() {
            Some(head) if head.starts_with("HTTP/1.1 101") => Ok(()),
            _ => Err(io::Error::other("no upgrade")),
        }
    }

    /// Gives credentials on a WebSocket, and says whether they were right.
    pub(super) async fn login(&mut self, name: &str, token: &str) -> io::Result<bool> {
        self.authenticate(name, token).await?;
        loop {
            match self.reader.next().await? {
                Incoming::Frame(2, frame) => match decode(&frame) {
                    Some(Packet { request_id: LOGIN_ID, body: Body::Response(_) }) => return Ok(true),
                    Some(Packet { request_id: LOGIN_ID, body: Body::Error { .. } }) => return Ok(false),
                    _ => {}
                },
                Incoming::Frame(..) => {}
                Incoming::End => return Err(io::ErrorKind::UnexpectedEof.into()),
            }
        }
    }

    /// Gives credentials, and doesn't wait for what becomes of it.
    pub(super) async fn authenticate(&mut self, name: &str, token: &str) -> io::Result<()> {
        let request = Setup::Authenticate { token: token.as_bytes(), account: name.as_bytes(), target: b"" };
        let request = request.to_vec().map_err(io::Error::other)?;
        let entries = [Entry::named(sub::names::SETUP, 0, &request)];
        let message = Body::Message(ProtocolData::entries(Dialect::Named, &entries));
        self.writer.frame(2, &packet(LOGIN_ID, message)).await
    }

    /// Reads whatever comes until the connection ends, but not longer than `patience`, and scores it. Whether it ended.
    pub(super) async fn until_closed(&mut self, patience: Duration) -> bool {
        let since = Instant::now();
        let score = self.reader.score.clone();
        let ended = tokio::time::timeout(patience, async {
            while let Ok(Incoming::Frame(opcode, frame)) = self.reader.next().await {
                score.saw(&describe(opcode, &frame));
            }
        });
        let ended = ended.await.is_ok();
        if ended {
            score.closed(since.elapsed());
        }
        ended
    }
}

impl Reader {
    /// The head of an HTTP answer; `None` if the connection ends instead.
    pub(super) async fn head(&mut self) -> io::Result<Option<String>> {
        loop {
            if let Some(end) = self.buffer.windows(4).position(|window| window == b"\r\n\r\n") {
                let head = self.buffer.split_to(end.saturating_add(4));
                return Ok(Some(String::from_utf8_lossy(&head).into_owned()));
            }
            if self.half.read_buf(&mut self.buffer).await? == 0 {
                return Ok(None);
            }
        }
    }

    /// The next frame.
    pub(super) async fn next(&mut self) -> io::Result<Incoming> {
        loop {
            if let Some((opcode, frame)) = take_frame(&mut self.buffer) {
                if opcode == 9 {
                    *self.ping.lock().unwrap_or_else(PoisonError::into_inner) = Some(frame.clone());
                }
                return Ok(Incoming::Frame(opcode, frame));
            }
            if self.half.read_buf(&mut self.buffer).await? == 0 {
                return Ok(Incoming::End);
            }
        }
    }
}

impl Writer {
    /// Writes bytes as they are.
    pub(super) async fn raw(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.half.write_all(bytes).await?;
        self.score.sent(bytes.len());
        Ok(())
    }

    /// Answers the last ping that was read: who reads is alive. Only between frames.
    pub(super) async fn pong(&mut self) -> io::Result<()> {
        let ping = self.ping.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(ping) = ping else { return Ok(()) };
        let mut bytes = Vec::with_capacity(ping.len().saturating_add(14));
        put_frame(FIN | 10, &ping, &mut bytes);
        self.raw(&bytes).await
    }

    /// Writes a whole frame.
    pub(super) async fn frame(&mut self, opcode: u8, payload: &[u8]) -> io::Result<()> {
        self.pong().await?;
        let mut bytes = Vec::with_capacity(payload.len().saturating_add(14));
        put_frame(FIN | opcode, payload, &mut bytes);
        self.raw(&bytes).await
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.score.gone();
    }
}

/// A request for a WebSocket.
pub(super) fn request(path: &str, headers: &str) -> String {
    format!(
        "GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{headers}\r\n"
    )
}

/// Adds a frame with this first byte, masked as a client's must be, if only with zeros.
pub(super) fn put_frame(first: u8, payload: &[u8], out: &mut Vec<u8>) {
    put_header(first, payload.len(), out);
    out.extend_from_slice(payload);
}

/// Adds the header of a frame of which `len` bytes shall follow.
pub(super) fn put_header(first: u8, len: usize, out: &mut Vec<u8>) {
    out.push(first);
    match (u8::try_from(len), u16::try_from(len)) {
        (Ok(short @ 0..126), _) => out.push(MASKED | short),
        (_, Ok(middle)) => {
            out.push(MASKED | 126);
            out.extend_from_slice(&middle.to_be_bytes());
        }
        _ => {
            out.push(MASKED | 127);
            out.extend_from_slice(&u64::try_from(len).unwrap_or(u64::MAX).to_be_bytes());
        }
    }
    out.extend_from_slice(&[0; 4]);
}

/// A packet's bytes; none if it can't be written.
pub(super) fn packet(request_id: u32, body: Body<'_>) -> Vec<u8> {
    Packet { request_id, body }.to_vec().unwrap_or_default()
}

pub(super) fn decode(frame: &[u8]) -> Option<Packet<'_>> {
    Packet::decode(frame, Dialect::Named, Extensions::NONE).ok()
}

/// A frame in two or three words.
pub(super) fn describe(opcode: u8, frame: &[u8]) -> String {
    match opcode {
        8 => match frame.first_chunk() {
            Some(code) => format!("Close {}", u16::from_be_bytes(*code)),
            None => "Close".to_owned(),
        },
        9 => "Ping".to_owned(),
        10 => "Pong".to_owned(),
        _ => match decode(frame).map(|packet| packet.body) {
            Some(Body::Error { reason, .. }) => format!("Error {}", reason.error().code),
            Some(Body::Reject(reject)) => format!("Reject {}", reject.reason.error().code),
            Some(body) => format!("{:?}", body.kind()),
            None => "unreadable".to_owned(),
        },
    }
}

fn take_frame(buffer: &mut BytesMut) -> Option<(u8, Bytes)> {
    let opcode = *buffer.first()? & 0x0f;
    let (header, len) = match *buffer.get(1)? & !MASKED {
        126 => (4, u64::from(u16::from_be_bytes(*buffer.get(2..)?.first_chunk()?))),
        127 => (10, u64::from_be_bytes(*buffer.get(2..)?.first_chunk()?)),
        short => (2, u64::from(short)),
    };
    let len = usize::try_from(len).ok()?;
    if buffer.len() < len.checked_add(header)? {
        return None;
    }
    buffer.advance(header);
    Some((opcode, buffer.split_to(len).freeze()))
}

/// The bit of a frame that is its message's last.
pub(super) const FIN: u8 = 0x80;
const MASKED: u8 = 0x80;
const LOGIN_ID: u32 = 0;
/// The system makes more of it, but not much.
const DEAF_BYTES: u32 = 4 << 10;
