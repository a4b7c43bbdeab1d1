//! Files with a single value, such as a secret.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

/// The text of a file, without line ends at the end.
pub(super) fn read(path: &Path) -> Result<String, String> {
    let read = |path| {
        let mut text = String::new();
        File::open(path)?.take(MAX_FILE_BYTES.saturating_add(1)).read_to_string(&mut text)?;
        io::Result::Ok(text)
    };
    let mut text = read(path).map_err(|error| format!("{}: {error}", path.display()))?;
    if u64::try_from(text.len()).unwrap_or(u64::MAX) > MAX_FILE_BYTES {
        return Err(format!(
            "{}: is larger than {MAX_FILE_BYTES} bytes, the limit of a value",
            path.display()
        ));
    }
    text.truncate(text.trim_end_matches(['\r', '\n']).len());
    Ok(text)
}

/// The longest value in a file: room for all the certificates that a system trusts.
const MAX_FILE_BYTES: u64 = 1024 * 1024;
