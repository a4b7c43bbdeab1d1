//! The texts that the demo prints.
//!
//! Output errors are ignored: the demo runs on until it is stopped.

use std::fmt::{self, Display};
use std::io::{Write as _, stderr, stdout};
use std::path::{Path, PathBuf};

use prost::Message;
use sluicegate_protocol::{CmdKafkaFetch, CmdPing, PubSubReq, pub_sub_req::Req};
use sluicegate_tests::envoy::Profile;
use sluicegate_tests::stack::Stack;
use sluicegate_tests::tools;

use crate::embedded::{PARTITIONS, TOPIC};

/// The Kafka that the demo reads.
pub(crate) enum Source {
    /// The embedded one, at this address.
    Embedded(String),
    /// These servers.
    Servers(String),
    /// The cluster `default` of this file.
    Config(PathBuf),
}

impl Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Embedded(servers) => {
                write!(
                    f,
                    "the embedded Kafka at {servers} (topic {TOPIC}, partitions 0 to {})",
                    PARTITIONS - 1
                )
            }
            Self::Servers(servers) => write!(f, "Kafka at {servers}"),
            Self::Config(path) => write!(f, "cluster `default` of {}", path.display()),
        }
    }
}

/// Prints a line about a slow step.
pub(crate) fn say(text: &str) {
    let _ = writeln!(stderr(), "demo: {text}");
}

/// Prints the addresses of all parts, and commands to try.
pub(crate) fn print(stack: &Stack, profile: Profile, source: &Source, cli: &Path) {
    let (gateway, url) = (stack.gateway(), stack.url());
    let _ = writeln!(
        stdout(),
        "
Sluicegate is ready.

  live page         http://{gateway}/{}
  pub/sub endpoint  {url}
  plain HTTP        http://{gateway}/produce, http://{gateway}/kafka/topics
  readiness         http://{gateway}/readyz
  {:<17} {source}
  Envoy, {:<10} http://{}
  bridge metrics    http://{}/metrics
  logs              {}

Try in another terminal:
{}
Ctrl-C stops everything.",
        if matches!(source, Source::Embedded(_)) { "" } else { "?topic=TOPIC" },
        if matches!(source, Source::Embedded(_)) { "reads and writes" } else { "reads from" },
        profile.name(),
        stack.envoy().admin(),
        stack.bridge.admin(),
        stack.folder().path().display(),
        tries(source, &format!("http://{gateway}"), &url, &cli.display().to_string()),
    );
}

fn tries(source: &Source, http: &str, url: &str, cli: &str) -> String {
    let python = tools::workspace().join("target/tools/venv/bin/python");
    let python = python.display();
    let embedded = matches!(source, Source::Embedded(_));
    let (about, request) = if embedded { ("a fetch", fetch()) } else { ("a ping", ping()) };
    let raw = format!(
        "{python} -c \"from websockets.sync.client import connect; ws = connect('{url}'); \
         ws.send(b'{}'); print(ws.recv())\"",
        escaped(&request)
    );
    let commands: &[(&str, String)] = &if embedded {
        vec![
            ("follow a gate's readings", format!("{cli} -u {url} fetch {TOPIC} -p 0 --from latest --follow")),
            (
                "write a reading of your own by plain HTTP: the follower shows it arriving",
                format!("curl -d '{{\"gate\": \"mine\"}}' -H 'x-kafka-partition: 0' {http}/produce"),
            ),
            (
                "read what is there",
                format!(
                    "curl -H 'Accept: application/json' \
                     '{http}/kafka/topics/{TOPIC}/partitions/0/records?offset=0&max_bytes=1000'"
                ),
            ),
            ("where each log begins", format!("{cli} -u {url} list-offsets {TOPIC} --at earliest")),
        ]
    } else {
        vec![
            ("a round trip", format!("{cli} -u {url} ping -c 3")),
            ("your topics", format!("curl {http}/kafka/topics")),
            ("one of them, followed", format!("{cli} -u {url} fetch TOPIC -p 0 --from latest --follow")),
            (
                "a record by plain HTTP, if `write.clusters` of your configuration (--config) names `default`",
                format!("curl -d hello -H 'x-kafka-topic: TOPIC' {http}/produce"),
            ),
        ]
    };
    let raw = (format!("any WebSocket client will do: {about}, as raw bytes"), raw);
    commands
        .iter()
        .map(|(about, command)| ((*about).to_owned(), command.clone()))
        .chain([raw])
        .map(|(about, command)| format!("\n  # {about}\n  {command}\n"))
        .collect()
}

fn fetch() -> Vec<u8> {
    let fetch = CmdKafkaFetch { topic: TOPIC.into(), partition: 0, offset: 0, ..Default::default() };
    PubSubReq { sequence: 1, req: Some(Req::CmdKafkaFetch(fetch)) }.encode_to_vec()
}

fn ping() -> Vec<u8> {
    let ping = CmdPing { state: "hello".into() };
    PubSubReq { sequence: 1, req: Some(Req::CmdPing(ping)) }.encode_to_vec()
}

/// Escapes bytes for Python source and for a shell's double quotes.
fn escaped(bytes: &[u8]) -> String {
    let escape = |&byte: &u8| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' => char::from(byte).to_string(),
        _ => format!("\\x{byte:02x}"),
    };
    bytes.iter().map(escape).collect()
}
