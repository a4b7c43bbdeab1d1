//! Counts what is read for a client only to be skipped.

use std::fmt;

use futures_util::FutureExt;
use futures_util::future::{BoxFuture, ready};
use sluicegate_fair_share::ClientKey;

/// Counts the bytes that fetches skip to the clients that cause them, so that a client which skips without pause waits
/// for its own turn. `()` counts nothing.
pub trait SkipMeter: fmt::Debug + Send + Sync {
    /// Counts so many bytes to this client. Ready when it may read on: no request of the fetch is in flight until then.
    ///
    /// A fetch drops the wait after a second, and ends without records.
    fn skipped(&self, source: ClientKey, bytes: usize) -> BoxFuture<'_, ()>;
}

impl SkipMeter for () {
    fn skipped(&self, _: ClientKey, _: usize) -> BoxFuture<'_, ()> {
        ready(()).boxed()
    }
}
