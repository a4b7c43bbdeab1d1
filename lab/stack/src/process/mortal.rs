//! A child that ends with its parent.

use std::io;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command};
use std::sync::mpsc::{self, Sender};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::thread;

use rustix::process::{Signal, getpid, getppid, set_parent_process_death_signal};

/// Lets the kernel kill children of [`spawn`] when this process ends.
pub(super) fn die_with_parent(command: &mut Command) {
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
}

type Job = (Arc<Mutex<Command>>, Sender<io::Result<Child>>);

/// Starts a child. To the kernel, its parent is the thread that created it, and a test's thread ends with its test. So
/// one thread, which lives as long as the process, creates all children.
pub(super) fn spawn(command: &Arc<Mutex<Command>>) -> io::Result<Child> {
    static SPAWNER: OnceLock<Sender<Job>> = OnceLock::new();
    let spawner = SPAWNER.get_or_init(|| {
        let (jobs, inbox) = mpsc::channel::<Job>();
        thread::spawn(move || {
            for (command, reply) in inbox {
                let _ = reply.send(command.lock().unwrap_or_else(PoisonError::into_inner).spawn());
            }
        });
        jobs
    });
    let (reply, answer) = mpsc::channel();
    let gone = || io::Error::other("the thread that starts processes is gone");
    spawner.send((Arc::clone(command), reply)).map_err(|_| gone())?;
    answer.recv().map_err(|_| gone())?
}
