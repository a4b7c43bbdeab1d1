//! A real Envoy that runs the committed configurations.

mod page;
mod routes;

use std::collections::BTreeMap;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use clap::ValueEnum;
pub use page::{LIVE_PAGE, NATS_PAGE, login_page, page};
pub(crate) use routes::beside;
pub use routes::{
    DEMO_ROUTES, guarded, instead, instead_of_pubsub, local_hosts, local_origins, plugin, routes, verifying,
    writing,
};

use crate::port::Port;
use crate::process::Process;
use crate::{Error, folder, http, tools};

/// A configuration in `envoy/`, with the texts for command lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Profile {
    /// Extended CONNECT with gRPC framing
    Tunnel,
    /// The client's own WebSocket, over HTTP/1.1
    Relay,
}

pub struct Setup {
    pub profile: Profile,
    pub gateway: Port,
    pub bridge: SocketAddr,
    pub bridge_admin: SocketAddr,
    /// An Envoy to run instead of the installed one.
    pub program: Option<PathBuf>,
    pub concurrency: u32,
    /// Replacements for texts that occur exactly once in the configuration.
    pub edits: Vec<(String, String)>,
}

pub struct Envoy {
    gateway: Port,
    admin: Port,
    pub process: Process,
}

impl Envoy {
    /// Starts Envoy with its configuration and log in `dir`, and waits until it accepts connections.
    pub async fn start(setup: Setup, dir: &Path) -> Result<Self, Error> {
        let admin = Port::pick()?;
        let text = configuration(&setup, &admin)?;
        let program = setup.program.map_or_else(tools::envoy, Ok)?;
        Self::run(text, setup.gateway, admin, program, setup.concurrency, dir).await
    }

    /// Starts Envoy with a configuration of the caller's, which has these two ports, as [`Envoy::start`].
    pub async fn start_with(text: String, gateway: Port, admin: Port, dir: &Path) -> Result<Self, Error> {
        Self::run(text, gateway, admin, tools::envoy()?, 1, dir).await
    }

    /// Starts an Envoy that relays WebSockets to `upstream`, without a filter, as [`Envoy::start`].
    pub async fn relay(upstream: SocketAddr, concurrency: u32, dir: &Path) -> Result<Self, Error> {
        let (gateway, admin) = (Port::pick()?, Port::pick()?);
        let ports = [("GATEWAY", gateway.number()), ("ADMIN", admin.number()), ("UPSTREAM", upstream.port())];
        let text =
            ports.iter().fold(RELAY.to_owned(), |text, (name, port)| text.replace(name, &port.to_string()));
        Self::run(text, gateway, admin, tools::envoy()?, concurrency, dir).await
    }

    async fn run(
        text: String,
        gateway: Port,
        admin: Port,
        program: PathBuf,
        concurrency: u32,
        dir: &Path,
    ) -> Result<Self, Error> {
        let mut command = Command::new(program);
        command
            .arg("-c")
            .arg(folder::write(dir, "envoy.yaml", &text)?)
            .args(["--concurrency", &concurrency.to_string()])
            // Envoys with the same id would share memory.
            .arg("--disable-hot-restart")
            .args(["--log-level", "warning", "--component-log-level", "wasm:info"]);
        let process = Process::spawn("Envoy", command, &dir.join("envoy.log"))?;
        let mut envoy = Self { gateway, admin, process };
        envoy.is_ready().await?;
        Ok(envoy)
    }

    /// Restarts Envoy on the same ports, unless it is running.
    pub async fn up(&mut self) -> Result<(), Error> {
        if self.process.restart()? { self.is_ready().await } else { Ok(()) }
    }

    async fn is_ready(&mut self) -> Result<(), Error> {
        let admin = self.admin();
        self.process.until("become ready", START_WITHIN, async || http::is_ok(admin, "/ready").await).await
    }

    pub fn gateway(&self) -> SocketAddr {
        self.gateway.address()
    }

    pub fn admin(&self) -> SocketAddr {
        self.admin.address()
    }

    /// The counters and gauges whose names match the regular expression `filter`.
    pub async fn stats(&self, filter: &str) -> Result<BTreeMap<String, u64>, String> {
        let answer = http::get(self.admin(), &format!("/stats?filter={filter}")).await?;
        let parse = |line: &str| {
            let (name, value) = line.split_once(": ")?;
            Some((name.to_owned(), value.parse().ok()?))
        };
        Ok(answer.text().lines().filter_map(parse).collect())
    }

    /// Number of times that Envoy replaced the filter, or tried to. It does so only after a trap.
    pub async fn filter_reloads(&self) -> Result<u64, String> {
        let reloads = self.stats("^wasm.sluicegate.vm_reload").await?;
        if reloads.is_empty() {
            Err("Envoy counts no reloads".to_owned())
        } else {
            Ok(reloads.values().sum())
        }
    }
}

impl Profile {
    /// The name of the profile and its file.
    pub fn name(self) -> &'static str {
        match self {
            Self::Tunnel => "tunnel",
            Self::Relay => "relay",
        }
    }
}

const RELAY: &str = include_str!("envoy/relay.yaml");

/// The committed configuration, with this run's ports and filter.
fn configuration(setup: &Setup, admin: &Port) -> Result<String, Error> {
    let file = tools::workspace().join("envoy").join(setup.profile.name()).with_extension("yaml");
    let text = fs::read_to_string(&file).map_err(Error::failed(format!("read {}", file.display())))?;
    let ports = [setup.gateway.number(), setup.bridge.port(), setup.bridge_admin.port(), admin.number()];
    let port = |number: u16| format!("port_value: {number}");
    let ports = PORTS.into_iter().zip(ports).map(|(old, new)| (port(old), port(new)));
    let filter = ("filename: sluicegate_filter.wasm".to_owned(), format!("filename: {:?}", tools::filter()?));
    let of_this_run = ports.chain([filter]).map(|(old, new)| (old, new, usize::MAX));
    let once = setup.edits.iter().cloned().map(|(old, new)| (old, new, 1));
    // The caller's first: they are written for the committed text.
    once.chain(of_this_run)
        .try_fold(text, |text, (old, new, most)| match text.matches(&old).count() {
            0 => Err((old, 0)),
            count if count > most => Err((old, count)),
            _ => Ok(text.replace(&old, &new)),
        })
        .map_err(|(old, count)| {
            Error::SetUp(format!("edit {}: it contains {old:?} {count} times, expected once", file.display()))
        })
}

/// The committed ports: gateway, bridge, the bridge's administration, Envoy's administration.
const PORTS: [u16; 4] = [8080, 7400, 7401, 9901];
const START_WITHIN: Duration = Duration::from_secs(30);
