//! The settings of a worker.

use std::time::Duration;

use super::route::Route;

/// The settings that APISIX reads from its files.
#[derive(Clone, Debug)]
pub struct Setup {
    /// The routes.
    pub routes: Vec<Route>,
    /// Largest request body in bytes, nginx's `client_max_body_size`; 0 for no limit.
    pub client_max_body_size: usize,
    /// Limit for an upstream's silence, nginx's `proxy_read_timeout`; 60 s by default.
    pub read_timeout: Duration,
}

impl Default for Setup {
    fn default() -> Self {
        Self { routes: Vec::new(), client_max_body_size: 0, read_timeout: Duration::from_secs(60) }
    }
}
