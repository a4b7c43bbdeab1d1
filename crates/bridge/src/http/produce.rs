//! A body becomes one record, as the route says.

use std::sync::Arc;

use sluicegate_protocol::HttpProduce;

use super::problem::{Fault, Problem};
use super::response::Response;
use super::{Request, Running};

pub(super) async fn answer(_request: Request<'_>, _route: &HttpProduce, _running: Arc<Running>) -> Response {
    Problem::new(Fault::NotImplemented, "this resource is not served by this version").plain()
}
