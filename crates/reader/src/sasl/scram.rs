//! The client of SCRAM (RFC 5802, RFC 7677), without channel binding, as Kafka's brokers speak it.
//!
//! Kafka normalizes neither names nor passwords, and neither does this client: SASLprep would lock out users whose
//! names it changes.

use std::num::NonZeroU32;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use ring::rand::{SecureRandom, SystemRandom};
use ring::{digest, hmac, pbkdf2};

use crate::redact::Secret;

/// The hash function of the mechanism.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Hash {
    Sha256,
    Sha512,
}

/// A client before the server's challenge.
pub(super) struct Client {
    hash: Hash,
    password: Secret,
    /// `n=user,r=nonce`.
    first_bare: String,
    nonce: String,
}

/// The client's second message, and the data to verify the server's response to it.
pub(super) struct Proof {
    pub(super) message: String,
    server_key: hmac::Key,
    exchanged: String,
}

impl Hash {
    pub(super) fn mechanism(self) -> &'static str {
        match self {
            Hash::Sha256 => "SCRAM-SHA-256",
            Hash::Sha512 => "SCRAM-SHA-512",
        }
    }

    fn digest(self) -> &'static digest::Algorithm {
        match self {
            Hash::Sha256 => &digest::SHA256,
            Hash::Sha512 => &digest::SHA512,
        }
    }

    fn hmac(self) -> hmac::Algorithm {
        match self {
            Hash::Sha256 => hmac::HMAC_SHA256,
            Hash::Sha512 => hmac::HMAC_SHA512,
        }
    }

    fn pbkdf2(self) -> pbkdf2::Algorithm {
        match self {
            Hash::Sha256 => pbkdf2::PBKDF2_HMAC_SHA256,
            Hash::Sha512 => pbkdf2::PBKDF2_HMAC_SHA512,
        }
    }
}

impl Client {
    pub(super) fn new(hash: Hash, username: &str, password: Secret) -> Result<Self, String> {
        let mut random = [0; NONCE];
        SystemRandom::new().fill(&mut random).map_err(|_| "the system has no random bytes".to_owned())?;
        Ok(Self::with_nonce(hash, username, password, BASE64.encode(random)))
    }

    fn with_nonce(hash: Hash, username: &str, password: Secret, nonce: String) -> Self {
        // RFC 5802, section 5.1: "The characters ',' or '=' in usernames are sent as '=2C' and '=3D' respectively."
        let username = username.replace('=', "=3D").replace(',', "=2C");
        Self { hash, password, first_bare: format!("n={username},r={nonce}"), nonce }
    }

    /// The client's first message.
    pub(super) fn first(&self) -> String {
        format!("{GS2_HEADER}{}", self.first_bare)
    }

    /// Answers the server's challenge. This takes up to a second, for [`MAX_ITERATIONS`] hashes.
    pub(super) fn prove(&self, challenge: &[u8]) -> Result<Proof, String> {
        let challenge = std::str::from_utf8(challenge).map_err(|_| broken("a challenge that is not text"))?;
        let Challenge { nonce, salt, iterations } = Challenge::parse(challenge)?;
        // RFC 5802, section 5.1: "The client MUST verify that the initial part of the nonce used in subsequent messages
        // is the same as the nonce it initially specified."
        if nonce.strip_prefix(self.nonce.as_str()).is_none_or(str::is_empty) {
            return Err(broken("a nonce that does not continue ours"));
        }
        let Self { hash, password, first_bare, .. } = self;
        let mut salted = vec![0; hash.digest().output_len()];
        pbkdf2::derive(hash.pbkdf2(), iterations, &salt, password.expose().as_bytes(), &mut salted);
        let salted = hmac::Key::new(hash.hmac(), &salted);

        let without_proof = format!("c={},r={nonce}", BASE64.encode(GS2_HEADER));
        let exchanged = format!("{first_bare},{challenge},{without_proof}");
        let client_key = hmac::sign(&salted, b"Client Key");
        let stored_key = digest::digest(hash.digest(), client_key.as_ref());
        let stored_key = hmac::Key::new(hash.hmac(), stored_key.as_ref());
        let signature = hmac::sign(&stored_key, exchanged.as_bytes());
        let proof: Vec<u8> = client_key
            .as_ref()
            .iter()
            .zip(signature.as_ref())
            .map(|(key, signature)| key ^ signature)
            .collect();
        let server_key = hmac::Key::new(hash.hmac(), hmac::sign(&salted, b"Server Key").as_ref());
        let message = format!("{without_proof},p={}", BASE64.encode(proof));
        Ok(Proof { message, server_key, exchanged })
    }
}

impl Proof {
    /// Verifies in constant time that the server knows the password, by its last message.
    pub(super) fn verify(&self, last: &[u8]) -> Result<(), String> {
        let last = std::str::from_utf8(last).map_err(|_| broken("a last message that is not text"))?;
        let first = last.split(',').next().unwrap_or_default();
        if first.starts_with("e=") {
            return Err("the broker rejected the user name or the password".to_owned());
        }
        let signature = first.strip_prefix("v=").and_then(|value| BASE64.decode(value).ok());
        let signature = signature.ok_or_else(|| broken("no signature"))?;
        hmac::verify(&self.server_key, self.exchanged.as_bytes(), &signature)
            .map_err(|_| "the broker does not know the password: check the address of the broker".to_owned())
    }
}

/// The server's first message.
struct Challenge<'a> {
    nonce: &'a str,
    salt: Vec<u8>,
    iterations: NonZeroU32,
}

impl<'a> Challenge<'a> {
    fn parse(text: &'a str) -> Result<Self, String> {
        let mut fields = text.split(',');
        // `m=` marks a mandatory extension. It is rejected because it is not `r=`.
        let mut field = |name: &str| {
            fields
                .next()
                .and_then(|field| field.strip_prefix(name))
                .ok_or_else(|| broken(&format!("a challenge without `{name}`")))
        };
        let nonce = field("r=")?;
        let salt = BASE64.decode(field("s=")?).map_err(|_| broken("a salt that is not base64"))?;
        let iterations = field("i=")?;
        let count =
            iterations.parse().ok().filter(|count| ITERATIONS.contains(count)).and_then(NonZeroU32::new);
        let iterations = count.ok_or_else(|| {
            let (min, max) = ITERATIONS.into_inner();
            let got: String = iterations.chars().filter(char::is_ascii_digit).take(10).collect();
            broken(&format!("{got} iterations, expected {min} to {max}"))
        })?;
        Ok(Self { nonce, salt, iterations })
    }
}

/// Decodes a server's first message, for tests of other crates: without the proof, which takes thousands of hashes.
///
/// # Errors
/// It is invalid; the text says why.
#[cfg(any(test, feature = "testing"))]
pub fn check_challenge(challenge: &str) -> Result<(), String> {
    Challenge::parse(challenge).map(|_| ())
}

fn broken(what: &str) -> String {
    format!("the broker violated SCRAM: {what}")
}

/// No channel binding, and no separate authorization identity.
const GS2_HEADER: &str = "n,,";

/// Random bytes of a nonce.
const NONCE: usize = 24;

/// RFC 7677, section 4: "the hash iteration-count … SHOULD be at least 4096". Kafka's own limit is 16384; at this one a
/// processor is busy for about a second.
const ITERATIONS: std::ops::RangeInclusive<u32> = 4_096..=MAX_ITERATIONS;
const MAX_ITERATIONS: u32 = 500_000;

#[cfg(test)]
mod tests {
    use super::*;

    const SERVER_FIRST: &str =
        "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096";

    fn client() -> Client {
        Client::with_nonce(Hash::Sha256, "user", Secret::new("pencil"), "rOprNGfwEbeRWgbNEkqO".to_owned())
    }

    #[test]
    fn example_of_rfc_7677_succeeds() {
        assert_eq!(client().first(), "n,,n=user,r=rOprNGfwEbeRWgbNEkqO");
        let proof = client().prove(SERVER_FIRST.as_bytes()).expect("a proof");
        assert_eq!(
            proof.message,
            "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ="
        );
        assert_eq!(proof.verify(b"v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="), Ok(()));
    }

    #[test]
    fn server_without_the_password_is_not_trusted() {
        let proof = client().prove(SERVER_FIRST.as_bytes()).expect("a proof");
        for last in ["v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G5=", "v=AAAA", "v=", "v=!", "", "x"] {
            assert!(proof.verify(last.as_bytes()).is_err(), "{last}");
        }
        assert_eq!(
            proof.verify(b"e=invalid-proof"),
            Err("the broker rejected the user name or the password".to_owned())
        );
        assert!(proof.verify(b"\xff").is_err());
    }

    #[test]
    fn weak_expensive_or_truncated_challenge_is_rejected() {
        let ours = "r=rOprNGfwEbeRWgbNEkqO";
        for (challenge, want) in [
            ("r=other,s=W22Z,i=4096".to_owned(), "a nonce that does not continue ours"),
            (format!("{ours},s=W22Z,i=4096"), "a nonce that does not continue ours"),
            (format!("{ours}x,s=W22Z,i=4095"), "4095 iterations, expected 4096 to 500000"),
            (format!("{ours}x,s=W22Z,i=500001"), "500001 iterations, expected 4096 to 500000"),
            (format!("{ours}x,s=W22Z,i=-1"), "1 iterations, expected 4096 to 500000"),
            (format!("{ours}x,s=!,i=4096"), "a salt that is not base64"),
            (format!("m=x,{ours}x,s=W22Z,i=4096"), "a challenge without `r=`"),
        ] {
            let refusal = client().prove(challenge.as_bytes()).err();
            assert_eq!(refusal, Some(format!("the broker violated SCRAM: {want}")));
        }
        for cut in 0..SERVER_FIRST.len() {
            assert!(client().prove(&SERVER_FIRST.as_bytes()[..cut]).is_err(), "cut at byte {cut}");
        }
    }

    #[test]
    fn separators_in_a_name_are_escaped_and_nonces_differ() {
        let client = Client::with_nonce(Hash::Sha512, "a=b,c", Secret::new("p"), "n".to_owned());
        assert_eq!(client.first(), "n,,n=a=3Db=2Cc,r=n");
        let client = || Client::new(Hash::Sha512, "u", Secret::new("p")).expect("a client");
        assert_ne!(client().nonce, client().nonce);
    }
}
