//! Tells whether files have changed, by their contents.

use std::fs::{self, File};
use std::hash::{BuildHasher, Hash, Hasher, RandomState};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

/// A hasher with a key of this process: the hash of a secret tells nothing about it elsewhere.
pub fn hasher() -> impl Hasher {
    static KEY: LazyLock<RandomState> = LazyLock::new(RandomState::new);
    KEY.build_hasher()
}

/// Hashes the contents of a file, or of the files in a directory. Not being readable is a state like any other.
pub fn hash(path: &Path, hasher: &mut impl Hasher) {
    let mut files = files(path).unwrap_or_default();
    files.sort_unstable();
    for file in files {
        file.hash(hasher);
        contents(&file).map_err(|error| error.kind()).hash(hasher);
    }
}

/// Whether this is a pipe or the like, which cannot be read twice.
pub fn is_special(path: &Path) -> bool {
    path.exists() && !path.is_file()
}

fn files(path: &Path) -> io::Result<Vec<PathBuf>> {
    if !path.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let entries = fs::read_dir(path)?.take(MAX_FILES).map(|entry| entry.map(|entry| entry.path()));
    entries.filter(|path| path.as_ref().is_ok_and(|path| path.is_file())).collect()
}

fn contents(file: &Path) -> io::Result<Vec<u8>> {
    if is_special(file) {
        // Opening a pipe would wait for its writer.
        return Err(io::ErrorKind::InvalidInput.into());
    }
    let mut bytes = Vec::new();
    File::open(file)?.take(MAX_BYTES).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// More certificates than a system has.
const MAX_FILES: usize = 10_000;
/// More than any file of a configuration has.
const MAX_BYTES: u64 = 16 * 1024 * 1024;
