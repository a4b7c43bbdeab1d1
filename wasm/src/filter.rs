//! One filter instance per worker: reads the configuration, opens streams, ends those that are overdue.

use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;

use proxy_wasm::traits::{Context, HttpContext, RootContext};
use proxy_wasm::types::ContextType;
use sluicegate_session::Limits;
use sluicegate_session::budget::Budget;

use crate::config::Config;
use crate::host::{self, Buffer, Level};
use crate::stats::Stats;
use crate::stream::Stream;

proxy_wasm::main! {{
    proxy_wasm::set_root_context(|_| Box::new(Filter { shared: None }));
}}

/// The filter before and after it was configured.
struct Filter {
    shared: Option<Rc<Shared>>,
}

/// What all streams of one worker share.
pub(crate) struct Shared {
    pub(crate) config: Config,
    pub(crate) stats: Stats,
    pub(crate) limits: Limits,
    pub(crate) budget: Arc<Budget>,
    closing: Closing,
}

impl Shared {
    /// The stream is over for us: it is reset unless it has ended by itself in [`CLOSE_TIMEOUT`].
    pub(crate) fn closing(&self, context_id: u32) {
        self.closing.add(context_id);
    }
}

/// Streams that have to end soon, oldest first.
///
/// A cell that is emptied while it is worked on: a host call may enter the filter again.
#[derive(Default)]
struct Closing(Cell<Vec<Overdue>>);

struct Overdue {
    context_id: u32,
    /// Nanoseconds since 1970-01-01T00:00:00Z.
    deadline: u64,
}

impl Closing {
    fn add(&self, context_id: u32) {
        let deadline = host::now().unwrap_or(0).saturating_add(CLOSE_TIMEOUT);
        let mut streams = self.0.take();
        streams.push(Overdue { context_id, deadline });
        self.0.set(streams);
    }

    fn reset_overdue(&self) {
        let now = host::now().unwrap_or(u64::MAX);
        let (overdue, mut waiting): (Vec<_>, Vec<_>) =
            self.0.take().into_iter().partition(|stream| stream.deadline <= now);
        for stream in overdue {
            // A stream that has ended in the meantime cannot be entered.
            if host::enter_stream(stream.context_id).is_ok() && host::reset_stream().is_err() {
                waiting.push(stream);
            }
        }
        waiting.append(&mut self.0.take());
        self.0.set(waiting);
    }
}

impl Context for Filter {}

impl RootContext for Filter {
    fn on_configure(&mut self, size: usize) -> bool {
        let json = match host::buffer(Buffer::PluginConfiguration, size) {
            Ok(json) => json,
            Err(status) => {
                host::log(Level::Error, &format!("sluicegate: failed to read the configuration: {status}"));
                return false;
            }
        };
        let config = match Config::parse(&json) {
            Ok(config) => config,
            Err(mistakes) => {
                for mistake in mistakes {
                    host::log(Level::Error, &format!("sluicegate: bad configuration: {mistake}"));
                }
                return false;
            }
        };
        if let Err(status) = host::tick_every(TICK) {
            host::log(Level::Error, &format!("sluicegate: failed to ask for ticks: {status}"));
            return false;
        }
        self.shared = Some(Rc::new(Shared {
            stats: Stats::define(),
            limits: Limits { max_message_bytes: config.max_message_bytes },
            budget: Budget::new(config.max_assembly_bytes),
            config,
            closing: Closing::default(),
        }));
        true
    }

    fn on_tick(&mut self) {
        if let Some(shared) = &self.shared {
            shared.closing.reset_overdue();
        }
    }

    fn create_http_context(&self, context_id: u32) -> Option<Box<dyn HttpContext>> {
        Some(Box::new(Stream::new(context_id, self.shared.clone())))
    }

    fn get_type(&self) -> Option<ContextType> {
        Some(ContextType::HttpContext)
    }
}

/// How long the bridge has to end a session, in nanoseconds: long enough for answers under way, short for a client that waits.
const CLOSE_TIMEOUT: u64 = 2_000_000_000;

/// Milliseconds between two looks at overdue streams.
const TICK: u32 = 500;
