//! Finds causes in the bridge's log.

use std::fs;

use sluicegate_stack::stack::Stack;

/// The line of the log that an error's text refers to; the text itself shows no cause.
#[track_caller]
pub(crate) fn cause(stack: &Stack, told: &str) -> String {
    let text = told.split_once(", err: ").map_or(told, |(_, text)| text);
    let (text, reference) = text.split_once(" (reference ").unwrap_or_else(|| panic!("no reference: {told}"));
    assert!(FIXED.contains(&text), "{told}");
    let reference = reference.strip_suffix(')').unwrap_or_else(|| panic!("no reference: {told}"));
    let field = format!("reference=\"{reference}\"");
    let log = fs::read_to_string(stack.bridge.process.log()).unwrap();
    let mut lines = log.lines().filter(|line| line.contains(&field));
    let line = lines.next().unwrap_or_else(|| panic!("the log lacks {field}"));
    assert!(line.contains("WARN") && lines.next().is_none(), "{line}");
    line.to_owned()
}

const FIXED: [&str; 2] =
    ["no broker of the cluster is reachable", "no usable answer from the broker of this partition"];
