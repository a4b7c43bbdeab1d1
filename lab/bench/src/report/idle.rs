//! The memory of idle sessions.

use super::say;

/// The memory of one idle session, in bytes.
#[derive(Debug)]
pub(crate) struct Row {
    /// Bytes of the record that it fetched.
    pub(crate) fetched: usize,
    pub(crate) envoy: u64,
    pub(crate) bridge: u64,
}

/// Prints all results.
pub(crate) fn table(rows: &[Row]) {
    say("");
    say("KiB of an idle session after a fetch");
    say("fetched       Envoy  bridge");
    for Row { fetched, envoy, bridge } in rows {
        let [envoy, bridge] = [envoy, bridge].map(|bytes| *bytes as f64 / 1024.0);
        say(&format!("{fetched:>7} B   {envoy:>6.1}  {bridge:>6.1}"));
    }
}
