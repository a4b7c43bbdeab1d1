//! `admin sessions`: lists or ends the sessions of a bridge over its admin port. [`explain`] is the other command.

pub(crate) mod explain;
mod port;
mod table;

use std::fmt::Write as _;

use hyper::http::Method;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::args::{Gateway, Sessions};
use crate::failure::{AdminError, Failure};
use crate::settings::Settings;
use crate::stderr::say;
use crate::stdout::Stdout;
use port::Port;
use table::{Session, Table};

pub(crate) async fn run(
    args: &Sessions,
    settings: &Settings,
    gateway: &Gateway,
    stdout: &mut Stdout,
) -> Result<(), Failure> {
    let port = Port::new(settings, gateway.timeout)?;
    if args.end { end(args, &port, stdout).await } else { list(args, &port, gateway.quiet, stdout).await }
}

async fn end(args: &Sessions, port: &Port<'_>, stdout: &mut Stdout) -> Result<(), Failure> {
    #[derive(Deserialize)]
    struct Outcome {
        ended: u64,
    }
    let body = port.call(Method::DELETE, &sessions(&args.filters.parameters()), &[]).await?;
    let outcome: Outcome = serde_json::from_slice(&body).map_err(invalid)?;
    stdout.write(format!("{} ended\n", counted(outcome.ended)).as_bytes()).await
}

/// Prints a page at a time, so that memory does not grow with the number of sessions.
async fn list(args: &Sessions, port: &Port<'_>, quiet: bool, stdout: &mut Stdout) -> Result<(), Failure> {
    #[derive(Deserialize)]
    struct Page<'a> {
        #[serde(borrow)]
        sessions: Vec<&'a RawValue>,
        more: bool,
        /// Matching sessions, on other pages too.
        open: u64,
    }
    let mut table = Table::default();
    let mut shown: u64 = 0;
    let mut last_id = None;
    loop {
        let mut parameters = args.filters.parameters();
        parameters.push(("limit", PAGE.to_string()));
        parameters.extend(last_id.map(|id: u64| ("after", id.to_string())));
        let body = port.call(Method::GET, &sessions(&parameters), &[]).await?;
        let page: Page<'_> = serde_json::from_slice(&body).map_err(invalid)?;
        let parsed = page.sessions.iter().map(|session| serde_json::from_str(session.get()));
        let sessions: Vec<Session> = parsed.collect::<Result<_, _>>().map_err(invalid)?;
        let text = if args.json {
            page.sessions.iter().map(|session| line(session)).collect::<String>()
        } else {
            table.rows(&sessions)
        };
        stdout.write(text.as_bytes()).await?;
        shown = shown.saturating_add(u64::try_from(sessions.len()).unwrap_or(u64::MAX));
        if !page.more || shown >= MAX_SESSIONS {
            let all = counted(page.open);
            let note = if page.more { format!("{shown} of {all}: add a filter") } else { counted(shown) };
            if !quiet {
                say(format_args!("% {note}"));
            }
            return Ok(());
        }
        let before = std::mem::replace(&mut last_id, sessions.last().map(|session| session.id));
        if last_id <= before {
            let detail = "its next page of sessions has no larger ID".to_owned();
            return Err(AdminError::Answer { detail }.into());
        }
    }
}

fn sessions(parameters: &[(&str, String)]) -> String {
    format!("/sessions?{}", query(parameters))
}

fn query(parameters: &[(&str, String)]) -> String {
    let pair = |(name, value): &(&str, String)| {
        let value = utf8_percent_encode(value, NON_ALPHANUMERIC);
        format!("{name}={value}")
    };
    parameters.iter().map(pair).collect::<Vec<_>>().join("&")
}

/// A session as one line, without characters that control a terminal.
fn line(session: &RawValue) -> String {
    let mut line = String::new();
    for char in session.get().chars() {
        match char {
            // RFC 8259, section 2: "Insignificant whitespace is allowed before or after any of the six structural
            // characters." In strings, they are escaped (section 7).
            '\t' | '\n' | '\r' => line.push(' '),
            // RFC 8259, section 7, lets DEL and C1 stand in strings as they are.
            char if char.is_control() => {
                // Writing to a `String` does not fail.
                let _ = write!(line, "\\u{:04x}", u32::from(char));
            }
            char => line.push(char),
        }
    }
    line.push('\n');
    line
}

fn counted(sessions: u64) -> String {
    let unit = if sessions == 1 { "session" } else { "sessions" };
    format!("{sessions} {unit}")
}

fn invalid(why: serde_json::Error) -> AdminError {
    AdminError::Answer { detail: format!("its answer is not that of an admin port: {why}") }
}

/// Sessions of a page. Its bytes are bounded by [`port`]: 80 KiB for each session on average.
const PAGE: u64 = 100;
/// Longest list, in sessions.
const MAX_SESSIONS: u64 = 10_000;
