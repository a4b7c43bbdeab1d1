//! Replaces the worker in builds without a WebAssembly engine: it never starts.

use std::net::SocketAddr;
use std::path::Path;

use tokio::sync::oneshot;

use super::setup::Setup;
use crate::Error;

pub(super) fn run(
    _: SocketAddr,
    _: SocketAddr,
    _: &Path,
    _: Setup,
    started: oneshot::Sender<Result<(), Error>>,
    _: oneshot::Receiver<()>,
) {
    let _ = started.send(Err(Error::Filter("only test builds contain it".to_owned())));
}
