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
mod problem;
mod produce;
mod response;
mod rest;

use std::sync::Arc;

use bytes::Bytes;
use http::Method;
use sluicegate_protocol::cmd_http::Resource;
use sluicegate_protocol::{CmdHttp, HttpResp};
use tokio::sync::OwnedSemaphorePermit;
use tokio_util::task::task_tracker::TaskTrackerToken;

pub(crate) use self::problem::too_many_headers;

use self::headers::Headers;
use self::problem::{Fault, Problem};
use crate::cluster::{Cluster, READ_ONLY};

/// What a request holds until it is over, though it may have been answered before: its place among the calls, and the
/// drain's patience.
pub(crate) struct Running {
    _slot: OwnedSemaphorePermit,
    _open: TaskTrackerToken,
}

impl Running {
    pub(crate) fn new(slot: OwnedSemaphorePermit, open: TaskTrackerToken) -> Arc<Self> {
        Arc::new(Self { _slot: slot, _open: open })
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
        Some(Resource::Rest(route)) => rest::answer(request, &route).await,
        None => Problem::new(Fault::Bridge, "the gateway named no resource that this bridge has").plain(),
    };
    response.into()
}
