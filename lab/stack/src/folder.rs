//! A folder for the logs, configurations and data of one stack.
//!
//! Its owner removes it, but keeps the logs after a panic. If the owner was killed, the next process that creates a
//! folder removes it.

use std::fs::{self, File, TryLockError};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::process;
use std::sync::Once;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;

use crate::Error;
use crate::process::tail;
use crate::tools::target_dir;

/// A folder under `target/stacks`, removed on drop unless its owner panics.
#[derive(Debug)]
pub struct Folder {
    path: PathBuf,
    /// Locked while the owner lives.
    _lock: File,
}

impl Folder {
    /// An empty folder.
    pub fn new(name: &str) -> Result<Self, Error> {
        let parent = target_dir()?.join("stacks");
        fs::create_dir_all(&parent).map_err(Error::failed(format!("make {}", parent.display())))?;
        // A folder that is created but not yet locked looks like an orphan.
        let _one_at_a_time = lock(&parent.join(LOCK))?;
        SWEPT.call_once(|| remove_orphans(&parent));
        let path = loop {
            let number = COUNT.fetch_add(1, Ordering::Relaxed);
            let path = parent.join(format!("{name}-{}-{number}", process::id()));
            match fs::create_dir(&path) {
                Ok(()) => break path,
                // Kept by an earlier process with the same id.
                Err(e) if e.kind() == ErrorKind::AlreadyExists => {}
                Err(e) => return Err(Error::failed(format!("make {}", path.display()))(e)),
            }
        };
        let lock = lock(&path.join(LOCK))?;
        Ok(Self { path, _lock: lock })
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Writes a file into it and returns its path.
    pub fn write(&self, name: &str, content: &str) -> Result<PathBuf, Error> {
        write(&self.path, name, content)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if thread::panicking() {
            self.keep();
        } else {
            let _ = fs::remove_dir_all(&self.path);
        }
    }
}

impl Folder {
    /// Keeps the folder, and prints its path and the end of each log.
    #[expect(clippy::print_stderr, reason = "a failed test's output")]
    fn keep(&self) {
        // A folder without a lock file is never swept: it stays until `target` is deleted. A sweep that had already
        // opened the file would find it unlocked once this folder is dropped.
        let _no_sweep = self.path.parent().map(|parent| lock(&parent.join(LOCK)));
        let _ = fs::remove_file(self.path.join(LOCK));
        eprintln!("logs are kept in {}", self.path.display());
        for path in fs::read_dir(&self.path).into_iter().flatten().flatten().map(|entry| entry.path()) {
            if path.extension().is_some_and(|extension| extension == "log") {
                eprintln!("--- the end of {}\n{}", path.display(), tail(&path));
            }
        }
    }
}

/// Writes a file of a folder and returns its path.
pub(crate) fn write(folder: &Path, name: &str, content: &str) -> Result<PathBuf, Error> {
    let path = folder.join(name);
    fs::write(&path, content).map_err(Error::failed(format!("write {}", path.display())))?;
    Ok(path)
}

/// Creates and locks a file; the lock lasts as long as the value or its process.
pub(crate) fn lock(path: &Path) -> Result<File, Error> {
    let file = File::create(path).map_err(Error::failed(format!("make {}", path.display())))?;
    file.lock().map_err(Error::failed(format!("lock {}", path.display())))?;
    Ok(file)
}

/// Removes the folders that no process has locked. The caller holds the parent's lock.
fn remove_orphans(parent: &Path) {
    let Ok(entries) = fs::read_dir(parent) else { return };
    for path in entries.flatten().map(|entry| entry.path()) {
        let Ok(lock) = File::open(path.join(LOCK)) else { continue };
        if !matches!(lock.try_lock(), Err(TryLockError::WouldBlock)) {
            let _ = fs::remove_dir_all(&path);
        }
    }
}

const LOCK: &str = ".lock";
static SWEPT: Once = Once::new();
static COUNT: AtomicU32 = AtomicU32::new(0);
