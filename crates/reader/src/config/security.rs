//! `security.protocol`, `ssl.*` and `sasl.*`.

use super::properties::Properties;

impl Properties<'_> {
    pub(super) fn refuse_security(&mut self) {
        match self.take("security.protocol") {
            Some(protocol) if !protocol.eq_ignore_ascii_case("plaintext") => self.problem(
                "security.protocol",
                format!("expected `plaintext`; `{protocol}` is not supported by this version"),
            ),
            _ => {}
        }
        for (key, _) in self.unread.extract_if(.., |key, _| is_security(key)).collect::<Vec<_>>() {
            self.problem(key, "TLS and SASL are not supported by this version");
        }
    }
}

/// Whether a property protects the connection, so that ignoring it would do harm.
fn is_security(key: &str) -> bool {
    let protects = ["ssl.", "sasl.", "https.", "security."].iter().any(|prefix| key.starts_with(prefix));
    (protects || key.contains(".ssl.") || key.contains(".sasl.")) && key != "security.protocol"
}
