//! Runs `sluicegate` as a shell would.

use std::process::Stdio;

use tokio::process::Command;

use crate::kafka;

/// The result of a run.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

/// The program with `args`, to be started; killed when dropped.
pub(crate) fn command(url: &str, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sluicegate"));
    command.args(args).env_clear().env("SLUICEGATE_URL", url).kill_on_drop(true);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

pub(crate) async fn run(url: &str, args: &[&str]) -> Run {
    finish(&mut command(url, args)).await
}

/// Starts `command` and waits until it ends.
pub(crate) async fn finish(command: &mut Command) -> Run {
    let output = command.output().await.unwrap();
    Run {
        code: output.status.code(),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    }
}

/// Runs against the example topics and compares everything; `args` are split at spaces.
pub(crate) async fn check(args: &str, code: i32, stdout: &str, stderr: &str) {
    let url = kafka::serve().await;
    let run = run(&url, &args.split(' ').collect::<Vec<_>>()).await;
    assert_eq!((run.code, &*run.stdout, &*run.stderr), (Some(code), stdout, stderr), "sluicegate {args}");
}
