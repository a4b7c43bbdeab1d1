//! One plugin on one worker: reads the configuration, makes the calls of the bridge, ends streams that are overdue.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::sync::Arc;

use prost::Message;
use sluicegate_protocol::CALL_PATH;
use sluicegate_session::Limits;
use sluicegate_session::budget::Budget;

use crate::config::{Cluster, Config};
use crate::host::{self, Buffer, GrpcCall, Status};
use crate::stats::Stats;

/// What all streams of the plugin share.
pub(crate) struct Filter {
    pub(crate) config: Config,
    pub(crate) stats: Stats,
    pub(crate) limits: Limits,
    pub(crate) budget: Arc<Budget>,
    /// The bridge, as the host wants it named.
    bridge: Vec<u8>,
    /// Calls under way, and whose they are.
    calls: RefCell<BTreeMap<u32, u32>>,
    closing: Closing,
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
        let config = match Config::parse(&json) {
            Ok(config) => config,
            Err(mistakes) => {
                for mistake in mistakes {
                    host::log_error(&format!("bad configuration: {mistake}"));
                }
                return None;
            }
        };
        if let Err(status) = host::tick_every(TICK) {
            host::log_error(&format!("failed to ask for ticks: {status}"));
            return None;
        }
        Some(Self {
            stats: Stats::define(),
            limits: Limits { max_message_bytes: config.max_message_bytes },
            budget: Budget::new(config.max_assembly_bytes),
            bridge: service(&config.bridge),
            calls: RefCell::default(),
            config,
            closing: Closing::default(),
        })
    }

    pub(crate) fn tick(&self) {
        self.closing.tick();
    }

    /// Calls the bridge for a stream; the token of the call.
    pub(crate) fn call(&self, context_id: u32, cluster: &Cluster, message: &[u8]) -> Result<u32, Status> {
        let metadata: Vec<_> = self.config.metadata(cluster).collect();
        let (service, method) = CALL_PATH.trim_start_matches('/').split_once('/').unwrap_or_default();
        let token = host::grpc_call(&GrpcCall {
            target: &self.bridge,
            service,
            method,
            metadata: &metadata,
            message,
            timeout_ms: self.config.http_timeout_ms,
        })?;
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
            // A call that cannot be cancelled ends in its own time.
            let _ = host::cancel_grpc_call(token);
        }
    }

    /// The stream is over for us: it is reset unless it has ended by itself in [`CLOSE_TICKS`].
    pub(crate) fn closing(&self, context_id: u32) {
        self.closing.add(context_id);
    }
}

/// Streams that have to end soon, oldest first.
///
/// Their time is counted in ticks: a worker that is so busy that its ticks come late has not heard the bridge either.
#[derive(Default)]
struct Closing {
    ticks: Cell<u64>,
    /// Emptied while it is worked on: a host call may enter the filter again.
    streams: Cell<Vec<Overdue>>,
}

struct Overdue {
    context_id: u32,
    /// The tick at which it is reset.
    deadline: u64,
}

impl Closing {
    fn add(&self, context_id: u32) {
        let deadline = self.ticks.get().saturating_add(CLOSE_TICKS);
        let mut streams = self.streams.take();
        streams.push(Overdue { context_id, deadline });
        self.streams.set(streams);
    }

    fn tick(&self) {
        let now = self.ticks.get().saturating_add(1);
        self.ticks.set(now);
        let (overdue, mut waiting): (Vec<_>, Vec<_>) =
            self.streams.take().into_iter().partition(|stream| stream.deadline <= now);
        for stream in overdue {
            // A stream that has ended in the meantime cannot be entered.
            if host::enter_stream(stream.context_id).is_ok() && host::reset_stream().is_err() {
                waiting.push(stream);
            }
        }
        waiting.append(&mut self.streams.take());
        self.streams.set(waiting);
    }
}

/// What names a cluster of Envoy's to it: `envoy.config.core.v3.GrpcService`.
fn service(cluster: &str) -> Vec<u8> {
    #[derive(Clone, PartialEq, prost::Message)]
    struct GrpcService {
        #[prost(message, optional, tag = "1")]
        envoy_grpc: Option<EnvoyGrpc>,
    }
    #[derive(Clone, PartialEq, prost::Message)]
    struct EnvoyGrpc {
        #[prost(string, tag = "1")]
        cluster_name: String,
    }
    GrpcService { envoy_grpc: Some(EnvoyGrpc { cluster_name: cluster.to_owned() }) }.encode_to_vec()
}

/// How many ticks the bridge has to end a session, the one under way included: 2 s to 2.5 s. Long enough for answers under
/// way, short for a client that waits.
const CLOSE_TICKS: u64 = 5;

/// Milliseconds between two looks at overdue streams.
const TICK: u32 = 500;
