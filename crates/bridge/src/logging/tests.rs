//! The filter, and the reference of log lines, which lists those in the code.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use sluicegate_reference as reference;

use super::Filter;

/// The lines of an event in the code.
#[derive(Default)]
struct Event {
    levels: Vec<String>,
    fields: Vec<String>,
    /// The longest says it all.
    message: String,
}

#[test]
fn reference_lists_every_event() {
    let mut events = BTreeMap::new();
    for name in "backend bridge delivery dialect identity kafka nats reader schemas telemetry".split(' ') {
        read(&PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..").join(name).join("src"), &mut events);
    }
    let row = |(event, Event { levels, fields, message }): (String, Event)| {
        vec![format!("`{event}`"), levels.join(", "), fields.join(", "), shortened(&message)]
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

/// Adds all lines of the files in a folder, except their tests.
fn read(folder: &Path, events: &mut BTreeMap<String, Event>) {
    let mut entries: Vec<PathBuf> =
        fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    entries.sort();
    for path in entries {
        if path.is_dir() {
            read(&path, events);
        } else if path.file_stem().is_some_and(|name| name != "tests") {
            let text = fs::read_to_string(&path).unwrap();
            for (index, _) in text.match_indices("tracing::") {
                let rest = &text[index + "tracing::".len()..];
                let level = ["error", "warn", "info", "debug"].into_iter();
                let Some(level) = level.into_iter().find(|level| rest.starts_with(&format!("{level}!(")))
                else {
                    continue;
                };
                add(level, &rest[level.len() + 2..], &path, events);
            }
        }
    }
}

/// Adds a line from the arguments of its macro: `fields, event = "…", "message"`.
fn add(level: &str, arguments: &str, path: &Path, events: &mut BTreeMap<String, Event>) {
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
    let names = fields.map(name).filter(|field| !field.is_empty());
    let add = |list: &mut Vec<String>, word: String| {
        if !list.contains(&word) {
            list.push(word);
        }
    };
    let known = events.entry(event.to_owned()).or_default();
    add(&mut known.levels, level.to_owned());
    names.for_each(|name| add(&mut known.fields, format!("`{name}`")));
    if known.message.len() < message.len() {
        message.clone_into(&mut known.message);
    }
}

/// A text that fits into a cell.
fn shortened(message: &str) -> String {
    match message.char_indices().nth(79) {
        Some((end, _)) => format!("{}…", &message[..end]),
        None => message.to_owned(),
    }
}
