//! Archives with the same bytes on every machine: entries in a given order, one owner, one time.

use std::io::{self, Write};

use flate2::{Compression, GzBuilder};

/// A file of an archive.
pub(crate) struct Entry {
    /// The path, without a leading slash.
    pub(crate) path: String,
    pub(crate) mode: u32,
    pub(crate) bytes: Vec<u8>,
}

impl Entry {
    /// A file that everyone can read.
    pub(crate) fn file(path: impl Into<String>, bytes: impl Into<Vec<u8>>) -> Self {
        Self { path: path.into(), mode: 0o644, bytes: bytes.into() }
    }

    /// A file that everyone can run.
    pub(crate) fn program(path: impl Into<String>, bytes: impl Into<Vec<u8>>) -> Self {
        Self { mode: 0o755, ..Self::file(path, bytes) }
    }
}

/// A tar archive of root's files and their folders, all from `time`, in seconds since 1970.
pub(crate) fn tar(entries: &[Entry], time: u64) -> io::Result<Vec<u8>> {
    let mut tar = tar::Builder::new(Vec::new());
    let mut folders = Vec::new();
    for entry in entries {
        for (end, _) in entry.path.match_indices('/') {
            let folder = entry.path.get(..=end).unwrap_or_default();
            if !folders.contains(&folder) {
                append(&mut tar, tar::EntryType::Directory, folder, 0o755, &[], time)?;
                folders.push(folder);
            }
        }
        append(&mut tar, tar::EntryType::Regular, &entry.path, entry.mode, &entry.bytes, time)?;
    }
    tar.into_inner()
}

fn append(
    tar: &mut tar::Builder<Vec<u8>>,
    kind: tar::EntryType,
    path: &str,
    mode: u32,
    bytes: &[u8],
    time: u64,
) -> io::Result<()> {
    let mut header = tar::Header::new_ustar();
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(time);
    header.set_size(u64::try_from(bytes.len()).map_err(io::Error::other)?);
    tar.append_data(&mut header, path, bytes)
}

/// Compresses with gzip, without a time or a file's name.
pub(crate) fn gzip(bytes: &[u8]) -> io::Result<Vec<u8>> {
    let mut gzip = GzBuilder::new().write(Vec::new(), Compression::best());
    gzip.write_all(bytes)?;
    gzip.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_come_once_and_before_their_files() {
        let entries = [Entry::program("a/b/run", "1"), Entry::file("a/c", "2"), Entry::file("d", "3")];
        let tar = tar(&entries, 7).unwrap();
        let mut archive = tar::Archive::new(tar.as_slice());
        let found = archive.entries().unwrap().map(|entry| {
            let entry = entry.unwrap();
            let header = entry.header();
            assert_eq!((header.uid().unwrap(), header.gid().unwrap(), header.mtime().unwrap()), (0, 0, 7));
            (entry.path().unwrap().display().to_string(), header.mode().unwrap())
        });
        let found: Vec<_> = found.collect();
        let want = [("a/", 0o755), ("a/b/", 0o755), ("a/b/run", 0o755), ("a/c", 0o644), ("d", 0o644)];
        assert_eq!(found, want.map(|(path, mode)| (path.to_owned(), mode)));
    }
}
