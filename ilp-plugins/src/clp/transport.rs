//! A WebSocket as the driver's transport.

use bytes::Bytes;
use ilp_clp::ws::{Socket, SocketError, SocketLimits};
use ilp_core::Limits;
use ilp_core::runtime::{Traffic, Transport, TransportError};
use std::task::{Context, Poll};
use std::time::Duration;

/// A [`Transport`] over a WebSocket: one packet a binary frame.
#[derive(Debug)]
pub struct ClpTransport(Socket);

impl ClpTransport {
    /// Takes over a socket whose handshake is done.
    pub fn new(socket: Socket) -> Self {
        Self(socket)
    }
}

impl Transport for ClpTransport {
    fn poll_receive(&mut self, cx: &mut Context<'_>, frames: &mut Vec<Bytes>, max: usize) -> Poll<Result<usize, TransportError>> {
        self.0.poll_receive(cx, frames, max).map_err(transport_error)
    }

    fn send(&mut self, frame: Bytes) {
        self.0.send(frame);
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), TransportError>> {
        self.0.poll_flush(cx).map_err(transport_error)
    }

    fn poll_close(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.0.poll_close(cx).map(|_| ())
    }

    fn backlog(&self) -> usize {
        self.0.queued_bytes()
    }

    fn certificate(&self) -> Option<[u8; 32]> {
        self.0.certificate()
    }

    fn traffic(&self) -> Traffic {
        let counters = self.0.counters();
        Traffic {
            frames_in: counters.frames_in,
            frames_out: counters.frames_out,
            bytes_in: counters.bytes_in,
            bytes_out: counters.bytes_out,
            controls_in: counters.controls_in,
        }
    }
}

/// What of the connector's limits a socket keeps to.
pub(super) fn socket_limits(limits: &Limits) -> SocketLimits {
    let ms = |ms: u32| Duration::from_millis(ms.into());
    SocketLimits {
        frame_bytes_max: limits.frame_bytes,
        handshake: ms(limits.handshake_ms),
        handshakes_max: limits.handshakes,
        ping: ms(limits.ping_ms),
        pong: ms(limits.pong_ms),
        stall: ms(limits.stall_ms),
        ..SocketLimits::default()
    }
}

fn transport_error(error: SocketError) -> TransportError {
    TransportError { message: error.to_string(), source: Some(Box::new(error)) }
}
