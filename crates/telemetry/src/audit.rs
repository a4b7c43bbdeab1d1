//! The audit log: who opened, renewed and closed sessions, who was refused and which commands were denied, one JSON
//! object a line.
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
use std::sync::mpsc::Sender;
use std::time::Duration;

use prometheus_client::metrics::counter::Counter;
use serde::Serialize;
use serde_json::{Map, Value};
use sluicegate_fair_share::{ClientKey, Ledger, Permit, Permits};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use tokio::sync::oneshot;
use tokio::time::timeout;

use self::file::File;
use self::repeats::Repeats;

/// The audit log of a bridge.
pub struct AuditLog {
    lines: Sender<Message>,
    /// Bytes of lines that wait to be written.
    room: Arc<Permits>,
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
    pub claims: Option<&'a Map<String, Value>>,
}

/// The kind of a client that sends plain HTTP requests.
pub const HTTP: &str = "http";

/// An event of the audit log.
#[derive(Debug, Clone, Copy, Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event {
    /// A session or a stream of events begins.
    Opened,
    /// An upgrade or a request is refused.
    Refused {
        /// One of a few words.
        reason: &'static str,
    },
    /// A client has renewed its identity.
    Renewed,
    /// The client's rights do not allow a command, in whole or in part.
    Denied {
        /// The kind of command.
        command: &'static str,
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

impl Client<'_> {
    /// Only the beginnings of names, which clients and gateways choose.
    fn cut(self) -> Self {
        let [cluster, route, issuer, subject, token_id] =
            [self.cluster, self.route, self.issuer, self.subject, self.token_id]
                .map(|name| name.and_then(|name| name.get(..name.floor_char_boundary(MAX_NAME_BYTES))));
        Self { cluster, route, issuer, subject, token_id, ..self }
    }
}

#[derive(Serialize)]
struct Line<'a> {
    timestamp: String,
    #[serde(flatten)]
    event: Event,
    #[serde(flatten)]
    client: Client<'a>,
    /// Events like this one that were left out before it.
    #[serde(skip_serializing_if = "is_zero")]
    suppressed: u64,
}

/// A message for the thread that writes.
enum Message {
    /// A line with its end, and its place in the queue.
    Line(Vec<u8>, Permit),
    /// The file is opened anew.
    Reopen,
    /// All lines before it are written.
    Flush(oneshot::Sender<()>),
}

impl AuditLog {
    /// The log in the file at `path`. Lines that are not written count as `dropped`.
    ///
    /// # Errors
    /// The file cannot be opened for appending, or a thread cannot be started.
    pub fn open(path: &Path, dropped: Counter) -> io::Result<Self> {
        let file = File::open(path, dropped.clone())?;
        let (lines, written) = std::sync::mpsc::channel();
        std::thread::Builder::new().name("audit-log".into()).spawn(move || file.write_all(&written))?;
        Ok(Self {
            lines,
            room: Permits::new(Ledger::of_one_cluster(MAX_WAITING_BYTES)),
            repeats: Repeats::default(),
            hasher: RandomState::new(),
            dropped,
        })
    }

    /// Logs an event of a client. Never waits: if the queue is full, the source that holds most of it loses lines.
    /// Refusals and denied commands that repeat one of the last second are only counted.
    pub fn log(&self, source: ClientKey, client: Client<'_>, event: Event) {
        let client = client.cut();
        let Some(suppressed) = self.suppressed(&client, event) else { return };
        let timestamp = OffsetDateTime::now_utc();
        // Whole milliseconds are enough.
        let timestamp = timestamp.replace_millisecond(timestamp.millisecond()).unwrap_or(timestamp);
        let timestamp = timestamp.format(&Rfc3339).unwrap_or_default();
        // Cannot fail: all keys are text.
        let mut line = serde_json::to_vec(&Line { timestamp, event, client, suppressed }).unwrap_or_default();
        line.push(b'\n');
        let sent = self
            .room
            .try_acquire(source.into(), line.len())
            .and_then(|place| self.lines.send(Message::Line(line, place)).ok());
        if sent.is_none() {
            self.dropped.inc();
        }
    }

    /// How many events like this one were left out before it; None: it is left out, too.
    fn suppressed(&self, client: &Client<'_>, event: Event) -> Option<u64> {
        let what = match event {
            Event::Opened | Event::Renewed | Event::Closed { .. } => return Some(0),
            Event::Refused { reason } => ("refused", reason),
            Event::Denied { command } => ("denied", command),
        };
        let Client { route, address, issuer, subject, .. } = client;
        self.repeats.pass(self.hasher.hash_one((what, route, address, issuer, subject)))
    }

    /// Opens the file anew, after a rotation. If that fails, the open one stays in use, and the bridge logs why.
    pub fn reopen(&self) {
        // Without the thread, lines are counted as dropped.
        let _ = self.lines.send(Message::Reopen);
    }

    /// Waits until all lines are written, for at most a second.
    ///
    /// # Cancel safety
    /// A drop ends the wait.
    pub async fn flush(&self) {
        let (done, flushed) = oneshot::channel();
        if self.lines.send(Message::Flush(done)).is_ok() {
            // A file that takes no lines does not keep the bridge from its end.
            let _ = timeout(FLUSH_TIMEOUT, flushed).await;
        }
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes references")]
fn is_zero(count: &u64) -> bool {
    *count == 0
}

/// Enough for a few seconds of a slow disk: 20,000 lines or so.
const MAX_WAITING_BYTES: usize = 8 * 1024 * 1024;
/// OpenID Connect's subjects have at most 255 bytes.
const MAX_NAME_BYTES: usize = 512;
const FLUSH_TIMEOUT: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests;
