//! One instance of the filter in a worker: its calls and traps, and its contexts, one per route and one per request,
//! whose ids are used again.

use super::host::{Host, PluginContext, State};
use crate::abi::errors::{StartError, Trap};
use crate::abi::module::{Failure, Instance, Program};

pub(crate) type Machine = Instance<Host>;

impl Instance<Host> {
    /// M, `ngx_http_wasm_load_plugin`: `_start`, or else `_initialize`. There is no `proxy_on_vm_start`.
    pub(crate) fn boot(program: &Program<Host>) -> Result<Self, StartError> {
        let error = |trap, log| StartError { stage: "initialize", trap: Some(trap), log };
        let mut machine = Self::start(program, Host::default()).map_err(|trap| error(trap, Vec::new()))?;
        let start = if machine.has("_start") { "_start" } else { "_initialize" };
        machine.run(start, &[]);
        let system = &mut machine.host().system;
        match system.trap.take() {
            None => Ok(machine),
            Some(trap) => Err(error(trap, system.log.lines().to_vec())),
        }
    }

    /// V, `ngx_wasm_wasmtime_call`: the result, 0 without one or without such an export, or −1 for a trap. A trap does
    /// not end the instance: the next callback runs on the state that the trap left.
    pub(crate) fn run(&mut self, export: &'static str, args: &[u32]) -> i32 {
        if self.host().dead.is_some() {
            return -1;
        }
        let reason = match self.call(export, args) {
            None => return 0,
            Some(Ok(result)) => return result.unwrap_or_default().cast_signed(),
            Some(Err(Failure::OutOfFuel)) => {
                self.die(export, "an endless loop stops the worker for good");
                return -1;
            }
            Some(Err(Failure::Trapped(reason))) => reason,
        };
        let reason = self.host().dead.map_or(reason, str::to_owned);
        self.note(export, reason);
        -1
    }

    /// The worker crashed or hangs; no further callback runs.
    pub(crate) fn die(&mut self, callback: &str, why: &'static str) {
        self.host().dead = Some(why);
        self.note(callback, why.to_owned());
    }

    fn note(&mut self, callback: &str, reason: String) {
        self.host().system.trap.get_or_insert(Trap { callback: callback.to_owned(), reason });
    }

    /// W, `fetch_plugin_ctx`, and M, `ngx_http_wasm_on_configure`: created at the route's first request. If that fails,
    /// the context is deleted, and the next use creates another.
    pub(super) fn plugin_context(&mut self, route: u32) -> Option<u32> {
        let route_state = self.host().routes.get(&route)?;
        if let Some(id) = route_state.plugin {
            return Some(id);
        }
        let conf = route_state.conf.clone();
        // L, `on_configure`.
        if conf.is_empty() {
            return None;
        }
        let host = self.host();
        let id = host.free.pop_back().unwrap_or_else(|| host.new_context());
        host.state = State::Empty;
        let created = self.run("proxy_on_context_create", &[id, 0]);
        self.host().state = State::None;
        if created != 0 {
            self.host().free.push_front(id);
            return None;
        }
        let size = u32::try_from(conf.len()).unwrap_or(u32::MAX);
        let host = self.host();
        host.plugins.insert(id, PluginContext { conf, ..PluginContext::default() });
        host.state = State::Plugin(id);
        let answer = self.run("proxy_on_configure", &[id, size]);
        self.host().state = State::None;
        if answer <= 0 {
            self.delete_plugin_context(id);
            return None;
        }
        if let Some(route) = self.host().routes.get_mut(&route) {
            route.plugin = Some(id);
        }
        Some(id)
    }

    /// M, `ngx_http_wasm_free_plugin_ctx`.
    fn delete_plugin_context(&mut self, id: u32) {
        self.host().free.push_front(id);
        self.end_context(id);
        self.host().plugins.remove(&id);
    }

    /// Runs without a state, so calls that need a request fail. nginx logs an error for each context whose
    /// `proxy_on_done` is missing or does not return true.
    fn end_context(&mut self, id: u32) {
        if self.run("proxy_on_done", &[id]) <= 0 {
            let host = self.host();
            host.undone = host.undone.saturating_add(1);
        }
        self.run("proxy_on_delete", &[id]);
    }

    /// M, `ngx_http_wasm_fetch_http_ctx`: created at the request's first callback.
    pub(super) fn request_context(&mut self, key: u32, plugin: u32) -> Option<u32> {
        let host = self.host();
        let exchange = host.exchanges.get(&key)?;
        if let Some((_, id)) = exchange.context {
            return Some(id);
        }
        let used = host.plugins.get_mut(&plugin).and_then(|plugin| plugin.free.pop_back());
        let id = used.unwrap_or_else(|| host.new_context());
        if self.run("proxy_on_context_create", &[id, plugin]) != 0 {
            if let Some(plugin) = self.host().plugins.get_mut(&plugin) {
                plugin.free.push_front(id);
            }
            return None;
        }
        self.host().exchanges.get_mut(&key)?.context = Some((plugin, id));
        Some(id)
    }

    /// M, `ngx_http_wasm_cleanup`: runs when the request's memory pool is freed.
    pub(crate) fn forget(&mut self, key: u32) {
        let Some(exchange) = self.host().exchanges.remove(&key) else { return };
        let Some((plugin, id)) = exchange.context else { return };
        if let Some(plugin) = self.host().plugins.get_mut(&plugin) {
            plugin.free.push_front(id);
        }
        self.end_context(id);
    }

    /// Deletes the plugin contexts of dropped routes.
    pub(crate) fn collect_garbage(&mut self) {
        let host = self.host();
        let used = |key: u32| host.exchanges.values().any(|exchange| exchange.route == key);
        let gone = host.routes.iter().filter(|(key, route)| route.removed && !used(**key));
        let gone: Vec<u32> = gone.map(|(key, _)| *key).collect();
        for key in gone {
            if let Some(id) = self.host().routes.remove(&key).and_then(|route| route.plugin) {
                self.delete_plugin_context(id);
            }
        }
    }
}
