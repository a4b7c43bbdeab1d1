//! The filter, and the reference of log lines, which lists those in the code.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use sluicegate_reference as reference;

use super::Filter;

/// A log line in the code.
struct Line {
    event: String,
    level: &'static str,
    fields: Vec<String>,
    message: String,
}

#[test]
fn reference_lists_every_event() {
    let mut lines = Vec::new();
    for name in ["backend", "bridge", "delivery", "dialect", "kafka", "nats", "reader", "telemetry"] {
        read(&PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..").join(name).join("src"), &mut lines);
    }
    let mut events: BTreeMap<&str, [Vec<String>; 3]> = BTreeMap::new();
    for Line { event, level, fields, message } in &lines {
        let [levels, all, messages] = events.entry(event).or_default();
        let add = |list: &mut Vec<String>, word: String| {
            if !list.contains(&word) {
                list.push(word);
            }
        };
        add(levels, (*level).to_owned());
        fields.iter().for_each(|field| add(all, format!("`{field}`")));
        // The longest says it all.
        if messages.first().is_none_or(|longest| longest.len() < message.len()) {
            *messages = vec![message.clone()];
        }
    }
    let row = |(event, [levels, fields, messages]): (&str, [Vec<String>; 3])| {
        vec![format!("`{event}`"), levels.join(", "), fields.join(", "), shortened(&messages.concat())]
    };
    let rows: Vec<Vec<String>> = events.into_iter().map(row).collect();
    assert!(rows.len() > 30, "{} events", rows.len());
    let table = reference::table(&["`event`", "level", "fields", "message"], &rows);
    reference::check("logs.md", "events", &table);
}

#[test]
fn async_nats_logs_only_on_request() {
    for (text, want) in [
        ("info", "async_nats=off,info"),
        ("", "async_nats=off"),
        ("sluicegate_bridge=debug,info", "sluicegate_bridge=debug,async_nats=off,info"),
        ("async_nats=debug", "async_nats=debug"),
    ] {
        assert_eq!(Filter::parse(text).unwrap().0.to_string(), want, "{text}");
    }
    assert!(Filter::parse("a=b=c").is_err());
}

/// All lines of the files in a folder, except their tests.
fn read(folder: &Path, lines: &mut Vec<Line>) {
    let mut entries: Vec<PathBuf> =
        fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    entries.sort();
    for path in entries {
        if path.is_dir() {
            read(&path, lines);
        } else if path.file_stem().is_some_and(|name| name != "tests") {
            let text = fs::read_to_string(&path).unwrap();
            for (index, _) in text.match_indices("tracing::") {
                let rest = &text[index + "tracing::".len()..];
                let level = ["error", "warn", "info", "debug"].into_iter();
                let Some(level) = level.into_iter().find(|level| rest.starts_with(&format!("{level}!(")))
                else {
                    continue;
                };
                lines.push(parse(level, &rest[level.len() + 2..], &path));
            }
        }
    }
}

/// Of the arguments of a macro: `fields, event = "…", "message"`.
fn parse(level: &'static str, arguments: &str, path: &Path) -> Line {
    let (fields, rest) = arguments
        .split_once("event = \"")
        .filter(|(fields, _)| !fields.contains(';'))
        .unwrap_or_else(|| panic!("{}: a log line without an event: {arguments:.80}", path.display()));
    let mut strings = rest.split('"');
    let (event, _, message) = (strings.next().unwrap(), strings.next(), strings.next().unwrap());
    let mut depth = 0_u32;
    let fields = fields.split(|character| {
        depth = match character {
            '(' => depth + 1,
            ')' => depth - 1,
            _ => depth,
        };
        character == ',' && depth == 0
    });
    let name =
        |field: &str| field.split('=').next().unwrap().trim().trim_start_matches(['%', '?']).to_owned();
    Line {
        event: event.to_owned(),
        level,
        fields: fields.map(name).filter(|field| !field.is_empty()).collect(),
        message: message.to_owned(),
    }
}

/// A text that fits into a cell.
fn shortened(message: &str) -> String {
    match message.char_indices().nth(79) {
        Some((end, _)) => format!("{}…", &message[..end]),
        None => message.to_owned(),
    }
}
