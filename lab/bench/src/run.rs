//! Runs one measurement in its own process.

use std::process::Stdio;
use std::time::Duration;

use sluicegate_stack::process::Process;
use tokio::process::Command;

use crate::Failure;
use crate::report::{Cpu, Measured};

/// Runs a measurement in its own process. Returns its result, and the CPU time of that process, Envoy, bridge and
/// messaging system.
pub(crate) async fn part(
    name: &str,
    arguments: &[(&str, String)],
    processes: &[&Process],
) -> Result<(Measured, Cpu), Failure> {
    let used = || -> Result<Vec<Duration>, Failure> {
        processes.iter().map(|process| Ok(process.usage()?.cpu)).collect()
    };
    let mut command = Command::new(std::env::current_exe()?);
    command.arg(name).stdout(Stdio::piped()).kill_on_drop(true);
    arguments.iter().for_each(|(key, value)| {
        command.arg(key).arg(value);
    });
    let before = used()?;
    let output = command.spawn()?.wait_with_output().await?;
    let after = used()?;
    if !output.status.success() {
        return Err(format!("{name} ended with {}", output.status).into());
    }
    let (measured, client) = Measured::parse(&output.stdout)?;
    let spent = |index: usize| match (after.get(index), before.get(index)) {
        (Some(after), Some(before)) => after.saturating_sub(*before).as_secs_f64(),
        _ => 0.0,
    };
    Ok((measured, Cpu { client, envoy: spent(0), bridge: spent(1), system: spent(2) }))
}

/// Enables Java's second compiler; without it, encryption is slow.
pub(crate) const QUICK_JAVA: &str = "-XX:TieredStopAtLevel=4";
