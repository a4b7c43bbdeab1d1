//! Tokens, keys, revocations and policies.

use std::sync::{Arc, LazyLock};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use futures_util::FutureExt;
use ring::signature::{Ed25519KeyPair, KeyPair};
use serde_json::{Value, json};
use sluicegate_bridge::testing;
use sluicegate_identity::{
    Algorithm, Issuer, Keys, KeysFrom, Revocation, RevocationList, TokenError, Verifier,
};
use sluicegate_rights::{Claims, Policy};

use super::{headers, parts};

/// A header and claims, which are signed; or, if there is no NUL, a token as it is, which nobody has signed.
///
/// A token is accepted only if it is signed, of the issuer and for the audience.
pub(super) fn tokens(input: &[u8]) {
    let [head, claims] = parts(input);
    if !input.contains(&0) {
        assert!(verify(input).is_err(), "a token without a signature of the issuer");
        return;
    }
    let text = format!("{}.{}", BASE64.encode(head), BASE64.encode(claims));
    let signature = BASE64.encode(KEY.sign(text.as_bytes()));
    if verify(format!("{text}.{signature}").as_bytes()).is_err() {
        return;
    }
    let of = |json| serde_json::from_slice::<Value>(json).expect("JSON is accepted only");
    let (head, claims) = (of(head), of(claims));
    assert_eq!(head["alg"], "EdDSA");
    assert!(head["crit"].is_null(), "{head}");
    assert_eq!(claims["iss"], ISSUER);
    let audience = match &claims["aud"] {
        Value::Array(audience) => audience.contains(&json!(AUDIENCE)),
        audience => audience == AUDIENCE,
    };
    assert!(audience && claims["exp"].is_number(), "{claims}");
}

/// The keys of an issuer, and revocations.
pub(super) fn key_sets(input: &[u8]) {
    drop(Keys::parse(input));
    drop(Revocation::parse(input));
    drop(RevocationList::parse(input));
}

/// Headers of the gateway, NUL, a policy, NUL, the claims of a person.
///
/// A policy that is accepted is the same once it is written and read again, and a person without claims has
/// what everybody has.
pub(super) fn rights(input: &[u8]) {
    let [lines, policy, claims] = parts(input);
    testing::rights(&headers(lines));
    let claims = Claims::parse(claims);
    let Ok(policy) = Policy::parse(policy) else { return };
    assert_eq!(Policy::parse(policy.to_json().as_bytes()).ok().as_ref(), Some(&policy));
    let rights = policy.rights(claims.as_ref());
    let _ = (rights.reads("orders"), rights.writes("orders"));
    assert_eq!(policy.rights(Claims::parse(b"{}").as_ref()), policy.rights(None));
}

fn verify(token: &[u8]) -> Result<Claims, TokenError> {
    VERIFIER.verify(token).now_or_never().expect("the keys are there")
}

static KEY: LazyLock<Ed25519KeyPair> =
    LazyLock::new(|| Ed25519KeyPair::from_seed_unchecked(&[7; 32]).expect("a key"));

static VERIFIER: LazyLock<Verifier> = LazyLock::new(|| {
    let x = BASE64.encode(KEY.public_key());
    let set = json!({"keys": [{"kty": "OKP", "crv": "Ed25519", "kid": "one", "use": "sig", "x": x}]});
    let keys = Keys::parse(set.to_string().as_bytes()).expect("a set of keys");
    let issuer = Issuer {
        name: ISSUER.to_owned(),
        audience: vec![AUDIENCE.to_owned()],
        algorithms: vec![Algorithm::EdDSA],
        leeway: Duration::from_secs(60),
        keys: KeysFrom::Fixed(Arc::new(keys)),
    };
    Verifier::new(issuer, || unreachable!("the keys have no URL"))
});

const ISSUER: &str = "https://issuer.example";
const AUDIENCE: &str = "app";
