//! People, and tokens that are valid for about a minute.

use std::sync::LazyLock;
use std::time::{Duration, SystemTime};

use serde_json::json;
use sluicegate_stack::folder::Folder;
use sluicegate_stack::random::Random;
use sluicegate_stack::tokens::Signer;

use super::probe::{SHORTEST_IDENTITY, STALL};
use crate::Failure;

#[expect(clippy::unwrap_used, reason = "a program of ours: without keys there is nothing to try")]
static SIGNER: LazyLock<Signer> = LazyLock::new(|| Signer::new().unwrap());

#[derive(Clone)]
pub(super) struct Person {
    name: String,
    random: Random,
    /// The end of the last token, if there was one.
    until: Option<SystemTime>,
}

impl Person {
    pub(super) fn new(name: &str, seed: u64) -> Self {
        Self { name: name.to_owned(), random: Random::new(seed), until: None }
    }

    pub(super) fn token(&mut self) -> Result<String, Failure> {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?.as_secs();
        let seconds = SHORTEST_IDENTITY.as_secs() + u64::try_from(self.random.below(60))?;
        self.until = Some(SystemTime::UNIX_EPOCH + Duration::from_secs(now + seconds));
        let claims = json!({"iss": ISSUER, "aud": "app", "sub": self.name, "iat": now, "exp": now + seconds});
        Ok(SIGNER.sign_json(&claims)?)
    }

    /// Whether the last token is over in some seconds.
    pub(super) fn expires_soon(&self) -> bool {
        self.until.is_some_and(|until| until < SystemTime::now() + RENEWED_BEFORE)
    }

    /// Fails if there is no token, or the last one is still valid: a connection with it has ended too soon.
    pub(super) fn check_end(&self) -> Result<(), Failure> {
        match self.until.ok_or("the connection ended")?.duration_since(SystemTime::now()) {
            Ok(left) => Err(format!("the connection ended {left:?} before its identity").into()),
            Err(_) => Ok(()),
        }
    }

    /// Fails if the last token, if there was any, has been over for too long: a connection with it should have ended.
    pub(super) fn check_open(&self) -> Result<(), Failure> {
        let over = self.until.and_then(|until| SystemTime::now().duration_since(until).ok());
        match over.filter(|over| *over > STALL) {
            Some(over) => Err(format!("the connection is open {over:?} after its identity").into()),
            None => Ok(()),
        }
    }
}

/// The tables of the bridge's configuration that believe these tokens, with the keys in a file of `folder`.
pub(super) fn tables(folder: &Folder) -> Result<String, Failure> {
    let keys = folder.path().join("keys.json");
    std::fs::write(&keys, SIGNER.key_set())?;
    Ok(format!(
        "[identity]\nleeway_ms = 0\n[identity.main]\nissuer = {ISSUER:?}\naudience = [\"app\"]\njwks_file = {keys:?}\n"
    ))
}

const RENEWED_BEFORE: Duration = Duration::from_secs(10);
const ISSUER: &str = "https://issuer.example";
