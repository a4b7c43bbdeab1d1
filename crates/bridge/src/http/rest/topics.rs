//! The topics of a cluster, and the partitions of one.

use super::super::problem::{Fault, Problem};
use super::super::response::Response;
use crate::cluster::Cluster;

pub(super) async fn list(_cluster: &Cluster, _content_type: &'static str) -> Result<Response, Problem> {
    Err(Problem::new(Fault::NotImplemented, "this resource is not served by this version"))
}

pub(super) async fn describe(
    _cluster: &Cluster,
    _topic: &str,
    _content_type: &'static str,
) -> Result<Response, Problem> {
    Err(Problem::new(Fault::NotImplemented, "this resource is not served by this version"))
}
