//! Verifies the tokens of clients (RFC 7519), with the keys of their issuer.
//!
//! 1. [`Verifier`]: checks a token's form, signature and claims; [`TokenError`] says what is wrong
//! 2. [`Keys`]: the keys of an issuer (RFC 7517), by id; `source` has them, from a file or a URL
//! 3. `provider`: signatures are ring's
//! 4. [`Revocations`]: identities that are over before they expire
//! 5. [`Unverified`]: what a token says of itself, for an operator who asks why it is refused
//!
//! A token chooses a key among those of its issuer, and nothing else: addresses and keys in its header are ignored.

mod keys;
mod provider;
mod revocation;
mod source;
mod verifier;

pub use jsonwebtoken::Algorithm;

pub use self::keys::{ALGORITHMS, Keys, KeysError, RefusedKey};
pub use self::revocation::{Identified, MAX_ENTRIES, Revocation, RevocationList, Revocations, Revoked};
pub use self::verifier::{Issuer, KeysFrom, TokenError, Unverified, Verifier};
