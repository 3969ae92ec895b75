//! Certificates over sockets: of servers, of clients, and replaced while running.
#![cfg(feature = "tokio")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use ilp_clp::ws::{Certificate, ClientCertificates, DialError, Listener, Socket, SocketLimits, TlsClientConfig, TlsServerConfig, dial};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use std::future::{Future, poll_fn};
use std::net::SocketAddr;
use std::time::Duration;

/// A certificate and its key, as PEM.
struct Own {
    pem: String,
    key: String,
}

impl Own {
    fn signed_by_itself(name: &str) -> Self {
        let certified = rcgen::generate_simple_self_signed([name.to_owned()]).unwrap();
        Self { pem: certified.cert.pem(), key: certified.signing_key.serialize_pem() }
    }

    fn server(&self) -> TlsServerConfig {
        TlsServerConfig::from_pem(self.pem.as_bytes(), self.key.as_bytes()).unwrap()
    }

    /// A client that trusts this, and no other.
    fn trusted(&self) -> TlsClientConfig {
        TlsClientConfig::trusting_certificate_pem(self.pem.as_bytes()).unwrap()
    }

    fn shown_by(&self, client: &TlsClientConfig) -> TlsClientConfig {
        client.with_certificate_pem(self.pem.as_bytes(), self.key.as_bytes()).unwrap()
    }

    fn key_sha256(&self) -> [u8; 32] {
        Certificate::from_pem(self.pem.as_bytes()).unwrap().key_sha256
    }

    /// Another certificate with the same key, and nothing else in common.
    fn renewed(&self) -> Self {
        let mut params = CertificateParams::new(["renewed".to_owned()]).unwrap();
        params.serial_number = Some(7_u64.into());
        let pem = params.self_signed(&KeyPair::from_pem(&self.key).unwrap()).unwrap().pem();
        Self { pem, key: self.key.clone() }
    }
}

struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    fn sign(&self, name: &str) -> Own {
        let key = KeyPair::generate().unwrap();
        let certificate = CertificateParams::new([name.to_owned()]).unwrap().signed_by(&key, &self.0).unwrap();
        Own { pem: certificate.pem(), key: key.serialize_pem() }
    }
}

async fn soon<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(30), future).await.unwrap()
}

async fn listen(tls: TlsServerConfig) -> (Listener, SocketAddr) {
    let listener = Listener::bind("127.0.0.1:0", Some(tls), SocketLimits::default()).await.unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

/// The client's end and the server's; or why there are none. In TLS 1.3 a client learns of a refusal after its own handshake.
async fn connect(listener: &mut Listener, to: SocketAddr, tls: &TlsClientConfig) -> Result<(Socket, Socket), DialError> {
    let url = format!("wss://localhost:{}", to.port()).parse().unwrap();
    let limits = SocketLimits::default();
    soon(async {
        let mut dialling = std::pin::pin!(dial(&url, tls, &limits));
        tokio::select! {
            dialled = &mut dialling => match dialled {
                Ok(client) => Ok((client, listener.accept().await)),
                Err(error) => Err(error),
            },
            server = listener.accept() => Ok((dialling.await?, server)),
        }
    })
    .await
}

#[tokio::test]
async fn a_replaced_certificate_is_for_new_connections_and_old_ones_go_on() {
    let (old, new) = (Own::signed_by_itself("localhost"), Own::signed_by_itself("localhost"));
    let tls = old.server();
    let (mut listener, to) = listen(tls.clone()).await;
    let (mut client, mut server) = connect(&mut listener, to, &old.trusted()).await.unwrap();
    tls.replace(&new.server());
    assert!(matches!(connect(&mut listener, to, &old.trusted()).await, Err(DialError::Tls(_))));
    connect(&mut listener, to, &new.trusted()).await.unwrap();
    client.send(vec![1, 2, 3].into());
    soon(poll_fn(|cx| client.poll_flush(cx))).await.unwrap();
    let mut frames = Vec::new();
    soon(poll_fn(|cx| server.poll_receive(cx, &mut frames, 1))).await.unwrap();
    assert_eq!(frames, [vec![1, 2, 3]]);
    // A client's trust can be replaced as well.
    let trust = old.trusted();
    trust.replace(&new.trusted());
    connect(&mut listener, to, &trust).await.unwrap();
}

#[tokio::test]
async fn a_client_that_must_have_a_certificate_needs_one_of_the_authority() {
    let (server, authority, stranger) = (Own::signed_by_itself("localhost"), Authority::new(), Authority::new());
    let tls = server.server().with_client_ca_pem(authority.0.pem().as_bytes(), ClientCertificates::Required).unwrap();
    let (mut listener, to) = listen(tls).await;
    let alice = authority.sign("alice");
    let (_client, accepted) = connect(&mut listener, to, &alice.shown_by(&server.trusted())).await.unwrap();
    assert_eq!(accepted.certificate(), Some(alice.key_sha256()));
    let others =
        [server.trusted(), stranger.sign("alice").shown_by(&server.trusted()), Own::signed_by_itself("alice").shown_by(&server.trusted())];
    for other in others {
        // Why, it hears if the server's last words come before the end of the connection.
        assert!(matches!(connect(&mut listener, to, &other).await, Err(DialError::Tls(_) | DialError::Io(_))));
    }
    // The listener hears of the last one when it is asked for the next connection.
    let all = async {
        while listener.failed_handshakes() < 3 {
            tokio::select! {
                socket = listener.accept() => panic!("{socket:?}"),
                () = tokio::task::yield_now() => {}
            }
        }
    };
    soon(all).await;
}

#[tokio::test]
async fn a_client_that_may_have_a_certificate_needs_none_but_must_not_show_a_strangers() {
    let (server, authority) = (Own::signed_by_itself("localhost"), Authority::new());
    let tls = server.server().with_client_ca_pem(authority.0.pem().as_bytes(), ClientCertificates::Optional).unwrap();
    let (mut listener, to) = listen(tls).await;
    let alice = authority.sign("alice");
    let (_client, accepted) = connect(&mut listener, to, &alice.shown_by(&server.trusted())).await.unwrap();
    assert_eq!(accepted.certificate(), Some(alice.key_sha256()));
    let (_client, accepted) = connect(&mut listener, to, &server.trusted()).await.unwrap();
    assert_eq!(accepted.certificate(), None);
    let stranger = Own::signed_by_itself("alice").shown_by(&server.trusted());
    assert!(matches!(connect(&mut listener, to, &stranger).await, Err(DialError::Tls(_) | DialError::Io(_))));
}

#[tokio::test]
async fn a_trusted_server_may_renew_its_certificate_but_not_change_its_key() {
    let (server, other) = (Own::signed_by_itself("localhost"), Own::signed_by_itself("localhost"));
    let tls = server.server();
    let (mut listener, to) = listen(tls.clone()).await;
    let trusting = server.trusted();
    tls.replace(&server.renewed().server());
    connect(&mut listener, to, &trusting).await.unwrap();
    tls.replace(&other.server());
    let Err(DialError::Tls(refused)) = connect(&mut listener, to, &trusting).await else { panic!() };
    let found: String = other.key_sha256().iter().map(|byte| format!("{byte:02x}")).collect();
    assert!(refused.to_string().contains(&format!("sha256:{found}")), "{refused}");
}

#[tokio::test]
async fn each_connection_is_known_by_its_own_certificate_sessions_or_not() {
    let (server, alice) = (Own::signed_by_itself("localhost"), Own::signed_by_itself("alice"));
    let (mut listener, to) = listen(server.server().asking_for_certificates().unwrap()).await;
    let trusting = server.trusted();
    let (without, with) = (trusting.clone(), alice.shown_by(&trusting));
    for _ in 0..3 {
        for (tls, expected) in [(&with, Some(alice.key_sha256())), (&without, None)] {
            let (mut client, accepted) = connect(&mut listener, to, tls).await.unwrap();
            assert_eq!(accepted.certificate(), expected);
            assert_eq!(client.certificate(), Some(server.key_sha256()));
            // Tickets come with the first bytes read.
            let mut accepted = accepted;
            accepted.send(vec![1].into());
            soon(poll_fn(|cx| accepted.poll_flush(cx))).await.unwrap();
            soon(poll_fn(|cx| client.poll_receive(cx, &mut Vec::new(), 1))).await.unwrap();
        }
    }
}

#[tokio::test]
async fn a_client_that_is_asked_may_show_any_certificate_or_none() {
    let server = Own::signed_by_itself("localhost");
    let (mut listener, to) = listen(server.server().asking_for_certificates().unwrap()).await;
    let alice = Own::signed_by_itself("alice");
    let (client, accepted) = connect(&mut listener, to, &alice.shown_by(&server.trusted())).await.unwrap();
    assert_eq!(accepted.certificate(), Some(alice.key_sha256()));
    assert_eq!(client.certificate(), Some(server.key_sha256()));
    let (_client, accepted) = connect(&mut listener, to, &server.trusted()).await.unwrap();
    assert_eq!(accepted.certificate(), None);
}

#[tokio::test]
async fn nothing_of_a_path_is_in_debug_output() {
    let mut listener = Listener::bind("127.0.0.1:0", None, SocketLimits::default()).await.unwrap();
    let url: ilp_clp::ws::Url = format!("ws://{}/name/tell-nobody", listener.local_addr().unwrap()).parse().unwrap();
    let (tls, limits) = (TlsClientConfig::public_roots().unwrap(), SocketLimits::default());
    let (client, server) = soon(async { tokio::join!(dial(&url, &tls, &limits), listener.accept()) }).await;
    for text in [format!("{url:?}"), format!("{url}"), format!("{:?}", client.unwrap()), format!("{server:?}")] {
        assert!(!text.contains("tell-nobody"), "{text}");
    }
    assert_eq!(server.path(), "/name/tell-nobody");
}

#[test]
fn an_error_about_a_damaged_key_shows_nothing_of_the_key() {
    let own = Own::signed_by_itself("a");
    let whole = own.key.replace(['\n', '\r'], "");
    let base64 = whole.trim_start_matches("-----BEGIN PRIVATE KEY-----").trim_end_matches("-----END PRIVATE KEY-----");
    let damaged = [
        whole.clone(),
        whole.replace("-----END PRIVATE KEY-----", ""),
        own.key.replace("-----END PRIVATE KEY-----", ""),
        own.key.replace("-----\n", "-----\n!"),
        base64.to_owned(),
    ];
    let decimal = |text: &str| text.bytes().map(|byte| byte.to_string()).collect::<Vec<_>>().join(", ");
    let (start, decimals) = (&base64[..20], decimal(&base64[..20]));
    for key in damaged {
        let errors = [
            TlsServerConfig::from_pem(own.pem.as_bytes(), key.as_bytes()).unwrap_err(),
            TlsServerConfig::from_pem(key.as_bytes(), key.as_bytes()).unwrap_err(),
            own.trusted().with_certificate_pem(own.pem.as_bytes(), key.as_bytes()).unwrap_err(),
            TlsClientConfig::trusting_certificate_pem(key.as_bytes()).unwrap_err(),
        ];
        for error in errors {
            let said = format!("{error} {error:?}");
            assert!(!said.contains(start) && !said.contains(&decimals), "{said}");
        }
    }
}

#[test]
fn damaged_client_certificates_have_clear_errors() {
    let (own, other) = (Own::signed_by_itself("a"), Own::signed_by_itself("b"));
    let trusting = own.trusted();
    assert!(trusting.with_certificate_pem(own.pem.as_bytes(), other.key.as_bytes()).is_err());
    assert_eq!(trusting.with_certificate_pem(b"", own.key.as_bytes()).unwrap_err().to_string(), "no certificate in the PEM text");
    assert!(own.server().with_client_ca_pem(b"", ClientCertificates::Required).is_err());
    assert!(Certificate::from_pem(own.key.as_bytes()).is_err());
}
