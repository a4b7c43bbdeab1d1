//! The CA certificates that Mozilla trusts, as the crate `webpki-root-certs` has them.

use std::fmt::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// All of them in PEM.
pub(crate) fn pem() -> String {
    let mut pem = String::new();
    for certificate in webpki_root_certs::TLS_SERVER_ROOT_CERTS {
        pem.push_str("-----BEGIN CERTIFICATE-----\n");
        let mut text = STANDARD.encode(certificate);
        while !text.is_empty() {
            let rest = text.split_off(text.len().min(64));
            // Writing into a text does not fail.
            let _ = writeln!(pem, "{text}");
            text = rest;
        }
        pem.push_str("-----END CERTIFICATE-----\n");
    }
    pem
}
