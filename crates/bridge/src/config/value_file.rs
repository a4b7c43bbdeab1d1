//! Files with a single value, such as a secret.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

/// The text of a file with one value, without line ends at the end, and without the byte order mark of some editors.
pub(super) fn read(path: &Path) -> Result<String, String> {
    let mut text = String::from_utf8(bytes(path, MAX_FILE_BYTES)?)
        .map_err(|_| format!("{}: is not UTF-8", path.display()))?;
    text.truncate(text.trim_end_matches(['\r', '\n']).len());
    Ok(text.strip_prefix('\u{feff}').map(str::to_owned).unwrap_or(text))
}

/// The content of a file of at most `max_bytes`.
pub(super) fn bytes(path: &Path, max_bytes: u64) -> Result<Vec<u8>, String> {
    let read = |path| {
        let mut bytes = Vec::new();
        File::open(path)?.take(max_bytes.saturating_add(1)).read_to_end(&mut bytes)?;
        io::Result::Ok(bytes)
    };
    let bytes = read(path).map_err(|error| format!("{}: {error}", path.display()))?;
    match u64::try_from(bytes.len()) {
        Ok(len) if len <= max_bytes => Ok(bytes),
        _ => Err(format!("{}: is larger than {max_bytes} bytes, its limit", path.display())),
    }
}

/// The longest value in a file: room for all the certificates that a system trusts.
const MAX_FILE_BYTES: u64 = 1024 * 1024;
