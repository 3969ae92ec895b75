//! Each fault, against a server that says back what it is told.

use super::*;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// A connection through the proxy, both ends.
struct Ends {
    client: TcpStream,
    server: TcpStream,
}

struct Bench {
    proxy: Proxy,
    listener: TcpListener,
}

impl Bench {
    async fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        Self { proxy: Proxy::start(listener.local_addr().unwrap()).await.unwrap(), listener }
    }

    async fn connect(&self) -> Ends {
        let client = TcpStream::connect(self.proxy.local_addr()).await.unwrap();
        let (server, _) = self.listener.accept().await.unwrap();
        Ends { client, server }
    }

    /// A connection on which something has gone both ways.
    async fn warm(&self) -> Ends {
        let mut ends = self.connect().await;
        ends.up(b"ping").await;
        ends.down(b"pong").await;
        ends
    }

    fn suffer(&self, kind: Kind) {
        assert!(self.proxy.inject(Fault { kind, victim: Victim::Live(0) }));
    }
}

impl Ends {
    async fn up(&mut self, bytes: &[u8]) {
        self.client.write_all(bytes).await.unwrap();
        assert_eq!(read(&mut self.server, bytes.len()).await, bytes);
    }

    async fn down(&mut self, bytes: &[u8]) {
        self.server.write_all(bytes).await.unwrap();
        assert_eq!(read(&mut self.client, bytes.len()).await, bytes);
    }
}

async fn read(stream: &mut TcpStream, count: usize) -> Vec<u8> {
    let mut bytes = vec![0; count];
    stream.read_exact(&mut bytes).await.unwrap();
    bytes
}

/// All until the end, and whether that was a good one.
async fn rest(stream: &mut TcpStream) -> (usize, bool) {
    let mut bytes = Vec::new();
    let ended = stream.read_to_end(&mut bytes).await;
    (bytes.len(), ended.is_ok())
}

/// Whether nothing is there, after something has gone through another connection meanwhile.
async fn is_quiet(bench: &Bench, stream: &TcpStream) -> bool {
    let mut other = bench.connect().await;
    for _ in 0..20 {
        other.up(b"ping").await;
        other.down(b"pong").await;
    }
    stream.try_read(&mut [0; 16]).is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock)
}

const LONG: Duration = Duration::from_secs(3_600);

#[tokio::test]
async fn without_faults_bytes_and_ends_pass_both_ways() {
    let bench = Bench::new().await;
    let mut ends = bench.warm().await;
    ends.client.shutdown().await.unwrap();
    assert_eq!(rest(&mut ends.server).await, (0, true));
    ends.down(&[7; 100_000]).await;
    ends.server.shutdown().await.unwrap();
    assert_eq!(rest(&mut ends.client).await, (0, true));
}

#[tokio::test]
async fn a_cut_ends_both_sides_by_fin_or_by_reset() {
    for reset in [false, true] {
        let bench = Bench::new().await;
        let mut ends = bench.warm().await;
        bench.suffer(Kind::Cut { reset, within: None });
        assert_eq!((rest(&mut ends.client).await, rest(&mut ends.server).await), ((0, !reset), (0, !reset)));
    }
}

#[tokio::test]
async fn a_cut_within_lets_a_part_through() {
    let bench = Bench::new().await;
    let mut ends = bench.warm().await;
    bench.suffer(Kind::Cut { reset: false, within: Some(3) });
    ends.client.write_all(b"abcdefgh").await.unwrap();
    assert_eq!(rest(&mut ends.server).await, (3, true));
}

#[tokio::test]
async fn what_is_delayed_comes_in_the_end() {
    let bench = Bench::new().await;
    let mut ends = bench.warm().await;
    bench.suffer(Kind::Delay { lanes: Lanes::Up, time: LONG });
    ends.client.write_all(b"late").await.unwrap();
    ends.client.shutdown().await.unwrap();
    ends.down(b"not held up").await;
    assert!(is_quiet(&bench, &ends.server).await);
    bench.proxy.heal();
    assert_eq!(rest(&mut ends.server).await, (4, true));
}

#[tokio::test]
async fn a_delay_ends_by_itself() {
    let bench = Bench::new().await;
    let mut ends = bench.warm().await;
    bench.suffer(Kind::Delay { lanes: Lanes::Both, time: Duration::from_millis(20) });
    ends.up(b"late").await;
    ends.down(b"later").await;
}

#[tokio::test]
async fn a_half_closed_connection_goes_on_in_the_other_direction_or_is_silent() {
    for silent in [false, true] {
        let bench = Bench::new().await;
        let mut ends = bench.warm().await;
        bench.suffer(Kind::HalfClose { lanes: Lanes::Up, silent });
        assert_eq!(rest(&mut ends.server).await, (0, true));
        // Nobody tells the client.
        ends.client.write_all(b"for nobody").await.unwrap();
        if silent {
            ends.server.write_all(b"nor this").await.unwrap();
            assert!(is_quiet(&bench, &ends.client).await);
        } else {
            ends.down(b"still there").await;
        }
    }
}

#[tokio::test]
async fn a_black_hole_takes_everything_and_tells_nobody() {
    let bench = Bench::new().await;
    let mut ends = bench.warm().await;
    bench.suffer(Kind::BlackHole);
    ends.client.write_all(&[0; 100_000]).await.unwrap();
    ends.client.shutdown().await.unwrap();
    ends.server.write_all(&[0; 100_000]).await.unwrap();
    assert!(is_quiet(&bench, &ends.server).await && is_quiet(&bench, &ends.client).await);
    bench.proxy.heal();
    assert!(is_quiet(&bench, &ends.server).await);
}

#[tokio::test]
async fn a_trickle_loses_nothing() {
    let bench = Bench::new().await;
    let mut ends = bench.warm().await;
    bench.suffer(Kind::Trickle { time: Duration::from_millis(50) });
    let bytes: Vec<u8> = (0..=255).collect();
    ends.up(&bytes).await;
    ends.down(&bytes).await;
}

#[tokio::test]
async fn the_next_connection_suffers_from_its_first_byte() {
    let bench = Bench::new().await;
    assert!(!bench.proxy.inject(Fault { kind: Kind::BlackHole, victim: Victim::Live(3) }));
    assert!(bench.proxy.inject(Fault { kind: Kind::BlackHole, victim: Victim::Next }));
    let mut ends = bench.connect().await;
    ends.client.write_all(b"hello").await.unwrap();
    assert!(is_quiet(&bench, &ends.server).await);
    assert_eq!(bench.proxy.counts(), [("black_hole", 1)].into());
}
