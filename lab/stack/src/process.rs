//! A child process that never outlives this process.

mod mortal;
mod usage;

use std::fs::{self, File};
use std::future::pending;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rustix::process::{
    Pid, Resource, Signal, WaitId, WaitIdOptions, getrlimit, kill_process_group, setrlimit, waitid,
};
use tokio::time::sleep;

pub use usage::Usage;

use crate::Error;
use crate::waiting::retry;

/// A running program in its own process group, killed and reaped when dropped.
#[derive(Debug)]
pub struct Process {
    part: &'static str,
    command: Arc<Mutex<Command>>,
    child: Child,
    group: Pid,
    log: PathBuf,
}

impl Process {
    /// Starts `command` and appends its output to the file `log`. `part` is its name in errors.
    pub fn spawn(part: &'static str, mut command: Command, log: &Path) -> Result<Self, Error> {
        let file = File::options().create(true).append(true).open(log);
        let file = file.map_err(Error::failed(format!("open {}", log.display())))?;
        let both = file.try_clone().map_err(Error::failed(format!("open {}", log.display())))?;
        command.stdin(Stdio::null()).stdout(file).stderr(both).env("NO_COLOR", "1").process_group(0);
        let what = format!("start {part} as {}", command.get_program().display());
        mortal::die_with_parent(&mut command);
        let command = Arc::new(Mutex::new(command));
        let child = mortal::spawn(&command).map_err(Error::failed(what))?;
        let group = Pid::from_child(&child);
        Ok(Self { part, command, child, group, log: log.to_owned() })
    }

    /// Starts it again as it was started, if it has ended. Whether it had.
    pub(crate) fn restart(&mut self) -> Result<bool, Error> {
        let has_ended = self.ended().is_some();
        if has_ended {
            let what = format!("start {} again", self.part);
            self.child = mortal::spawn(&self.command).map_err(Error::failed(what))?;
            self.group = Pid::from_child(&self.child);
        }
        Ok(has_ended)
    }

    /// The id of the process and its group.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    pub fn log(&self) -> &Path {
        &self.log
    }

    pub fn log_tail(&self) -> String {
        tail(&self.log)
    }

    /// SIGTERM: asks it to end.
    pub fn terminate(&mut self) {
        self.signal(Signal::TERM);
    }

    /// SIGHUP: asks it to read its configuration again.
    pub fn hang_up(&mut self) {
        self.signal(Signal::HUP);
    }

    /// SIGSTOP: the process keeps its connections and does nothing. Waits until it has stopped.
    pub fn freeze(&mut self) {
        self.signal(Signal::STOP);
        // `NOWAIT` leaves the status for a later wait.
        let stopped = WaitIdOptions::STOPPED | WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
        let _ = waitid(WaitId::Pid(self.group), stopped);
    }

    /// SIGCONT: resumes after [`freeze`](Self::freeze).
    pub fn thaw(&mut self) {
        self.signal(Signal::CONT);
    }

    /// SIGKILL, like a crash. Waits until the process has ended.
    pub fn kill(&mut self) {
        self.signal(Signal::KILL);
        let _ = self.child.wait();
    }

    /// Kills this process only (SIGKILL). Its child processes are not signalled.
    pub fn kill_alone(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().ok().flatten()
    }

    /// Waits until it ends unexpectedly; returns the error.
    pub async fn watch(&mut self) -> Error {
        loop {
            if let Err(error) = self.alive() {
                return error;
            }
            sleep(POLL).await;
        }
    }

    pub async fn wait(&mut self, within: Duration) -> Result<ExitStatus, Error> {
        let ended = retry(within, async || self.ended().ok_or_else(String::new)).await;
        ended.map_err(|detail| self.late("end", within, detail))
    }

    /// Polls `condition` until it succeeds. Its last error becomes the detail of [`Error::Late`].
    pub async fn until<T>(
        &mut self,
        what: &'static str,
        within: Duration,
        mut condition: impl AsyncFnMut() -> Result<T, String>,
    ) -> Result<T, Error> {
        let done = retry(within, async || match self.alive() {
            // Checked first: another program may answer in this one's place.
            Err(ended) => Ok(Err(ended)),
            Ok(()) => condition().await.map(Ok),
        });
        done.await.unwrap_or_else(|detail| Err(self.late(what, within, detail)))
    }

    pub fn usage(&self) -> Result<Usage, Error> {
        usage::of(self.id()).map_err(Error::failed(format!("read the usage of {}", self.part)))
    }

    /// Does nothing once the process has ended: its id may be reused.
    fn signal(&mut self, signal: Signal) {
        if self.ended().is_none() {
            let _ = kill_process_group(self.group, signal);
        }
    }

    fn alive(&mut self) -> Result<(), Error> {
        match self.ended() {
            None => Ok(()),
            Some(status) => Err(Error::Ended { part: self.part, status, tail: self.log_tail() }),
        }
    }

    fn late(&self, what: &'static str, within: Duration, detail: String) -> Error {
        let detail = if detail.is_empty() { detail } else { format!(": {detail}") };
        Error::Late { part: self.part, what, within, detail }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Waits until the process, if there is one, ends unexpectedly; returns the error.
pub async fn watch(process: Option<&mut Process>) -> Error {
    match process {
        Some(process) => process.watch().await,
        None => pending().await,
    }
}

/// The resources of all processes together.
pub fn total<'a>(processes: impl IntoIterator<Item = &'a Process>) -> Result<Usage, Error> {
    processes.into_iter().map(Process::usage).sum()
}

/// Raises the limit on open files of this process, and of those that it starts, to its maximum.
pub fn allow_many_files() -> Result<(), Error> {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    setrlimit(Resource::Nofile, limit)
        .map_err(|error| Error::failed("raise the limit on open files")(std::io::Error::from(error)))
}

/// The last lines of a log, for an error.
pub fn tail(log: &Path) -> String {
    let text = fs::read(log).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let lines: Vec<&str> = text.lines().collect();
    let skip = lines.len().saturating_sub(TAIL_LINES);
    lines.into_iter().skip(skip).collect::<Vec<_>>().join("\n")
}

const POLL: Duration = Duration::from_millis(25);
const TAIL_LINES: usize = 25;
