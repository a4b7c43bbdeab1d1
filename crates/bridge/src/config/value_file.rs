//! Files with a single value, such as a secret.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

/// The text of a file with one value, without line ends at the end.
pub(super) fn read(path: &Path) -> Result<String, String> {
    read_up_to(path, MAX_FILE_BYTES)
}

/// The text of a file of at most `max_bytes`, without line ends at the end.
pub(super) fn read_up_to(path: &Path, max_bytes: u64) -> Result<String, String> {
    let read = |path| {
        let mut text = String::new();
        File::open(path)?.take(max_bytes.saturating_add(1)).read_to_string(&mut text)?;
        io::Result::Ok(text)
    };
    let mut text = read(path).map_err(|error| format!("{}: {error}", path.display()))?;
    if u64::try_from(text.len()).unwrap_or(u64::MAX) > max_bytes {
        return Err(format!("{}: is larger than {max_bytes} bytes, its limit", path.display()));
    }
    text.truncate(text.trim_end_matches(['\r', '\n']).len());
    Ok(text)
}

/// The longest value in a file: room for all the certificates that a system trusts.
const MAX_FILE_BYTES: u64 = 1024 * 1024;
