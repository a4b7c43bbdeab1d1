//! A child that ends with its parent.

use std::io;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command};
use std::sync::OnceLock;
use std::sync::mpsc::{self, Sender};
use std::thread;

use rustix::process::{Signal, getpid, getppid, set_parent_process_death_signal};

/// Starts a child that the kernel kills when this process ends.
///
/// To the kernel, the parent is the thread that created the child, and a test's thread ends with its test. So one
/// thread, which lives as long as the process, creates all children.
pub(super) fn spawn(mut command: Command) -> io::Result<Child> {
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
