//! A real Envoy that runs the committed configurations.

use std::collections::BTreeMap;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::port::Port;
use crate::process::Process;
use crate::{Error, http, tools};

/// Which of the two committed configurations.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Profile {
    /// `envoy/tunnel.yaml`: an extended CONNECT to the bridge.
    Tunnel,
    /// `envoy/internal.yaml`: an internal listener, and gRPC to the bridge.
    Internal,
}

/// What a configuration is run with.
pub struct Setup {
    /// Which configuration.
    pub profile: Profile,
    /// Where clients connect.
    pub gateway: Port,
    /// The bridge's address for gateways.
    pub bridge: SocketAddr,
    /// The bridge's address for administration.
    pub bridge_admin: SocketAddr,
    /// Another Envoy than the installed one.
    pub program: Option<PathBuf>,
    /// Worker threads.
    pub concurrency: u32,
    /// Texts that stand in the configuration exactly once, and what stands there for this run.
    pub edits: Vec<(String, String)>,
}

/// A running Envoy, and what a test does to it.
pub struct Envoy {
    gateway: Port,
    admin: Port,
    command: Launch,
    /// Envoy itself, to be killed or frozen.
    pub process: Process,
}

impl Envoy {
    /// Starts Envoy with its configuration and log in `dir`; it accepts connections when this returns.
    ///
    /// # Errors
    /// Where something is missing, the committed configuration lacks a text that is to be replaced, or Envoy refuses
    /// the configuration or is not ready within half a minute.
    ///
    /// # Cancel safety
    /// Nothing is left running.
    pub async fn start(setup: Setup, dir: &Path) -> Result<Self, Error> {
        let admin = Port::pick()?;
        let text = configuration(&setup, &admin)?;
        let config = dir.join("envoy.yaml");
        fs::write(&config, text).map_err(Error::io(format!("write {}", config.display())))?;
        let program = setup.program.map_or_else(tools::envoy, Ok)?;
        let command = Launch { program, config, concurrency: setup.concurrency, log: dir.join("envoy.log") };
        let process = command.run(&admin).await?;
        Ok(Self { gateway: setup.gateway, admin, command, process })
    }

    /// Starts it again on the same ports; nothing where it still runs.
    ///
    /// # Errors
    /// As [`start`](Self::start).
    ///
    /// # Cancel safety
    /// It is down.
    pub async fn up(&mut self) -> Result<(), Error> {
        if self.process.ended().is_some() {
            self.process = self.command.run(&self.admin).await?;
        }
        Ok(())
    }

    /// Where clients connect.
    #[must_use]
    pub fn gateway(&self) -> SocketAddr {
        self.gateway.address()
    }

    /// Where it is administrated.
    #[must_use]
    pub fn admin(&self) -> SocketAddr {
        self.admin.address()
    }

    /// Its counters and gauges whose names hold a match of the regular expression `filter`.
    ///
    /// # Errors
    /// A text for people where Envoy does not answer.
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
}

impl Profile {
    /// Both, for tests that must hold in both.
    pub const ALL: [Self; 2] = [Self::Tunnel, Self::Internal];

    /// Its name, which is its file's.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Tunnel => "tunnel",
            Self::Internal => "internal",
        }
    }
}

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
            // Its shared memory is one for all Envoys of a machine.
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
    let mut text = fs::read_to_string(&file).map_err(Error::io(format!("read {}", file.display())))?;
    let port = |number: u16| format!("port_value: {number}");
    let fixed = [
        (port(8080), port(setup.gateway.number())),
        (port(7400), port(setup.bridge.port())),
        (port(7401), port(setup.bridge_admin.port())),
        (port(9901), port(admin.number())),
        ("filename: sluicegate_filter.wasm".to_owned(), format!("filename: {}", tools::filter()?.display())),
    ];
    for (old, new) in fixed.iter().chain(&setup.edits) {
        text = replace_once(&file, text, old, new)?;
    }
    Ok(text)
}

fn replace_once(file: &Path, text: String, old: &str, new: &str) -> Result<String, Error> {
    match text.matches(old).count() {
        1 => Ok(text.replacen(old, new, 1)),
        count => Err(Error::Substitution { file: file.to_owned(), text: old.to_owned(), count }),
    }
}

const START_WITHIN: Duration = Duration::from_secs(30);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_replaced_only_where_it_stands_exactly_once() {
        let replace = |text: &str| replace_once(Path::new("f.yaml"), text.to_owned(), "port: 1", "port: 2");
        assert_eq!(replace("a port: 1 b").unwrap(), "a port: 2 b");
        for (text, count) in [("a b", 0), ("port: 1, port: 1", 2), ("port: 1, port: 10", 2)] {
            let error = replace(text).unwrap_err().to_string();
            assert!(error.contains(&format!("{count} times")), "{error}");
        }
    }
}
