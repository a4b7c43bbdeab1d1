//! The state behind the host calls: one plugin in one nginx worker.

use std::collections::{BTreeMap, VecDeque};

use super::exchange::Exchange;
use crate::abi::system::{self, System};

#[derive(Default)]
pub(crate) struct Host {
    pub(crate) system: System,
    /// Contexts that nginx reported as not done.
    pub(crate) undone: usize,
    pub(crate) routes: BTreeMap<u32, RouteState>,
    /// Plugin contexts by id.
    pub(crate) plugins: BTreeMap<u32, PluginContext>,
    /// Ids of deleted plugin contexts, for reuse.
    pub(crate) free: VecDeque<u32>,
    last_context: u32,
    pub(crate) exchanges: BTreeMap<u32, Exchange>,
    last_key: u32,
    pub(crate) state: State,
    /// M, `wmcf->code` and `wmcf->body`: the local response of the current callback. The body is never cleared.
    pub(crate) code: i32,
    pub(crate) body: Vec<u8>,
    /// The reason why the worker crashed or hangs.
    pub(crate) dead: Option<&'static str>,
}

/// A route's plugin configuration in APISIX.
pub(crate) struct RouteState {
    pub(crate) conf: Vec<u8>,
    /// W, `fetch_plugin_ctx`: created at the first request.
    pub(crate) plugin: Option<u32>,
    /// The route was removed; only open requests still use it.
    pub(crate) removed: bool,
}

/// M, `ngx_http_wasm_plugin_ctx_t`.
#[derive(Default)]
pub(crate) struct PluginContext {
    pub(crate) conf: Vec<u8>,
    pub(crate) exchange: Option<u32>,
    /// Ids of deleted request contexts, for reuse.
    pub(crate) free: VecDeque<u32>,
}

/// `src/http/ngx_http_wasm_state.c`, `cur_state`: the context of host calls.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum State {
    /// While `_initialize`, `proxy_on_done` and `proxy_on_delete` run.
    #[default]
    None,
    /// While a plugin context is created: no request, no configuration.
    Empty,
    /// While a callback of this plugin context runs.
    Plugin(u32),
}

impl Host {
    /// M, `cur_ctx_id`: one counter for plugin and request contexts, from 1.
    pub(crate) fn new_context(&mut self) -> u32 {
        self.last_context = self.last_context.wrapping_add(1);
        self.last_context
    }

    /// An internal key for a route or a request.
    pub(crate) fn new_key(&mut self) -> u32 {
        self.last_key = self.last_key.wrapping_add(1);
        self.last_key
    }

    pub(crate) fn plugin(&mut self) -> Option<&mut PluginContext> {
        match self.state {
            State::Plugin(id) => self.plugins.get_mut(&id),
            State::None | State::Empty => None,
        }
    }

    /// A, `must_get_req`.
    pub(crate) fn exchange(&mut self) -> Option<&mut Exchange> {
        let key = self.plugin()?.exchange?;
        self.exchanges.get_mut(&key)
    }
}

impl system::Host for Host {
    fn system(&mut self) -> &mut System {
        &mut self.system
    }
}
