//! A connector between two peers, from start to stop.

use super::support::{Running, SECRET};
use ilp_oer::Fulfillment;

#[tokio::test]
async fn a_configured_connector_forwards_payments_until_told_to_stop() {
    for (signal, name) in [("-INT", "Ctrl-C"), ("-TERM", "SIGTERM")] {
        let mut running = Running::start(&format!("idle{signal}"), &[]).await;
        running.takes.add_permits(1);
        let payment = running.pay().await;
        assert_eq!(payment.await.unwrap(), Ok(Fulfillment::new(SECRET)));
        running.signal(signal).await;
        running.line_with(&format!("{name}: stopping; waiting up to 10.0 s for payments in flight, once more stops at once")).await;
        running.line_with("stopped; nothing was left in flight").await;
        let (code, stdout) = running.end().await;
        assert_eq!(code, 0);
        let rows: Vec<Vec<&str>> = stdout.lines().map(|line| line.split_whitespace().collect()).collect();
        assert!(rows.contains(&vec!["alice", "-0.000700", "XRP", "0.000000", "XRP"]), "{stdout}");
        assert!(rows.contains(&vec!["bob", "0.000700", "XRP", "0.000000", "XRP"]), "{stdout}");
    }
}

#[tokio::test]
async fn a_payment_in_flight_is_waited_for() {
    let mut running = Running::start("drain", &["--drain", "60s"]).await;
    let payment = running.pay().await;
    running.signal("-INT").await;
    running.line_with("Ctrl-C: stopping; waiting up to 1 min 00 s").await;
    running.takes.add_permits(1);
    assert_eq!(payment.await.unwrap(), Ok(Fulfillment::new(SECRET)));
    running.line_with("stopped; nothing was left in flight").await;
    let (code, stdout) = running.end().await;
    assert_eq!(code, 0);
    assert!(stdout.contains("-0.000700 XRP"), "{stdout}");
}

#[tokio::test]
async fn a_second_signal_stops_at_once() {
    let mut running = Running::start("twice", &["--drain", "60s"]).await;
    let payment = running.pay().await;
    running.signal("-INT").await;
    running.line_with("once more stops at once").await;
    running.signal("-INT").await;
    running.line_with("Ctrl-C again: stopped at once").await;
    assert_eq!(running.end().await.0, 130);
    payment.abort();
}

#[tokio::test]
async fn after_the_deadline_it_stops_with_payments_in_flight_and_says_so() {
    let mut running = Running::start("deadline", &["--drain", "1ms"]).await;
    let payment = running.pay().await;
    running.signal("-INT").await;
    running.line_with("stopped with 1 payment in flight").await;
    let (code, stdout) = running.end().await;
    assert_eq!(code, 1);
    assert!(stdout.contains("0.000700 XRP"), "{stdout}");
    payment.abort();
}
