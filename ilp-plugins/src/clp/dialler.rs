//! Peers that we dial.

use super::transport::socket_limits;
use super::{ClpLink, ClpTransport};
use async_trait::async_trait;
use ilp_clp::ws::{TlsClientConfig, Url, dial};
use ilp_core::AccountId;
use ilp_core::link::PeerProtocol;
use ilp_core::runtime::{Connections, Endpoint, NewConnection, Notice};
use ilp_oer::Address;
use std::fmt::{self, Debug};
use std::time::Duration;
use tokio::sync::oneshot;
use tokio::time::Instant;
use zeroize::Zeroizing;

/// The longest pause after the first failure; it doubles with each further one …
const PAUSE_MIN: Duration = Duration::from_millis(200);
/// … up to this.
const PAUSE_MAX: Duration = Duration::from_secs(10);
/// After a connection that lasted this long it begins again at the first one: the peer is there and takes us.
const LASTED: Duration = Duration::from_secs(1);

/// An endpoint that keeps a connection to one peer, dialling again when it is lost.
pub struct ClpDialler {
    connector: Address,
    account: AccountId,
    protocol: PeerProtocol,
    url: Url,
    shown: String,
    login: String,
    token: Zeroizing<Vec<u8>>,
    tls: TlsClientConfig,
}

impl ClpDialler {
    /// Keeps a connection to `url` for `account`, as which it will be known here. `login` is our account's name at the peer, `token` its
    /// secret; in the 2017 form both become part of the path.
    pub fn new(
        connector: Address,
        account: AccountId,
        protocol: PeerProtocol,
        url: Url,
        login: &str,
        token: &[u8],
        tls: TlsClientConfig,
    ) -> Self {
        let shown = format!("{}://{}:{}", if url.is_tls() { "wss" } else { "ws" }, url.host(), url.port());
        Self { connector, account, protocol, url, shown, login: login.to_owned(), token: Zeroizing::new(token.to_vec()), tls }
    }

    async fn connect(&self, connections: &Connections) -> Result<(), String> {
        let url = match self.protocol {
            PeerProtocol::Clp2017 => self.url.join(&[&self.login, &String::from_utf8_lossy(&self.token)]),
            PeerProtocol::Clp | PeerProtocol::ClpSeed => self.url.clone(),
        };
        // Where it leads is known only when it is there: a name may stand for this machine.
        let socket = dial(&url, &self.tls, &socket_limits(connections.limits())).await.map_err(|error| error.to_string())?;
        if !self.url.is_tls() && !socket.remote_addr().ip().is_loopback() {
            connections.notice(Notice::Unencrypted { endpoint: format!("account {} at {}", self.account, self.shown) });
        }
        let link = ClpLink::outgoing(&self.connector, self.protocol, self.login.as_bytes(), &self.token);
        let link = Box::new(link.with_limits(connections.limits()));
        let (alive, ended) = oneshot::channel();
        let connection = NewConnection {
            transport: Box::new(ClpTransport::new(socket)),
            link,
            account: Some(self.account.clone()),
            door: None,
            peer: self.shown.clone(),
            alive: Some(alive),
        };
        if connections.offer(connection).await {
            // Nothing is ever sent: it ends when the driver drops the other half with the connection.
            let _ = ended.await;
        }
        Ok(())
    }
}

#[async_trait]
impl Endpoint for ClpDialler {
    async fn run(&self, connections: Connections) {
        let mut pause = PAUSE_MIN;
        loop {
            let began = Instant::now();
            match self.connect(&connections).await {
                Ok(()) if began.elapsed() >= LASTED => pause = PAUSE_MIN,
                Ok(()) => {}
                Err(reason) => {
                    let endpoint = format!("account {} at {}", self.account, self.shown);
                    connections.notice(Notice::EndpointTrouble { endpoint, reason });
                }
            }
            tokio::time::sleep(jittered(pause)).await;
            pause = pause.saturating_mul(2).min(PAUSE_MAX);
        }
    }
}

/// Between half of a pause and all of it: when a connector comes back, its peers shouldn't all dial in the same instant.
fn jittered(pause: Duration) -> Duration {
    // Without randomness the whole pause is right, too.
    let random = getrandom::u32().unwrap_or(u32::MAX);
    let half_ms = u64::try_from(pause.as_millis() / 2).unwrap_or(u64::MAX);
    let share = u64::from(random).saturating_mul(half_ms) >> 32;
    Duration::from_millis(half_ms.saturating_add(share))
}

impl Debug for ClpDialler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClpDialler").field("account", &self.account).field("url", &self.shown).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn jitter_takes_up_to_half_of_a_pause_and_differs() {
        let pauses: Vec<Duration> = (0..100).map(|_| jittered(PAUSE_MAX)).collect();
        assert!(pauses.iter().all(|pause| (PAUSE_MAX / 2..=PAUSE_MAX).contains(pause)), "{pauses:?}");
        assert!(pauses.iter().any(|pause| *pause != pauses[0]));
    }
}
