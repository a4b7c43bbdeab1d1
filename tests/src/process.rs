//! A child that never outlives this process, however this process ends.

use std::fs::{self, File};
use std::io;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::OnceLock;
use std::sync::mpsc::{self, Sender};
use std::thread;
use std::time::Duration;

use rustix::process::{Pid, Signal, getpid, getppid, kill_process_group, set_parent_process_death_signal};
use tokio::time::{Instant, sleep};

use crate::Error;

/// A running program in a process group of its own, killed and reaped when dropped.
#[derive(Debug)]
pub struct Process {
    part: &'static str,
    child: Child,
    group: Pid,
    log: PathBuf,
}

/// What a process has used so far, by the kernel's account.
#[derive(Clone, Copy, Debug)]
pub struct Usage {
    /// Resident memory in bytes, now.
    pub resident_bytes: u64,
    /// User and system time since its start, in the kernel's ticks of 10 ms.
    pub cpu: Duration,
}

impl Process {
    /// Starts `command` with its output appended to the file `log`. `part` is what errors call it.
    ///
    /// # Errors
    /// [`Error::Io`] where the program cannot be started or the log not be opened.
    pub fn spawn(part: &'static str, mut command: Command, log: &Path) -> Result<Self, Error> {
        let file = File::options().create(true).append(true).open(log);
        let file = file.map_err(Error::io(format!("open {}", log.display())))?;
        let both = file.try_clone().map_err(Error::io(format!("open {}", log.display())))?;
        command.stdin(Stdio::null()).stdout(file).stderr(both).env("NO_COLOR", "1").process_group(0);
        let program = command.get_program().to_string_lossy().into_owned();
        let child = spawn_mortal(command).map_err(Error::io(format!("start {part} as {program}")))?;
        let group = Pid::from_child(&child);
        Ok(Self { part, child, group, log: log.to_owned() })
    }

    /// Its process id, which is its group's as well.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Where its output goes.
    #[must_use]
    pub fn log(&self) -> &Path {
        &self.log
    }

    /// The last lines of its log.
    #[must_use]
    pub fn log_tail(&self) -> String {
        tail(&self.log)
    }

    /// SIGTERM: asks it to end.
    pub fn terminate(&mut self) {
        self.signal(Signal::TERM);
    }

    /// SIGSTOP: it keeps its connections and does nothing.
    pub fn freeze(&mut self) {
        self.signal(Signal::STOP);
    }

    /// SIGCONT: it goes on after [`freeze`](Self::freeze).
    pub fn thaw(&mut self) {
        self.signal(Signal::CONT);
    }

    /// SIGKILL, as a crash would be; it is gone when this returns.
    pub fn kill(&mut self) {
        self.signal(Signal::KILL);
        let _ = self.child.wait();
    }

    /// SIGKILL for this process only: what it started has to notice by itself.
    pub fn kill_alone(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// How it ended, if it has.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().ok().flatten()
    }

    /// Waits for it to end though it should not, and says how it did.
    ///
    /// # Cancel safety
    /// It runs on.
    pub async fn watch(&mut self) -> Error {
        loop {
            if let Err(error) = self.alive() {
                return error;
            }
            sleep(POLL).await;
        }
    }

    /// Waits for its end.
    ///
    /// # Errors
    /// [`Error::Late`] where it still runs after `within`.
    ///
    /// # Cancel safety
    /// It runs on.
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

    /// Asks `condition` again and again until it gives a value; what it gives otherwise is the detail of the error.
    ///
    /// # Errors
    /// [`Error::Ended`] where the process ends meanwhile, [`Error::Late`] where nothing came `within` the time.
    ///
    /// # Cancel safety
    /// The process runs on.
    pub async fn until<T>(
        &mut self,
        what: &'static str,
        within: Duration,
        mut condition: impl AsyncFnMut() -> Result<T, String>,
    ) -> Result<T, Error> {
        let deadline = deadline(within);
        loop {
            // Before the condition is asked: another program may answer in this one's place.
            self.alive()?;
            match condition().await {
                Ok(value) => return Ok(value),
                Err(detail) if Instant::now() >= deadline => return Err(self.late(what, within, detail)),
                Err(_) => sleep(POLL).await,
            }
        }
    }

    /// What it has used so far.
    ///
    /// # Errors
    /// [`Error::Io`] where it has ended.
    pub fn usage(&self) -> Result<Usage, Error> {
        let read = |file: &str| {
            let path = format!("/proc/{}/{file}", self.id());
            fs::read_to_string(&path).map_err(Error::io(format!("read {path}")))
        };
        let resident = resident_bytes(&read("status")?);
        let cpu = cpu_time(&read("stat")?, rustix::param::clock_ticks_per_second());
        resident.zip(cpu).map(|(resident_bytes, cpu)| Usage { resident_bytes, cpu }).ok_or_else(|| {
            Error::io(format!("read the usage of {}", self.part))(io::ErrorKind::InvalidData.into())
        })
    }

    /// Nothing happens once it has ended: its number may be someone else's by then.
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

/// The last lines of a log, for an error.
#[must_use]
pub fn tail(log: &Path) -> String {
    let text = fs::read(log).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let lines: Vec<&str> = text.lines().collect();
    let skip = lines.len().saturating_sub(TAIL_LINES);
    lines.into_iter().skip(skip).collect::<Vec<_>>().join("\n")
}

/// Starts a child that the kernel kills when this process ends.
///
/// The kernel takes "parent" to be the thread that made the child, and a test's thread ends with its test. So all
/// children are made by one thread that lives as long as the process.
fn spawn_mortal(mut command: Command) -> io::Result<Child> {
    static SPAWNER: OnceLock<Sender<(Command, Sender<io::Result<Child>>)>> = OnceLock::new();
    let spawner = SPAWNER.get_or_init(|| {
        let (jobs, inbox) = mpsc::channel::<(Command, Sender<io::Result<Child>>)>();
        thread::spawn(move || {
            for (mut command, reply) in inbox {
                let _ = reply.send(command.spawn());
            }
        });
        jobs
    });
    let parent = getpid();
    let die_with_parent = move || {
        set_parent_process_death_signal(Some(Signal::KILL))?;
        // The parent may have ended before the line above took effect.
        if getppid() == Some(parent) { Ok(()) } else { Err(io::ErrorKind::NotFound.into()) }
    };
    #[expect(
        unsafe_code,
        reason = "pre_exec: between fork and exec; only system calls, no allocation, no lock"
    )]
    unsafe {
        command.pre_exec(die_with_parent);
    }
    let (reply, answer) = mpsc::channel();
    let gone = || io::Error::other("the thread that starts processes is gone");
    spawner.send((command, reply)).map_err(|_| gone())?;
    answer.recv().map_err(|_| gone())?
}

fn deadline(within: Duration) -> Instant {
    let now = Instant::now();
    now.checked_add(within).unwrap_or(now)
}

/// `VmRSS` of proc_pid_status(5), which is in kibibytes.
fn resident_bytes(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
}

/// `utime` and `stime` of proc_pid_stat(5): fields 14 and 15; field 2 is in parentheses and may hold anything.
fn cpu_time(stat: &str, ticks_per_second: u64) -> Option<Duration> {
    let (_, rest) = stat.rsplit_once(')')?;
    let mut fields = rest.split_whitespace().skip(11);
    let user: u64 = fields.next()?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    let milliseconds = user.checked_add(system)?.checked_mul(1000)?.checked_div(ticks_per_second)?;
    Some(Duration::from_millis(milliseconds))
}

const POLL: Duration = Duration::from_millis(25);
const TAIL_LINES: usize = 25;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::folder::Folder;

    fn shell(folder: &Folder, script: &str) -> Process {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        Process::spawn("a shell", command, &folder.path().join("log")).unwrap()
    }

    fn alive(pid: u32) -> bool {
        // A zombie is not alive: its status has no memory.
        fs::read_to_string(format!("/proc/{pid}/status")).is_ok_and(|status| status.contains("VmRSS:"))
    }

    #[tokio::test]
    async fn a_dropped_process_takes_its_children_with_it() {
        let folder = Folder::new("process-test").unwrap();
        let mut process = shell(&folder, "sleep 600 & echo $!; wait");
        let log = folder.path().join("log");
        let printed =
            async || fs::read_to_string(&log).unwrap().trim().parse::<u32>().map_err(|e| e.to_string());
        let child = process.until("print", Duration::from_secs(10), printed).await.unwrap();
        assert!(alive(child));
        drop(process);
        while alive(child) {
            sleep(POLL).await;
        }
    }

    #[tokio::test]
    async fn a_process_outlives_the_thread_that_asked_for_it() {
        let folder = Folder::new("process-test").unwrap();
        let mut process = thread::scope(|scope| scope.spawn(|| shell(&folder, "sleep 600")).join()).unwrap();
        let late = process.wait(Duration::from_millis(300)).await;
        assert!(matches!(late, Err(Error::Late { .. })), "{late:?}");
    }

    #[tokio::test]
    async fn a_process_that_ends_before_a_condition_holds_is_told_with_its_log() {
        let folder = Folder::new("process-test").unwrap();
        let mut process = shell(&folder, "echo no such luck; exit 7");
        let never = async || Err::<(), _>("not yet".to_owned());
        let error = process.until("become ready", Duration::from_secs(10), never).await.unwrap_err();
        let text = error.to_string();
        assert!(text.contains("exit status: 7") && text.contains("no such luck"), "{text}");
    }

    #[tokio::test]
    async fn usage_is_read_from_a_living_process() {
        let folder = Folder::new("process-test").unwrap();
        let mut process = shell(&folder, "while :; do :; done");
        let busy = async || Ok::<_, String>(());
        process.until("run", Duration::from_secs(10), busy).await.unwrap();
        let mut usage = process.usage().unwrap();
        while usage.cpu < Duration::from_millis(50) {
            sleep(POLL).await;
            usage = process.usage().unwrap();
        }
        assert!((64 << 10..64 << 20).contains(&usage.resident_bytes), "{usage:?}");
    }

    #[test]
    fn a_program_name_with_parentheses_does_not_shift_the_fields() {
        let stat = "7 (a) b) S 1 7 7 0 -1 4194560 1 2 3 4 150 50 0 0 20 0 1 0 5 6 7";
        assert_eq!(cpu_time(stat, 100), Some(Duration::from_secs(2)));
    }
}
