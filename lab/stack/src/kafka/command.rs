//! Kafka's own command line tools.

use std::process::Stdio;
use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::time::timeout;

use super::Kafka;
use super::node::java;
use crate::Error;

impl Kafka {
    /// Runs one of Kafka's tools, by its class, on this cluster with `input` on its standard input, and returns its standard output.
    pub async fn console(&self, class: &'static str, args: &[&str], input: &[u8]) -> Result<Vec<u8>, Error> {
        let mut command = tokio::process::Command::from(java(class, &[])?);
        command.args(["--bootstrap-server", &self.bootstrap()]).args(args);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        let mut child = command.spawn().map_err(Error::failed(format!("start {class}")))?;
        let stdin = child.stdin.take();
        let fed = async {
            if let Some(mut stdin) = stdin {
                // A tool that rejects its arguments closes its input; its exit tells why.
                let _ = stdin.write_all(input).await;
            }
        };
        let ended = async { tokio::join!(fed, child.wait_with_output()).1 };
        let late = |_| Error::Late { part: class, what: "end", within: WITHIN, detail: String::new() };
        let output =
            timeout(WITHIN, ended).await.map_err(late)?.map_err(Error::failed(format!("read of {class}")))?;
        let tail = String::from_utf8_lossy(&output.stderr).into_owned();
        let failed = || Error::Ended { part: class, status: output.status, tail };
        if output.status.success() { Ok(output.stdout) } else { Err(failed()) }
    }
}

/// Kafka's console consumer, for [`Kafka::console`].
pub const CONSOLE_CONSUMER: &str = "org.apache.kafka.tools.consumer.ConsoleConsumer";

const WITHIN: Duration = Duration::from_secs(60);
