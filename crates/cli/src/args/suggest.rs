//! The command or option that a wrong one was probably meant to be.

use clap::error::{ContextKind, ContextValue};

/// The intended command or option, in words that follow "did you mean".
pub(super) fn suggestion(error: &clap::Error) -> Option<String> {
    let text = |kind| match error.get(kind) {
        Some(ContextValue::String(text)) => Some(text.clone()),
        Some(ContextValue::Strings(texts)) => texts.first().cloned(),
        _ => None,
    };
    let given = text(ContextKind::InvalidSubcommand).or_else(|| text(ContextKind::InvalidArg))?;
    let known = OTHER_NAMES.iter().find(|(names, _)| names.contains(&given.as_str()));
    let known = known.map(|(_, meant)| (*meant).to_owned());
    known.or_else(|| text(ContextKind::SuggestedSubcommand)).or_else(|| text(ContextKind::SuggestedArg))
}

/// Names in kcat, Kafka's console tools and other clients, and what they are here.
const OTHER_NAMES: &[(&[&str], &str)] = &[
    (&["topic", "list", "ls", "metadata", "describe", "-L", "--list", "--describe"], "topics"),
    (&["consume", "consumer", "-C"], "subscribe, for new messages, or fetch, for those in the log"),
    (&["sub", "listen", "tail", "follow", "watch", "stream"], "subscribe"),
    (&["read", "get", "cat", "records", "messages"], "fetch"),
    (&["pub", "publish", "producer", "write", "send", "put", "-P"], "produce"),
    (&["offset", "offsets", "-Q"], "list-offsets"),
    (&["session", "sessions", "clients", "connections"], "admin sessions"),
    (
        &["-b", "--broker", "--brokers", "--bootstrap-server", "-s", "--server"],
        "--url, with the gateway's URL",
    ),
    (&["-t", "--topic"], "the topic's name alone, as in fetch TOPIC"),
    (&["--from-beginning"], "--from earliest"),
    (&["check", "validate", "lint", "routes", "--check"], "check-routes"),
    (&["--user", "--person"], "--subject, as in admin sessions --subject NAME"),
    (&["json"], "--json, or --print-offsets=json"),
    (&["version"], "--version"),
];

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;
    use crate::args::Args;

    #[test]
    fn wrong_command_or_option_suggests_the_right_one() {
        for (words, want) in [
            ("topic", Some("topics")),
            ("-L", Some("topics")),
            ("list", Some("topics")),
            ("consume orders", Some("subscribe, for new messages, or fetch, for those in the log")),
            ("sub orders", Some("subscribe")),
            ("pub orders", Some("produce")),
            ("offsets orders", Some("list-offsets")),
            ("sessions", Some("admin sessions")),
            ("validate envoy.yaml", Some("check-routes")),
            ("prodcue orders", Some("produce")),
            ("-b localhost:9092 -L", Some("--url, with the gateway's URL")),
            ("fetch -t orders", Some("the topic's name alone, as in fetch TOPIC")),
            ("fetch orders --form 1", Some("--from")),
            ("produce t --print-offsets json", Some("--json, or --print-offsets=json")),
            ("admin sessions --user alice", Some("--subject, as in admin sessions --subject NAME")),
            ("frobnicate", None),
        ] {
            let words = ["sluicegate"].into_iter().chain(words.split(' '));
            let error = Args::try_parse_from(words.clone()).unwrap_err();
            assert_eq!(suggestion(&error).as_deref(), want, "{:?}", words.collect::<Vec<_>>());
        }
    }
}
