//! A TCP connection, plain or inside TLS.

use super::tls::key_sha256;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::TlsStream;

/// What a WebSocket runs over.
#[derive(Debug)]
pub(super) struct Stream {
    kind: Kind,
    /// Bytes that the kernel or the TLS layer has taken: grows as long as the peer reads.
    written: u64,
}

#[derive(Debug)]
enum Kind {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

impl Stream {
    pub(super) fn plain(tcp: TcpStream) -> Self {
        Self { kind: Kind::Plain(tcp), written: 0 }
    }

    pub(super) fn tls(tls: impl Into<TlsStream<TcpStream>>) -> Self {
        Self { kind: Kind::Tls(Box::new(tls.into())), written: 0 }
    }

    /// The SHA-256 of the key in the certificate that the peer has shown.
    pub(super) fn certificate(&self) -> Option<[u8; 32]> {
        let Kind::Tls(tls) = &self.kind else { return None };
        tls.get_ref().1.peer_certificates()?.first().and_then(|certificate| key_sha256(certificate).ok())
    }

    pub(super) fn written(&self) -> u64 {
        self.written
    }
}

impl AsyncRead for Stream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match &mut self.get_mut().kind {
            Kind::Plain(tcp) => Pin::new(tcp).poll_read(cx, buf),
            Kind::Tls(tls) => Pin::new(tls).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let stream = self.get_mut();
        let written = match &mut stream.kind {
            Kind::Plain(tcp) => Pin::new(tcp).poll_write(cx, buf),
            Kind::Tls(tls) => Pin::new(tls).poll_write(cx, buf),
        };
        if let Poll::Ready(Ok(bytes)) = &written {
            stream.written = stream.written.wrapping_add(u64::try_from(*bytes).unwrap_or_default());
        }
        written
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.get_mut().kind {
            Kind::Plain(tcp) => Pin::new(tcp).poll_flush(cx),
            Kind::Tls(tls) => Pin::new(tls).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.get_mut().kind {
            Kind::Plain(tcp) => Pin::new(tcp).poll_shutdown(cx),
            Kind::Tls(tls) => Pin::new(tls).poll_shutdown(cx),
        }
    }
}
