//! Standard error: everything that is not payload.

use std::fmt::Display;
use std::io::Write as _;

/// Writes a line. Where nobody reads standard error there is nobody to tell.
pub(crate) fn say(line: impl Display) {
    let _ = writeln!(std::io::stderr(), "{line}");
}

/// `text` without control characters, which could make a terminal do or show what a server likes.
pub(crate) fn printable(text: &str) -> String {
    let shown: String = text.chars().map(|char| if char.is_control() { ' ' } else { char }).collect();
    shown.trim().to_owned()
}
