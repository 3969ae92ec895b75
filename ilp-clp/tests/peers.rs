//! Clients and servers over sockets of 127.0.0.1.
#![cfg(feature = "tokio")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

use async_trait::async_trait;
use bytes::Bytes;
use futures::future::join_all;
use ilp_clp::ws::{DialError, Listener, Socket, SocketError, SocketLimits, TlsClientConfig, TlsServerConfig, dial};
use ilp_clp::{
    Accounts, Client, ClientConfig, Confirmation, ConnectError, Credentials, ExchangeConfig, Failure, Form, HandlerError, HandlerReply,
    HandlerRequest, LocalFailure, Peer, ProtocolBuffer, Reply, RequestHandler, Server, ServerConfig, Settled, SetupFailure, Transfer, Via,
    now,
};
use ilp_oer::clp::{Dialect, Protocol};
use ilp_oer::{Address, Amount, ErrorCode, Fulfillment, TransferId};
use std::future::poll_fn;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::{Barrier, Notify, mpsc};
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Message;

type Answer = Result<HandlerReply, HandlerError>;

fn address(text: &str) -> Address {
    Address::new(text).unwrap()
}

fn fulfillment() -> Fulfillment {
    Fulfillment::new([0xf1; 32])
}

fn conditional() -> Transfer {
    let expires_at = now().saturating_add_millis(30_000);
    Transfer::Conditional { amount: Amount::new(5), condition: fulfillment().condition(), expires_at }
}

fn server_config() -> ServerConfig {
    let accounts = Accounts::new().with("alice", "secret", address("test.node.alice"));
    ServerConfig::new(ExchangeConfig::new(address("test.node")), accounts)
}

fn client_config(server: &Server, form: Form) -> ClientConfig {
    let url = format!("ws://{}", server.local_addr().unwrap()).parse().unwrap();
    let tls = TlsClientConfig::public_roots().unwrap();
    ClientConfig::new(url, Credentials::new("alice", "secret", ""), tls, address("test.alice")).with_form(form)
}

/// Both ends of a connection.
async fn connected(server: ServerConfig) -> (Peer, Peer) {
    let form = server.form;
    let mut server = Server::bind("127.0.0.1:0", server).await.unwrap();
    let config = client_config(&server, form);
    let (client, accepted) = tokio::join!(Client::connect(config), server.accept());
    (client.unwrap(), accepted)
}

async fn fulfill(_peer: Peer, request: HandlerRequest) -> Answer {
    Ok(match request.transfer {
        Transfer::Conditional { .. } => HandlerReply { fulfillment: Some(fulfillment()), data: request.data },
        _ => HandlerReply::response(request.data),
    })
}

/// Nothing here may take this long.
async fn soon<T>(future: impl Future<Output = T>) -> T {
    timeout(Duration::from_secs(20), future).await.expect("it took too long")
}

#[tokio::test]
async fn all_kinds_of_requests_come_back_in_all_forms() {
    for form in [Form::Named, Form::Seed, Form::Legacy2017] {
        let (client, server) = soon(connected(server_config().with_form(form).with_handler(fulfill))).await;
        client.set_request_handler(fulfill);
        let protocol = if form == Form::Seed { Protocol::Id(1) } else { Protocol::Name("ilp") };
        let data = ProtocolBuffer::one(protocol, b"content").unwrap();
        assert_eq!((client.dialect(), server.dialect()), (data.dialect(), data.dialect()));
        assert_eq!((client.account(), server.account()), (&b"alice"[..], &b"alice"[..]));
        assert_eq!(server.address(), Some(&address("test.node.alice")));
        assert_eq!(client.address(), if form == Form::Legacy2017 { None } else { server.address() });
        for end in [&client, &server] {
            let message = soon(end.send_request(data.clone(), Transfer::None)).await;
            assert_eq!(message, Ok(Reply::Response { data: data.clone() }));
            let payment = soon(end.send_request(data.clone(), conditional())).await;
            assert_eq!(payment, Ok(Reply::Fulfilled { fulfillment: fulfillment(), data: data.clone() }));
            let unconditional = soon(end.send_request(data.clone(), Transfer::Pay { amount: Amount::new(1) })).await;
            match form {
                Form::Legacy2017 => assert_eq!(unconditional, Err(LocalFailure::NotNegotiated.into())),
                _ => assert_eq!(unconditional, Ok(Reply::Response { data: data.clone() })),
            }
        }
    }
}

#[tokio::test]
async fn wrong_token_and_unknown_account_are_refused_alike() {
    let mut server = Server::bind("127.0.0.1:0", server_config()).await.unwrap();
    let mut errors = Vec::new();
    for (account, token) in [("alice", "wrong"), ("nobody", "secret")] {
        let mut config = client_config(&server, Form::Named);
        config.credentials = Credentials::new(account, token, "");
        let refused = soon(async {
            tokio::select! {
                refused = Client::connect(config) => refused,
                peer = server.accept() => panic!("{peer:?}"),
            }
        })
        .await;
        let Err(ConnectError::Setup(SetupFailure::Refused(error))) = refused else { panic!("{refused:?}") };
        errors.push((error.code(), error.packet().unwrap().data.to_vec()));
    }
    assert_eq!(errors[0], (ErrorCode::F00_BAD_REQUEST, b"not authenticated".to_vec()));
    assert_eq!(errors[0], errors[1]);
}

/// Tells when it was called and what was settled; answers when told to.
struct Waiting {
    called: mpsc::UnboundedSender<()>,
    go: Arc<Notify>,
    settled: mpsc::UnboundedSender<Settled>,
}

#[async_trait]
impl RequestHandler for Waiting {
    async fn handle(&self, _peer: &Peer, _request: HandlerRequest) -> Answer {
        let _ = self.called.send(());
        self.go.notified().await;
        Ok(HandlerReply::fulfill(fulfillment()))
    }

    fn settled(&self, _peer: &Peer, settled: Settled) {
        let _ = self.settled.send(settled);
    }
}

#[tokio::test]
async fn dropping_the_future_does_not_undo_the_transfer() {
    let (called, mut was_called) = mpsc::unbounded_channel();
    let (settled, mut was_settled) = mpsc::unbounded_channel();
    let go = Arc::new(Notify::new());
    let (client, _server) = soon(connected(server_config().with_handler(Waiting { called, go: go.clone(), settled }))).await;
    let id = TransferId::new([9; 16]);
    soon(async {
        tokio::select! {
            outcome = client.send_request_as(id, ProtocolBuffer::EMPTY, conditional()) => panic!("{outcome:?}"),
            called = was_called.recv() => called.unwrap(),
        }
    })
    .await;
    go.notify_one();
    let settled = soon(was_settled.recv()).await.unwrap();
    assert_eq!(settled, Settled { transfer_id: id, fulfilled: true, confirmation: Confirmation::Acknowledged });
}

#[tokio::test]
async fn a_panicking_handler_costs_its_request_and_nothing_else() {
    let handler = |peer: Peer, request: HandlerRequest| async move {
        assert!(request.data.is_empty(), "a test of panics");
        fulfill(peer, request).await
    };
    let (client, _server) = soon(connected(server_config().with_handler(handler))).await;
    let bad = ProtocolBuffer::one(Protocol::Name("ilp"), b"x").unwrap();
    for (transfer, expected) in [(conditional(), Via::Reject), (Transfer::None, Via::Error)] {
        let Err(Failure::Remote { error, via, .. }) = soon(client.send_request(bad.clone(), transfer)).await else { panic!("no error") };
        assert_eq!((error.code(), via), (ErrorCode::T00_INTERNAL_ERROR, expected));
    }
    assert!(matches!(soon(client.send_request(ProtocolBuffer::EMPTY, conditional())).await, Ok(Reply::Fulfilled { .. })));
}

#[tokio::test]
async fn handlers_run_beside_each_other() {
    let together = Arc::new(Barrier::new(50));
    let handler = move |peer: Peer, request: HandlerRequest| {
        let together = Arc::clone(&together);
        async move {
            together.wait().await;
            fulfill(peer, request).await
        }
    };
    let (client, _server) = soon(connected(server_config().with_handler(handler))).await;
    let requests = (0..50).map(|_| client.send_request(ProtocolBuffer::EMPTY, conditional()));
    assert!(soon(join_all(requests)).await.into_iter().all(|outcome| matches!(outcome, Ok(Reply::Fulfilled { .. }))));
}

#[tokio::test]
async fn handlers_are_bounded_and_one_too_many_is_refused() {
    let mut config = server_config();
    config.exchange.limits.handling_max = 2;
    let (called, mut was_called) = mpsc::unbounded_channel();
    let go = Arc::new(Notify::new());
    let settled = mpsc::unbounded_channel().0;
    let (client, _server) = soon(connected(config.with_handler(Waiting { called, go: go.clone(), settled }))).await;
    let held = [0, 1].map(|_| {
        let client = client.clone();
        tokio::spawn(async move { client.send_request(ProtocolBuffer::EMPTY, conditional()).await })
    });
    for _ in 0..2 {
        soon(was_called.recv()).await.unwrap();
    }
    let refused = soon(client.send_request(ProtocolBuffer::EMPTY, conditional())).await;
    assert!(matches!(refused, Err(Failure::Remote { error, via: Via::Error, .. }) if error.code() == ErrorCode::T03_CONNECTOR_BUSY));
    go.notify_waiters();
    for held in held {
        assert!(matches!(soon(held).await.unwrap(), Ok(Reply::Fulfilled { .. })));
    }
}

#[tokio::test]
async fn a_handler_can_be_replaced_and_can_ask_back() {
    let (client, server) = soon(connected(server_config())).await;
    let refused = soon(client.send_request(ProtocolBuffer::EMPTY, Transfer::None)).await;
    assert!(matches!(refused, Err(Failure::Remote { error, .. }) if error.code() == ErrorCode::F00_BAD_REQUEST));
    client.set_request_handler(fulfill);
    server.set_request_handler(|peer: Peer, _request| async move {
        match peer.send_request(ProtocolBuffer::EMPTY, conditional()).await {
            Ok(Reply::Fulfilled { fulfillment, .. }) => Ok(HandlerReply::fulfill(fulfillment)),
            other => panic!("{other:?}"),
        }
    });
    assert!(matches!(soon(client.send_request(ProtocolBuffer::EMPTY, conditional())).await, Ok(Reply::Fulfilled { .. })));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn thousands_of_transfers_share_a_connection() {
    let (client, _server) = soon(connected(server_config().with_handler(fulfill))).await;
    let senders = (0..50).map(|_| async {
        for _ in 0..60 {
            let outcome = client.send_request(ProtocolBuffer::EMPTY, conditional()).await;
            assert!(matches!(outcome, Ok(Reply::Fulfilled { .. })), "{outcome:?}");
        }
    });
    soon(join_all(senders)).await;
}

#[tokio::test]
async fn dropping_the_last_clone_closes_the_connection_and_ends_what_waits() {
    let (called, mut was_called) = mpsc::unbounded_channel();
    let settled = mpsc::unbounded_channel().0;
    let go = Arc::new(Notify::new());
    let (client, server) = soon(connected(server_config().with_handler(Waiting { called, go, settled }))).await;
    let second = client.clone();
    drop(client);
    let asking = tokio::spawn({
        let second = second.clone();
        async move { second.send_request(ProtocolBuffer::EMPTY, Transfer::None).await }
    });
    soon(was_called.recv()).await.unwrap();
    assert!(!second.is_closed() && !server.is_closed());
    // The future dropped, and then the last clone: the server's handler never finishes, but its connection ends.
    asking.abort();
    let _ = soon(asking).await;
    drop(second);
    assert_eq!(soon(server.closed()).await, "the peer closed the connection");
    let failed = soon(server.send_request(ProtocolBuffer::EMPTY, Transfer::None)).await;
    assert_eq!(failed, Err(LocalFailure::Closed.into()));
}

#[tokio::test]
async fn a_request_under_way_ends_when_the_peer_goes_away() {
    let (called, mut was_called) = mpsc::unbounded_channel();
    let settled = mpsc::unbounded_channel().0;
    let (client, server) = soon(connected(server_config())).await;
    client.set_request_handler(Waiting { called, go: Arc::default(), settled });
    let asking = tokio::spawn(async move { server.send_request(ProtocolBuffer::EMPTY, conditional()).await });
    soon(was_called.recv()).await.unwrap();
    client.close();
    assert_eq!(soon(asking).await.unwrap(), Err(LocalFailure::Closed.into()));
    assert_eq!(soon(client.closed()).await, "closed");
}

fn certificate(name: &str) -> (String, String) {
    let certified = rcgen::generate_simple_self_signed([name.to_owned()]).unwrap();
    (certified.cert.pem(), certified.signing_key.serialize_pem())
}

#[tokio::test]
async fn tls_with_a_trusted_certificate_works_and_with_another_does_not() {
    let (pem, key) = certificate("localhost");
    let (other, _) = certificate("localhost");
    let tls = TlsServerConfig::from_pem(pem.as_bytes(), key.as_bytes()).unwrap();
    let mut server = Server::bind("127.0.0.1:0", server_config().with_tls(tls).with_handler(fulfill)).await.unwrap();
    let port = server.local_addr().unwrap().port();
    let serving = tokio::spawn(async move {
        let mut peers = Vec::new();
        loop {
            peers.push(server.accept().await);
        }
    });
    let config = |host: &str, tls: TlsClientConfig| {
        let url = format!("wss://{host}:{port}").parse().unwrap();
        ClientConfig::new(url, Credentials::new("alice", "secret", ""), tls, address("test.alice"))
    };
    let pinned = TlsClientConfig::trusting_certificate_pem(pem.as_bytes()).unwrap();
    let as_root = TlsClientConfig::with_roots_pem(pem.as_bytes()).unwrap();
    for (host, tls) in [("localhost", &pinned), ("127.0.0.1", &pinned), ("localhost", &as_root)] {
        let client = soon(Client::connect(config(host, tls.clone()))).await.unwrap();
        assert!(matches!(soon(client.send_request(ProtocolBuffer::EMPTY, conditional())).await, Ok(Reply::Fulfilled { .. })));
    }
    let refusals = [
        ("localhost", TlsClientConfig::trusting_certificate_pem(other.as_bytes()).unwrap()),
        ("localhost", TlsClientConfig::with_roots_pem(other.as_bytes()).unwrap()),
        ("localhost", TlsClientConfig::public_roots().unwrap()),
        ("127.0.0.1", as_root),
    ];
    for (host, tls) in refusals {
        let refused = soon(Client::connect(config(host, tls))).await;
        assert!(matches!(refused, Err(ConnectError::Dial(DialError::Tls(_)))), "{refused:?}");
    }
    serving.abort();
}

#[test]
fn damaged_certificates_have_clear_errors() {
    let (pem, key) = certificate("localhost");
    let (_, other_key) = certificate("localhost");
    assert!(TlsServerConfig::from_pem(pem.as_bytes(), other_key.as_bytes()).is_err());
    assert_eq!(TlsServerConfig::from_pem(b"", key.as_bytes()).unwrap_err().to_string(), "no certificate in the PEM text");
    assert!(TlsServerConfig::from_pem(pem.as_bytes(), b"").is_err());
    assert!(TlsClientConfig::trusting_certificate_pem(b"x").is_err());
    assert!(TlsClientConfig::with_roots_pem(key.as_bytes()).is_err());
}

/// A WebSocket without any protocol in it.
async fn raw(address: SocketAddr) -> tokio_tungstenite::WebSocketStream<TcpStream> {
    let tcp = TcpStream::connect(address).await.unwrap();
    tokio_tungstenite::client_async(format!("ws://{address}/some/path?x"), tcp).await.unwrap().0
}

#[tokio::test]
async fn slow_and_broken_handshakes_stall_nobody() {
    let mut server = Server::bind("127.0.0.1:0", server_config()).await.unwrap();
    let to = server.local_addr().unwrap();
    let _silent = TcpStream::connect(to).await.unwrap();
    let mut half = TcpStream::connect(to).await.unwrap();
    half.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n").await.unwrap();
    let mut broken = TcpStream::connect(to).await.unwrap();
    broken.write_all(b"POST / HTTP/1.1\r\n\r\n").await.unwrap();
    let _mute = raw_while_accepting(&mut server, to).await;
    let config = client_config(&server, Form::Named);
    let (client, _peer) = soon(async { tokio::join!(Client::connect(config), server.accept()) }).await;
    assert!(client.is_ok());
}

/// A WebSocket that never says a word of CLP.
async fn raw_while_accepting(server: &mut Server, to: SocketAddr) -> tokio_tungstenite::WebSocketStream<TcpStream> {
    soon(async {
        tokio::select! {
            ws = raw(to) => ws,
            peer = server.accept() => panic!("{peer:?}"),
        }
    })
    .await
}

#[tokio::test]
async fn a_handshake_that_takes_too_long_ends() {
    let limits = SocketLimits { handshake: Duration::from_millis(50), ..SocketLimits::default() };
    let mut listener = Listener::bind("127.0.0.1:0", None, limits).await.unwrap();
    let mut silent = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    let mut buffer = [0; 1];
    let closed = soon(async {
        tokio::select! {
            closed = silent.read(&mut buffer) => closed,
            socket = listener.accept() => panic!("{socket:?}"),
        }
    })
    .await;
    assert_eq!(closed.unwrap_or(0), 0);
}

#[tokio::test]
async fn one_handshake_too_many_ends_the_oldest() {
    let limits = SocketLimits { handshakes_max: 2, ..SocketLimits::default() };
    let mut listener = Listener::bind("127.0.0.1:0", None, limits).await.unwrap();
    let to = listener.local_addr().unwrap();
    let mut silent = Vec::new();
    for _ in 0..3 {
        silent.push(TcpStream::connect(to).await.unwrap());
    }
    let mut buffer = [0; 1];
    let closed = soon(async {
        tokio::select! {
            closed = silent[0].read(&mut buffer) => closed,
            socket = listener.accept() => panic!("{socket:?}"),
        }
    })
    .await;
    assert_eq!(closed.unwrap_or(0), 0);
}

#[tokio::test]
async fn a_socket_hands_out_all_frames_that_are_ready_and_counts_them() {
    use futures::SinkExt;
    let mut listener = Listener::bind("127.0.0.1:0", None, SocketLimits::default()).await.unwrap();
    let to = listener.local_addr().unwrap();
    let (mut ws, mut socket) = soon(async { tokio::join!(raw(to), listener.accept()) }).await;
    assert_eq!(socket.path(), "/some/path?x");
    for n in 0..10_u8 {
        ws.feed(Message::Binary(vec![n; 3].into())).await.unwrap();
        ws.feed(Message::Ping(vec![n].into())).await.unwrap();
    }
    ws.flush().await.unwrap();
    let mut frames = Vec::new();
    while frames.len() < 10 {
        let before = frames.len();
        let taken = soon(poll_fn(|cx| socket.poll_receive(cx, &mut frames, 4))).await.unwrap();
        assert!((1..=4).contains(&taken) && frames.len() == before + taken);
    }
    assert!((0..10_u8).zip(&frames).all(|(n, frame)| frame.as_ref() == [n; 3]));
    socket.send(vec![1; 100].into());
    socket.send(vec![2; 50].into());
    assert_eq!(socket.queued_bytes(), 150);
    soon(poll_fn(|cx| socket.poll_flush(cx))).await.unwrap();
    assert_eq!(socket.queued_bytes(), 0);
    let counters = socket.counters();
    assert_eq!((counters.frames_in, counters.bytes_in, counters.frames_out, counters.bytes_out), (10, 30, 2, 150));
}

#[tokio::test]
async fn text_and_frames_above_the_limit_end_the_connection() {
    use futures::{SinkExt, StreamExt};
    use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
    for (message, reason) in [(Message::Text("hello".into()), "text frame"), (Message::Binary(vec![0; 200_000].into()), "too large")] {
        let mut listener = Listener::bind("127.0.0.1:0", None, SocketLimits::default()).await.unwrap();
        let to = listener.local_addr().unwrap();
        let (mut ws, mut socket) = soon(async { tokio::join!(raw(to), listener.accept()) }).await;
        ws.feed(Message::Binary(vec![1].into())).await.unwrap();
        ws.feed(message).await.unwrap();
        let told = tokio::spawn(async move {
            let _ = ws.flush().await;
            ws.next().await
        });
        let mut frames = Vec::new();
        assert_eq!(soon(poll_fn(|cx| socket.poll_receive(cx, &mut frames, 1))).await.unwrap(), 1, "what came before still counts");
        let error = soon(poll_fn(|cx| socket.poll_receive(cx, &mut frames, 1))).await.unwrap_err();
        assert!(error.to_string().contains(reason), "{error}");
        drop(socket);
        // Of a frame that is too large most is unread when the socket is dropped, so the kernel may throw our last words away.
        match soon(told).await.unwrap() {
            Some(Ok(Message::Close(Some(why)))) if reason == "text frame" => assert_eq!(why.code, CloseCode::Unsupported, "{why:?}"),
            other => assert_eq!(reason, "too large", "{other:?}"),
        }
    }
}

#[tokio::test]
async fn the_last_frames_before_a_close_arrive() {
    let mut listener = Listener::bind("127.0.0.1:0", None, SocketLimits::default()).await.unwrap();
    let url = format!("ws://{}", listener.local_addr().unwrap()).parse().unwrap();
    let tls = TlsClientConfig::public_roots().unwrap();
    let limits = SocketLimits::default();
    let (dialled, mut accepted) = soon(async { tokio::join!(dial(&url, &tls, &limits), listener.accept()) }).await;
    let mut dialled = dialled.unwrap();
    // Unread input, which would make a careless close throw our last frames away.
    dialled.send(vec![0; 5000].into());
    soon(poll_fn(|cx| dialled.poll_flush(cx))).await.unwrap();
    for n in 0..100 {
        accepted.send(vec![n; 1000].into());
    }
    let closing = tokio::spawn(async move { poll_fn(|cx| accepted.poll_close(cx)).await });
    let mut frames = Vec::new();
    let end = loop {
        if let Err(end) = soon(poll_fn(|cx| dialled.poll_receive(cx, &mut frames, 1000))).await {
            break end;
        }
    };
    assert_eq!((frames.len(), end.to_string().as_str()), (100, "the peer closed the connection"));
    drop(dialled);
    soon(closing).await.unwrap().unwrap();
}

#[tokio::test]
async fn a_dialect_is_what_the_client_says() {
    let (_, server) = soon(connected(server_config().with_form(Form::Seed))).await;
    assert_eq!(server.dialect(), Dialect::Seed);
}

/// Two ends of one connection; the second keeps to `limits`, the first to none that matter here.
async fn sockets(limits: SocketLimits) -> (Socket, Socket) {
    let mut listener = Listener::bind("127.0.0.1:0", None, limits).await.unwrap();
    let url = format!("ws://{}", listener.local_addr().unwrap()).parse().unwrap();
    let (tls, lenient) = (TlsClientConfig::public_roots().unwrap(), SocketLimits::default());
    let (dialled, accepted) = soon(async { tokio::join!(dial(&url, &tls, &lenient), listener.accept()) }).await;
    (dialled.unwrap(), accepted)
}

fn impatient() -> SocketLimits {
    SocketLimits { ping: Duration::from_millis(40), pong: Duration::from_millis(80), ..SocketLimits::default() }
}

async fn end_of(socket: &mut Socket) -> SocketError {
    let mut frames = Vec::new();
    loop {
        if let Err(error) = poll_fn(|cx| socket.poll_receive(cx, &mut frames, 10)).await {
            return error;
        }
    }
}

#[tokio::test]
async fn a_peer_that_gives_no_sign_of_life_is_taken_for_gone() {
    // Nobody polls the other end, so nobody there answers the ping: as if its network were gone.
    let (_gone, mut socket) = sockets(impatient()).await;
    assert!(matches!(soon(end_of(&mut socket)).await, SocketError::Silent));
}

#[tokio::test]
async fn a_peer_that_talks_and_does_not_read_is_taken_for_gone() {
    use futures::SinkExt;
    let mut listener = Listener::bind("127.0.0.1:0", None, impatient()).await.unwrap();
    let to = listener.local_addr().unwrap();
    let (mut ws, mut socket) = soon(async { tokio::join!(raw(to), listener.accept()) }).await;
    let talking = async {
        loop {
            // Signs of life that nobody asked for, and frames.
            ws.send(Message::Pong(Bytes::new())).await.unwrap();
            ws.send(Message::Binary(vec![1].into())).await.unwrap();
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let gone = soon(async {
        tokio::select! {
            () = talking => unreachable!(),
            gone = end_of(&mut socket) => gone,
        }
    })
    .await;
    assert!(matches!(gone, SocketError::Silent), "{gone:?}");
}

#[tokio::test]
async fn a_silent_peer_that_answers_pings_stays() {
    let (mut quiet, mut socket) = sockets(impatient()).await;
    let quiet = tokio::spawn(async move { end_of(&mut quiet).await });
    let long = timeout(Duration::from_millis(600), end_of(&mut socket)).await;
    assert!(long.is_err(), "{long:?}");
    drop(socket);
    soon(quiet).await.unwrap();
}

#[tokio::test]
async fn a_peer_that_answers_pings_is_not_taken_for_one_that_takes_nothing() {
    let limits = SocketLimits { ping: Duration::from_millis(10), stall: Duration::from_millis(200), ..SocketLimits::default() };
    let (mut quiet, mut socket) = sockets(limits).await;
    let quiet = tokio::spawn(async move { end_of(&mut quiet).await });
    // For several times as long as a stall may last. Its owner has nothing to say, so it has no reason to flush.
    let mut frames = Vec::new();
    while socket.counters().controls_in < 60 {
        let received = soon(poll_fn(|cx| match socket.poll_receive(cx, &mut frames, 10) {
            std::task::Poll::Pending if socket.counters().controls_in >= 60 => std::task::Poll::Ready(Ok(0)),
            received => received,
        }));
        received.await.unwrap();
    }
    drop(socket);
    soon(quiet).await.unwrap();
}

#[tokio::test]
async fn a_peer_that_takes_nothing_is_given_up_and_one_that_takes_little_is_not() {
    let limits = SocketLimits { stall: Duration::from_millis(200), ..SocketLimits::default() };
    let (mut slow, mut socket) = sockets(limits).await;
    // More than the kernel takes on both ends together.
    let (frame, count) = (Bytes::from(vec![0; 100_000]), 400);
    for _ in 0..count {
        socket.send(frame.clone());
    }
    let mut frames = Vec::new();
    let reading = async {
        // One frame now and then, until a quarter has come.
        while frames.len() < count / 4 {
            poll_fn(|cx| slow.poll_receive(cx, &mut frames, 1)).await.unwrap();
            tokio::task::yield_now().await;
        }
        std::future::pending::<()>().await
    };
    let gone = soon(async {
        tokio::select! {
            () = reading => unreachable!(),
            gone = poll_fn(|cx| socket.poll_flush(cx)) => gone,
        }
    })
    .await;
    assert!(matches!(gone, Err(SocketError::Stalled { waiting }) if waiting > 0), "{gone:?}");
    assert!(frames.len() >= count / 4, "cut off after {} frames, while it was reading", frames.len());
}

#[tokio::test]
async fn newcomers_wait_while_young_handshakes_take_all_places() {
    let patience = Duration::from_millis(300);
    let limits = SocketLimits { handshakes_max: 1, handshake_min: patience, ..SocketLimits::default() };
    let mut listener = Listener::bind("127.0.0.1:0", None, limits).await.unwrap();
    let to = listener.local_addr().unwrap();
    let began = std::time::Instant::now();
    let _silent = TcpStream::connect(to).await.unwrap();
    let (_ws, _socket) = soon(async { tokio::join!(raw(to), listener.accept()) }).await;
    assert!(began.elapsed() >= patience, "the older one was ended after {:?}", began.elapsed());
}

#[tokio::test]
async fn a_peer_that_goes_on_sending_after_the_good_bye_is_not_heard_out() {
    let (mut talker, mut socket) = sockets(SocketLimits::default()).await;
    let frame = Bytes::from(vec![0; 100]);
    let talk = async {
        // Never reads, so never hears the good-bye.
        loop {
            for _ in 0..100 {
                talker.send(frame.clone());
            }
            if poll_fn(|cx| talker.poll_flush(cx)).await.is_err() {
                std::future::pending::<()>().await;
            }
            tokio::task::yield_now().await;
        }
    };
    soon(async {
        tokio::select! {
            () = talk => {}
            _ = poll_fn(|cx| socket.poll_close(cx)) => {}
        }
    })
    .await;
}

#[tokio::test]
async fn large_frames_are_handed_out_a_few_at_a_time() {
    let (mut sender, mut socket) = sockets(SocketLimits::default()).await;
    for _ in 0..40 {
        sender.send(Bytes::from(vec![7; 100_000]));
    }
    let mut frames = Vec::new();
    soon(async {
        let mut flushing = std::pin::pin!(async {
            poll_fn(|cx| sender.poll_flush(cx)).await.unwrap();
            std::future::pending::<()>().await
        });
        while frames.len() < 40 {
            let count = tokio::select! {
                () = &mut flushing => 0,
                count = poll_fn(|cx| socket.poll_receive(cx, &mut frames, 1_024)) => count.unwrap(),
            };
            assert!((1..=3).contains(&count), "{count} at once");
        }
    })
    .await;
}
