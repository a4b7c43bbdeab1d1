//! A session that the gateway relays to the bridge: the filter sees the answer to the upgrade, and leaves all bytes
//! alone.

use crate::filter::Filter;
use crate::host::{self, Map, Status};

/// A session whose upgrade was forwarded.
pub(crate) struct RelayedSession {
    is_open: bool,
}

impl RelayedSession {
    pub(crate) fn new() -> Self {
        Self { is_open: false }
    }

    pub(crate) fn response(&mut self, filter: &Filter) -> Result<(), Status> {
        if self.is_open {
            return Ok(());
        }
        let status = host::header(Map::Response, ":status")?.unwrap_or_default();
        if status != b"101" {
            return filter.bridge_refused(&status, false);
        }
        filter.stats.session_opened();
        self.is_open = true;
        Ok(())
    }

    pub(crate) fn end(&mut self, filter: &Filter) {
        if std::mem::take(&mut self.is_open) {
            filter.stats.session_ended();
        }
    }
}
