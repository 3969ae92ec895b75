//! What the system says of a process: its CPU time and memory, from `/proc`.

use std::fs;
use std::io;
use std::time::Duration;

/// A process to be measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Process {
    id: u32,
}

impl Process {
    /// The process with this id.
    pub(crate) fn new(id: u32) -> Self {
        Self { id }
    }

    /// The process that asks.
    pub(crate) fn own() -> Self {
        Self::new(std::process::id())
    }

    /// CPU time of all its threads so far, in user mode and in the kernel.
    ///
    /// # Errors
    /// If there is no such process, or the system has no `/proc`.
    pub(crate) fn cpu(self) -> io::Result<Duration> {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.id))?;
        let ticks = cpu_ticks(&stat).ok_or_else(unreadable)?;
        Ok(ticks_to_duration(ticks, ticks_per_second()))
    }

    /// The most memory it has had so far, in KiB.
    ///
    /// # Errors
    /// As [`cpu`](Self::cpu).
    pub(crate) fn peak_rss_kib(self) -> io::Result<u64> {
        self.status_kib("VmHWM:")
    }

    /// The memory it has now, in KiB.
    ///
    /// # Errors
    /// As [`cpu`](Self::cpu).
    pub(crate) fn rss_kib(self) -> io::Result<u64> {
        self.status_kib("VmRSS:")
    }

    /// Files it has open, sockets and pipes included.
    ///
    /// # Errors
    /// As [`cpu`](Self::cpu), and if it is another user's.
    pub(crate) fn open_files(self) -> io::Result<usize> {
        Ok(fs::read_dir(format!("/proc/{}/fd", self.id))?.count())
    }

    /// From now on the most memory it has had is that from now on.
    ///
    /// # Errors
    /// As [`open_files`](Self::open_files).
    pub(crate) fn reset_peak_rss(self) -> io::Result<()> {
        fs::write(format!("/proc/{}/clear_refs", self.id), "5")
    }

    fn status_kib(self, key: &str) -> io::Result<u64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.id))?;
        kib(&status, key).ok_or_else(unreadable)
    }
}

/// Measures the CPU time that a process uses from one moment on.
#[derive(Debug, Clone, Copy)]
pub(crate) struct CpuMeter {
    process: Process,
    before: Option<Duration>,
}

impl CpuMeter {
    /// From now on.
    pub(crate) fn start(process: Process) -> Self {
        Self { process, before: process.cpu().ok() }
    }

    /// So much, until now; `None` if the process is gone.
    pub(crate) fn used(self) -> Option<Duration> {
        self.process.cpu().ok()?.checked_sub(self.before?)
    }
}

/// `utime` and `stime`, fields 14 and 15. The second field is the program's name in parentheses, which may hold blanks and
/// parentheses itself.
fn cpu_ticks(stat: &str) -> Option<u64> {
    let (_, after_name) = stat.rsplit_once(')')?;
    let mut times = after_name.split_whitespace().skip(11).map(|field| field.parse::<u64>().ok());
    times.next()??.checked_add(times.next()??)
}

fn kib(status: &str, key: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix(key))?;
    line.trim().strip_suffix("kB")?.trim().parse().ok()
}

fn ticks_to_duration(ticks: u64, per_second: u64) -> Duration {
    let us = u128::from(ticks) * 1_000_000 / u128::from(per_second.max(1));
    Duration::from_micros(u64::try_from(us).unwrap_or(u64::MAX))
}

/// The unit of CPU times: 100 nearly everywhere, and in the list that the kernel gives every program.
fn ticks_per_second() -> u64 {
    let list = fs::read("/proc/self/auxv").unwrap_or_default();
    auxiliary(&list, AT_CLKTCK).filter(|ticks| *ticks > 0).unwrap_or(100)
}

/// A value of the auxiliary vector: pairs of words in the machine's own order.
fn auxiliary(list: &[u8], wanted: usize) -> Option<u64> {
    let (words, _) = list.as_chunks::<{ size_of::<usize>() }>();
    let mut words = words.iter().map(|word| usize::from_ne_bytes(*word));
    while let (Some(key), Some(value)) = (words.next(), words.next()) {
        if key == wanted {
            return u64::try_from(value).ok();
        }
    }
    None
}

fn unreadable() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "the process table has another form than expected")
}

const AT_CLKTCK: usize = 17;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpu_times_are_found_behind_a_name_with_blanks_and_parentheses() {
        let stat = "4242 (a (b) c) S 1 4242 4242 0 -1 4194560 900 0 0 0 153 47 0 0 20 0 1 0 88 9999 300 184467";
        assert_eq!(cpu_ticks(stat), Some(200));
        assert_eq!(cpu_ticks("4242 (a) S 1"), None);
        assert_eq!(ticks_to_duration(200, 100), Duration::from_secs(2));
    }

    #[test]
    fn memory_is_given_in_kib() {
        let status = "Name:\tflood\nVmPeak:\t  9000 kB\nVmHWM:\t    5120 kB\nVmRSS:\t    4096 kB\n";
        assert_eq!((kib(status, "VmHWM:"), kib(status, "VmRSS:")), (Some(5120), Some(4096)));
        assert_eq!(kib("VmHWM:\tmuch\n", "VmHWM:"), None);
    }

    #[test]
    fn this_process_can_be_measured() {
        let own = Process::own();
        assert!(CpuMeter::start(own).used().is_some());
        assert!(own.rss_kib().unwrap() > 0 && own.peak_rss_kib().unwrap() >= own.rss_kib().unwrap() / 2);
        assert!(auxiliary(&fs::read("/proc/self/auxv").unwrap(), AT_CLKTCK).is_some());
    }

    #[test]
    fn a_process_that_is_not_there_is_an_error() {
        let nobody = Process::new(u32::MAX);
        assert!(nobody.cpu().is_err() && nobody.rss_kib().is_err() && CpuMeter::start(nobody).used().is_none());
    }
}
