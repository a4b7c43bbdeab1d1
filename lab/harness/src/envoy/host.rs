//! The state behind the host calls: everything that Envoy would hold for one VM on one worker.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use super::exchange::{Exchange, Side};
use super::local_reply::ReplyFormat;
use super::metrics::Metrics;
use super::settings::Settings;
use crate::abi::headers::Headers;
use crate::abi::system::{self, System};

/// The plugin's root context. Envoy numbers contexts from 1 (cpp-host, `allocContextId`), and the root is the first.
pub(crate) const ROOT: u32 = 1;

pub(crate) struct Host {
    pub(crate) settings: Settings,
    pub(crate) system: System,
    pub(crate) metrics: Metrics,
    /// Wall clock, since 1970.
    pub(crate) now: Duration,
    pub(crate) tick_period: Duration,
    /// When the next tick is due; `None` without a period.
    pub(crate) tick_due: Option<Duration>,
    pub(crate) exchanges: BTreeMap<u32, Exchange>,
    next_context: u32,
    pub(crate) current: u32,
    pub(crate) effective: Option<u32>,
    /// The plugin's configuration is readable only while the root is created and configured.
    pub(crate) configuring: bool,
    /// The root's `on_done` returned false; `proxy_done` completes the shutdown.
    pub(crate) shutdown_pending: bool,
    /// A local response was sent, which overrides the callback's result (cpp-host, `stopNextIteration`).
    pub(crate) stop_iteration: bool,
    /// Actions that run after the callback (cpp-host, `addAfterVmCallAction`).
    pub(crate) actions: VecDeque<Action>,
    /// The test has read the trap.
    pub(crate) trap_seen: bool,
}

/// An action that a host call queues to run after the callback.
pub(crate) enum Action {
    Respond { context: u32, status: u32, grpc_status: Option<u32>, headers: Headers, body: Vec<u8> },
    Continue { context: u32, side: Side },
    Reset { context: u32 },
    DeleteRoot,
}

impl Host {
    pub(crate) fn new(settings: Settings) -> Self {
        Self {
            system: System::new(settings.memory_limit, settings.instructions_per_callback),
            metrics: Metrics::default(),
            now: settings.now,
            tick_period: Duration::ZERO,
            tick_due: None,
            exchanges: BTreeMap::new(),
            next_context: ROOT,
            current: ROOT,
            effective: None,
            configuring: false,
            shutdown_pending: false,
            stop_iteration: false,
            actions: VecDeque::new(),
            trap_seen: false,
            settings,
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

    pub(crate) fn new_exchange(&mut self, reply_format: ReplyFormat) -> u32 {
        self.next_context = self.next_context.wrapping_add(1);
        self.exchanges.insert(self.next_context, Exchange { reply_format, ..Exchange::default() });
        self.next_context
    }
}

impl system::Host for Host {
    fn system(&mut self) -> &mut System {
        &mut self.system
    }
}
