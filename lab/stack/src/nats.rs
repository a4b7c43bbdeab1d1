//! nats-server: with JetStream as the bridge's messaging system, and without as what live delivery is compared with.

mod cluster;
mod streams;

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use tokio::sync::OnceCell;

pub use self::cluster::Cluster;
pub use self::streams::Streams;
use crate::folder::{self, Folder};
use crate::port::Port;
use crate::process::Process;
use crate::{Error, tools};

/// A running server with an endpoint for WebSocket.
pub struct Nats {
    client: Port,
    websocket: Port,
    /// The process, which is measured, killed or frozen.
    pub process: Process,
    /// None if the caller owns it.
    _folder: Option<Folder>,
}

impl Nats {
    /// Starts a server without persistence, and waits until it listens. Its configuration and log are in `dir`.
    pub async fn start(dir: &Path) -> Result<Self, Error> {
        Self::start_with(dir, "", None).await
    }

    /// The server of all tests in a process, with JetStream.
    pub async fn shared() -> Result<&'static Self, Error> {
        static SHARED: OnceCell<Nats> = OnceCell::const_new();
        SHARED.get_or_try_init(async || Self::jetstream("").await).await
    }

    /// Starts a server with JetStream in a folder of its own, and `more` in its configuration.
    pub async fn jetstream(more: &str) -> Result<Self, Error> {
        let folder = Folder::new("nats")?;
        let store = folder.path().join("jetstream");
        let more = format!(
            "jetstream {{ store_dir: \"{}\", max_file: 4G, max_mem: 1G }}\n{more}\n",
            store.display()
        );
        let path = folder.path().to_owned();
        Self::start_with(&path, &more, Some(folder)).await
    }

    async fn start_with(dir: &Path, more: &str, folder: Option<Folder>) -> Result<Self, Error> {
        let (client, websocket) = (Port::pick()?, Port::pick()?);
        let text = format!(
            "listen: \"{}\"\nmax_connections: 65536\nwebsocket {{ listen: \"{}\", no_tls: true }}\n{more}",
            client.address(),
            websocket.address()
        );
        let mut command = Command::new(tools::nats()?);
        command.arg("-c").arg(folder::write(dir, "nats.conf", &text)?);
        let process = Process::spawn("nats-server", command, &dir.join("nats.log"))?;
        let mut server = Self { client, websocket, process, _folder: folder };
        server.listens().await?;
        Ok(server)
    }

    /// Starts the server again on the same ports with the same data, unless it is running.
    pub async fn up(&mut self) -> Result<(), Error> {
        if self.process.restart()? { self.listens().await } else { Ok(()) }
    }

    async fn listens(&mut self) -> Result<(), Error> {
        let Self { client, websocket, process, .. } = self;
        let listens = async || {
            client.listens().await?;
            websocket.listens().await
        };
        process.until("listen", Duration::from_secs(10), listens).await
    }

    /// The address for clients over TCP.
    pub fn client(&self) -> SocketAddr {
        self.client.address()
    }

    /// The address for clients over WebSocket.
    pub fn websocket(&self) -> SocketAddr {
        self.websocket.address()
    }
}
