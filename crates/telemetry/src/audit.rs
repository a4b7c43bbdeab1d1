//! The audit log: sessions that begin and end, refusals and denied commands with their people, one JSON object a line.
//!
//! 1. here: an event becomes a line, unless it repeats one of the last second (`repeats`)
//! 2. `file`: a thread writes lines; those that do not fit into its queue are dropped

mod file;
mod repeats;

use std::hash::{BuildHasher, RandomState};
use std::io;
use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::Sender;
use std::time::{Duration, SystemTime};

use prometheus_client::metrics::counter::Counter;
use serde::Serialize;
use serde_json::value::RawValue;
use sluicegate_fair_share::{ClientKey, Ledger, Permit, Permits};
use tokio::sync::oneshot;
use tokio::time::timeout;

use self::file::File;
use self::repeats::Repeats;
use crate::{shown, traces};

/// The audit log of a bridge.
pub struct AuditLog {
    lines: Sender<Message>,
    /// Bytes of lines that wait to be written.
    room: Arc<Permits>,
    /// Whether the last line could not be written.
    fails: Arc<AtomicBool>,
    repeats: Repeats,
    hasher: RandomState,
    dropped: Counter,
}

/// A client, as far as it is known.
#[derive(Debug, Default, Clone, Copy, Serialize)]
pub struct Client<'a> {
    /// The number of the session or stream.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<u64>,
    /// The way in which it is connected.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kind: Option<&'static str>,
    /// The cluster that it uses.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cluster: Option<&'a str>,
    /// The gateway's name of its route.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub route: Option<&'a str>,
    /// Its address, for IPv6 of its network.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub address: Option<IpAddr>,
    /// `iss` of its identity.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub issuer: Option<&'a str>,
    /// `sub` of its identity.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub subject: Option<&'a str>,
    /// `jti` of its identity.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub token_id: Option<&'a str>,
    /// Claims of its identity that the operator wants to see.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub claims: Option<&'a RawValue>,
}

/// The kind of a client that sends plain HTTP requests.
pub const HTTP: &str = "http";

/// An event of the audit log.
#[derive(Debug, Clone, Copy, Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event<'a> {
    /// A session or a stream of events begins.
    Opened,
    /// An upgrade, a request, a renewal, or a command beyond a quota is refused.
    Refused {
        /// One of a few words.
        reason: &'static str,
    },
    /// A client has renewed its identity on the open socket.
    Renewed,
    /// The client's rights do not allow a command, in whole or in part.
    Denied {
        /// The kind of command.
        command: &'static str,
        /// The right that it needs, by the route's key; None: nobody has it.
        #[serde(skip_serializing_if = "Option::is_none")]
        right: Option<&'static str>,
        /// The topic that it needs the right at, the first of several.
        #[serde(skip_serializing_if = "Option::is_none")]
        topic: Option<&'a str>,
    },
    /// A session or a stream of events ends.
    Closed {
        /// One of a few words.
        reason: &'static str,
        /// How long it was open.
        age_ms: u64,
        /// Bytes of the client's requests.
        received_bytes: u64,
        /// Bytes of answers and deliveries.
        sent_bytes: u64,
        /// Commands for the cluster.
        commands: u64,
        /// Commands among them that were denied.
        denied: u64,
    },
}

#[derive(Serialize)]
struct Line<'a> {
    timestamp: String,
    #[serde(flatten)]
    event: Event<'a>,
    #[serde(flatten)]
    client: Client<'a>,
    /// The request or command, as its client and the log know it. Empty outside requests.
    #[serde(skip_serializing_if = "String::is_empty")]
    trace_id: String,
    /// Events like this one that were left out before it.
    #[serde(skip_serializing_if = "is_zero")]
    suppressed: u64,
}

impl Line<'_> {
    /// One line of JSON with its end. Characters that control a terminal, or end a line for some readers, are escaped.
    fn encode(&self) -> Box<[u8]> {
        // Cannot fail: all keys are text.
        let json = serde_json::to_string(self).unwrap_or_default();
        let mut line = String::with_capacity(json.len().saturating_add(1));
        for character in json.chars() {
            match character {
                // Outside ASCII, JSON has characters in strings only.
                '\u{7f}'..='\u{9f}' | '\u{2028}' | '\u{2029}' => {
                    line.push_str(&format!("\\u{:04x}", u32::from(character)));
                }
                _ => line.push(character),
            }
        }
        line.push('\n');
        line.into_bytes().into_boxed_slice()
    }
}

/// A message for the thread that writes.
enum Message {
    /// A line with its end, and its place in the queue.
    Line(Box<[u8]>, Permit),
    /// The file is opened anew.
    Reopen,
    /// Tells, after all lines before it, whether the last one was written.
    Flush(oneshot::Sender<bool>),
}

impl AuditLog {
    /// The log in the file at `path`. Lines that are not written count as `dropped`.
    ///
    /// # Errors
    /// The file cannot be opened for appending, or a thread cannot be started.
    pub fn open(path: &Path, dropped: Counter) -> io::Result<Self> {
        let file = File::open(path, dropped.clone())?;
        let (fails, (lines, written)) = (file.fails(), std::sync::mpsc::channel());
        std::thread::Builder::new().name("audit-log".into()).spawn(move || file.write_all(&written))?;
        Ok(Self {
            lines,
            room: Permits::new(Ledger::of_one_cluster(MAX_WAITING_BYTES)),
            fails,
            repeats: Repeats::default(),
            hasher: RandomState::new(),
            dropped,
        })
    }

    /// Logs an event of a client. Never waits: if the queue is full, the source that holds most of it loses lines.
    /// Refusals and denied commands that repeat one of the last second are only counted.
    pub fn log(&self, source: ClientKey, client: Client<'_>, event: Event<'_>) {
        // Clients and gateways choose them.
        let [cluster, route, issuer, subject, token_id] =
            [client.cluster, client.route, client.issuer, client.subject, client.token_id]
                .map(|name| name.map(shown::name));
        let client = Client {
            cluster: cluster.as_deref(),
            route: route.as_deref(),
            issuer: issuer.as_deref(),
            subject: subject.as_deref(),
            token_id: token_id.as_deref(),
            ..client
        };
        let topic = if let Event::Denied { topic, .. } = event { topic.map(shown::name) } else { None };
        let event = match event {
            Event::Denied { command, right, .. } => Event::Denied { command, right, topic: topic.as_deref() },
            event => event,
        };
        let Some(suppressed) = self.suppressed(&client, event) else { return };
        let (timestamp, trace_id) = (shown::time(SystemTime::now()), traces::current_id());
        let line = Line { timestamp, event, client, trace_id, suppressed }.encode();
        let sent = self
            .room
            .try_acquire(source.into(), line.len().saturating_add(LINE_BYTES))
            .and_then(|place| self.lines.send(Message::Line(line, place)).ok());
        if sent.is_none() {
            self.dropped.inc();
        }
    }

    /// Whether a line about this source would be written, as far as is known: the last one of all was, and the queue has
    /// room for it.
    pub fn has_room(&self, source: ClientKey) -> bool {
        !self.fails.load(Ordering::Relaxed) && self.room.try_acquire(source.into(), LONG_LINE_BYTES).is_some()
    }

    /// How many events like this one were left out before it; None: it is left out, too.
    fn suppressed(&self, client: &Client<'_>, event: Event<'_>) -> Option<u64> {
        let what = match event {
            Event::Opened | Event::Renewed | Event::Closed { .. } => return Some(0),
            Event::Refused { reason } => ("refused", reason, None, 0),
            // Clients choose the topic: those with the same of a few hashes count as one.
            Event::Denied { command, right, topic } => {
                ("denied", command, right, self.hasher.hash_one(topic) % TOPICS_APART)
            }
        };
        let Client { cluster, route, address, issuer, subject, .. } = client;
        self.repeats.suppressed(self.hasher.hash_one((what, cluster, route, address, issuer, subject)))
    }

    /// Opens the file anew, after a rotation. If that fails, the open one stays in use, and the bridge logs why.
    pub fn reopen(&self) {
        // Without the thread, lines are counted as dropped.
        let _ = self.lines.send(Message::Reopen);
    }

    /// Waits until all lines are written, for at most half a second: a file that takes no lines does not keep the bridge
    /// from its end. Returns whether the last line was written by then.
    ///
    /// # Cancel safety
    /// A drop ends the wait.
    pub async fn flush(&self) -> bool {
        let (done, flushed) = oneshot::channel();
        let sent = self.lines.send(Message::Flush(done)).is_ok();
        sent && matches!(timeout(FLUSH_TIMEOUT, flushed).await, Ok(Ok(true)))
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes references")]
fn is_zero(count: &u64) -> bool {
    *count == 0
}

/// The lines of a client in a second about one kind of denied command, for each right.
const TOPICS_APART: u64 = 8;
/// Enough for a few seconds of a slow disk: 10,000 lines or so.
const MAX_WAITING_BYTES: usize = 8 * 1024 * 1024;
/// The memory of a line with long names.
const LONG_LINE_BYTES: usize = 4 * 1024;
/// The memory of a waiting line beside its text.
const LINE_BYTES: usize = 256;
const FLUSH_TIMEOUT: Duration = Duration::from_millis(500);

#[cfg(test)]
mod tests;
