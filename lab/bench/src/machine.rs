//! The machine and versions of a measurement.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use sluicegate_stack::{Error, tools};

/// Lines on the command, the machine and the programs.
pub(crate) fn describe() -> Vec<String> {
    let command = without_files(std::env::args().skip(1));
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let (_, librdkafka) = rdkafka::util::get_rdkafka_version();
    vec![
        format!("command   ./dev bench {}", command.join(" ")),
        format!("machine   {cores} cores, {}, {} MiB", field("/proc/cpuinfo", "model name"), memory_mib()),
        format!("kernel    {}", fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default().trim()),
        format!("Envoy     {}", envoy()),
        format!(
            "librdkafka {librdkafka}, fetch.queue.backoff.ms=5, else its defaults; Apache Kafka {}",
            kafka()
        ),
        format!("nats-server {}, async-nats {}", nats(), async_nats()),
    ]
}

/// The arguments without files to save or compare.
fn without_files(mut args: impl Iterator<Item = String>) -> Vec<String> {
    let mut kept = Vec::new();
    while let Some(arg) = args.next() {
        match arg.split('=').next() {
            Some("--save" | "--compare") if arg.contains('=') => {}
            Some("--save" | "--compare") => drop(args.next()),
            _ => kept.push(arg),
        }
    }
    kept
}

fn field(file: &str, name: &str) -> String {
    let text = fs::read_to_string(file).unwrap_or_default();
    let line = text.lines().find(|line| line.starts_with(name)).unwrap_or_default();
    line.split_once(':').map(|(_, value)| value.trim().to_owned()).unwrap_or_default()
}

fn memory_mib() -> u64 {
    let text = field("/proc/meminfo", "MemTotal");
    text.split(' ').next().and_then(|kib| kib.parse::<u64>().ok()).unwrap_or_default() / 1024
}

fn version_of(program: Result<PathBuf, Error>) -> String {
    let output = program.ok().and_then(|program| Command::new(program).arg("--version").output().ok());
    output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default()
}

fn envoy() -> String {
    let text = version_of(tools::envoy());
    // `…/envoy  version: COMMIT/1.40.0/…`
    let version = text.split_once("version:").and_then(|(_, version)| version.split('/').nth(1));
    version.unwrap_or("of an unknown version").to_owned()
}

fn nats() -> String {
    version_of(tools::nats()).trim().trim_start_matches("nats-server: v").to_owned()
}

fn async_nats() -> &'static str {
    let lock = include_str!("../../../Cargo.lock");
    let version = lock.split_once("name = \"async-nats\"\nversion = \"").map(|(_, version)| version);
    version.and_then(|version| version.split('"').next()).unwrap_or("of an unknown version")
}

/// Read from the name of its jar.
fn kafka() -> String {
    let entries = tools::kafka_lib().ok().and_then(|lib| fs::read_dir(lib).ok());
    let names = entries.into_iter().flatten().flatten().map(|entry| entry.file_name());
    let version = names.filter_map(|name| {
        name.to_str()?.strip_prefix("kafka_2.13-")?.strip_suffix(".jar").map(str::to_owned)
    });
    version.last().unwrap_or_else(|| "of an unknown version".to_owned())
}
