//! The `connector` command and TLS: certificates read again, accounts pinned to a certificate, secrets that stay secret.

#![cfg(unix)]
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

use ilp_clp::ws::{Certificate, Listener, Socket, SocketLimits, TlsClientConfig, TlsServerConfig, dial};
use ilp_oer::clp::{Body, Dialect, Entry, Extensions, Packet, ProtocolData};
use ilp_oer::sub::{Setup, names};
use std::future::poll_fn;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStderr, Command};
use tokio::time::timeout;

const PATIENCE: Duration = Duration::from_secs(60);

/// A certificate and its key, as PEM.
struct Own {
    pem: String,
    key: String,
}

impl Own {
    fn new() -> Self {
        let certified = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        Self { pem: certified.cert.pem(), key: certified.signing_key.serialize_pem() }
    }

    /// Another certificate for the same key.
    fn renewed(&self) -> Self {
        let mut params = rcgen::CertificateParams::new(["localhost".to_owned()]).unwrap();
        params.serial_number = Some(7_u64.into());
        params.not_after = rcgen::date_time_ymd(2051, 12, 31);
        let pem = params.self_signed(&rcgen::KeyPair::from_pem(&self.key).unwrap()).unwrap().pem();
        Self { pem, key: self.key.clone() }
    }

    /// As the connector shows it.
    fn key_sha256(&self) -> String {
        let key = Certificate::from_pem(self.pem.as_bytes()).unwrap().key_sha256;
        format!("sha256:{}", key.map(|byte| format!("{byte:02x}")).concat())
    }

    fn trusted(&self) -> TlsClientConfig {
        TlsClientConfig::trusting_certificate_pem(self.pem.as_bytes()).unwrap()
    }

    fn shown_by(&self, client: &TlsClientConfig) -> TlsClientConfig {
        client.with_certificate_pem(self.pem.as_bytes(), self.key.as_bytes()).unwrap()
    }
}

/// The command at work in a folder of its own.
struct Running {
    child: Child,
    stderr: Lines<BufReader<ChildStderr>>,
    /// All that was read of stderr.
    said: Vec<String>,
    urls: Vec<String>,
    folder: PathBuf,
}

impl Running {
    async fn start(name: &str, files: &[(&str, &str)], config: &str, listeners: usize) -> Self {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("tls-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        for (name, text) in files.iter().chain([&("ann.toml", config)]) {
            std::fs::write(folder.join(name), text).unwrap();
        }
        let mut command = Command::new(env!("CARGO_BIN_EXE_connector"));
        command.arg(folder.join("ann.toml")).kill_on_drop(true);
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let stderr = BufReader::new(child.stderr.take().unwrap()).lines();
        let mut running = Self { child, stderr, said: Vec::new(), urls: Vec::new(), folder };
        for _ in 0..listeners {
            let line = running.says("listening on ").await;
            running.urls.push(line.rsplit(' ').next().unwrap().to_owned());
        }
        running.says(" is running").await;
        running
    }

    async fn says(&mut self, part: &str) -> String {
        let deadline = tokio::time::Instant::now() + PATIENCE;
        loop {
            let line = tokio::time::timeout_at(deadline, self.stderr.next_line()).await;
            let line = line.unwrap_or_else(|_| panic!("hasn't said {part:?}: {:#?}", self.said)).unwrap();
            let line = line.unwrap_or_else(|| panic!("never said {part:?}: {:#?}", self.said));
            self.said.push(line.clone());
            if line.contains(part) {
                return line;
            }
        }
    }

    async fn signal(&self, name: &str) {
        let pid = self.child.id().unwrap().to_string();
        assert!(Command::new("kill").args([name, &pid]).status().await.unwrap().success());
    }

    fn write(&self, name: &str, text: &str) {
        std::fs::write(self.folder.join(name), text).unwrap();
    }

    /// Everything it said from start to end, on both channels.
    async fn stop(mut self) -> String {
        self.signal("-TERM").await;
        while let Some(line) = timeout(PATIENCE, self.stderr.next_line()).await.unwrap().unwrap() {
            self.said.push(line);
        }
        let mut stdout = self.child.stdout.take().unwrap();
        let mut rest = String::new();
        tokio::io::AsyncReadExt::read_to_string(&mut stdout, &mut rest).await.unwrap();
        timeout(PATIENCE, self.child.wait()).await.unwrap().unwrap();
        std::fs::remove_dir_all(&self.folder).unwrap();
        self.said.join("\n") + &rest
    }
}

/// Whether the connector takes this login.
async fn login(url: &str, tls: &TlsClientConfig, name: &str, token: &str) -> Result<Socket, String> {
    let mut socket = connect(url, tls).await?;
    let setup = Setup::Authenticate { token: token.as_bytes(), account: name.as_bytes(), target: b"" }.to_vec().unwrap();
    let entries = [Entry::named(names::SETUP, 0, &setup)];
    let packet = Packet { request_id: 1, body: Body::Message(ProtocolData::entries(Dialect::Named, &entries)) };
    socket.send(packet.to_vec().unwrap().into());
    let mut frames = Vec::new();
    let answered = timeout(PATIENCE, async {
        poll_fn(|cx| socket.poll_flush(cx)).await?;
        poll_fn(|cx| socket.poll_receive(cx, &mut frames, 1)).await
    });
    answered.await.unwrap().map_err(|error| error.to_string())?;
    match Packet::decode(&frames[0], Dialect::Named, Extensions::NONE).unwrap().body {
        Body::Response(_) => Ok(socket),
        other => Err(format!("{other:?}").split("triggered_at").next().unwrap().to_owned()),
    }
}

async fn connect(url: &str, tls: &TlsClientConfig) -> Result<Socket, String> {
    let url = url.replace("127.0.0.1", "localhost").parse().unwrap();
    timeout(PATIENCE, dial(&url, tls, &SocketLimits::default())).await.unwrap().map_err(|error| error.to_string())
}

const WSS: &str = "address = \"test.ann\"\n[[listen]]\nurl = \"wss://127.0.0.1:0\"\ncert = \"cert.pem\"\nkey = \"key.pem\"\n";
const ALICE: &str = "[[account]]\nname = \"alice\"\nasset = \"XRP\"\nscale = 6\ntoken = { file = \"token\" }\n";

#[tokio::test]
async fn sighup_reads_certificates_again_and_a_bad_one_changes_nothing() {
    let (old, new) = (Own::new(), Own::new());
    let files = [("cert.pem", old.pem.as_str()), ("key.pem", &old.key), ("token", "a token of alice's")];
    let mut running = Running::start("sighup", &files, &format!("{WSS}{ALICE}"), 1).await;
    let url = running.urls[0].clone();
    let mut alice = login(&url, &old.trusted(), "alice", "a token of alice's").await.unwrap();

    running.write("cert.pem", &new.pem);
    running.signal("-HUP").await;
    running.says("cert and key can't be used").await;
    running.says("the certificates stay as they were").await;
    connect(&url, &old.trusted()).await.unwrap();

    running.write("key.pem", &new.key);
    running.signal("-HUP").await;
    let line = running.says(&format!("SIGHUP: the certificate on {url} is for localhost, valid until ")).await;
    assert!(line.ends_with(&new.key_sha256()), "{line}");
    running.says("certificates read again for 1 listener,").await;
    assert!(connect(&url, &old.trusted()).await.is_err());
    connect(&url, &new.trusted()).await.unwrap();
    // Who was there goes on.
    let message = Packet { request_id: 2, body: Body::Message(ProtocolData::EMPTY) };
    alice.send(message.to_vec().unwrap().into());
    let mut frames = Vec::new();
    timeout(PATIENCE, poll_fn(|cx| alice.poll_flush(cx))).await.unwrap().unwrap();
    timeout(PATIENCE, poll_fn(|cx| alice.poll_receive(cx, &mut frames, 1))).await.unwrap().unwrap();
    assert_eq!(frames.len(), 1);
    running.stop().await;
}

#[tokio::test]
async fn a_pinned_account_is_refused_alike_with_another_certificate_with_none_and_without_tls() {
    let (server, alice, eve) = (Own::new(), Own::new(), Own::new());
    let files = [("cert.pem", server.pem.as_str()), ("key.pem", &server.key), ("token", "a token of alice's"), ("alice.pem", &alice.pem)];
    let config = format!("{WSS}[[listen]]\nurl = \"ws://127.0.0.1:0\"\n{ALICE}certificate = \"alice.pem\"\n");
    let running = Running::start("pin", &files, &config, 2).await;
    let [wss, ws] = &running.urls[..] else { panic!("{:?}", running.urls) };
    let with = |own: &Own| own.shown_by(&server.trusted());
    login(wss, &with(&alice), "alice", "a token of alice's").await.unwrap();
    let wrong_token = login(wss, &with(&alice), "alice", "a wrong token").await.unwrap_err();
    for (url, tls) in [(wss, with(&eve)), (wss, server.trusted()), (ws, server.trusted())] {
        assert_eq!(login(url, &tls, "alice", "a token of alice's").await.unwrap_err(), wrong_token);
    }
    running.stop().await;
}

#[tokio::test]
async fn sighup_gives_each_listener_the_certificate_of_its_own_section() {
    let (one, two) = (Own::new(), Own::new());
    let files =
        [("cert.pem", one.pem.as_str()), ("key.pem", &one.key), ("2.pem", &two.pem), ("2.key", &two.key), ("token", "a token of alice's")];
    // Both take any free port, so nothing but their order tells them apart.
    let config = format!("{WSS}[[listen]]\nurl = \"wss://127.0.0.1:0\"\ncert = \"2.pem\"\nkey = \"2.key\"\n{ALICE}");
    let mut running = Running::start("two-listeners", &files, &config, 2).await;
    let (old, renewed) = (two.renewed(), one.renewed());
    running.write("cert.pem", &renewed.pem);
    running.write("2.pem", &old.pem);
    running.signal("-HUP").await;
    running.says("certificates read again for 2 listeners").await;
    for (url, own, other) in [(&running.urls[0], &one, &two), (&running.urls[1], &two, &one)] {
        connect(url, &own.trusted()).await.unwrap();
        connect(url, &other.trusted()).await.unwrap_err();
    }
    running.stop().await;
}

#[tokio::test]
async fn a_pinned_peer_may_renew_its_certificate_and_after_sighup_change_its_key() {
    let (server, alice, later) = (Own::new(), Own::new(), Own::new());
    let files = [("cert.pem", server.pem.as_str()), ("key.pem", &server.key), ("token", "a token of alice's"), ("alice.pem", &alice.pem)];
    let config = format!("{WSS}{ALICE}certificate = \"alice.pem\"\n");
    let mut running = Running::start("renewed", &files, &config, 1).await;
    let url = running.urls[0].clone();
    let come = async |own: &Own| login(&url, &own.shown_by(&server.trusted()), "alice", "a token of alice's").await;
    come(&alice).await.unwrap();
    come(&alice.renewed()).await.unwrap();
    come(&later).await.unwrap_err();
    running.write("alice.pem", &later.pem);
    running.signal("-HUP").await;
    running.says("and 1 pinned account; nothing else is").await;
    come(&later).await.unwrap();
    come(&alice).await.unwrap_err();
    running.stop().await;
}

#[tokio::test]
async fn a_connector_that_dials_trusts_its_peers_key_alone_and_shows_its_own_certificate() {
    let (ann, bob, eve) = (Own::new(), Own::new(), Own::new());
    let listener = TlsServerConfig::from_pem(bob.pem.as_bytes(), bob.key.as_bytes()).unwrap().asking_for_certificates().unwrap();
    let mut bobs = Listener::bind("127.0.0.1:0", Some(listener), SocketLimits::default()).await.unwrap();
    let port = bobs.local_addr().unwrap().port();
    let config = format!(
        "address = \"test.ann\"\n[[account]]\nname = \"bob\"\nasset = \"XRP\"\nscale = 6\ntoken = {{ file = \"token\" }}\n\
         url = \"wss://127.0.0.1:{port}\"\nca = \"bob.pem\"\ncert = \"cert.pem\"\nkey = \"key.pem\"\n"
    );
    let files = [("cert.pem", ann.pem.as_str()), ("key.pem", &ann.key), ("token", "a token of bob's"), ("bob.pem", &eve.pem)];
    let mut running = Running::start("dials", &files, &config, 0).await;
    let why = format!("the server has another key than the one that is trusted: its certificate's is {}", bob.key_sha256());
    tokio::select! {
        _ = running.says(&why) => {}
        socket = bobs.accept() => panic!("{socket:?}"),
    }
    running.write("bob.pem", &bob.renewed().pem);
    running.signal("-HUP").await;
    let socket = timeout(PATIENCE, bobs.accept()).await.unwrap();
    let shown = socket.certificate().unwrap();
    assert_eq!(shown, Certificate::from_pem(ann.pem.as_bytes()).unwrap().key_sha256);
    running.says("certificates read again for 0 listeners, 1 peer that we dial").await;
    running.stop().await;
}

#[tokio::test]
async fn where_certificates_are_optional_a_client_may_come_without_but_not_with_a_strangers() {
    let (server, alice, eve) = (Own::new(), Own::new(), Own::new());
    let files = [("cert.pem", server.pem.as_str()), ("key.pem", &server.key), ("token", "a token of alice's"), ("clients.pem", &alice.pem)];
    let config = format!("{}client_ca = \"clients.pem\"\nclient_certificates = \"optional\"\n{ALICE}", WSS);
    let running = Running::start("optional", &files, &config, 1).await;
    let url = &running.urls[0];
    for tls in [alice.shown_by(&server.trusted()), server.trusted()] {
        login(url, &tls, "alice", "a token of alice's").await.unwrap();
    }
    let refused = login(url, &eve.shown_by(&server.trusted()), "alice", "a token of alice's").await.unwrap_err();
    assert!(!refused.contains("F00"), "{refused}");
    running.stop().await;
}

#[tokio::test]
async fn only_clients_of_the_authority_get_as_far_as_the_login() {
    let (server, alice, eve) = (Own::new(), Own::new(), Own::new());
    // A certificate that signed itself is an authority for itself alone.
    let files = [("cert.pem", server.pem.as_str()), ("key.pem", &server.key), ("token", "a token of alice's"), ("clients.pem", &alice.pem)];
    let config = format!("{}client_ca = \"clients.pem\"\n{ALICE}", WSS);
    let running = Running::start("client-ca", &files, &config, 1).await;
    let url = &running.urls[0];
    login(url, &alice.shown_by(&server.trusted()), "alice", "a token of alice's").await.unwrap();
    for tls in [eve.shown_by(&server.trusted()), server.trusted()] {
        let refused = login(url, &tls, "alice", "a token of alice's").await.unwrap_err();
        assert!(!refused.contains("F00"), "{refused}");
    }
    running.stop().await;
}

#[tokio::test]
async fn no_secret_is_ever_said() {
    let own = Own::new();
    let files = [("cert.pem", own.pem.as_str()), ("key.pem", &own.key), ("token", "rightrightright"), ("bob.token", "bobbobbobbobbob")];
    let old = "[[account]]\nname = \"old\"\nasset = \"XRP\"\nscale = 6\nprotocol = \"clp-2017\"\ntoken = { file = \"token\" }\n";
    let bob = "[[account]]\nname = \"bob\"\nasset = \"XRP\"\nscale = 6\nprotocol = \"clp-2017\"\ntoken = { file = \"bob.token\" }\n\
               url = \"ws://127.0.0.1:1/path-path-path\"\n";
    let config = format!("address = \"test.ann\"\n[[listen]]\nurl = \"ws://127.0.0.1:0\"\n{ALICE}{old}{bob}");
    let mut running = Running::start("secrets", &files, &config, 1).await;
    let url = running.urls[0].clone();
    let tls = own.trusted();
    drop(login(&url, &tls, "alice", "rightrightright").await.unwrap());
    running.says("account alice is gone").await;
    login(&url, &tls, "alice", "wrongwrongwrong").await.unwrap_err();
    running.says("wrong credentials").await;
    let mut in_time = connect(&format!("{url}/old/rightrightright"), &tls).await.unwrap();
    running.says("account old is connected").await;
    // A frame that isn't one, so that an error is said too.
    for _ in 0..20 {
        in_time.send(vec![0xff; 9].into());
    }
    timeout(PATIENCE, poll_fn(|cx| in_time.poll_flush(cx))).await.unwrap().unwrap();
    running.says("account old is gone").await;
    let wrong = connect(&format!("{url}/old/wrongwrongwrong"), &tls).await.unwrap();
    running.says("wrong credentials").await;
    drop(wrong);
    running.signal("-HUP").await;
    running.says("SIGHUP").await;
    let said = running.stop().await;
    assert!(said.contains("account bob at ws://127.0.0.1:1"), "{said}");
    for secret in ["rightright", "wrongwrong", "bobbobbob", "path-path", "PRIVATE KEY"] {
        assert!(!said.contains(secret), "{secret} in\n{said}");
    }
}

#[tokio::test]
async fn no_secret_of_a_wrong_configuration_is_ever_said() {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("tls-wrong-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let own = Own::new();
    let one_line = own.key.replace(['\n', '\r'], "");
    let key_begins: String = one_line.chars().skip(27).take(16).collect();
    for (name, text) in [
        ("cert.pem", own.pem.as_str()),
        ("one-line.key", &one_line),
        ("key.pem", &own.key),
        ("token", "hush hush/hush"),
        ("good", "hush-hush-hush-hush"),
    ] {
        std::fs::write(folder.join(name), text).unwrap();
    }
    let top = "address = \"test.ann\"\n";
    let account = "[[account]]\nname = \"bob\"\nasset = \"XRP\"\nscale = 6\n";
    let listen = |url: &str, key: &str| format!("{top}[[listen]]\nurl = \"{url}\"\ncert = \"cert.pem\"\nkey = \"{key}\"\n");
    let wrong = [
        listen("wss://127.0.0.1:0", "one-line.key"),
        listen("wss://127.0.0.1:0/bob/hush-hush", "key.pem"),
        listen("wss://bob:hush-hush@127.0.0.1:0", "key.pem"),
        format!("{top}{account}token = {{ file = \"token\" }}\nprotocol = \"clp-2017\"\nurl = \"ws://127.0.0.1:1\"\n"),
        format!("{top}{account}token = {{ file = \"good\" }}\nurl = \"http://127.0.0.1:1/bob/hush-hush\"\n"),
        format!("{top}{account}token = {{ file = \"good\" }}\nurl = \"ws://bob:hush-hush@127.0.0.1:1/\"\n"),
        format!("{top}{account}token = {{ file = \"good\" }}\nurl = \"ws://bob.example/hush-hush\"\nca = \"key.pem\"\n"),
        format!("{top}{account}token = {{ file = \"good\" }}\nurl = \"wss://bob.example/hush-hush\"\nca = \"one-line.key\"\n"),
        format!("{top}{account}token = {{ file = \"good\" }}\ncertificate = \"one-line.key\"\n"),
        format!("{top}{account}token = \"hush-hush\"\n"),
    ];
    for text in wrong {
        let file = folder.join("ann.toml");
        std::fs::write(&file, &text).unwrap();
        for arguments in [&["--check"][..], &[]] {
            let mut command = Command::new(env!("CARGO_BIN_EXE_connector"));
            let output = timeout(PATIENCE, command.args(arguments).arg(&file).kill_on_drop(true).output()).await.unwrap().unwrap();
            let said = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
            assert!(matches!(output.status.code(), Some(3 | 4)) && said.contains("error: "), "{text}\n{said}");
            let decimals = key_begins.bytes().map(|byte| byte.to_string()).collect::<Vec<_>>().join(", ");
            for secret in ["hush", &key_begins, &decimals] {
                assert!(!said.contains(secret), "{text}\n{said}");
            }
        }
    }
    std::fs::remove_dir_all(&folder).unwrap();
}

#[tokio::test]
async fn what_is_not_encrypted_and_leaves_the_machine_is_warned_of() {
    let files = [("token", "a token of alice's")];
    let config = format!("address = \"test.ann\"\n[[listen]]\nurl = \"ws://0.0.0.0:0\"\n{ALICE}");
    let running = Running::start("plain", &files, &config, 1).await;
    let said = running.stop().await;
    assert!(said.contains("warning: listen 1: ws://0.0.0.0:0 is not encrypted"), "{said}");
    assert!(said.contains("not on this machine only"), "{said}");
}
