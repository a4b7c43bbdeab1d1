//! Plain HTTP through an emulated Apache APISIX: real clients, the compiled filter, and a real bridge.
//!
//! The filter runs in the emulated host `sluicegate_harness::apisix`, behind an HTTP server on hyper. The harness names
//! the source of each rule of APISIX. This module adds nginx's behaviour:
//!
//! 1. the whole body of a request, up to `client_max_body_size`, is read before it is sent upstream over HTTP/1.1
//! 2. nginx's pages for an upstream that is unreachable, ends without an answer, or is silent for too long
//! 3. response bodies are streamed (`X-Accel-Buffering: no`), and a request ends when its client disconnects
//! 4. nginx's 405 for `TRACE`, and APISIX's 404 for paths without a route
//! 5. one worker
//!
//! Absent: other plugins, WebSocket, limits on headers, normalized paths, several requests on a connection upstream.

#![cfg_attr(
    not(feature = "apisix"),
    expect(dead_code, reason = "demo and benchmark use the rest of the stack only")
)]

#[cfg(feature = "apisix")]
mod body;
#[cfg(feature = "apisix")]
mod front;
#[cfg(not(feature = "apisix"))]
#[path = "apisix/absent.rs"]
mod front;
mod route;
mod setup;
#[cfg(feature = "apisix")]
mod upstream;

use std::net::SocketAddr;
use std::panic;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::{self, JoinHandle};

use tokio::sync::oneshot;

pub use route::Route;
pub use setup::Setup;

use crate::port::Port;
use crate::{Error, tools};

/// A running worker with its routes. It stops when dropped, and panics if the filter trapped.
pub struct Apisix {
    gateway: Port,
    stop: Option<oneshot::Sender<()>>,
    worker: Option<JoinHandle<()>>,
    memory: Arc<AtomicU64>,
}

impl Apisix {
    /// Starts a worker in front of a bridge; it listens when this returns.
    ///
    /// # Errors
    /// The filter was not built or is rejected, or the address cannot be bound.
    ///
    /// # Cancel safety
    /// Nothing is left running.
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
        let worker = worker.map_err(Error::io("start a thread"))?;
        let worker = Self { gateway, stop: Some(stop), worker: Some(worker), memory };
        starts.await.unwrap_or_else(|_| Err(Error::Filter("its thread ended".to_owned())))?;
        Ok(worker)
    }

    /// The linear memory of its filter after the last request, in bytes.
    #[must_use]
    pub fn memory_bytes(&self) -> u64 {
        self.memory.load(Ordering::Relaxed)
    }

    /// The address for clients.
    #[must_use]
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
