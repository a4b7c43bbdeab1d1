//! Routes of APISIX.

use serde_json::{Map, Value};

/// A route with the filter as its plugin.
#[derive(Clone, Debug)]
pub struct Route {
    pub(super) path: String,
    pub(super) below: bool,
    pub(super) conf: Map<String, Value>,
}

impl Route {
    /// A route for exactly this path, with the filter's `conf`.
    #[must_use]
    pub fn new(path: impl Into<String>, conf: Map<String, Value>) -> Self {
        Self { path: path.into(), below: false, conf }
    }

    /// A route for this path, without its trailing `/`, and all paths below it: the two `uris` of one route.
    #[must_use]
    pub fn below(path: &str, conf: Map<String, Value>) -> Self {
        Self { path: path.trim_end_matches('/').to_owned(), below: true, conf }
    }

    pub(super) fn takes(&self, path: &str) -> bool {
        match path.strip_prefix(&self.path) {
            Some(rest) => rest.is_empty() || self.below && rest.starts_with('/'),
            None => false,
        }
    }
}
