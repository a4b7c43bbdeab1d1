//! A measured part: a process of its own, and what it and others used meanwhile.

use std::process::Stdio;
use std::time::Duration;

use sluicegate_tests::process::Process;
use tokio::process::Command;

use crate::Failure;
use crate::report::{Cpu, Measured};

/// Runs a part as a process of its own, and says what it and Envoy, bridge and Kafka used.
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
    Ok((measured, Cpu { client, envoy: spent(0), bridge: spent(1), kafka: spent(2) }))
}

/// Encryption, and much else, is quick only where Java's second compiler has compiled it.
pub(crate) const QUICK_JAVA: &str = "-XX:TieredStopAtLevel=4";
