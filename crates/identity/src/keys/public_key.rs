//! The public key of a JWK, checked: a weak or absurd key verifies nothing, or what anybody can sign.

use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk};
use jsonwebtoken::{DecodingKey, DecodingKeyKind};
use ring::agreement::{self, ECDH_P256, ECDH_P384, EphemeralPrivateKey, UnparsedPublicKey, agree_ephemeral};
use ring::rand::SystemRandom;

/// The key of a JWK; None: it is of another kind than those of [`ALGORITHMS`](super::ALGORITHMS).
///
/// # Errors
/// It is weak or absurd: in which way, and the expected value.
pub(super) fn of(jwk: &Jwk) -> Result<Option<DecodingKey>, String> {
    let check: fn(&DecodingKeyKind) -> Result<(), String> = match &jwk.algorithm {
        AlgorithmParameters::RSA(_) => check_rsa,
        AlgorithmParameters::EllipticCurve(parameters) => match parameters.curve {
            EllipticCurve::P256 => |key| check_point(key, &ECDH_P256, "P-256"),
            EllipticCurve::P384 => |key| check_point(key, &ECDH_P384, "P-384"),
            _ => return Ok(None),
        },
        AlgorithmParameters::OctetKeyPair(parameters) if parameters.curve == EllipticCurve::Ed25519 => {
            check_ed25519
        }
        // A secret in a public set is none.
        _ => return Ok(None),
    };
    let key = DecodingKey::from_jwk(jwk).map_err(|_| "expected its numbers in base64url, without padding")?;
    check(key.kind())?;
    Ok(Some(key))
}

fn check_rsa(key: &DecodingKeyKind) -> Result<(), String> {
    let DecodingKeyKind::RsaModulusExponent { n: modulus, e: exponent } = key else {
        return Err("expected modulus and exponent".to_owned());
    };
    // RFC 7518, section 2, about such numbers: "The octet sequence MUST utilize the minimum number of octets needed to
    // represent the value."
    let (Some(bits), Some(_)) = (bits(modulus), bits(exponent)) else {
        return Err("modulus or exponent without a value, or with zeros before it".to_owned());
    };
    // RFC 7518, section 3.3: "A key of size 2048 bits or larger MUST be used with these algorithms." ring takes no larger
    // ones.
    if !(MIN_RSA_BITS..=MAX_RSA_BITS).contains(&bits) {
        return Err(format!("a modulus of {bits} bits: expected {MIN_RSA_BITS} to {MAX_RSA_BITS}"));
    }
    if !is_odd(modulus) {
        return Err("an even modulus".to_owned());
    }
    let byte_by_byte = |value: u64, byte: &u8| value.checked_mul(256)?.checked_add(u64::from(*byte));
    let value = exponent.iter().try_fold(0, byte_by_byte);
    match value.is_some_and(|value| (3..=MAX_EXPONENT).contains(&value)) && is_odd(exponent) {
        true => Ok(()),
        false => Err(format!("its exponent: expected an odd number from 3 to {MAX_EXPONENT}")),
    }
}

/// Checks a point by an exchange of keys, because ring checks those of signatures only beside one.
fn check_point(
    key: &DecodingKeyKind,
    curve: &'static agreement::Algorithm,
    name: &str,
) -> Result<(), String> {
    let point = UnparsedPublicKey::new(curve, bytes(key));
    let own = EphemeralPrivateKey::generate(curve, &SystemRandom::new());
    let is_on_curve = own.and_then(|own| agree_ephemeral(own, &point, |_| ())).is_ok();
    if is_on_curve { Ok(()) } else { Err(format!("expected a point of the curve {name}")) }
}

fn check_ed25519(key: &DecodingKeyKind) -> Result<(), String> {
    let point = bytes(key);
    let Ok(mut encoded) = <[u8; 32]>::try_from(point) else {
        return Err(format!("{} bytes: expected 32", point.len()));
    };
    // The sign of x.
    encoded[31] &= 0x7F;
    // RFC 8032, section 5.1.7, lets all of these verify signatures that nobody has made.
    if SMALL_ORDER.contains(&encoded) { Err("a point of small order".to_owned()) } else { Ok(()) }
}

fn bytes(key: &DecodingKeyKind) -> &[u8] {
    match key {
        DecodingKeyKind::SecretOrDer(bytes) => bytes,
        DecodingKeyKind::RsaModulusExponent { .. } => &[],
    }
}

/// The number of bits. None: there are none, or zeros before them.
fn bits(number: &[u8]) -> Option<usize> {
    let first = number.first().filter(|first| **first > 0)?;
    number.len().checked_mul(8)?.checked_sub(usize::try_from(first.leading_zeros()).ok()?)
}

fn is_odd(number: &[u8]) -> bool {
    number.last().is_some_and(|last| last % 2 == 1)
}

const MIN_RSA_BITS: usize = 2048;
const MAX_RSA_BITS: usize = 8192;
/// The largest exponent that ring takes: a larger one makes signatures slow to verify.
const MAX_EXPONENT: u64 = (1 << 33) - 1;

/// The points of order 1, 2, 4 and 8, without the sign of x. The last two are other encodings of the first two.
const SMALL_ORDER: [[u8; 32]; 7] = [
    of_ends(0x00, 0x00, 0x00),
    of_ends(0x01, 0x00, 0x00),
    [
        0x26, 0xE8, 0x95, 0x8F, 0xC2, 0xB2, 0x27, 0xB0, 0x45, 0xC3, 0xF4, 0x89, 0xF2, 0xEF, 0x98, 0xF0, 0xD5,
        0xDF, 0xAC, 0x05, 0xD3, 0xC6, 0x33, 0x39, 0xB1, 0x38, 0x02, 0x88, 0x6D, 0x53, 0xFC, 0x05,
    ],
    [
        0xC7, 0x17, 0x6A, 0x70, 0x3D, 0x4D, 0xD8, 0x4F, 0xBA, 0x3C, 0x0B, 0x76, 0x0D, 0x10, 0x67, 0x0F, 0x2A,
        0x20, 0x53, 0xFA, 0x2C, 0x39, 0xCC, 0xC6, 0x4E, 0xC7, 0xFD, 0x77, 0x92, 0xAC, 0x03, 0x7A,
    ],
    of_ends(0xEC, 0xFF, 0x7F),
    of_ends(0xED, 0xFF, 0x7F),
    of_ends(0xEE, 0xFF, 0x7F),
];

const fn of_ends(first: u8, between: u8, last: u8) -> [u8; 32] {
    let mut point = [between; 32];
    (point[0], point[31]) = (first, last);
    point
}

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
    use ring::signature::{
        ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, KeyPair,
    };
    use serde_json::{Value, json};

    use crate::{Keys, KeysError};

    fn rsa(modulus: &[u8], exponent: &[u8]) -> Value {
        json!({"kty": "RSA", "kid": "k\n", "n": BASE64.encode(modulus), "e": BASE64.encode(exponent)})
    }

    /// A modulus of so many bits.
    fn modulus(bits: usize) -> Vec<u8> {
        let mut modulus = vec![0xFF; bits.div_ceil(8)];
        modulus[0] >>= modulus.len() * 8 - bits;
        modulus
    }

    fn curve(name: &str, x: &[u8], y: &[u8]) -> Value {
        json!({"kty": "EC", "kid": "k\n", "crv": name, "x": BASE64.encode(x), "y": BASE64.encode(y)})
    }

    fn ed25519(x: &[u8]) -> Value {
        json!({"kty": "OKP", "kid": "k\n", "crv": "Ed25519", "x": BASE64.encode(x)})
    }

    fn parse(key: &Value) -> Result<Keys, KeysError> {
        Keys::parse(json!({"keys": [key]}).to_string().as_bytes())
    }

    #[test]
    fn malformed_weak_and_absurd_keys_are_refused_by_their_ids() {
        let exponent: &[u8] = &[1, 0, 1];
        let (bits, number) = ("bits: expected 2048 to 8192", "an odd number from 3 to 8589934591");
        let zeros = "with zeros before it";
        let malformed = "a member is missing, or of the wrong type";
        let good = ed25519(&[9; 32]);
        assert!(parse(&good).is_ok());
        let with = |member: &str, value: Value| {
            let mut key = good.clone();
            key[member] = value;
            key
        };
        for (key, problem) in [
            (rsa(exponent, exponent), "a modulus of 17 bits: expected 2048 to 8192"),
            (rsa(&modulus(1024), exponent), bits),
            (rsa(&modulus(2047), exponent), bits),
            (rsa(&modulus(8193), exponent), bits),
            (rsa(&[&modulus(2040)[..], &[2]].concat(), exponent), "an even modulus"),
            (rsa(&[&[0][..], &modulus(2048)].concat(), exponent), zeros),
            (rsa(&[], exponent), zeros),
            (rsa(&modulus(2048), &[0]), zeros),
            (rsa(&modulus(2048), &[0, 1, 0, 1]), zeros),
            (rsa(&modulus(2048), &[1]), number),
            (rsa(&modulus(2048), &[1, 0, 0]), number),
            (rsa(&modulus(2048), &[2, 0, 0, 0, 1]), number),
            (rsa(&modulus(2048), &modulus(64)), number),
            (rsa(&modulus(2048), &[&[1][..], &[0; 7], &[3]].concat()), number),
            (rsa(&modulus(2048), &modulus(2048)), number),
            (curve("P-256", &[1; 32], &[1; 32]), "a point of the curve P-256"),
            (curve("P-256", &[0; 32], &[0; 32]), "a point of the curve P-256"),
            (curve("P-256", &[1; 48], &[1; 48]), "a point of the curve P-256"),
            (curve("P-256", &[], &[]), "a point of the curve P-256"),
            (curve("P-384", &[1; 48], &[1; 48]), "a point of the curve P-384"),
            (ed25519(&[1; 31]), "31 bytes: expected 32"),
            (ed25519(&[0; 32]), "a point of small order"),
            (ed25519(&[&[0xEC][..], &[0xFF; 31]].concat()), "a point of small order"),
            (json!({"kty": "RSA", "kid": "k\n", "n": "AQ==", "e": "AQAB"}), "in base64url"),
            (json!({"kty": "RSA", "kid": "k\n", "n": 65537, "e": 1}), malformed),
            (json!({"kty": "EC", "kid": "k\n", "crv": "P-256", "x": "AAAA"}), malformed),
            (json!({"kid": "k\n"}), malformed),
            (with("x", Value::Null), malformed),
            (with("crv", json!(["Ed25519"])), malformed),
            (with("kty", json!(1)), malformed),
            (with("use", json!(1)), malformed),
            (with("key_ops", json!("verify")), malformed),
            (with("alg", json!(["EdDSA"])), malformed),
            (with("x5c", json!("AAAA")), malformed),
        ] {
            let Err(KeysError::Refused(refused)) = parse(&key) else { panic!("{key} is accepted") };
            let [refused] = &refused[..] else { panic!("{refused:?}") };
            let told = refused.to_string();
            assert!(told.starts_with(r#"key "k\n": "#) && told.contains(problem), "{key}: {told}");
        }
    }

    #[test]
    fn keys_of_other_kinds_are_left_out() {
        for key in [
            curve("P-521", &[1; 66], &[1; 66]),
            curve("Ed25519", &[1; 32], &[1; 32]),
            json!({"kty": "OKP", "crv": "X25519", "x": BASE64.encode([9; 32])}),
            json!({"kty": "EC", "crv": "secp256k1", "x": 1, "y": 1}),
            json!({"kty": "AKP", "alg": "ML-DSA-44"}),
            json!({"kty": "oct", "k": "c2VjcmV0"}),
        ] {
            assert_eq!(parse(&key).err(), Some(KeysError::NoKeys { count: 1 }), "{key}");
        }
    }

    #[test]
    fn keys_at_the_bounds_are_accepted() {
        for (bits, exponent) in [(2048, &[3][..]), (8192, &[1, 0, 1]), (4096, &[1, 0xFF, 0xFF, 0xFF, 0xFF])] {
            assert!(parse(&rsa(&modulus(bits), exponent)).is_ok(), "{bits} {exponent:?}");
        }
        let random = ring::rand::SystemRandom::new();
        for (name, signing) in
            [("P-256", &ECDSA_P256_SHA256_FIXED_SIGNING), ("P-384", &ECDSA_P384_SHA384_FIXED_SIGNING)]
        {
            let pair = EcdsaKeyPair::generate_pkcs8(signing, &random).unwrap();
            let pair = EcdsaKeyPair::from_pkcs8(signing, pair.as_ref(), &random).unwrap();
            let point = &pair.public_key().as_ref()[1..];
            let (x, y) = point.split_at(point.len() / 2);
            assert!(parse(&curve(name, x, y)).is_ok(), "{name}");
        }
    }
}
