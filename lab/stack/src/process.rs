//! A child process that never outlives this process.

mod mortal;
mod usage;

use std::collections::HashSet;
use std::fs::{self, File};
use std::net::SocketAddr;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{
    Pid, Resource, Signal, WaitId, WaitIdOptions, getrlimit, kill_process_group, setrlimit, waitid,
};
use tokio::time::{Instant, sleep};

pub use usage::Usage;

use crate::Error;

/// A running program in its own process group, killed and reaped when dropped.
#[derive(Debug)]
pub struct Process {
    part: &'static str,
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
        let program = command.get_program().to_string_lossy().into_owned();
        let child = mortal::spawn(command).map_err(Error::failed(format!("start {part} as {program}")))?;
        let group = Pid::from_child(&child);
        Ok(Self { part, child, group, log: log.to_owned() })
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
        let deadline = deadline(within);
        loop {
            if let Some(status) = self.ended() {
                return Ok(status);
            }
            if Instant::now() >= deadline {
                return Err(self.late("end", within, String::new()));
            }
            sleep(POLL).await;
        }
    }

    /// Polls `condition` until it succeeds. Its last error becomes the detail of [`Error::Late`].
    pub async fn until<T>(
        &mut self,
        what: &'static str,
        within: Duration,
        mut condition: impl AsyncFnMut() -> Result<T, String>,
    ) -> Result<T, Error> {
        let deadline = deadline(within);
        loop {
            // Checked first: another program may answer in this one's place.
            self.alive()?;
            match condition().await {
                Ok(value) => return Ok(value),
                Err(detail) if Instant::now() >= deadline => return Err(self.late(what, within, detail)),
                Err(_) => sleep(POLL).await,
            }
        }
    }

    pub fn usage(&self) -> Result<Usage, Error> {
        usage::of(self.id()).map_err(Error::failed(format!("read the usage of {}", self.part)))
    }

    /// Its established connections to the port of this address, each by a unique name.
    pub fn connections(&self, to: SocketAddr) -> Result<HashSet<String>, Error> {
        let what = format!("read the connections of {}", self.part);
        usage::connections(to, self.id()).map_err(Error::failed(what))
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

fn deadline(within: Duration) -> Instant {
    let now = Instant::now();
    now.checked_add(within).unwrap_or(now)
}

const POLL: Duration = Duration::from_millis(25);
const TAIL_LINES: usize = 25;
