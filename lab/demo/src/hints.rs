//! The texts that the demo prints.
//!
//! Output errors are ignored: the demo runs on until it is stopped.

mod commands;

use std::io::{Write as _, stderr, stdout};
use std::path::Path;

use sluicegate_stack::envoy::Profile;
use sluicegate_stack::login::Provider;
use sluicegate_stack::stack::Stack;

use self::commands::{Parts, commands, logged_in};
use crate::login::topics;
use crate::source::{Source, System};

/// Prints a line about a slow step.
pub(crate) fn say(text: &str) {
    let _ = writeln!(stderr(), "demo: {text}");
}

/// Prints the addresses of all parts, and commands to try.
pub(crate) fn print(
    stack: &Stack,
    profile: Profile,
    source: &Source,
    provider: Option<&Provider>,
    cli: &Path,
) {
    let (gateway, url) = (stack.gateway(), stack.url());
    let http = format!("http://{gateway}");
    let embedded = matches!(source, Source::Embedded(..));
    let (query, rest) = match (source.system(), embedded) {
        (System::Kafka, true) => ("", "kafka/topics"),
        (System::Kafka, false) => ("?topic=TOPIC", "kafka/topics"),
        (System::Nats, true) => ("", "nats/streams"),
        (System::Nats, false) => ("?stream=STREAM", "nats/streams"),
    };
    let envoy = format!("Envoy, {}", profile.name());
    let login = provider.into_iter().flat_map(|provider| {
        let issuer = provider.issuer();
        [
            ("users' topics", topics().join(", ")),
            (
                "OpenID provider",
                format!("{issuer} (Alice and Bob log in without a password: for this demo only)"),
            ),
        ]
    });
    let rows = [
        (if provider.is_some() { "page" } else { "live page" }, format!("{http}/{query}")),
        ("pub/sub endpoint", url.clone()),
        ("plain HTTP", format!("{http}/produce, {http}/{rest}")),
        ("readiness", format!("{http}/readyz")),
        (if embedded { "reads and writes" } else { "reads from" }, source.to_string()),
        (&envoy, format!("http://{}", stack.envoy().admin())),
        ("bridge metrics", format!("http://{}/metrics", stack.bridge.admin())),
        ("logs", stack.folder().path().display().to_string()),
    ];
    let rows: String =
        rows.into_iter().chain(login).map(|(name, value)| format!("  {name:<17} {value}\n")).collect();
    let parts = Parts { http: &http, url: &url, cli: &cli.display().to_string() };
    let commands = match provider {
        Some(provider) => logged_in(&provider.issuer(), &parts),
        None => commands(source, &parts),
    };
    let tries: String =
        commands.iter().map(|(about, command)| format!("\n  # {about}\n  {command}\n")).collect();
    let is_mock = matches!(source, Source::Embedded(System::Kafka, _)) && provider.is_none();
    let mock = if is_mock { MOCK } else { "" };
    let _ = writeln!(
        stdout(),
        "
Sluicegate is ready.

{rows}{mock}
Try in another terminal:
{tries}
Ctrl-C stops everything."
    );
}

const MOCK: &str = "
The embedded Kafka answers each write with \"timestamp\":1234, and finds no offset by time. A real one does both.
To write to yours, name its cluster `default` in `write.clusters` of a configuration: ./dev demo --config FILE
";
