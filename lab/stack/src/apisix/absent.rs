//! Replaces the worker in builds without a WebAssembly engine: it never starts.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use tokio::sync::oneshot;

use super::setup::Setup;
use crate::Error;

pub(super) fn run(
    _: (SocketAddr, SocketAddr),
    _: &Path,
    _: Setup,
    started: oneshot::Sender<Result<(), Error>>,
    _: oneshot::Receiver<()>,
    _: Arc<AtomicU64>,
) {
    let _ = started.send(Err(Error::Filter("only test builds contain it".to_owned())));
}
