//! Runs `sluicegate` as a shell would.

use std::process::{ExitStatus, Stdio};

use tokio::process::{Child, Command};

use crate::kafka;

/// What a run left behind.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

/// The program, started with `args` and killed when dropped.
pub(crate) fn start(url: &str, args: &[&str]) -> Child {
    Command::new(env!("CARGO_BIN_EXE_sluicegate"))
        .args(args)
        .env_clear()
        .env("SLUICEGATE_URL", url)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap()
}

pub(crate) async fn run(url: &str, args: &[&str]) -> Run {
    let output = start(url, args).wait_with_output().await.unwrap();
    Run {
        code: code(output.status),
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

pub(crate) fn code(status: ExitStatus) -> Option<i32> {
    status.code()
}
