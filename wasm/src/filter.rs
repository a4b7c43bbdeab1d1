//! One plugin on one worker: reads the configuration, finds out in which gateway it is, knows its calls of the bridge.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::sync::Arc;

use sluicegate_session::Limits;
use sluicegate_session::budget::Budget;

use crate::config::{Cluster, Config};
use crate::gateway::{self, Call, Gateway};
use crate::host::{self, Buffer, Status};
use crate::stats::Stats;

/// What all streams of the plugin share.
pub(crate) struct Filter {
    pub(crate) config: Config,
    pub(crate) stats: Stats,
    pub(crate) limits: Limits,
    pub(crate) budget: Arc<Budget>,
    pub(crate) gateway: Box<dyn Gateway>,
    /// Calls under way, and whose they are.
    calls: RefCell<BTreeMap<u32, u32>>,
}

impl Filter {
    /// Reads the configuration of `size` bytes; None, and why in the log, where it cannot be used.
    pub(crate) fn configure(size: usize) -> Option<Self> {
        let json = match host::buffer(Buffer::PluginConfiguration, size) {
            Ok(json) => json,
            Err(status) => {
                host::log_error(&format!("failed to read the configuration: {status}"));
                return None;
            }
        };
        let config = match Config::parse(&json, gateway::detect) {
            Ok(config) => config,
            Err(mistakes) => {
                for mistake in mistakes {
                    host::log_error(&format!("bad configuration: {mistake}"));
                }
                return None;
            }
        };
        Some(Self {
            gateway: gateway::start(&config)?,
            stats: Stats::define(),
            limits: Limits { max_message_bytes: config.max_message_bytes },
            budget: Budget::new(config.max_assembly_bytes),
            calls: RefCell::default(),
            config,
        })
    }

    /// Calls the bridge for a stream with a message, its head in front; the token of the call.
    pub(crate) fn call(&self, context_id: u32, cluster: &Cluster, framed: &[u8]) -> Result<u32, Status> {
        let metadata: Vec<_> = self.config.metadata(cluster).collect();
        let timeout_ms = self.config.http_timeout_ms;
        let token = self.gateway.call(&Call { metadata: &metadata, framed, timeout_ms })?;
        self.calls.borrow_mut().insert(token, context_id);
        Ok(token)
    }

    /// The call has ended: whose it was. A host also tells of calls that failed while they were made, and had no token yet.
    pub(crate) fn take_call(&self, token: u32) -> Option<u32> {
        self.calls.borrow_mut().remove(&token)
    }

    /// The call's stream is over; `cancel` tells the bridge, too.
    pub(crate) fn forget_call(&self, token: u32, cancel: bool) {
        if self.take_call(token).is_some() && cancel {
            self.gateway.cancel(token);
        }
    }
}
