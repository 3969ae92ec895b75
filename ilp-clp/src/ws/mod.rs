//! WebSocket connections that carry one packet a binary frame, plain or over TLS.
//!
//! [`dial`] and [`Listener`] make [`Socket`]s. A socket is polled, so that its owner can drain all frames that are ready, queue what
//! it answers, and flush once: a flush per frame costs ten times as much.

mod dial;
mod listen;
mod socket;
mod stream;
mod tls;
mod url;

pub use dial::{DialError, dial};
pub use listen::Listener;
pub use socket::{Socket, SocketCounters, SocketError};
pub use tls::{TlsClientConfig, TlsError, TlsServerConfig};
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
    /// Handshakes that a listener carries on at the same time; one more ends the oldest. Default 1024.
    pub handshakes_max: usize,
}

impl Default for SocketLimits {
    fn default() -> Self {
        Self {
            frame_bytes_max: 128 << 10,
            read_buffer_bytes: 32 << 10,
            write_buffer_bytes: 64 << 10,
            handshake: Duration::from_secs(10),
            handshakes_max: 1024,
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
