//! A real Envoy that runs the committed configurations.

mod page;
mod routes;
mod verifying;

use std::collections::BTreeMap;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

pub use page::{LIVE_PAGE, NATS_PAGE, login_page, page};
pub(crate) use routes::beside;
pub use routes::{DEMO_ROUTES, guarded, instead, local_hosts, plugin, routes, writing};
pub use verifying::verifying;

use crate::port::Port;
use crate::process::Process;
use crate::{Error, http, tools};

/// A committed configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Profile {
    /// `envoy/tunnel.yaml`: an extended CONNECT to the bridge.
    Tunnel,
    /// `envoy/relay.yaml`: the client's own WebSocket, relayed over HTTP/1.1.
    Relay,
}

/// The settings of one Envoy.
pub struct Setup {
    /// The configuration.
    pub profile: Profile,
    /// The address for clients.
    pub gateway: Port,
    /// The bridge's address for gateways.
    pub bridge: SocketAddr,
    /// The bridge's address for administration.
    pub bridge_admin: SocketAddr,
    /// An Envoy to run instead of the installed one.
    pub program: Option<PathBuf>,
    /// Worker threads.
    pub concurrency: u32,
    /// Replacements for texts that occur exactly once in the configuration.
    pub edits: Vec<(String, String)>,
}

/// A running Envoy.
pub struct Envoy {
    gateway: Port,
    admin: Port,
    command: Launch,
    /// The process, which tests kill or freeze.
    pub process: Process,
}

impl Envoy {
    /// Starts Envoy with its configuration and log in `dir`, and waits until it accepts connections.
    ///
    /// # Errors
    /// A program is missing, the committed configuration lacks a text to replace, or Envoy rejects
    /// the configuration or is not ready within half a minute.
    ///
    /// # Cancel safety
    /// Nothing is left running.
    pub async fn start(setup: Setup, dir: &Path) -> Result<Self, Error> {
        let admin = Port::pick()?;
        let text = configuration(&setup, &admin)?;
        let program = setup.program.map_or_else(tools::envoy, Ok)?;
        Self::run(text, setup.gateway, admin, program, setup.concurrency, dir).await
    }

    /// Starts Envoy with a configuration of the caller's, which has these two ports, as [`Envoy::start`].
    ///
    /// # Errors
    /// A program is missing, or Envoy rejects the configuration or does not become ready.
    ///
    /// # Cancel safety
    /// Nothing is left running.
    pub async fn start_with(text: String, gateway: Port, admin: Port, dir: &Path) -> Result<Self, Error> {
        Self::run(text, gateway, admin, tools::envoy()?, 1, dir).await
    }

    /// Starts an Envoy that relays WebSockets to `upstream`, without a filter, as [`Envoy::start`].
    ///
    /// # Errors
    /// A program is missing, or Envoy does not become ready.
    ///
    /// # Cancel safety
    /// Nothing is left running.
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
        let config = dir.join("envoy.yaml");
        fs::write(&config, text).map_err(Error::io(format!("write {}", config.display())))?;
        let command = Launch { program, config, concurrency, log: dir.join("envoy.log") };
        let process = command.run(&admin).await?;
        Ok(Self { gateway, admin, command, process })
    }

    /// Restarts Envoy on the same ports, unless it is running.
    ///
    /// # Errors
    /// As [`start`](Self::start).
    ///
    /// # Cancel safety
    /// Envoy stays down.
    pub async fn up(&mut self) -> Result<(), Error> {
        if self.process.ended().is_some() {
            self.process = self.command.run(&self.admin).await?;
        }
        Ok(())
    }

    /// The address for clients.
    #[must_use]
    pub fn gateway(&self) -> SocketAddr {
        self.gateway.address()
    }

    /// The admin address.
    #[must_use]
    pub fn admin(&self) -> SocketAddr {
        self.admin.address()
    }

    /// The counters and gauges whose names match the regular expression `filter`.
    ///
    /// # Errors
    /// Envoy does not answer.
    ///
    /// # Cancel safety
    /// Nothing is left over.
    pub async fn stats(&self, filter: &str) -> Result<BTreeMap<String, u64>, String> {
        let text = http::get(self.admin(), &format!("/stats?filter={filter}")).await?.body;
        let parse = |line: &str| {
            let (name, value) = line.split_once(": ")?;
            Some((name.to_owned(), value.parse().ok()?))
        };
        Ok(text.lines().filter_map(parse).collect())
    }

    /// Number of times that Envoy replaced the filter, or tried to. It does so only after a trap.
    ///
    /// # Errors
    /// Envoy does not answer, or lacks the counter.
    ///
    /// # Cancel safety
    /// Nothing is left over.
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
    #[must_use]
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
        let ready = async || match http::get(admin.address(), "/ready").await?.status {
            200 => Ok(()),
            status => Err(format!("/ready says {status}")),
        };
        process.until("become ready", START_WITHIN, ready).await?;
        Ok(process)
    }
}

/// The committed configuration, with this run's ports and filter.
fn configuration(setup: &Setup, admin: &Port) -> Result<String, Error> {
    let file = tools::workspace().join("envoy").join(setup.profile.name()).with_extension("yaml");
    let text = fs::read_to_string(&file).map_err(Error::io(format!("read {}", file.display())))?;
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
    let wrong = |old: &str, count| Error::Substitution { file: file.to_owned(), text: old.to_owned(), count };
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

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, edits: &[(&str, &str)], want: Result<&str, usize>) {
        let edits: Vec<_> = edits.iter().map(|&(old, new)| (old.to_owned(), new.to_owned())).collect();
        let got = replace(Path::new("f.yaml"), text, &[], &edits).map_err(|error| match error {
            Error::Substitution { count, .. } => count,
            error => panic!("{error}"),
        });
        assert_eq!(got.as_deref().map_err(|count| *count), want);
    }

    #[test]
    fn text_is_replaced_if_it_occurs_exactly_once() {
        check("a port: 1 b", &[("port: 1", "port: 2")], Ok("a port: 2 b"));
        check("a b", &[("port: 1", "port: 2")], Err(0));
        check("port: 1, port: 10", &[("port: 1", "port: 2")], Err(2));
    }

    #[test]
    fn one_replacement_is_not_seen_by_another() {
        check("a b c", &[("c", "a"), ("a", "b"), ("b", "a")], Ok("b a a"));
        check("a b c", &[("a b", "x"), ("b c", "y")], Err(0));
    }

    #[test]
    fn committed_configurations_hold_each_text() {
        for profile in Profile::ALL {
            let file = tools::workspace().join("envoy").join(profile.name()).with_extension("yaml");
            let text = fs::read_to_string(&file).unwrap();
            for (old, _) in edits_of_a_run([1, 2, 3, 4], Path::new("f.wasm")) {
                assert!(text.contains(&old), "{old:?} in {}", file.display());
            }
        }
    }
}
