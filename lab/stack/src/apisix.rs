//! Plain HTTP through an emulated Apache APISIX: real clients, the compiled filter, and a real bridge.
//!
//! The filter runs in the emulated host `sluicegate_harness::apisix`, behind an HTTP server on hyper. The harness names
//! the source of each rule of APISIX. This module adds nginx's behaviour:
//!
//! 1. the whole body of a request is read before it is sent upstream over HTTP/1.1
//! 2. nginx's pages for an upstream that is unreachable, ends without an answer, or is silent for too long
//! 3. response bodies are streamed (`X-Accel-Buffering: no`), and a request ends when its client disconnects
//! 4. nginx's 405 for `TRACE`, and APISIX's 404 for paths without a route
//! 5. one worker
//!
//! Absent: other plugins, WebSocket, limits on bodies and headers, normalized paths, several requests on a connection upstream.

mod front;
mod upstream;

use std::net::SocketAddr;
use std::panic;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use serde_json::{Map, Value};
use tokio::sync::oneshot;

use crate::port::Port;
use crate::{Error, tools};

/// A running worker with its routes. It stops when dropped, and panics if the filter trapped.
pub struct Apisix {
    gateway: Port,
    stop: Option<oneshot::Sender<()>>,
    worker: Option<JoinHandle<Result<(), Error>>>,
    memory: Arc<AtomicU64>,
}

impl Apisix {
    /// Starts a worker in front of a bridge; it listens when this returns.
    pub async fn start(gateway: Port, bridge: SocketAddr, setup: Setup) -> Result<Self, Error> {
        let filter = tools::filter()?;
        let address = gateway.address();
        let (stop, stopped) = oneshot::channel();
        let (started, starts) = oneshot::channel();
        // The host is single-threaded, as a worker of nginx is.
        let memory = Arc::<AtomicU64>::default();
        let of_worker = Arc::clone(&memory);
        let run = move || front::run((address, bridge), &filter, setup, started, stopped, of_worker);
        let worker = thread::Builder::new().name("apisix".to_owned()).spawn(run);
        let worker = worker.map_err(Error::failed("start a thread"))?;
        if starts.await.is_err() {
            let panicked = || Error::SetUp("start the filter: its thread panicked".to_owned());
            return Err(worker.join().ok().and_then(Result::err).unwrap_or_else(panicked));
        }
        Ok(Self { gateway, stop: Some(stop), worker: Some(worker), memory })
    }

    /// The linear memory of its filter after the last request, in bytes.
    pub fn memory_bytes(&self) -> u64 {
        self.memory.load(Ordering::Relaxed)
    }

    pub fn gateway(&self) -> SocketAddr {
        self.gateway.address()
    }
}

impl Drop for Apisix {
    fn drop(&mut self) {
        self.stop.take();
        let ended = self.worker.take().map(JoinHandle::join);
        if let Some(Err(trap)) = ended
            && !thread::panicking()
        {
            panic::resume_unwind(trap);
        }
    }
}

/// A route with the filter as its plugin.
#[derive(Clone, Debug)]
pub struct Route {
    path: String,
    below: bool,
    conf: Map<String, Value>,
}

impl Route {
    /// A route for exactly this path, with the filter's `conf`.
    pub fn new(path: impl Into<String>, conf: Map<String, Value>) -> Self {
        Self { path: path.into(), below: false, conf }
    }

    /// A route for this path, without its trailing `/`, and all paths below it: the two `uris` of one route.
    pub fn below(path: &str, conf: Map<String, Value>) -> Self {
        Self { path: path.trim_end_matches('/').to_owned(), below: true, conf }
    }

    fn takes(&self, path: &str) -> bool {
        match path.strip_prefix(&self.path) {
            Some(rest) => rest.is_empty() || self.below && rest.starts_with('/'),
            None => false,
        }
    }
}

/// The settings that APISIX reads from its files.
#[derive(Clone, Debug)]
pub struct Setup {
    pub routes: Vec<Route>,
    /// Limit for an upstream's silence, nginx's `proxy_read_timeout`; 60 s by default.
    pub read_timeout: Duration,
}

impl Default for Setup {
    fn default() -> Self {
        Self { routes: Vec::new(), read_timeout: Duration::from_secs(60) }
    }
}
