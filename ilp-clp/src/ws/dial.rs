//! The client's end of a connection.

use super::stream::Stream;
use super::url::request_uri;
use super::{Socket, SocketLimits, TlsClientConfig, Url, UrlError};
use rustls::pki_types::ServerName;
use thiserror::Error;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_tungstenite::client_async_with_config;
use tokio_tungstenite::tungstenite::Error as WsError;
use zeroize::Zeroizing;

/// Why a connection could not be made.
#[derive(Debug, Error)]
pub enum DialError {
    /// The URL can't be dialled.
    #[error("cannot dial: {0}")]
    Url(#[from] UrlError),
    /// Name resolution or TCP failed.
    #[error("cannot reach the server: {0}")]
    Io(#[from] std::io::Error),
    /// The server's certificate isn't trusted, ours isn't by the server, or there is no common cipher.
    #[error("TLS failed: {0}")]
    Tls(std::io::Error),
    /// The host is neither a DNS name nor an address, so no certificate can be for it.
    #[error("no certificate can be valid for this host name")]
    ServerName,
    /// The server doesn't speak WebSocket there, or refused the request.
    #[error("the server refused the WebSocket: {0}")]
    WebSocket(String),
    /// It took too long.
    #[error("the handshake took too long")]
    TimedOut,
}

/// Connects to `url`. `tls` matters for `wss://` only.
///
/// # Errors
/// See [`DialError`].
pub async fn dial(url: &Url, tls: &TlsClientConfig, limits: &SocketLimits) -> Result<Socket, DialError> {
    tokio::time::timeout(limits.handshake, connect(url, tls, limits)).await.map_err(|_| DialError::TimedOut)?
}

async fn connect(url: &Url, tls: &TlsClientConfig, limits: &SocketLimits) -> Result<Socket, DialError> {
    let uri = request_uri(url)?;
    let tcp = TcpStream::connect((url.host(), url.port())).await?;
    // Frames are gathered and flushed by us; the kernel holding back the last one would only add delay.
    tcp.set_nodelay(true)?;
    let remote = tcp.peer_addr()?;
    let stream = if url.is_tls() {
        let name = ServerName::try_from(url.host().to_owned()).map_err(|_| DialError::ServerName)?;
        let connector = TlsConnector::from(tls.current());
        let stream = connector.connect(name, tcp).await.map_err(DialError::Tls)?;
        Stream::tls(stream)
    } else {
        Stream::plain(tcp)
    };
    let (ws, _response) = client_async_with_config(uri, stream, Some(limits.tungstenite())).await.map_err(websocket_error)?;
    Ok(Socket::new(ws, Zeroizing::new(url.path().to_owned()), remote, limits))
}

fn websocket_error(error: WsError) -> DialError {
    match error {
        // In TLS 1.3 the client has done its part when the server looks at the client's certificate.
        WsError::Io(error) if error.get_ref().is_some_and(|inner| inner.is::<rustls::Error>()) => DialError::Tls(error),
        WsError::Io(error) => DialError::Io(error),
        other => DialError::WebSocket(other.to_string()),
    }
}
