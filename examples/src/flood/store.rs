//! Where the child keeps its books, and what that takes of the disk.

use super::report::Decimal;
use crate::redis::RedisFigures;
use clap::ValueEnum;
use ilp_core::store::{EmbeddedStore, StoreMetrics};
use serde::{Deserialize, Serialize};
use std::fmt::{self, Display};
use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// A kind of store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Store {
    /// In memory only
    Memory,
    /// Durable, in a directory of this machine
    Embedded,
    /// On a Redis server of flood's own, which syncs before it answers (`appendfsync always`)
    Redis,
    /// The same with `appendfsync everysec`: it can lose its last second
    #[serde(rename = "redis-everysec")]
    RedisEverysec,
}

impl Store {
    /// As it is called on the command line.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::Embedded => "embedded",
            Self::Redis => "redis",
            Self::RedisEverysec => "redis-everysec",
        }
    }

    /// Redis's word for when it syncs.
    pub(super) fn appendfsync(self) -> Option<&'static str> {
        match self {
            Self::Memory | Self::Embedded => None,
            Self::Redis => Some("always"),
            Self::RedisEverysec => Some("everysec"),
        }
    }
}

/// What a run took of a Redis server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct RedisUse {
    /// When it syncs.
    pub(crate) appendfsync: &'static str,
    /// Commands, those inside scripts included.
    pub(crate) commands_per_payment: Option<Decimal>,
    /// Its processor time.
    pub(crate) cpu_us_per_payment: Option<Decimal>,
    /// What its log of commands grew by.
    pub(crate) aof_bytes_per_payment: Option<Decimal>,
}

impl RedisUse {
    /// Of a run with so many payments, from figures before and after it.
    pub(super) fn new(appendfsync: &'static str, before: &RedisFigures, after: &RedisFigures, payments: u64) -> Self {
        let each = |before: u64, after: u64| Decimal::ratio(after.saturating_sub(before).into(), payments.into());
        Self {
            appendfsync,
            commands_per_payment: each(before.commands, after.commands),
            cpu_us_per_payment: Decimal::microseconds_each(after.cpu.saturating_sub(before.cpu), payments),
            aof_bytes_per_payment: each(before.aof_bytes, after.aof_bytes),
        }
    }
}

impl Display for RedisUse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = |value: Option<Decimal>| value.map_or_else(|| "unknown".to_owned(), |value| value.to_string());
        let (commands, cpu, bytes) = (shown(self.commands_per_payment), shown(self.cpu_us_per_payment), shown(self.aof_bytes_per_payment));
        write!(f, "redis        appendfsync {}; for a payment {commands} commands, {cpu} µs of CPU, {bytes} bytes of AOF", self.appendfsync)
    }
}

/// A directory of its own, gone with everything in it when this is dropped.
#[derive(Debug)]
pub(crate) struct Scratch(PathBuf);

impl Scratch {
    /// Makes one in `within`.
    ///
    /// # Errors
    /// What the system says.
    pub(crate) fn make(within: &Path, name: &str) -> io::Result<Self> {
        let path = within.join(format!("{name}-{}-{:016x}", std::process::id(), super::random::random().map_or(0, u64::from_be_bytes)));
        DirBuilder::new()
            .mode(0o700)
            .create(&path)
            .map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", path.display())))?;
        Ok(Self(path))
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// What a store did in a run, as the child counted it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct StoreFigures {
    syncs: u64,
    sync_ns: u64,
    transactions: u64,
    batches: u64,
    log_bytes: u64,
    bytes_written: u64,
    /// What an append of 4 KiB takes to reach the disk of the store's directory by itself, from the fastest to the slowest of a number: half of them, and
    /// nearly all. Measured before the run.
    disk_sync_ns: [u64; 2],
}

impl StoreFigures {
    /// Of a store that has just ended its work.
    pub(super) fn of(store: &EmbeddedStore, disk_sync_ns: [u64; 2]) -> Self {
        let StoreMetrics { syncs, sync_time, commits, batches, log_bytes, bytes_written, .. } = store.metrics();
        let sync_ns = u64::try_from(sync_time.as_nanos()).unwrap_or(u64::MAX);
        Self { syncs, sync_ns, transactions: commits, batches, log_bytes, bytes_written, disk_sync_ns }
    }
}

/// How long an append takes to reach the disk of a directory: p50 and p95, in nanoseconds.
///
/// # Errors
/// What the system says.
pub(super) fn disk_sync_ns(dir: &Path) -> io::Result<[u64; 2]> {
    let path = dir.join("probe");
    let mut file = OpenOptions::new().create(true).append(true).open(&path)?;
    let mut times = [0; PROBES];
    for time in &mut times {
        let began = Instant::now();
        file.write_all(&[7; 4096])?;
        file.sync_data()?;
        *time = u64::try_from(began.elapsed().as_nanos()).unwrap_or(u64::MAX);
    }
    fs::remove_file(path)?;
    times.sort_unstable();
    Ok([PROBES / 2, PROBES * 95 / 100].map(|place| times.get(place).copied().unwrap_or_default()))
}

/// What a run took of the disk, for its report.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct StoreUse {
    /// Syncs of the store's file.
    pub(crate) fsyncs: u64,
    /// Batches that shared one, on average.
    pub(crate) batches_per_fsync: Option<Decimal>,
    /// Payments that shared one, on average.
    pub(crate) payments_per_fsync: Option<Decimal>,
    /// What a sync took, on average, with all that waited for it.
    pub(crate) fsync_ms: Option<Decimal>,
    /// Records of a payment.
    pub(crate) log_bytes_per_payment: Option<Decimal>,
    /// What was written for a payment.
    pub(crate) bytes_written_per_payment: Option<Decimal>,
    /// What the disk takes for one small append by itself.
    pub(crate) disk_fsync_ms: DiskSync,
}

/// Of small appends, one after the other, with nothing else going on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub(crate) struct DiskSync {
    /// Half of them took no longer.
    pub(crate) p50: Option<Decimal>,
    /// 95 of a hundred took no longer.
    pub(crate) p95: Option<Decimal>,
}

impl StoreUse {
    /// Of a run with so many payments.
    pub(super) fn new(figures: &StoreFigures, payments: u64) -> Self {
        let each = |sum: u64, of: u64| Decimal::ratio(sum.into(), of.into());
        let ms = |ns: u64| Decimal::milliseconds(Duration::from_nanos(ns));
        let [p50, p95] = figures.disk_sync_ns;
        Self {
            fsyncs: figures.syncs,
            batches_per_fsync: each(figures.batches, figures.syncs),
            payments_per_fsync: each(payments, figures.syncs),
            fsync_ms: figures.sync_ns.checked_div(figures.syncs).and_then(ms),
            log_bytes_per_payment: each(figures.log_bytes, payments),
            bytes_written_per_payment: each(figures.bytes_written, payments),
            disk_fsync_ms: DiskSync { p50: ms(p50), p95: ms(p95) },
        }
    }
}

impl Display for StoreUse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = |value: Option<Decimal>| value.map_or_else(|| "unknown".to_owned(), |value| value.to_string());
        let (together, took) = (shown(self.payments_per_fsync), shown(self.fsync_ms));
        writeln!(f, "disk         {} fsyncs of {took} ms, {together} payments each", self.fsyncs)?;
        let (log, written) = (shown(self.log_bytes_per_payment), shown(self.bytes_written_per_payment));
        writeln!(f, "             {written} bytes written a payment, for {log} of records")?;
        let DiskSync { p50, p95 } = self.disk_fsync_ms;
        write!(f, "             a small append alone takes {} ms (p95 {})", shown(p50), shown(p95))
    }
}

const PROBES: usize = 40;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scratch_directory_is_gone_with_its_owner() {
        let scratch = Scratch::make(&std::env::temp_dir(), "ilp-scratch").unwrap();
        let path = scratch.path().to_owned();
        fs::write(path.join("x"), "y").unwrap();
        assert!(disk_sync_ns(&path).unwrap().iter().all(|ns| *ns > 0));
        assert_eq!(fs::read_dir(&path).unwrap().count(), 1);
        drop(scratch);
        assert!(!path.exists());
        assert!(Scratch::make(Path::new("/nonexistent/folder"), "x").unwrap_err().to_string().contains("/nonexistent"));
    }

    #[test]
    fn figures_are_per_payment_and_per_sync() {
        let figures = StoreFigures {
            syncs: 4,
            sync_ns: 8_000_000,
            transactions: 4,
            batches: 8,
            log_bytes: 4_000,
            bytes_written: 10_000,
            disk_sync_ns: [100_000, 300_000],
        };
        let used = StoreUse::new(&figures, 10);
        let shown = |decimal: Option<Decimal>| decimal.map(|decimal| decimal.to_string());
        assert_eq!(shown(used.fsync_ms).as_deref(), Some("2.000"));
        assert_eq!(shown(used.payments_per_fsync).as_deref(), Some("2.500"));
        assert_eq!(shown(used.bytes_written_per_payment).as_deref(), Some("1000.000"));
        assert_eq!(StoreUse::new(&figures, 0).log_bytes_per_payment, None);
    }
}
