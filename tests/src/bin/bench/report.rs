//! Figures between processes, and for people.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a program's output")]

use std::error::Error;

use rustix::time::Timespec;
use serde_json::{Value, json};

use crate::Failure;

/// What one part did.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Measured {
    pub(crate) messages: u64,
    /// Of values.
    pub(crate) bytes: u64,
    pub(crate) seconds: f64,
    /// Median and 99th percentile of a fetch, in seconds.
    pub(crate) latency: Option<(f64, f64)>,
}

/// Seconds of CPU, user and system, while one part ran.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Cpu {
    /// The part's own process.
    pub(crate) client: f64,
    pub(crate) envoy: f64,
    pub(crate) bridge: f64,
    pub(crate) kafka: f64,
}

/// All parts with one number of clients: through the gateway, whose bridge reaches Kafka in different ways, and without.
#[derive(Debug)]
pub(crate) struct Row {
    pub(crate) clients: u32,
    pub(crate) plaintext: (Measured, Cpu),
    pub(crate) ssl: (Measured, Cpu),
    pub(crate) sasl_ssl: (Measured, Cpu),
    pub(crate) consume: (Measured, Cpu),
}

impl Measured {
    /// For the process that started this one, with what this process used.
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

    /// The other side of [`Measured::print`].
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

    fn rate(&self) -> f64 {
        self.messages as f64 / self.seconds
    }
}

/// A line for people.
pub(crate) fn say(line: &str) {
    println!("{line}");
}

/// An error with its reasons, for people.
pub(crate) fn failed(error: &(dyn Error + 'static)) {
    let reasons: Vec<String> =
        std::iter::successors(Some(error), |&error| error.source()).map(ToString::to_string).collect();
    eprintln!("bench: {}", reasons.join(": "));
}

/// Everything, and the ratios.
pub(crate) fn table(rows: &[Row]) {
    println!();
    println!(
        "clients  reader                messages/s     MB/s   p50 ms   p99 ms   CPU seconds per million messages"
    );
    println!(
        "                                                                    client   Envoy  bridge   Kafka"
    );
    for row in rows {
        line(row.clients, "through the gateway", row.plaintext);
        line(row.clients, " Kafka over SSL", row.ssl);
        line(row.clients, " Kafka over SASL_SSL", row.sasl_ssl);
        line(row.clients, "bare librdkafka", row.consume);
    }
    println!();
    println!("ratios to bare librdkafka");
    for Row { clients, plaintext: walk, consume, .. } in rows {
        let rate = walk.0.rate() / consume.0.rate();
        let consumer = per_million(consume.1.client, consume.0);
        let bridge = per_million(walk.1.bridge, walk.0) / consumer;
        let path = per_million(walk.1.bridge + walk.1.envoy, walk.0) / consumer;
        println!(
            "{clients:>7}  messages/s {rate:.2}   CPU per message: bridge {bridge:.2}, Envoy and bridge {path:.2}"
        );
    }
    println!();
    println!("ratios to Kafka over PLAINTEXT, through the gateway");
    for Row { clients, plaintext, ssl, sasl_ssl, .. } in rows {
        for (name, secured) in [("SSL", ssl), ("SASL_SSL", sasl_ssl)] {
            let rate = secured.0.rate() / plaintext.0.rate();
            let bridge = |part: &(Measured, Cpu)| per_million(part.1.bridge, part.0);
            let cpu = bridge(secured) / bridge(plaintext);
            println!("{clients:>7}  {name:<8}  messages/s {rate:.2}   CPU per message: bridge {cpu:.2}");
        }
    }
}

fn line(clients: u32, reader: &str, (measured, cpu): (Measured, Cpu)) {
    let latency = measured.latency.map_or_else(
        || format!("{:>8} {:>8}", "", ""),
        |(p50, p99)| format!("{:>8.2} {:>8.2}", p50 * 1e3, p99 * 1e3),
    );
    let used = [cpu.client, cpu.envoy, cpu.bridge, cpu.kafka].map(|cpu| per_million(cpu, measured));
    let [client, envoy, bridge, kafka] = used.map(|cpu| format!("{cpu:>7.2}"));
    println!(
        "{clients:>7}  {reader:<20} {:>11.0} {:>8.1} {latency}  {client} {envoy} {bridge} {kafka}",
        measured.rate(),
        measured.bytes as f64 / 1e6 / measured.seconds,
    );
}

fn per_million(cpu: f64, measured: Measured) -> f64 {
    cpu / (measured.messages as f64 / 1e6)
}

fn seconds(time: Timespec) -> f64 {
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}
