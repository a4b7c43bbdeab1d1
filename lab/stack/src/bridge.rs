//! The bridge, as a process.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use crate::port::Port;
use crate::process::Process;
use crate::{Error, http, tools, waiting};

pub struct Bridge {
    grpc: Port,
    admin: Port,
    config: PathBuf,
    /// The process, which tests kill, freeze or stop.
    pub process: Process,
}

impl Bridge {
    /// Starts a bridge and waits until it listens. `config` is its configuration file; the addresses and the keys in
    /// `environment` override it. Its log is in `dir`.
    pub async fn start(config: &Path, environment: Vec<(String, String)>, dir: &Path) -> Result<Self, Error> {
        let (grpc, admin) = (Port::pick()?, Port::pick()?);
        let command = command(config, &environment, [grpc.address(), admin.address()])?;
        let process = Process::spawn("the bridge", command, &dir.join("bridge.log"))?;
        let mut bridge = Self { grpc, admin, config: config.to_owned(), process };
        bridge.listens().await?;
        Ok(bridge)
    }

    /// Restarts the bridge on the same ports, unless it is running.
    pub async fn up(&mut self) -> Result<(), Error> {
        if self.process.restart()? { self.listens().await } else { Ok(()) }
    }

    async fn listens(&mut self) -> Result<(), Error> {
        let admin = self.admin();
        self.process.until("listen", START_WITHIN, async || http::is_ok(admin, "/livez").await).await
    }

    /// Changes the text of the configuration file, and waits until the bridge has taken it up.
    pub async fn reconfigure(&mut self, change: impl FnOnce(String) -> String) -> Result<(), Error> {
        const COUNT: &str = "sluicegate_config_reloads_total";
        let before = self.count(COUNT, "").await.map_err(Error::Configuration)?;
        let text = fs::read_to_string(&self.config).map_err(Error::failed("read the configuration"))?;
        fs::write(&self.config, change(text)).map_err(Error::failed("write the configuration"))?;
        self.process.hang_up();
        waiting::until("the bridge takes up its configuration", Duration::from_secs(30), async || match self
            .count(COUNT, "")
            .await?
        {
            count if count > before => Ok(()),
            _ => Err("not yet".to_owned()),
        })
        .await;
        match self.count("sluicegate_config_rejected", "").await.map_err(Error::Configuration)? {
            0.0 => Ok(()),
            _ => Err(Error::Configuration(self.process.log_tail())),
        }
    }

    pub fn grpc(&self) -> SocketAddr {
        self.grpc.address()
    }

    pub fn admin(&self) -> SocketAddr {
        self.admin.address()
    }

    /// The metrics whose lines begin with `prefix`: names with labels, and values.
    pub async fn metrics(&self, prefix: &str) -> Result<Vec<(String, f64)>, String> {
        let answer = http::get(self.admin(), "/metrics").await?;
        let samples = answer.text().lines().filter(|line| line.starts_with(prefix)).filter_map(|line| {
            let (name, value) = line.rsplit_once(' ')?;
            Some((name.to_owned(), value.parse().ok()?))
        });
        Ok(samples.collect())
    }

    /// The sum of the metrics whose lines begin with `prefix` and contain `label`.
    pub async fn count(&self, prefix: &str, label: &str) -> Result<f64, String> {
        let mut samples = self.metrics(prefix).await?;
        samples.retain(|(name, _)| name.contains(label));
        if samples.is_empty() {
            return Err(format!("the bridge counts no {prefix} {label}"));
        }
        Ok(samples.iter().map(|(_, value)| value).sum())
    }
}

/// Checks a configuration with `--check`, overridden as in [`Bridge::start`].
pub async fn check(config: &Path, environment: &[(String, String)]) -> Result<(), Error> {
    let checked = output(config, environment, &["--check"]).await?;
    let said = String::from_utf8_lossy(&checked.stderr);
    match checked.status.code() {
        Some(0) => Ok(()),
        Some(2) => {
            let file = format!("{}: ", config.display());
            let problems = said.lines().map(|line| line.trim().trim_start_matches(&file));
            Err(Error::Configuration(problems.collect::<Vec<_>>().join("; ")))
        }
        _ => Err(Error::Ended { part: "the bridge", status: checked.status, tail: said.into_owned() }),
    }
}

/// The output of `--check --connect` on a configuration.
pub async fn connect(config: &Path) -> Result<Output, Error> {
    output(config, &[], &["--check", "--connect"]).await
}

async fn output(
    config: &Path,
    environment: &[(String, String)],
    arguments: &[&str],
) -> Result<Output, Error> {
    let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let mut command = tokio::process::Command::from(command(config, environment, [any; 2])?);
    command.args(arguments).stdin(Stdio::null()).kill_on_drop(true);
    command.output().await.map_err(Error::failed("start the bridge"))
}

/// The command that starts the bridge, with its two addresses.
fn command(
    config: &Path,
    environment: &[(String, String)],
    [grpc, admin]: [SocketAddr; 2],
) -> Result<Command, Error> {
    let mut command = Command::new(tools::bridge()?);
    command.arg("--config").arg(config);
    // The bridge treats every variable with its prefix as a configuration key.
    for variable in tools::VARIABLES.into_iter().chain(["SLUICEGATE_URL"]) {
        command.env_remove(variable);
    }
    command
        .envs(environment.iter().map(|(name, value)| (name, value)))
        .env("SLUICEGATE_LISTEN", grpc.to_string())
        .env("SLUICEGATE_ADMIN_LISTEN", admin.to_string());
    Ok(command)
}

const START_WITHIN: Duration = Duration::from_secs(10);
