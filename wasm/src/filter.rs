//! One plugin on one worker: reads the configuration, and finds out in which gateway it is.

use std::sync::Arc;

use sluicegate_protocol::metadata;
use sluicegate_ws_session::Limits;
use sluicegate_ws_session::budget::Budget;

use crate::config::Config;
use crate::gateway::{self, Gateway};
use crate::host::{self, Buffer, Map, Status};
use crate::repeats::Repeats;
use crate::stats::Stats;

/// What all streams of the plugin share.
pub(crate) struct Filter {
    pub(crate) config: Config,
    pub(crate) stats: Stats,
    pub(crate) limits: Limits,
    /// For the sessions' unfinished messages.
    pub(crate) unfinished: Arc<Budget>,
    pub(crate) gateway: Box<dyn Gateway>,
    /// Why the bridge refused requests: gateway and bridge are not set up for each other.
    refusals: Repeats,
}

impl Filter {
    /// Reads the configuration of `size` bytes; as an error, the lines for the log that say why it cannot be used.
    pub(crate) fn configure(size: usize) -> Result<Self, Vec<String>> {
        let json = host::buffer(Buffer::PluginConfiguration, size)
            .map_err(|status| vec![format!("failed to read the configuration: {status}")])?;
        let config = Config::parse(&json, gateway::detect).map_err(|mistakes| {
            mistakes.iter().map(|mistake| format!("bad configuration: {mistake}")).collect::<Vec<_>>()
        })?;
        let unlimited = config.routes.iter().filter(|route| route.grant.topics.is_none());
        let path = |path: &'_ str| if path.is_empty() { "every path" } else { path }.to_owned();
        let unlimited: Vec<String> = unlimited.map(|route| path(&route.path)).collect();
        if !unlimited.is_empty() {
            host::log_warning(&format!(
                "routes without \"topics\", whose clients reach every topic that the cluster's user can: {}",
                unlimited.join(", ")
            ));
        }
        Ok(Self {
            gateway: gateway::start(&config).map_err(|why| vec![why])?,
            stats: Stats::define(),
            limits: Limits { max_message_bytes: config.max_message_bytes },
            unfinished: Budget::new(config.max_assembly_bytes, config.max_message_bytes),
            refusals: Repeats::new(),
            config,
        })
    }

    /// Takes the bridge's mark off the current response; false if it has none.
    pub(crate) fn take_mark(&self) -> Result<bool, Status> {
        let Some(mark) = host::header(Map::Response, metadata::ANSWERED)? else { return Ok(false) };
        if mark != b"1" {
            self.log_refusal(&mark);
        }
        host::remove_header(Map::Response, metadata::ANSWERED.as_bytes())?;
        Ok(true)
    }

    fn log_refusal(&self, reason: &[u8]) {
        let reason = String::from_utf8_lossy(reason);
        if let Some(count) = self.refusals.due(&reason) {
            host::log_warning(&format!("the bridge refused a request ({count} so far): {reason}"));
        }
    }
}
