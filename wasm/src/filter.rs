//! One plugin on one worker: reads its configuration and detects the gateway.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::sync::Arc;

use sluicegate_protocol::metadata;
use sluicegate_ws_session::Limits;
use sluicegate_ws_session::budget::Budget;

use crate::config::{Config, Source};
use crate::frame_rate::FrameRate;
use crate::gateway::{self, Gateway};
use crate::host::{self, Buffer, Map, Status};
use crate::stats::Stats;

/// The state that all streams of the plugin share.
pub(crate) struct Filter {
    pub(crate) config: Config,
    pub(crate) stats: Stats,
    pub(crate) limits: Limits,
    /// Memory for the sessions' unfinished messages.
    pub(crate) unfinished: Arc<Budget>,
    /// Frames of the clients of all sessions.
    pub(crate) frames: FrameRate,
    pub(crate) gateway: Box<dyn Gateway>,
    /// Warnings of configurations that do not match, which clients trigger: those of gateway and bridge, or of the gateway's
    /// filters.
    warnings: RepeatLimit,
}

impl Filter {
    /// Reads the configuration of `size` bytes. An error is the lines to log.
    pub(crate) fn configure(size: usize) -> Result<Self, Vec<String>> {
        let json = host::buffer(Buffer::PluginConfiguration, size)
            .map_err(|status| vec![format!("failed to read the configuration: {status}")])?;
        let config = Config::parse(&json, gateway::detect).map_err(|mistakes| {
            mistakes.iter().map(|mistake| format!("invalid configuration: {mistake}")).collect::<Vec<_>>()
        })?;
        config.warnings().for_each(|warning| host::log_warning(&warning));
        Ok(Self {
            gateway: gateway::start(&config).map_err(|why| vec![why])?,
            stats: Stats::define(),
            limits: Limits { max_message_bytes: config.max_message_bytes },
            unfinished: Budget::new(config.max_assembly_bytes, config.max_message_bytes),
            frames: FrameRate::default(),
            warnings: RepeatLimit::new(),
            config,
        })
    }

    /// Some time has passed.
    pub(crate) fn tick(&self) {
        self.frames.tick();
        self.gateway.tick();
    }

    /// Removes the bridge's mark from the current response; false if it has none.
    pub(crate) fn take_mark(&self) -> Result<bool, Status> {
        let Some(mark) = host::header(Map::Response, metadata::ANSWERED)? else { return Ok(false) };
        if mark != b"1" {
            self.log_refusal(&mark);
        }
        host::remove_header(Map::Response, metadata::ANSWERED.as_bytes())?;
        Ok(true)
    }

    /// Passes the answer to an upgrade that opened no session.
    pub(crate) fn bridge_refused(&self, status: &[u8], is_grpc: bool) -> Result<(), Status> {
        self.stats.bridge_refused();
        self.take_mark()?;
        // A refusal with `retry-after` is the bridge's own and passes. The proxy's own error would not help a client.
        let says_when = host::header(Map::Response, "retry-after")?.is_some();
        if is_grpc || (UNREACHABLE.contains(&status) && !says_when) {
            self.gateway.replace_unreachable()?;
        } else if status == b"404" {
            self.gateway.replace_unrouted(&[])?;
        }
        Ok(())
    }

    fn log_refusal(&self, reason: &[u8]) {
        let reason = String::from_utf8_lossy(reason);
        if let Some(count) = self.warnings.due(&reason) {
            host::log_warning(&format!("the bridge refused a request ({count} so far): {reason}"));
        }
    }

    /// Logs that a client of a route shows a token, and its source of claims has none.
    pub(crate) fn log_doubt(&self, route: &str, source: &Source) {
        let Some(doubt) = source.doubt() else { return };
        let line = format!("{route}: {doubt}");
        if let Some(count) = self.warnings.due(&line) {
            host::log_warning(&format!("a request with a token has no identity ({count} so far): {line}"));
        }
    }
}

/// Limits repeated log lines: a line is logged the first time and whenever its count has doubled. Clients can trigger
/// such lines at will, and there is no clock in Apache APISIX. Has the count of each line, of at most [`MAX_LINES`] different ones.
pub(crate) struct RepeatLimit(RefCell<BTreeMap<String, u64>>);

impl RepeatLimit {
    pub(crate) const fn new() -> Self {
        Self(RefCell::new(BTreeMap::new()))
    }

    /// Counts `line`; returns the count if the line should be logged.
    pub(crate) fn due(&self, line: &str) -> Option<u64> {
        let mut counts = self.0.borrow_mut();
        if counts.len() >= MAX_LINES && !counts.contains_key(line) {
            counts.clear();
        }
        let count = counts.entry(line.to_owned()).or_default();
        *count = count.saturating_add(1);
        count.is_power_of_two().then_some(*count)
    }

    /// Starts over, once the cause of the lines is fixed.
    pub(crate) fn reset(&self) {
        self.0.borrow_mut().clear();
    }
}

/// The gateway's own answers to an upgrade that the bridge did not answer. Envoy's timeouts say 408, as if the client
/// had not finished its request.
const UNREACHABLE: [&[u8]; 3] = [b"408", b"503", b"504"];
/// Different lines that are counted; beyond it, all counts start over.
const MAX_LINES: usize = 64;
