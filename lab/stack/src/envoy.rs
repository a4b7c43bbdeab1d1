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
    command: Launch,
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
        let config = folder::write(dir, "envoy.yaml", &text)?;
        let command = Launch { program, config, concurrency, log: dir.join("envoy.log") };
        let process = command.run(&admin).await?;
        Ok(Self { gateway, admin, command, process })
    }

    /// Restarts Envoy on the same ports, unless it is running.
    pub async fn up(&mut self) -> Result<(), Error> {
        if self.process.ended().is_some() {
            self.process = self.command.run(&self.admin).await?;
        }
        Ok(())
    }

    pub fn gateway(&self) -> SocketAddr {
        self.gateway.address()
    }

    pub fn admin(&self) -> SocketAddr {
        self.admin.address()
    }

    /// The counters and gauges whose names match the regular expression `filter`.
    pub async fn stats(&self, filter: &str) -> Result<BTreeMap<String, u64>, String> {
        let text = http::get(self.admin(), &format!("/stats?filter={filter}")).await?.body;
        let parse = |line: &str| {
            let (name, value) = line.split_once(": ")?;
            Some((name.to_owned(), value.parse().ok()?))
        };
        Ok(text.lines().filter_map(parse).collect())
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
    /// All profiles, for tests that must hold in each.
    pub const ALL: [Self; 2] = [Self::Tunnel, Self::Relay];

    /// The name of the profile and its file.
    pub fn name(self) -> &'static str {
        match self {
            Self::Tunnel => "tunnel",
            Self::Relay => "relay",
        }
    }
}

const RELAY: &str = include_str!("envoy/relay.yaml");

struct Launch {
    program: PathBuf,
    config: PathBuf,
    concurrency: u32,
    log: PathBuf,
}

impl Launch {
    async fn run(&self, admin: &Port) -> Result<Process, Error> {
        let mut command = Command::new(&self.program);
        command
            .arg("-c")
            .arg(&self.config)
            .args(["--concurrency", &self.concurrency.to_string()])
            // Envoys with the same id would share memory.
            .arg("--disable-hot-restart")
            .args(["--log-level", "warning", "--component-log-level", "wasm:info"]);
        let mut process = Process::spawn("Envoy", command, &self.log)?;
        let ready = async || http::is_ok(admin.address(), "/ready").await;
        process.until("become ready", START_WITHIN, ready).await?;
        Ok(process)
    }
}

/// The committed configuration, with this run's ports and filter.
fn configuration(setup: &Setup, admin: &Port) -> Result<String, Error> {
    let file = tools::workspace().join("envoy").join(setup.profile.name()).with_extension("yaml");
    let text = fs::read_to_string(&file).map_err(Error::failed(format!("read {}", file.display())))?;
    let ports = [setup.gateway.number(), setup.bridge.port(), setup.bridge_admin.port(), admin.number()];
    replace(&file, &text, &edits_of_a_run(ports, &tools::filter()?), &setup.edits)
}

/// The differences between the committed file and a run: four ports, in the order of [`PORTS`], and the filter.
fn edits_of_a_run(ports: [u16; 4], filter: &Path) -> Vec<(String, String)> {
    let port = |number: u16| format!("port_value: {number}");
    let ports = PORTS.into_iter().zip(ports).map(|(old, new)| (port(old), port(new)));
    let filter = ("filename: sluicegate_filter.wasm".to_owned(), format!("filename: {filter:?}"));
    ports.chain([filter]).collect()
}

/// Replaces each occurrence of the texts of `all` in `text`, and the single occurrence of each text of `once`. No edit
/// sees another edit's replacement.
fn replace(
    file: &Path,
    text: &str,
    all: &[(String, String)],
    once: &[(String, String)],
) -> Result<String, Error> {
    let wrong = |old: &str, count| {
        Error::SetUp(format!("edit {}: it contains {old:?} {count} times, expected once", file.display()))
    };
    let mut found = Vec::new();
    for (edit, is_once) in all.iter().map(|edit| (edit, false)).chain(once.iter().map(|edit| (edit, true))) {
        let (old, new) = edit;
        let places: Vec<usize> = text.match_indices(old.as_str()).map(|(at, _)| at).collect();
        if places.is_empty() || is_once && places.len() > 1 {
            return Err(wrong(old, places.len()));
        }
        found.extend(places.into_iter().map(|at| (at, old, new)));
    }
    found.sort_unstable();
    let mut rest = text;
    let mut done = String::new();
    for (_, old, new) in found {
        // Overlapping edits: the first removed the text of the second.
        let (before, after) = rest.split_once(old.as_str()).ok_or_else(|| wrong(old, 0))?;
        done.push_str(before);
        done.push_str(new);
        rest = after;
    }
    done.push_str(rest);
    Ok(done)
}

/// The committed ports: gateway, bridge, the bridge's administration, Envoy's administration.
const PORTS: [u16; 4] = [8080, 7400, 7401, 9901];
const START_WITHIN: Duration = Duration::from_secs(30);
