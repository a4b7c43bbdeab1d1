//! The memory, CPU time, descriptors and threads of a process, from proc(5).

use std::iter::Sum;
use std::time::Duration;
use std::{fs, io};

/// The resources that a process has used, as the kernel counts them.
#[derive(Clone, Copy, Debug, Default)]
pub struct Usage {
    /// Resident memory in bytes, now.
    pub resident_bytes: u64,
    /// User and system time since its start, in the kernel's ticks of 10 ms.
    pub cpu: Duration,
    /// Open file descriptors, now.
    pub descriptors: u64,
    /// Threads, now.
    pub threads: u64,
}

impl Sum for Usage {
    fn sum<I: Iterator<Item = Self>>(all: I) -> Self {
        all.fold(Self::default(), |sum, usage| Self {
            resident_bytes: sum.resident_bytes.saturating_add(usage.resident_bytes),
            cpu: sum.cpu.saturating_add(usage.cpu),
            descriptors: sum.descriptors.saturating_add(usage.descriptors),
            threads: sum.threads.saturating_add(usage.threads),
        })
    }
}

/// Reads it from proc(5).
pub(super) fn of(process: u32) -> io::Result<Usage> {
    let read = |file: &str| fs::read_to_string(format!("/proc/{process}/{file}"));
    let (status, stat) = (read("status")?, read("stat")?);
    let descriptors = fs::read_dir(format!("/proc/{process}/fd"))?.count();
    let usage = || {
        Some(Usage {
            resident_bytes: resident_bytes(&status)?,
            cpu: cpu_time(&stat, rustix::param::clock_ticks_per_second())?,
            descriptors: descriptors.try_into().ok()?,
            threads: field(&status, "Threads:")?.parse().ok()?,
        })
    };
    usage().ok_or_else(|| io::ErrorKind::InvalidData.into())
}

/// `VmRSS` of proc_pid_status(5), which is in kibibytes.
fn resident_bytes(status: &str) -> Option<u64> {
    field(status, "VmRSS:")?.strip_suffix(" kB")?.parse::<u64>().ok()?.checked_mul(1024)
}

/// A line of proc_pid_status(5), behind its name.
fn field<'a>(status: &'a str, name: &str) -> Option<&'a str> {
    status.lines().find_map(|line| line.strip_prefix(name)).map(str::trim)
}

/// `utime` and `stime` of proc_pid_stat(5): fields 14 and 15. Field 2 is in parentheses and can contain anything.
fn cpu_time(stat: &str, ticks_per_second: u64) -> Option<Duration> {
    let (_, rest) = stat.rsplit_once(')')?;
    let mut fields = rest.split_whitespace().skip(11);
    let user: u64 = fields.next()?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    let milliseconds = user.checked_add(system)?.checked_mul(1000)?.checked_div(ticks_per_second)?;
    Some(Duration::from_millis(milliseconds))
}
