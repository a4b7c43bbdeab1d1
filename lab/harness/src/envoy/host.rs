//! The state behind the host calls: everything that Envoy would hold for one VM on one worker.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use super::exchange::Exchange;
use crate::abi::headers::Headers;
use crate::abi::system::{self, System};

/// The plugin's root context. Envoy numbers contexts from 1 (cpp-host, `allocContextId`), and the root is the first.
pub(crate) const ROOT: u32 = 1;

#[derive(Default)]
pub(crate) struct Host {
    pub(crate) system: System,
    pub(crate) configuration: Vec<u8>,
    /// Properties of the host by path, with NUL between its parts.
    pub(crate) properties: BTreeMap<Vec<u8>, Vec<u8>>,
    /// The names of the metrics, by handle from 1.
    pub(crate) metrics: Vec<String>,
    pub(crate) values: BTreeMap<String, u64>,
    /// Since the start.
    pub(crate) now: Duration,
    pub(crate) tick_period: Duration,
    /// When the next tick is due; `None` without a period.
    pub(crate) tick_due: Option<Duration>,
    pub(crate) exchanges: BTreeMap<u32, Exchange>,
    last_context: u32,
    pub(crate) current: u32,
    pub(crate) effective: Option<u32>,
    /// The plugin's configuration is readable only while the root is created and configured.
    pub(crate) configuring: bool,
    /// A local response was sent, which overrides the callback's result (cpp-host, `stopNextIteration`).
    pub(crate) stop_iteration: bool,
    /// Actions that run after the callback (cpp-host, `addAfterVmCallAction`).
    pub(crate) actions: VecDeque<Action>,
}

/// An action that a host call queues to run after the callback.
pub(crate) enum Action {
    Respond { context: u32, status: u32, headers: Headers, body: Vec<u8> },
    Reset { context: u32 },
}

impl Host {
    pub(crate) fn new(configuration: &[u8]) -> Self {
        let address = (b"source\0address".to_vec(), b"10.0.0.9:50000".to_vec());
        Self {
            configuration: configuration.to_vec(),
            properties: [address].into(),
            last_context: ROOT,
            current: ROOT,
            configuring: true,
            ..Self::default()
        }
    }

    /// cpp-host, `contextOrEffectiveContext`. No context is deleted while a callback runs.
    pub(crate) fn context(&self) -> u32 {
        self.effective.unwrap_or(self.current)
    }

    pub(crate) fn is_context(&self, id: u32) -> bool {
        id == ROOT || self.exchanges.get(&id).is_some_and(|exchange| !exchange.deleted)
    }

    /// The stream that host calls act on; `None` in the root context.
    pub(crate) fn exchange(&mut self) -> Option<&mut Exchange> {
        let id = self.context();
        self.exchanges.get_mut(&id)
    }

    pub(crate) fn add(&mut self, exchange: Exchange) -> u32 {
        self.last_context = self.last_context.wrapping_add(1);
        self.exchanges.insert(self.last_context, exchange);
        self.last_context
    }
}

impl system::Host for Host {
    fn system(&mut self) -> &mut System {
        &mut self.system
    }
}
