//! What is refused: servers that promise less than is required, or have something else than our books.

use crate::support::{DISK, PATIENCE, Server, batch, commit, durable, open, unknown, until};
use ilp_core::store::{BalanceStore, CommitOutcome, Durability};
use ilp_store_redis::{RedisConfig, RedisError, RedisStore, Required};
use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::time::{Duration, Instant};

async fn refused(config: RedisConfig) -> String {
    match RedisStore::connect(config).await {
        Ok(store) => panic!("{store:?} should be refused"),
        Err(error) => error.to_string(),
    }
}

#[track_caller]
fn says(message: &str, parts: &[&str]) {
    for part in parts {
        assert!(message.contains(part), "there is no {part:?} in {message:?}");
    }
}

/// Every second isn't at once, and isn't taken for it.
#[tokio::test]
async fn a_server_that_promises_too_little() {
    let server = Server::start(&["--appendonly", "yes", "--appendfsync", "everysec"]);
    says(&refused(server.config()).await, &["appendfsync everysec", "always is needed", "CONFIG SET appendfsync always"]);
    server.ask(&["CONFIG", "SET", "appendfsync", "always"]);
    server.ask(&["CONFIG", "SET", "no-appendfsync-on-rewrite", "yes"]);
    says(&refused(server.config()).await, &["no-appendfsync-on-rewrite yes", "CONFIG SET no-appendfsync-on-rewrite no"]);
    server.ask(&["CONFIG", "SET", "no-appendfsync-on-rewrite", "no"]);
    server.ask(&["CONFIG", "SET", "appendonly", "no"]);
    says(&refused(server.config()).await, &["appendonly no", "yes is needed", "CONFIG SET appendonly yes"]);
    says(&refused(server.config().require(Required::Replicas(1))).await, &["appendonly no", "CONFIG SET appendonly yes"]);
    // Nothing was begun by those that were refused.
    assert_eq!(server.ask(&["DBSIZE"]), redis::Value::Int(0));
    let store = RedisStore::connect(server.config().require(Required::Nothing)).await.unwrap();
    assert_eq!(store.durability(), Durability::Memory);
    server.ask(&["CONFIG", "SET", "appendonly", "yes"]);
    assert_eq!(server.store().await.durability(), Durability::Disk);
}

#[tokio::test]
async fn a_server_that_may_throw_books_away() {
    let server = Server::start(&["--maxmemory-policy", "allkeys-lru"]);
    let message = refused(server.config().require(Required::Nothing)).await;
    says(&message, &["maxmemory-policy allkeys-lru", "noeviction is needed", "CONFIG SET maxmemory-policy noeviction"]);
}

/// It is noticed when the connection is made anew, and nothing is written until it is mended.
#[tokio::test]
async fn a_promise_that_is_taken_back() {
    let server = Server::start(DISK);
    let store = server.store().await;
    let epoch = open(&store, "a").await.epoch;
    durable(&store, batch("a", epoch, 1)).await;
    server.ask(&["CONFIG", "SET", "appendfsync", "no"]);
    server.ask(&["CLIENT", "KILL", "TYPE", "normal"]);
    let cause = until("the store looks at the settings", || async {
        let cause = unknown(store.commit(batch("a", epoch, 2)).await);
        cause.contains("appendfsync").then_some(cause)
    })
    .await;
    says(&cause, &["appendfsync no", "always is needed", "CONFIG SET appendfsync always"]);
    assert_eq!(server.text(&["HGET", "slot:{a}", "seq"]), "1");
    assert!(store.open(&"a".into(), &crate::support::lease()).await.unwrap_err().message.contains("appendfsync"));
    server.ask(&["CONFIG", "SET", "appendfsync", "always"]);
    assert_eq!(commit(&store, &batch("a", epoch, 2)).await, CommitOutcome::Durable);
}

#[tokio::test]
async fn a_number_of_replicas_that_is_wrong() {
    let server = Server::start(DISK);
    says(&refused(server.config().require(Required::Replicas(1))).await, &["has 0 replicas", "exactly 1", "INFO replication"]);
    let replica = Server::replica_of(&server, DISK);
    let store = crate::support::connected(server.config().require(Required::Replicas(1))).await;
    assert_eq!(store.durability(), Durability::Replicated(2));
    let second = Server::replica_of(&server, DISK);
    until("both follow", || async { (server.info("connected_slaves") == "2").then_some(()) }).await;
    says(&refused(server.config().require(Required::Replicas(1))).await, &["has 2 replicas", "exactly 1", "require as many"]);
    // Without the first one nothing is durable any more, and that is said in time.
    let epoch = open(&store, "a").await.epoch;
    durable(&store, batch("a", epoch, 1)).await;
    drop(second);
    replica.pause();
    says(&unknown(store.commit(batch("a", epoch, 2)).await), &["0 of 1 replicas", "INFO replication"]);
    replica.go_on();
    assert_eq!(commit(&store, &batch("a", epoch, 2)).await, CommitOutcome::Durable);
}

#[tokio::test]
async fn a_replica() {
    let master = Server::start(DISK);
    let replica = Server::replica_of(&master, DISK);
    let message = refused(replica.config()).await;
    says(&message, &["read-only replica", &format!("127.0.0.1:{}", master.port()), "sentinel://"]);
}

#[tokio::test]
async fn passwords() {
    let server = Server::start(&["--requirepass", "s3cret"]);
    let config = server.config().require(Required::Nothing);
    says(&refused(config.clone()).await, &["refuses", "NOAUTH", "password"]);
    let message = refused(config.clone().login(None, "other-s3cret")).await;
    says(&message, &["refuses", "the password is wrong", "Set the user and password"]);
    assert!(!message.contains("other-s3cret"), "{message}");
    says(&refused(config.clone().login(Some("ann"), "s3cret")).await, &["refuses", "the password is wrong"]);
    let store = RedisStore::connect(config.clone().login(None, "s3cret")).await.unwrap();
    open(&store, "a").await;
    let url = format!("redis://:s3cret@127.0.0.1:{}/1", server.port());
    let by_url = RedisStore::connect(RedisConfig::new(&url).unwrap().require(Required::Nothing)).await.unwrap();
    assert_eq!(by_url.directory().await.unwrap().slots, [], "another database has other books");
    assert!(!format!("{by_url:?} {store:?}").contains("s3cret"));
}

/// Somebody who may read but not write, nor look at settings.
#[tokio::test]
async fn a_user_who_may_too_little() {
    let server = Server::start(DISK);
    server.ask(&["ACL", "SETUSER", "ann", "on", ">pass", "~*", "+@all", "-config"]);
    says(&refused(server.config().login(Some("ann"), "pass")).await, &["NOPERM", "CONFIG GET", "ACL SETUSER"]);
}

/// It has sixteen, if not told otherwise.
#[tokio::test]
async fn a_database_that_isnt_there() {
    let server = Server::start(DISK);
    let url = format!("redis://127.0.0.1:{}/99", server.port());
    says(&refused(RedisConfig::new(&url).unwrap()).await, &["DB index", "Choose another database"]);
}

#[cfg(feature = "tls")]
#[tokio::test]
async fn over_tls() {
    let certified = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
    let dir = crate::support::Dir::new();
    let file = |name: &str, content: &str| {
        let path = dir.path().join(name);
        std::fs::write(&path, content).unwrap();
        path.display().to_string()
    };
    let (cert, key) = (file("cert.pem", &certified.cert.pem()), file("key.pem", &certified.signing_key.serialize_pem()));
    let port = crate::support::free_port().to_string();
    let tls =
        ["--tls-port", &port, "--tls-cert-file", &cert, "--tls-key-file", &key, "--tls-ca-cert-file", &cert, "--tls-auth-clients", "no"];
    let _server = Server::start(&[DISK, &tls].concat());
    let config = RedisConfig::new(&format!("rediss://127.0.0.1:{port}")).unwrap();
    let store = RedisStore::connect(config.clone().ca_file(&cert)).await.unwrap();
    let epoch = open(&store, "a").await.epoch;
    durable(&store, batch("a", epoch, 1)).await;
    // Nobody that the system trusts vouches for it.
    says(&refused(config.clone()).await, &["no connection", "certificate"]);
    says(&refused(config.clone().ca_file(dir.path().join("nothing"))).await, &["nothing can't be read"]);
    says(&refused(config.ca_file(&key)).await, &["certificate"]);
}

#[tokio::test]
async fn something_that_isnt_a_server_for_books() {
    let master = Server::start(DISK);
    let sentinel = Server::sentinel_of(&master);
    says(&refused(sentinel.config()).await, &["is a Sentinel", "sentinel://"]);
    let nobody = RedisConfig::new("redis://127.0.0.1:1").unwrap();
    says(&refused(nobody).await, &["no connection", "127.0.0.1:1", "the server runs"]);
    for (info, parts) in [
        ("redis_version:6.2.14\r\nredis_mode:standalone\r\n", ["version \"6.2.14\"", "7.0 or later is needed"]),
        ("redis_version:7.4.0\r\nredis_mode:cluster\r\n", ["Redis Cluster", "is needed"]),
        ("redis_version:7.4.0\r\nloading:1\r\n", ["is loading its data", "wait until it has"]),
        ("", ["has version \"\"", "is needed"]),
    ] {
        let port = pretend(info);
        says(&refused(RedisConfig::new(&format!("redis://127.0.0.1:{port}")).unwrap()).await, &parts);
    }
}

/// Somebody who says `OK` to everything, and who it is when asked.
fn pretend(info: &'static str) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        let (stream, _) = listener.accept().unwrap();
        let mut lines = BufReader::new(stream.try_clone().unwrap()).lines().map_while(Result::ok);
        // `*2` means that two words follow, each with its length before it.
        while let Some(count) = lines.next() {
            let count: usize = count.trim_start_matches('*').parse().unwrap();
            let words: Vec<_> = lines.by_ref().take(2 * count).collect();
            let answer = if words[1] == "INFO" { format!("${}\r\n{info}\r\n", info.len()) } else { "+OK\r\n".to_owned() };
            (&stream).write_all(answer.as_bytes()).unwrap();
        }
    });
    port
}

/// One that accepts and is silent doesn't keep anybody waiting.
#[tokio::test]
async fn a_server_that_is_silent() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let config = RedisConfig::new(&format!("redis://{}", listener.local_addr().unwrap())).unwrap();
    let began = Instant::now();
    says(&refused(config.connect_timeout(Duration::from_millis(200))).await, &["hasn't answered", "within 200 ms"]);
    assert!(began.elapsed() < PATIENCE);
}

#[tokio::test]
async fn keys_that_arent_ours() {
    let server = Server::start(DISK);
    let config = server.config();
    let refused = |prefix: &str| {
        let config = config.clone().prefix(prefix);
        async move { RedisStore::connect(config).await.unwrap_err() }
    };
    RedisStore::connect(config.clone().prefix("ours:")).await.unwrap();
    let schema = server.text(&["GET", "ours:schema"]);
    says(&schema, &["ilp-store-redis 1 "]);
    server.ask(&["SET", "newer:schema", &schema.replace(" 1 ", " 2 ")]);
    assert!(matches!(refused("newer:").await, RedisError::Newer { found: 2, known: 1, .. }));
    says(&refused("newer:").await.to_string(), &["schema 2", "up to 1", "a newer one"]);
    server.ask(&["SET", "older:schema", &schema.replace(" 1 ", " 0 ")]);
    server.ask(&["SET", "text:schema", "create table"]);
    server.ask(&["RPUSH", "list:schema", "1"]);
    server.ask(&["SADD", "without:slots", "slot-0"]);
    for prefix in ["older:", "text:", "list:", "without:"] {
        let error = refused(prefix).await;
        assert!(matches!(error, RedisError::NotBooks { .. }), "{error}");
        says(&error.to_string(), &["aren't books", "choose another prefix"]);
    }
    // Nothing was changed.
    assert_eq!(server.text(&["GET", "text:schema"]), "create table");
    assert_eq!(server.ask(&["EXISTS", "without:schema"]), redis::Value::Int(0));
}

#[tokio::test]
async fn prefixes_keep_books_apart() {
    let server = Server::start(DISK);
    let one = RedisStore::connect(server.config().prefix("one:")).await.unwrap();
    let two = RedisStore::connect(server.config().prefix("two:")).await.unwrap();
    let epoch = open(&one, "a").await.epoch;
    durable(&one, batch("a", epoch, 1)).await;
    assert_eq!(two.read(&"a".into()).await.unwrap(), None);
    assert_eq!(open(&two, "a").await.last_seq, 0);
    assert_eq!(two.directory().await.unwrap().slots.len(), 1);
}
