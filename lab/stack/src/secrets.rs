//! The secrets of tests, and a search for them in texts.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;

/// Creates a secret whose text tells its purpose, and records it for [`shown_in`].
pub fn secret(what: &str) -> String {
    let secret = format!("{COMMON}{what}");
    keep(&secret);
    secret
}

/// Records a secret that [`secret`] did not create, such as a key.
pub fn keep(secret: &str) {
    KEPT.lock().unwrap_or_else(PoisonError::into_inner).insert(secret.to_owned());
}

/// The recorded secrets of this process that a text contains: literally, within base64, or as a list of bytes.
pub fn shown_in(text: &str) -> Vec<String> {
    let kept = KEPT.lock().unwrap_or_else(PoisonError::into_inner).clone();
    kept.into_iter().filter(|secret| forms(secret).iter().any(|form| text.contains(form))).collect()
}

/// The forms in which a secret can appear in a text.
fn forms(secret: &str) -> Vec<String> {
    let bytes = format!("{:?}", secret.as_bytes());
    let mut forms = vec![secret.to_owned(), bytes.trim_matches(['[', ']']).to_owned()];
    for before in 0..3_usize {
        let padded = [vec![0; before], secret.as_bytes().to_vec()].concat();
        let encoded = STANDARD_NO_PAD.encode(&padded);
        // Without the characters at either end, which depend on neighbouring bytes.
        let first = before.saturating_mul(8).div_ceil(6);
        let last = padded.len().saturating_mul(8).checked_div(6).unwrap_or_default();
        forms.extend(encoded.get(first..last).map(str::to_owned));
    }
    // Tokens use base64's URL-safe alphabet.
    let others: Vec<String> = forms.iter().map(|form| form.replace('+', "-").replace('/', "_")).collect();
    forms.extend(others);
    forms
}

/// The prefix of every [`secret`].
const COMMON: &str = "hush-";
static KEPT: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());
