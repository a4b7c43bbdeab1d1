//! A request to a resource, and checks of its grant.

use bytes::Bytes;
use http::Method;

use super::headers::Headers;
use super::problem::{Problem, ProblemKind};
use crate::cluster::READ_ONLY;
use crate::grant::{Grant, NOT_READABLE, NOT_WRITABLE};

/// A request to a resource.
pub(super) struct Request<'a> {
    pub(super) grant: &'a Grant,
    pub(super) method: &'a Method,
    pub(super) headers: Headers<'a>,
    pub(super) body: &'a Bytes,
}

/// Checks that the route and the bridge allow writing to a topic.
pub(super) fn check_writable(grant: &Grant, topic: &str) -> Result<(), Problem> {
    if !grant.writes() {
        return Err(Problem::new(ProblemKind::Forbidden, NOT_WRITABLE));
    }
    if !grant.cluster.is_writable() {
        return Err(Problem::new(ProblemKind::Forbidden, READ_ONLY));
    }
    check_topic(grant, topic)
}

/// Checks that the route allows reading from a topic.
pub(super) fn check_readable(grant: &Grant, topic: &str) -> Result<(), Problem> {
    if !grant.reads() {
        return Err(Problem::new(ProblemKind::Forbidden, NOT_READABLE));
    }
    check_topic(grant, topic)
}

fn check_topic(grant: &Grant, topic: &str) -> Result<(), Problem> {
    if grant.has_topic(topic) { Ok(()) } else { Err(Problem::topic_denied(grant.cluster.system, topic)) }
}
