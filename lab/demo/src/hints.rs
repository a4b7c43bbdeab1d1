//! The texts that the demo prints.
//!
//! Output errors are ignored: the demo runs on until it is stopped.

mod commands;

use std::io::{Write as _, stderr, stdout};
use std::path::Path;

use sluicegate_stack::login::Provider;
use sluicegate_stack::registry::Registry;
use sluicegate_stack::stack::Stack;

use self::commands::{Parts, commands, logged_in, of_routes};
use crate::login::topics;
use crate::routes::Routes;
use crate::source::{Source, System};

/// Prints a line about a slow step.
pub(crate) fn say(text: &str) {
    let _ = writeln!(stderr(), "demo: {text}");
}

/// Prints the addresses of all parts, and commands to try. The routes are the demo's, or the user's `own`.
pub(crate) fn print(
    stack: &Stack,
    source: &Source,
    registry: Option<&Registry>,
    provider: Option<&Provider>,
    own: Option<&Routes>,
    cli: &Path,
) {
    let registry = registry.map(Registry::url);
    let (gateway, url) = (stack.gateway(), stack.url());
    let http = format!("http://{gateway}");
    let started = matches!(source, Source::Started(..));
    let (query, rest) = match (source.system(), started) {
        (System::Kafka, true) if registry.is_some() => ("?topic=orders", "kafka/topics"),
        (System::Kafka, true) => ("", "kafka/topics"),
        (System::Kafka, false) => ("?topic=TOPIC", "kafka/topics"),
        (System::Nats, true) => ("", "nats/streams"),
        (System::Nats, false) => ("?stream=STREAM", "nats/streams"),
    };
    let envoy = format!("Envoy, {}", stack.way().name());
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
    let routes: Vec<(&str, String)> = match own {
        Some(own) => own.shown.iter().map(|route| (route.name(), route.url(&gateway))).collect(),
        None => vec![
            (if provider.is_some() { "page" } else { "live page" }, format!("{http}/{query}")),
            ("pub/sub endpoint", url.clone()),
            ("plain HTTP", format!("{http}/produce, {http}/{rest}")),
        ],
    };
    let rows = [
        ("readiness", format!("{http}/readyz")),
        (if started { "reads and writes" } else { "reads from" }, source.to_string()),
        (&envoy, format!("http://{}", stack.envoy().admin())),
        ("bridge metrics", format!("http://{}/metrics", stack.bridge.admin())),
        ("logs", stack.folder().path().display().to_string()),
    ];
    let of_registry = registry.iter().map(|registry| ("schema registry", registry.clone()));
    let rows: String = routes
        .into_iter()
        .chain(rows)
        .chain(of_registry)
        .chain(login)
        .map(|(name, value)| format!("  {name:<17} {value}\n"))
        .collect();
    let parts = Parts { http: &http, url: &url, cli: &cli.display().to_string() };
    let commands = match (own, provider) {
        (Some(own), _) => of_routes(&own.shown, &gateway, &parts, source.system()),
        (None, Some(provider)) => logged_in(&provider.issuer(), &parts),
        (None, None) => commands(source, registry.as_deref(), &parts),
    };
    let tries: String =
        commands.iter().map(|(about, command)| format!("\n  # {about}\n  {command}\n")).collect();
    let tries = if tries.is_empty() { tries } else { format!("\nTry in another terminal:\n{tries}") };
    let _ = writeln!(
        stdout(),
        "
Sluicegate is ready.

{rows}{tries}
Ctrl-C stops everything."
    );
}
