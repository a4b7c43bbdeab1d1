//! Plain HTTP requests that a gateway passes on: each becomes an answer that the gateway gives as it is.
//!
//! 1. here: a request's resource
//! 2. [`produce`]: a body becomes one record, with its key where [`jsonkey`] finds it
//! 3. [`rest`]: the REST proxies' resources, in the type that [`accept`] chooses
//! 4. [`problem`]: what went wrong, as a document

mod accept;
mod headers;
mod json;
mod jsonkey;
mod media_type;
mod number;
mod problem;
mod produce;
mod response;
mod rest;

use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use http::Method;
use sluicegate_protocol::cmd_http::Resource;
use sluicegate_protocol::{CmdHttp, HttpResp};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;
use tokio_util::task::task_tracker::TaskTrackerToken;

pub(crate) use self::problem::too_many_headers;

use self::headers::Headers;
use self::problem::{Fault, Problem};
use crate::cluster::{Cluster, READ_ONLY};

/// The answer to a request, whatever is wrong with it.
///
/// # Cancel safety
/// A drop abandons a read. Records are written, all or none of a request.
pub(crate) async fn answer(cluster: &Arc<Cluster>, request: CmdHttp, running: Arc<Running>) -> HttpResp {
    let CmdHttp { method, resource, headers, body } = request;
    // An extension method is a token, too; what is none is a method that nothing here takes.
    let method = Method::from_bytes(method.as_bytes()).unwrap_or(Method::TRACE);
    let request = Request { cluster, method, headers: Headers(&headers), body: &body };
    let response = match resource {
        Some(Resource::Produce(route)) => produce::answer(request, &route, running).await,
        Some(Resource::Rest(route)) => rest::answer(request, &route, &running).await,
        None => {
            Problem::new(Fault::Misconfigured, "the gateway named no resource that this bridge has").plain()
        }
    };
    response.into()
}

/// What a request holds until it is over, though it may have been answered before: its place among the calls, and the
/// drain, which waits for it.
pub(crate) struct Running {
    place: Mutex<OwnedSemaphorePermit>,
    waiting: Arc<Semaphore>,
    drain: CancellationToken,
    _open: TaskTrackerToken,
}

impl Running {
    /// With a place among the calls, and perhaps one among those of `waiting` later.
    pub(crate) fn new(
        place: OwnedSemaphorePermit,
        waiting: Arc<Semaphore>,
        drain: CancellationToken,
        open: TaskTrackerToken,
    ) -> Arc<Self> {
        Arc::new(Self { place: Mutex::new(place), waiting, drain, _open: open })
    }

    /// Lasts for as long as a read may wait at the log end: until the bridge is shutting down. The place among the calls is
    /// another's from then on, for one among those that wait. Where there is none, it is over at once.
    pub(crate) async fn patience(&self) {
        if let Ok(place) = Arc::clone(&self.waiting).try_acquire_owned() {
            *self.place.lock().unwrap_or_else(PoisonError::into_inner) = place;
            self.drain.cancelled().await;
        }
    }
}

/// What a resource is asked.
struct Request<'a> {
    cluster: &'a Arc<Cluster>,
    method: Method,
    headers: Headers<'a>,
    body: &'a Bytes,
}

/// Checks that the bridge writes to a cluster at all.
fn check_writable(cluster: &Cluster) -> Result<(), Problem> {
    if cluster.is_writable() { Ok(()) } else { Err(Problem::new(Fault::Forbidden, READ_ONLY)) }
}
