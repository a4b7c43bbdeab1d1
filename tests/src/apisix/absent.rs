//! In the place of the worker's thread, where there is no WebAssembly engine: it does not start.

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
    let _ = started.send(Err(Error::Filter("it is built into the tests alone".to_owned())));
}
