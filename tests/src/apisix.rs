//! Plain HTTP as it comes through Apache APISIX: real clients, the compiled filter in the harness's host, and a real bridge.
//!
//! This is the emulated host, `sluicegate_harness::apisix`, behind a front on hyper, and not APISIX: that the host does what
//! APISIX does, the harness says of each rule with the place where it was read. Of nginx itself it plays
//!
//! 1. that a request's body is read as a whole, within `client_max_body_size`, before it is sent to the upstream in HTTP/1.1
//! 2. its pages for an upstream that cannot be connected to, ends without an answer or is silent for too long
//! 3. that an answer's body is streamed (`X-Accel-Buffering: no`), and that a request ends with its client
//! 4. its own 405 for `TRACE`, and APISIX's own 404 where no route is
//! 5. one worker
//!
//! and nothing else: no other plugin, no WebSocket, no bounds on headers, no normal form of paths, one connection per request.

#![cfg_attr(
    not(feature = "apisix"),
    expect(dead_code, reason = "demo and benchmark have the rest of the stack alone")
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
use std::thread::{self, JoinHandle};

use tokio::sync::oneshot;

pub use route::Route;
pub use setup::Setup;

use crate::port::Port;
use crate::{Error, tools};

/// A running worker with its routes. It ends when it is dropped, and says then whether the filter trapped.
pub struct Apisix {
    gateway: Port,
    stop: Option<oneshot::Sender<()>>,
    worker: Option<JoinHandle<()>>,
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
        // The host is no matter of several threads, as a worker of nginx is none.
        let run = move || front::run(address, bridge, &filter, setup, started, stopped);
        let worker = thread::Builder::new().name("apisix".to_owned()).spawn(run);
        let worker = worker.map_err(Error::io("start a thread"))?;
        let worker = Self { gateway, stop: Some(stop), worker: Some(worker) };
        starts.await.unwrap_or_else(|_| Err(Error::Filter("its thread ended".to_owned())))?;
        Ok(worker)
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
