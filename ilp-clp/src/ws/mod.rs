//! WebSocket connections that carry one packet a binary frame, plain or over TLS.
//!
//! [`dial`] and [`Listener`] make [`Socket`]s. A socket is polled, so that its owner can drain all frames that are ready, queue what
//! it answers, and flush once: a flush per frame costs ten times as much.
//!
//! No secret is in the errors and the debug output of what is here. The WebSocket library, though, writes requests and frames with all
//! that is in them to the `log` crate's `trace` level: a logger should leave out that level of `tungstenite`.

mod alive;
mod dial;
mod listen;
mod socket;
mod stream;
mod tls;
mod url;

pub use dial::{DialError, dial};
pub use listen::Listener;
pub use socket::{Socket, SocketCounters, SocketError};
pub use tls::{Certificate, ClientCertificates, TlsClientConfig, TlsError, TlsServerConfig};
pub use url::{Url, UrlError};

use std::time::Duration;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;

/// What one socket may use of memory and time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SocketLimits {
    /// Largest frame taken from a peer, in bytes. Default 128 KiB: ILP data is at most 32 KiB, so this leaves room for side data.
    pub frame_bytes_max: usize,
    /// What is read from the kernel at once, in bytes. Default 32 KiB: every read clears the free part of the buffer first, so a
    /// larger one costs time, and a thousand idle connections hold a thousand of them.
    pub read_buffer_bytes: usize,
    /// What is gathered before it goes to the kernel, in bytes. Default 64 KiB.
    pub write_buffer_bytes: usize,
    /// Time for TCP, TLS and WebSocket handshakes together. Default 10 s.
    pub handshake: Duration,
    /// Handshakes that a listener carries on at the same time; one more waits, and ends the oldest. Default 256: each holds about
    /// 10 KiB, and an honest one is over in a few round trips.
    pub handshakes_max: usize,
    /// How long the oldest handshake is left in peace when there are too many. Default 250 ms: time for the round trips of TLS over
    /// an ocean, and still a thousand strangers a second are got rid of.
    pub handshake_min: Duration,
    /// A peer is asked for a sign of life (a WebSocket ping) this long after its last one. Default 10 s: NAT gateways forget a silent
    /// connection after 30 s or more.
    pub ping: Duration,
    /// A peer that shows none for this long after that is taken for gone. Default 20 s: two retransmissions of a bad line.
    pub pong: Duration,
    /// A peer for which something waits, and which takes not one byte for this long, is taken for gone. Default 10 s.
    pub stall: Duration,
}

impl Default for SocketLimits {
    fn default() -> Self {
        Self {
            frame_bytes_max: 128 << 10,
            read_buffer_bytes: 32 << 10,
            write_buffer_bytes: 64 << 10,
            handshake: Duration::from_secs(10),
            handshakes_max: 256,
            handshake_min: Duration::from_millis(250),
            ping: Duration::from_secs(10),
            pong: Duration::from_secs(20),
            stall: Duration::from_secs(10),
        }
    }
}

impl SocketLimits {
    fn tungstenite(&self) -> WebSocketConfig {
        WebSocketConfig::default()
            .read_buffer_size(self.read_buffer_bytes)
            .write_buffer_size(self.write_buffer_bytes)
            // The socket's own queue holds what doesn't fit: this only has to leave room for the largest frame of ours.
            .max_write_buffer_size(self.write_buffer_bytes.saturating_mul(4).saturating_add(self.frame_bytes_max.saturating_mul(2)))
            .max_message_size(Some(self.frame_bytes_max))
            .max_frame_size(Some(self.frame_bytes_max))
    }
}
