//! Records to be written, in the REST proxies' format.

use super::super::Request;
use super::super::problem::{Fault, Problem};
use super::super::response::Response;

pub(super) async fn post(
    _request: &Request<'_>,
    _write: bool,
    _topic: &str,
    _partition: Option<i32>,
    _content_type: &'static str,
) -> Result<Response, Problem> {
    Err(Problem::new(Fault::NotImplemented, "this resource is not served by this version"))
}
