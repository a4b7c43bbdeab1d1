//! A request to a resource.

use bytes::Bytes;
use http::Method;
use sluicegate_delivery::grant::Grant;

use super::headers::Headers;

/// A request to a resource.
pub(super) struct Request<'a> {
    pub(super) grant: &'a Grant,
    pub(super) method: &'a Method,
    pub(super) headers: Headers<'a>,
    pub(super) body: &'a Bytes,
}
