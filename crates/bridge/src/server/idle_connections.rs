//! Idle HTTP/1.1 connections, which are closed when new connections need their permits.

use std::collections::BTreeMap;
use std::sync::Arc;

use http_body_util::BodyExt;
use hyper::body::Body;
use parking_lot::{Mutex, MutexGuard};
use tokio_util::sync::CancellationToken;

/// A server's idle connections. Memory: one entry for each.
#[derive(Debug, Default)]
pub(super) struct IdleConnections {
    entries: Mutex<Entries>,
}

#[derive(Debug, Default)]
struct Entries {
    next: u64,
    /// Cancelled to close the connection; the longest idle is first.
    close: BTreeMap<u64, CancellationToken>,
}

/// A keep-alive connection.
#[derive(Debug)]
pub(super) struct KeepAliveConnection {
    all: Arc<IdleConnections>,
    /// Cancelled to close the connection: after its request in flight, or at once if there is none.
    pub(super) close: CancellationToken,
    /// The entry in `all` while the connection is idle.
    entry: Mutex<Option<u64>>,
}

/// Marks a connection as busy with a request. A drop makes the connection idle.
#[derive(Debug)]
pub(super) struct BusyGuard(Arc<KeepAliveConnection>);

impl IdleConnections {
    /// Tracks an accepted connection. It is not idle before its first response.
    pub(super) fn track(self: &Arc<Self>, close: CancellationToken) -> Arc<KeepAliveConnection> {
        Arc::new(KeepAliveConnection { all: Arc::clone(self), close, entry: Mutex::new(None) })
    }

    /// Closes the longest idle connection, if there is one.
    pub(super) fn close_longest(&self) {
        if let Some((_, close)) = lock(&self.entries).close.pop_first() {
            close.cancel();
        }
    }
}

impl Entries {
    fn insert(&mut self, close: CancellationToken) -> u64 {
        let entry = self.next;
        self.next = entry.saturating_add(1);
        self.close.insert(entry, close);
        entry
    }
}

impl KeepAliveConnection {
    pub(super) fn busy(self: &Arc<Self>) -> BusyGuard {
        self.remove();
        BusyGuard(Arc::clone(self))
    }

    fn remove(&self) {
        let entry = lock(&self.entry).take();
        if let Some(entry) = entry {
            lock(&self.all.entries).close.remove(&entry);
        }
    }
}

impl Drop for KeepAliveConnection {
    fn drop(&mut self) {
        self.remove();
    }
}

impl BusyGuard {
    /// Keeps the connection busy until the end of `body`.
    pub(super) fn until_end_of<B: Body>(self, body: B) -> impl Body<Data = B::Data, Error = B::Error> {
        body.map_err(move |error| {
            let _held = &self;
            error
        })
    }
}

impl Drop for BusyGuard {
    fn drop(&mut self) {
        let Self(connection) = self;
        let entry = lock(&connection.all.entries).insert(connection.close.clone());
        *lock(&connection.entry) = Some(entry);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock()
}
