//! Kafka's own command line tools.

use std::time::Duration;

use super::Kafka;
use super::node::java;
use crate::Error;
use crate::process::Process;

impl Kafka {
    /// Runs one of Kafka's tools, by its class, on this cluster.
    ///
    /// # Errors
    /// [`Error::Ended`] with what it said where it fails, [`Error::Late`] where it takes longer than a minute.
    ///
    /// # Cancel safety
    /// The tool is killed; what it was told may be done.
    pub(super) async fn command(&self, class: &'static str, args: &[&str]) -> Result<(), Error> {
        let mut command = java(class, &[])?;
        command.args(["--bootstrap-server", &self.bootstrap()]).args(args);
        let mut process = Process::spawn(class, command, &self.folder.path().join(format!("{class}.log")))?;
        let status = process.wait(WITHIN).await?;
        let failed = || Error::Ended { part: class, status, tail: process.log_tail() };
        if status.success() { Ok(()) } else { Err(failed()) }
    }
}

const WITHIN: Duration = Duration::from_secs(60);
