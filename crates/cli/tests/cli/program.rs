//! Runs `sluicegate` as a shell would.

use std::process::Output;

use tokio::process::Command;

use super::*;

/// The result of a run.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Run {
    fn of(output: Output) -> Self {
        Self {
            code: output.status.code(),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }

    #[track_caller]
    pub(crate) fn is(&self, code: i32, stdout: &str, stderr: &str) {
        assert_eq!((self.code, &*self.stdout, &*self.stderr), (Some(code), stdout, stderr));
    }

    /// The same of standard error, of which these parts are enough.
    #[track_caller]
    pub(crate) fn tells(&self, code: i32, stdout: &str, parts: &[&str]) {
        assert_eq!((self.code, &*self.stdout), (Some(code), stdout), "{self:?}");
        for part in parts {
            assert!(self.stderr.contains(part), "{part:?}: {}", self.stderr);
        }
    }
}

/// The program with `args`, to be started; killed when dropped.
pub(crate) fn command(url: &str, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sluicegate"));
    command.args(args).env_clear().env("SLUICEGATE_URL", url).kill_on_drop(true);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// Runs with these arguments, between spaces.
pub(crate) async fn run(url: &str, args: &str) -> Run {
    finish(&mut command(url, &args.split_terminator(' ').collect::<Vec<_>>())).await
}

/// The same with this standard input.
pub(crate) async fn feed(url: &str, args: &str, input: &str) -> Run {
    let mut command = command(url, &args.split_terminator(' ').collect::<Vec<_>>());
    let mut child = command.stdin(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).await.unwrap();
    Run::of(child.wait_with_output().await.unwrap())
}

/// Starts `command` and waits until it ends.
pub(crate) async fn finish(command: &mut Command) -> Run {
    Run::of(command.output().await.unwrap())
}
