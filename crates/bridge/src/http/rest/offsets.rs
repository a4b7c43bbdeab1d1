//! The first and the last offset of a partition, and that of a timestamp.

use super::super::problem::{Fault, Problem};
use super::super::response::Response;
use crate::cluster::Cluster;

pub(super) async fn get(
    _cluster: &Cluster,
    _topic: &str,
    _partition: i32,
    _query: &str,
    _content_type: &'static str,
) -> Result<Response, Problem> {
    Err(Problem::new(Fault::NotImplemented, "this resource is not served by this version"))
}
