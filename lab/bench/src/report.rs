//! Passes results between processes, and prints them.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a program's output")]

pub(crate) mod idle;
pub(crate) mod nats;
pub(crate) mod opening;
pub(crate) mod reading;
pub(crate) mod rows;
pub(crate) mod tables;
pub(crate) mod writing;

use std::error::Error;
use std::time::Duration;

use rustix::time::Timespec;
use serde_json::{Value, json};

use crate::Failure;

/// The result of one part.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Measured {
    pub(crate) messages: u64,
    /// Bytes of values.
    pub(crate) bytes: u64,
    pub(crate) seconds: f64,
    /// Median and 99th percentile of the requests' durations, in seconds.
    pub(crate) latency: Option<(f64, f64)>,
}

/// Seconds of CPU, user and system, while one part ran.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Cpu {
    /// The part's own process.
    pub(crate) client: f64,
    pub(crate) envoy: f64,
    pub(crate) bridge: f64,
    /// Kafka or nats-server.
    pub(crate) system: f64,
}

/// Duration of each request.
pub(crate) type Took = Vec<Duration>;

impl Measured {
    /// The result of requests with `messages` messages of `size` bytes each.
    pub(crate) fn of_requests(took: &[Duration], messages: usize, size: u32, seconds: f64) -> Self {
        let messages = took.len() as u64 * messages as u64;
        Self { messages, bytes: messages * u64::from(size), seconds, latency: Some(percentiles(took)) }
    }

    /// Prints a line for the parent process, with this process's CPU time.
    pub(crate) fn print(&self) -> Result<(), Failure> {
        let cpu = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
        println!(
            "{}",
            json!({
                "messages": self.messages, "bytes": self.bytes, "seconds": self.seconds,
                "latency": self.latency.map(|(p50, p99)| [p50, p99]), "cpu": seconds(cpu),
            })
        );
        Ok(())
    }

    /// Parses a line of [`Measured::print`].
    pub(crate) fn parse(line: &[u8]) -> Result<(Self, f64), Failure> {
        let value: Value = serde_json::from_slice(line)?;
        let number = |key: &str| value.get(key).and_then(Value::as_f64).ok_or_else(|| format!("no {key}"));
        let count = |key: &str| value.get(key).and_then(Value::as_u64).ok_or_else(|| format!("no {key}"));
        let latency = value.get("latency").and_then(Value::as_array).and_then(|both| match both.as_slice() {
            [p50, p99] => Some((p50.as_f64()?, p99.as_f64()?)),
            _ => None,
        });
        let measured = Self {
            messages: count("messages")?,
            bytes: count("bytes")?,
            seconds: number("seconds")?,
            latency,
        };
        Ok((measured, number("cpu")?))
    }

    pub(crate) fn rate(&self) -> f64 {
        self.messages as f64 / self.seconds
    }
}

/// Median and 99th percentile, in seconds.
pub(crate) fn percentiles(took: &[Duration]) -> (f64, f64) {
    let mut took = took.to_vec();
    took.sort_unstable();
    let percentile = |percent: usize| {
        let at = (took.len() * percent / 100).min(took.len().saturating_sub(1));
        took.get(at).map_or(0.0, Duration::as_secs_f64)
    };
    (percentile(50), percentile(99))
}

/// The middle one of some values; 0 without any.
pub(crate) fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or_default()
}

/// Prints a line for the user.
pub(crate) fn say(line: &str) {
    println!("{line}");
}

/// Prints an error with its causes.
pub(crate) fn failed(error: &(dyn Error + 'static)) {
    let reasons: Vec<String> =
        std::iter::successors(Some(error), |&error| error.source()).map(ToString::to_string).collect();
    eprintln!("bench: {}", reasons.join(": "));
}

fn heading(first: &str, who: &str, system: &str) {
    println!();
    println!(
        "{first:>7}  {who:<22} messages/s     MB/s   p50 ms   p99 ms   CPU seconds per million messages"
    );
    println!(
        "                                                                    client   Envoy  bridge {system:>7}"
    );
}

fn line(first: u32, who: &str, (measured, cpu): (Measured, Cpu)) {
    let latency = measured.latency.map_or_else(
        || format!("{:>8} {:>8}", "", ""),
        |(p50, p99)| format!("{:>8.2} {:>8.2}", p50 * 1e3, p99 * 1e3),
    );
    let used = [cpu.client, cpu.envoy, cpu.bridge, cpu.system].map(|cpu| per_million(cpu, measured));
    let [client, envoy, bridge, system] = used.map(|cpu| format!("{cpu:>7.2}"));
    println!(
        "{first:>7}  {who:<20} {:>11.0} {:>8.1} {latency}  {client} {envoy} {bridge} {system}",
        measured.rate(),
        measured.bytes as f64 / 1e6 / measured.seconds,
    );
}

pub(crate) fn per_million(cpu: f64, measured: Measured) -> f64 {
    cpu / (measured.messages as f64 / 1e6)
}

fn seconds(time: Timespec) -> f64 {
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}
