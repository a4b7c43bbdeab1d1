//! The texts that the demo prints.
//!
//! Output errors are ignored: the demo runs on until it is stopped.

mod commands;

use std::io::{Write as _, stderr, stdout};
use std::path::Path;

use sluicegate_stack::envoy::Profile;
use sluicegate_stack::stack::Stack;

use self::commands::{Parts, commands};
use crate::source::{Source, System};

/// Prints a line about a slow step.
pub(crate) fn say(text: &str) {
    let _ = writeln!(stderr(), "demo: {text}");
}

/// Prints the addresses of all parts, and commands to try.
pub(crate) fn print(stack: &Stack, profile: Profile, source: &Source, cli: &Path) {
    let (gateway, url) = (stack.gateway(), stack.url());
    let http = format!("http://{gateway}");
    let embedded = matches!(source, Source::Embedded(..));
    let (query, rest) = match (source.system(), embedded) {
        (System::Kafka, true) => ("", "kafka/topics"),
        (System::Kafka, false) => ("?topic=TOPIC", "kafka/topics"),
        (System::Nats, true) => ("", "nats/streams"),
        (System::Nats, false) => ("?stream=STREAM", "nats/streams"),
    };
    let parts = Parts { http: &http, url: &url, cli: &cli.display().to_string() };
    let commands = commands(source, &parts);
    let tries: String =
        commands.iter().map(|(about, command)| format!("\n  # {about}\n  {command}\n")).collect();
    let _ = writeln!(
        stdout(),
        "
Sluicegate is ready.

  live page         {http}/{query}
  pub/sub endpoint  {url}
  plain HTTP        {http}/produce, {http}/{rest}
  readiness         {http}/readyz
  {:<17} {source}
  Envoy, {:<10} http://{}
  bridge metrics    http://{}/metrics
  logs              {}
{}
Try in another terminal:
{tries}
Ctrl-C stops everything.",
        if embedded { "reads and writes" } else { "reads from" },
        profile.name(),
        stack.envoy().admin(),
        stack.bridge.admin(),
        stack.folder().path().display(),
        if matches!(source, Source::Embedded(System::Kafka, _)) { MOCK } else { "" },
    );
}

const MOCK: &str = "
The embedded Kafka answers each write with \"timestamp\":1234, and finds no offset by time. A real one does both.
To write to yours, name its cluster `default` in `write.clusters` of a configuration: ./dev demo --config FILE
";
