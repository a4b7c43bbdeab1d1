//! nats-server with its own WebSocket endpoint: what the benchmark of live delivery is compared with.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use tokio::net::TcpStream;

use crate::port::Port;
use crate::process::Process;
use crate::{Error, tools};

/// A running server, without persistence.
pub struct Nats {
    client: Port,
    websocket: Port,
    /// The process, which is measured.
    pub process: Process,
}

impl Nats {
    /// Starts a server and waits until it listens. Its configuration and log are in `dir`.
    ///
    /// # Errors
    /// nats-server is not installed, or does not listen within ten seconds.
    ///
    /// # Cancel safety
    /// Nothing is left running.
    pub async fn start(dir: &Path) -> Result<Self, Error> {
        let (client, websocket) = (Port::pick()?, Port::pick()?);
        let text = format!(
            "listen: \"{}\"\nmax_connections: 65536\nwebsocket {{ listen: \"{}\", no_tls: true }}\n",
            client.address(),
            websocket.address()
        );
        let config = dir.join("nats.conf");
        std::fs::write(&config, text).map_err(Error::io(format!("write {}", config.display())))?;
        let mut command = Command::new(tools::nats()?);
        command.arg("-c").arg(&config);
        let mut process = Process::spawn("nats-server", command, &dir.join("nats.log"))?;
        let listens = async || match TcpStream::connect(websocket.address()).await {
            Ok(_) => Ok(()),
            Err(error) => Err(error.to_string()),
        };
        process.until("listen", Duration::from_secs(10), listens).await?;
        Ok(Self { client, websocket, process })
    }

    /// The address for clients over TCP.
    #[must_use]
    pub fn client(&self) -> SocketAddr {
        self.client.address()
    }

    /// The address for clients over WebSocket.
    #[must_use]
    pub fn websocket(&self) -> SocketAddr {
        self.websocket.address()
    }
}
