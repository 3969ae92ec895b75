//! What a run has shown, for people and for programs.

use super::store::{RedisUse, StoreUse};
use serde::{Serialize, Serializer};
use std::collections::BTreeMap;
use std::fmt::{self, Display};
use std::time::Duration;

/// A report; as JSON one line with these fields.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Report {
    /// Payments started.
    pub(crate) payments: u64,
    /// Payments fulfilled.
    pub(crate) fulfilled: u64,
    /// How many ended otherwise, by code of the error; `none` had no outcome, `late` were fulfilled after their expiry.
    pub(crate) failed: BTreeMap<String, u64>,
    /// From the start of the first payment to the end of the last.
    pub(crate) seconds: Decimal,
    /// Fulfilled payments a second.
    pub(crate) payments_per_second: Decimal,
    /// From the start of a payment to its fulfillment.
    pub(crate) latency_ms: Latency,
    /// WebSocket payload of all connections of this program.
    pub(crate) bytes: Traffic,
    /// The connector's process; `null` if it isn't known.
    pub(crate) connector: Option<Usage>,
    /// CPU time of this program for each fulfilled payment.
    pub(crate) flood_cpu_us_per_payment: Option<Decimal>,
    /// Whether the connector's books agree with those of its peers.
    pub(crate) balances_ok: bool,
    /// Where the connector keeps its books; `null` if that isn't known.
    pub(crate) store: Option<&'static str>,
    /// What the store took of the disk; `null` if it has none.
    pub(crate) disk: Option<StoreUse>,
    /// What the store took of its Redis server.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) redis: Option<RedisUse>,
    /// Of a connector with several workers, or accounts of several slots.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) workers: Option<WorkersUse>,
    /// Memory in use by the connector, for runs with a rate or a time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) rss_mib: Option<Memory>,
}

/// Latencies that all but a part of the payments kept within; `null` if none was fulfilled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub(crate) struct Latency {
    /// Half of them.
    pub(crate) p50: Option<Decimal>,
    /// All but one in a hundred.
    pub(crate) p99: Option<Decimal>,
    /// All but one in a thousand.
    pub(crate) p999: Option<Decimal>,
}

/// What several workers had to do with each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub(crate) struct WorkersUse {
    /// How many.
    pub(crate) workers: u16,
    /// Of the accounts.
    pub(crate) parallelism: u8,
    /// Moves between cold and hot balances.
    pub(crate) moves: u64,
    /// For a thousand payments that were fulfilled.
    pub(crate) moves_per_thousand: Option<Decimal>,
    /// Payments that waited for one.
    pub(crate) parked: u64,
}

impl Display for WorkersUse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { workers, parallelism, moves, moves_per_thousand, parked } = self;
        let each = moves_per_thousand.map_or_else(|| "unknown".to_owned(), |each| each.to_string());
        write!(
            f,
            "workers      {workers}, accounts of parallelism {parallelism}; {moves} moves of balance, {each} for a thousand payments; {parked} payments waited for one"
        )
    }
}

/// Bytes of WebSocket payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub(crate) struct Traffic {
    /// To the connector.
    pub(crate) sent: u64,
    /// From the connector.
    pub(crate) received: u64,
}

/// What the connector's process used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub(crate) struct Usage {
    /// CPU time for each fulfilled payment.
    pub(crate) cpu_us_per_payment: Option<Decimal>,
    /// The most memory it ever had.
    pub(crate) peak_rss_mib: Option<Decimal>,
}

/// Memory in use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub(crate) struct Memory {
    /// Ten seconds after the start; `null` if the run was shorter.
    pub(crate) at_10s: Option<Decimal>,
    /// When all payments had ended.
    pub(crate) end: Option<Decimal>,
}

/// A number with three decimal places; a plain number in JSON.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Decimal {
    thousandths: u64,
}

impl Decimal {
    /// A quotient, rounded to the nearest thousandth. `None` if it isn't a number.
    pub(crate) fn ratio(numerator: u128, denominator: u128) -> Option<Self> {
        let rounded = numerator.checked_mul(1000)?.checked_add(denominator / 2)?.checked_div(denominator)?;
        Some(Self { thousandths: u64::try_from(rounded).ok()? })
    }

    /// A duration in milliseconds.
    pub(crate) fn milliseconds(duration: Duration) -> Option<Self> {
        Self::ratio(duration.as_nanos(), 1_000_000)
    }

    /// A duration in seconds.
    pub(crate) fn seconds(duration: Duration) -> Option<Self> {
        Self::ratio(duration.as_nanos(), 1_000_000_000)
    }

    /// CPU time in microseconds for each of so many.
    pub(crate) fn microseconds_each(cpu: Duration, count: u64) -> Option<Self> {
        Self::ratio(cpu.as_nanos(), u128::from(count).checked_mul(1000)?)
    }

    /// This divided by another one.
    pub(crate) fn over(self, other: Self) -> Option<Self> {
        Self::ratio(self.thousandths.into(), other.thousandths.into())
    }

    /// How many a second.
    pub(crate) fn per_second(count: u64, time: Duration) -> Option<Self> {
        Self::ratio(u128::from(count).checked_mul(1_000_000_000)?, time.as_nanos())
    }

    /// KiB as MiB.
    pub(crate) fn mib(kib: u64) -> Option<Self> {
        Self::ratio(kib.into(), 1024)
    }

    /// Nothing.
    pub(crate) const ZERO: Self = Self { thousandths: 0 };
}

impl Display for Decimal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:03}", self.thousandths / 1000, self.thousandths % 1000)
    }
}

impl Serialize for Decimal {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        // The nearest float to these digits, which is then written with them and no others.
        self.to_string().parse::<f64>().map_err(serde::ser::Error::custom)?.serialize(serializer)
    }
}

impl Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Latency { p50, p99, p999 } = self.latency_ms;
        let shown = |value: Option<Decimal>| value.map_or_else(|| "unknown".to_owned(), |value| value.to_string());
        let failed: u64 = self.failed.values().sum();
        writeln!(f, "payments     {} ({} fulfilled, {failed} failed) in {} s", self.payments, self.fulfilled, self.seconds)?;
        writeln!(f, "throughput   {} payments a second", self.payments_per_second)?;
        writeln!(f, "latency      p50 {} ms, p99 {} ms, p99.9 {} ms", shown(p50), shown(p99), shown(p999))?;
        writeln!(f, "bytes        {} sent, {} received", self.bytes.sent, self.bytes.received)?;
        if let Some(connector) = self.connector {
            let (cpu, peak) = (shown(connector.cpu_us_per_payment), shown(connector.peak_rss_mib));
            writeln!(f, "connector    {cpu} µs of CPU a payment, {peak} MiB at most")?;
        }
        if let Some(memory) = self.rss_mib {
            writeln!(f, "memory       {} MiB after 10 s, {} MiB at the end", shown(memory.at_10s), shown(memory.end))?;
        }
        if let Some(disk) = &self.disk {
            writeln!(f, "{disk}")?;
        }
        if let Some(redis) = &self.redis {
            writeln!(f, "{redis}")?;
        }
        if let Some(workers) = &self.workers {
            writeln!(f, "{workers}")?;
        }
        writeln!(f, "flood        {} µs of CPU a payment", shown(self.flood_cpu_us_per_payment))?;
        write!(f, "books        {}", if self.balances_ok { "agree" } else { "DISAGREE" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report() -> Report {
        Report {
            payments: 3,
            fulfilled: 2,
            failed: [("T03".to_owned(), 1)].into(),
            seconds: Decimal::ratio(1, 2).unwrap(),
            payments_per_second: Decimal::ratio(4, 1).unwrap(),
            latency_ms: Latency { p50: Decimal::milliseconds(Duration::from_micros(1500)), p99: None, p999: None },
            bytes: Traffic { sent: 10, received: 20 },
            connector: None,
            flood_cpu_us_per_payment: Decimal::microseconds_each(Duration::from_micros(10), 4),
            balances_ok: true,
            store: None,
            disk: None,
            redis: None,
            workers: None,
            rss_mib: None,
        }
    }

    #[test]
    fn json_is_one_line_with_plain_numbers() {
        let expected = "{\"payments\":3,\"fulfilled\":2,\"failed\":{\"T03\":1},\"seconds\":0.5,\"payments_per_second\":4.0,\
            \"latency_ms\":{\"p50\":1.5,\"p99\":null,\"p999\":null},\"bytes\":{\"sent\":10,\"received\":20},\"connector\":null,\
            \"flood_cpu_us_per_payment\":2.5,\"balances_ok\":true,\"store\":null,\"disk\":null}";
        assert_eq!(serde_json::to_string(&report()).unwrap(), expected);
    }

    #[test]
    fn people_are_told_when_the_books_disagree() {
        assert!(report().to_string().ends_with("books        agree"));
        assert!(Report { balances_ok: false, ..report() }.to_string().ends_with("DISAGREE"));
    }

    #[test]
    fn decimals_are_rounded_to_the_nearest_thousandth() {
        for (numerator, denominator, expected) in
            [(1, 3, "0.333"), (2, 3, "0.667"), (0, 5, "0.000"), (1, 2000, "0.001"), (12_345, 10, "1234.500")]
        {
            assert_eq!(Decimal::ratio(numerator, denominator).unwrap().to_string(), expected);
        }
        assert_eq!(Decimal::ratio(1, 0), None);
        assert_eq!(Decimal::per_second(3, Duration::from_millis(2)).unwrap().to_string(), "1500.000");
        assert_eq!(Decimal::mib(1536).unwrap().to_string(), "1.500");
    }
}
