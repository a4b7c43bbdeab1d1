//! The public key of a JWK (RFC 7517), checked: a weak or absurd key verifies nothing, or what anybody can sign.
//!
//! Issuers write keys in other spellings than the standard's. Those with one meaning are taken: numbers with zeros before
//! them or without them, padded, or in the other alphabet of base64; names in any case, and the names that other
//! standards have for algorithms and curves.

use base64::Engine as _;
use base64::alphabet::URL_SAFE;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use jsonwebtoken::{Algorithm, DecodingKey};
use ring::agreement::{self, ECDH_P256, ECDH_P384, EphemeralPrivateKey, UnparsedPublicKey, agree_ephemeral};
use ring::rand::SystemRandom;
use serde_json::Value;

use super::ALGORITHMS;

/// A key, the algorithms of its kind, and the only one that it is for, if the issuer says so.
type Parsed = (DecodingKey, &'static [Algorithm], Option<Algorithm>);

/// The key of a JWK; None: it is for another use than signatures.
///
/// # Errors
/// It is malformed, weak, absurd, or of an unknown kind: the member, and the expected value.
pub(super) fn parse(jwk: &Value) -> Result<Option<Parsed>, String> {
    let alg = text(jwk, "alg")?;
    let is_encryption =
        |alg: &str| ["RSA1_5", "RSA-OAEP", "ECDH-ES"].iter().any(|name| alg.starts_with(name));
    if !verifies(jwk)? || alg.is_some_and(is_encryption) {
        return Ok(None);
    }
    let kty = text(jwk, "kty")?.ok_or("kty: is missing, expected RSA, EC or OKP")?;
    let crv = text(jwk, "crv")?.unwrap_or_default();
    let (kty_name, crv_name) = (kty.to_ascii_lowercase(), crv.to_ascii_lowercase());
    let (key, algorithms): (DecodingKey, &[Algorithm]) = match (&*kty_name, &*crv_name) {
        ("rsa", _) => (rsa(jwk)?, RSA),
        ("ec", "p-256" | "p256" | "secp256r1" | "prime256v1") => {
            (point(jwk, 32, &ECDH_P256, "P-256")?, &[Algorithm::ES256])
        }
        ("ec", "p-384" | "p384" | "secp384r1") => (point(jwk, 48, &ECDH_P384, "P-384")?, &[Algorithm::ES384]),
        ("okp", "ed25519") => (ed25519(jwk)?, &[Algorithm::EdDSA]),
        // For key agreement.
        ("okp", "x25519" | "x448") => return Ok(None),
        ("ec" | "okp", "") => return Err("crv: is missing, expected P-256, P-384 or Ed25519".to_owned()),
        ("ec" | "okp", _) => {
            return Err(format!("crv: {}: expected P-256 or P-384 in EC, or Ed25519 in OKP", shown(crv)));
        }
        ("oct", _) => return Err("kty: oct, a secret: expected a public key".to_owned()),
        _ => return Err(format!("kty: {}: expected RSA, EC or OKP", shown(kty))),
    };
    let only = match alg {
        None => None,
        Some(alg) => algorithm(alg, algorithms)?,
    };
    Ok(Some((key, algorithms, only)))
}

/// Whether a key is for signatures, as far as its issuer says. `key_ops` overrides `use`.
fn verifies(jwk: &Value) -> Result<bool, String> {
    let operations = match jwk.get("key_ops") {
        None | Some(Value::Null) => &[],
        Some(Value::Array(operations)) => operations.as_slice(),
        Some(one) => std::slice::from_ref(one),
    };
    if !operations.is_empty() {
        let names: Option<Vec<String>> =
            operations.iter().map(|name| Some(name.as_str()?.to_ascii_lowercase())).collect();
        let names = names.ok_or("key_ops: expected texts, one of them verify")?;
        // `sign` is of the private key, from which the issuer made this one.
        if names.iter().any(|name| ["verify", "sign"].contains(&name.as_str())) {
            return Ok(true);
        }
        return match names.iter().all(|name| OTHER_OPERATIONS.contains(&name.as_str())) {
            true => Ok(false),
            false => Err("key_ops: expected verify".to_owned()),
        };
    }
    match text(jwk, "use")? {
        None => Ok(true),
        // The latter in SPIFFE's bundles.
        Some(usage) if ["sig", "jwt-svid"].iter().any(|sig| usage.eq_ignore_ascii_case(sig)) => Ok(true),
        Some(usage) if ["enc", "x509-svid"].iter().any(|enc| usage.eq_ignore_ascii_case(enc)) => Ok(false),
        Some(usage) => Err(format!("use: {}: expected sig", shown(usage))),
    }
}

/// The algorithm of this name, among those of the key's kind. None: the name is that of the kind.
fn algorithm(name: &str, of_kind: &[Algorithm]) -> Result<Option<Algorithm>, String> {
    let plain: String = name.chars().filter(|c| c.is_ascii_alphanumeric()).collect();
    let plain = plain.to_ascii_uppercase();
    let standard = match &*plain {
        "RSA" if of_kind == RSA => return Ok(None),
        "EC" | "ECDSA" if of_kind != RSA => return Ok(None),
        "RSA256" | "SHA256WITHRSA" => "RS256",
        "RSA384" | "SHA384WITHRSA" => "RS384",
        "RSA512" | "SHA512WITHRSA" => "RS512",
        "SHA256WITHECDSA" => "ES256",
        "SHA384WITHECDSA" => "ES384",
        // RFC 9864, section 2.2, has it in place of EdDSA.
        "ED25519" => "EDDSA",
        other => other,
    };
    let known = ALGORITHMS.into_iter().find(|(known, _)| known.eq_ignore_ascii_case(standard));
    match known.filter(|(_, algorithm)| of_kind.contains(algorithm)) {
        Some((_, algorithm)) => Ok(Some(algorithm)),
        None => {
            let is_of_kind = |(_, algorithm): &(&str, Algorithm)| of_kind.contains(algorithm);
            let names: Vec<&str> = ALGORITHMS.into_iter().filter(is_of_kind).map(|(name, _)| name).collect();
            Err(format!("alg: {}: expected {} for such a key", shown(name), names.join(", ")))
        }
    }
}

fn rsa(jwk: &Value) -> Result<DecodingKey, String> {
    // Before the modulus, signed integers have a zero. RFC 7518, section 2, about such numbers: "The octet sequence MUST
    // utilize the minimum number of octets needed to represent the value."
    let [modulus, exponent] = [number(jwk, "n")?, number(jwk, "e")?];
    let bits = bits(&modulus);
    // RFC 7518, section 3.3: "A key of size 2048 bits or larger MUST be used with these algorithms." ring takes no larger
    // ones.
    if !(MIN_RSA_BITS..=MAX_RSA_BITS).contains(&bits) {
        return Err(format!("n: a modulus of {bits} bits: expected {MIN_RSA_BITS} to {MAX_RSA_BITS}"));
    }
    if !is_odd(&modulus) {
        return Err("n: an even modulus".to_owned());
    }
    let byte_by_byte = |value: u64, byte: &u8| value.checked_mul(256)?.checked_add(u64::from(*byte));
    let value = exponent.iter().try_fold(0, byte_by_byte);
    match value.is_some_and(|value| (3..=MAX_EXPONENT).contains(&value)) && is_odd(&exponent) {
        true => Ok(DecodingKey::from_rsa_raw_components(&modulus, &exponent)),
        false => Err(format!("e: expected an odd number from 3 to {MAX_EXPONENT}")),
    }
}

/// A point, checked by an exchange of keys, because ring checks those of signatures only beside one.
fn point(
    jwk: &Value,
    len: usize,
    curve: &'static agreement::Algorithm,
    name: &str,
) -> Result<DecodingKey, String> {
    // SEC 1, section 2.3.3: an uncompressed point.
    let mut point = vec![4];
    for member in ["x", "y"] {
        let coordinate = number(jwk, member)?;
        // RFC 7518, section 6.2.1.2: "The length of this octet string MUST be the full size of a coordinate".
        let Some(missing) = len.checked_sub(coordinate.len()) else {
            return Err(format!("{member}: {} bytes: expected {len}", coordinate.len()));
        };
        point.resize(point.len().saturating_add(missing), 0);
        point.extend_from_slice(&coordinate);
    }
    let own = EphemeralPrivateKey::generate(curve, &SystemRandom::new());
    let peer = UnparsedPublicKey::new(curve, &point);
    match own.and_then(|own| agree_ephemeral(own, &peer, |_| ())) {
        Ok(()) => Ok(DecodingKey::from_ec_der(&point)),
        Err(_) => Err(format!("x, y: expected a point of the curve {name}")),
    }
}

fn ed25519(jwk: &Value) -> Result<DecodingKey, String> {
    let point = bytes(jwk, "x")?;
    let Ok(mut encoded) = <[u8; 32]>::try_from(&*point) else {
        return Err(format!("x: {} bytes: expected 32", point.len()));
    };
    // The sign of x.
    encoded[31] &= 0x7F;
    // RFC 8032, section 5.1.7, lets all of these verify signatures that nobody has made.
    match SMALL_ORDER.contains(&encoded) {
        true => Err("x: a point of small order".to_owned()),
        false => Ok(DecodingKey::from_ed_der(&point)),
    }
}

/// A member that is a text. None: it is missing, null or empty.
fn text<'a>(jwk: &'a Value, member: &str) -> Result<Option<&'a str>, String> {
    match jwk.get(member) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.trim()).filter(|text| !text.is_empty())),
        Some(_) => Err(format!("{member}: expected a text")),
    }
}

/// A big-endian number, without zeros before it.
fn number(jwk: &Value, member: &str) -> Result<Vec<u8>, String> {
    let bytes = match jwk.get(member).and_then(Value::as_u64) {
        Some(number) => number.to_be_bytes().to_vec(),
        None => bytes(jwk, member)?,
    };
    Ok(bytes.into_iter().skip_while(|byte| *byte == 0).collect())
}

/// A member in base64url, or in base64.
fn bytes(jwk: &Value, member: &str) -> Result<Vec<u8>, String> {
    const LENIENT: GeneralPurposeConfig = GeneralPurposeConfig::new()
        .with_decode_allow_trailing_bits(true)
        .with_decode_padding_mode(DecodePaddingMode::Indifferent);
    let Some(text) = text(jwk, member)? else {
        let alone = if jwk.get("x5c").is_some() { ", and x5c is not read" } else { "" };
        return Err(format!("{member}: is missing{alone}"));
    };
    let url_safe = |c: char| match c {
        '+' => '-',
        '/' => '_',
        other => other,
    };
    let text: String = text.chars().filter(|c| !c.is_ascii_whitespace()).map(url_safe).collect();
    let decoded = GeneralPurpose::new(&URL_SAFE, LENIENT).decode(text);
    decoded.map_err(|_| format!("{member}: expected base64url"))
}

/// A name that an issuer wrote, cut: it can be of any length.
fn shown(name: &str) -> String {
    let name: String = name.chars().take(MAX_SHOWN_NAME).collect();
    format!("{name:?}")
}

/// The number of bits of a number without zeros before it.
fn bits(number: &[u8]) -> usize {
    let zeros = number.first().map_or(0, |first| first.leading_zeros());
    number.len().saturating_mul(8).saturating_sub(usize::try_from(zeros).unwrap_or(0))
}

fn is_odd(number: &[u8]) -> bool {
    number.last().is_some_and(|last| last % 2 == 1)
}

const RSA: &[Algorithm] = &[
    Algorithm::RS256,
    Algorithm::RS384,
    Algorithm::RS512,
    Algorithm::PS256,
    Algorithm::PS384,
    Algorithm::PS512,
];
/// RFC 7517, section 4.3, in lower case.
const OTHER_OPERATIONS: [&str; 6] = ["encrypt", "decrypt", "wrapkey", "unwrapkey", "derivekey", "derivebits"];
const MAX_SHOWN_NAME: usize = 32;
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
    use base64::engine::general_purpose::{STANDARD, URL_SAFE, URL_SAFE_NO_PAD as BASE64};
    use jsonwebtoken::DecodingKeyKind;
    use ring::signature::{
        ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair,
        EcdsaSigningAlgorithm, KeyPair,
    };
    use serde_json::{Value, json};

    use super::{ALGORITHMS, Algorithm};
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

    fn with(key: &Value, member: &str, value: Value) -> Value {
        let mut key = key.clone();
        key[member] = value;
        key
    }

    #[test]
    fn malformed_weak_and_absurd_keys_are_refused_by_their_ids() {
        let exponent: &[u8] = &[1, 0, 1];
        let (rsa_2048, small) = (rsa(&modulus(2048), exponent), "x: a point of small order");
        let number = "e: expected an odd number from 3 to 8589934591";
        for (key, problem) in [
            (rsa(exponent, exponent), "n: a modulus of 17 bits: expected 2048 to 8192"),
            (rsa(&modulus(1024), exponent), "n: a modulus of 1024 bits"),
            (rsa(&modulus(2047), exponent), "n: a modulus of 2047 bits"),
            (rsa(&modulus(8193), exponent), "n: a modulus of 8193 bits"),
            (rsa(&[&modulus(2040)[..], &[2]].concat(), exponent), "n: an even modulus"),
            (rsa(&[], exponent), "n: is missing"),
            (rsa(&[0], exponent), "n: a modulus of 0 bits"),
            (rsa(&modulus(2048), &[0]), number),
            (rsa(&modulus(2048), &[1]), number),
            (rsa(&modulus(2048), &[1, 0, 0]), number),
            (rsa(&modulus(2048), &[2, 0, 0, 0, 1]), number),
            (rsa(&modulus(2048), &modulus(64)), number),
            (rsa(&modulus(2048), &[&[1][..], &[0; 7], &[3]].concat()), number),
            (rsa(&modulus(2048), &modulus(2048)), number),
            (curve("P-256", &[1; 32], &[1; 32]), "x, y: expected a point of the curve P-256"),
            (curve("P-256", &[0; 32], &[0; 32]), "x, y: expected a point of the curve P-256"),
            (curve("P-256", &[1; 48], &[1; 48]), "x: 48 bytes: expected 32"),
            (curve("P-384", &[1; 48], &[1; 48]), "x, y: expected a point of the curve P-384"),
            (curve("P-256", &[1; 32], &[]), "y: is missing"),
            (curve("P-521", &[1; 66], &[1; 66]), r#"crv: "P-521": expected P-256 or P-384 in EC"#),
            (curve("Ed25519", &[1; 32], &[1; 32]), r#"crv: "Ed25519": expected"#),
            (curve("", &[1; 32], &[1; 32]), "crv: is missing"),
            (ed25519(&[1; 31]), "x: 31 bytes: expected 32"),
            (ed25519(&[0; 32]), small),
            (ed25519(&[&[0xEC][..], &[0xFF; 31]].concat()), small),
            (with(&rsa_2048, "n", json!("AQ.AB")), "n: expected base64url"),
            (with(&rsa_2048, "n", json!([1])), "n: expected a text"),
            (
                with(&with(&rsa_2048, "n", Value::Null), "x5c", json!(["AA"])),
                "n: is missing, and x5c is not read",
            ),
            (with(&rsa_2048, "kty", Value::Null), "kty: is missing, expected RSA, EC or OKP"),
            (with(&rsa_2048, "kty", json!(1)), "kty: expected a text"),
            (with(&rsa_2048, "kty", json!("AKP")), r#"kty: "AKP": expected RSA, EC or OKP"#),
            (with(&rsa_2048, "kty", json!("oct")), "kty: oct, a secret"),
            (with(&rsa_2048, "use", json!("sign\n")), r#"use: "sign": expected sig"#),
            (with(&rsa_2048, "key_ops", json!(["verfy"])), "key_ops: expected verify"),
            (with(&rsa_2048, "key_ops", json!([1])), "key_ops: expected texts"),
            (with(&rsa_2048, "alg", json!(["RS256"])), "alg: expected a text"),
            (with(&rsa_2048, "alg", json!("ES256")), r#"alg: "ES256": expected RS256, RS384, RS512, PS256"#),
            (with(&rsa_2048, "alg", json!("HS256")), r#"alg: "HS256": expected RS256"#),
            (with(&rsa_2048, "alg", json!("EC")), r#"alg: "EC": expected RS256"#),
            (with(&ed25519(&[9; 32]), "alg", json!("ES256")), r#"alg: "ES256": expected EdDSA"#),
        ] {
            let Err(KeysError::Refused(refused)) = parse(&key) else { panic!("{key} is accepted") };
            let [refused] = &refused[..] else { panic!("{refused:?}") };
            let told = refused.to_string();
            assert!(told.starts_with(&format!(r#"key "k\n": {problem}"#)), "{key}: {told}");
        }
    }

    #[test]
    fn keys_for_other_uses_are_left_out() {
        let key = ed25519(&[9; 32]);
        for key in [
            with(&key, "use", json!("enc")),
            with(&key, "use", json!("x509-svid")),
            with(&key, "key_ops", json!(["wrapKey", "encrypt"])),
            with(&key, "alg", json!("ECDH-ES+A128KW")),
            with(&rsa(&[1], &[3]), "alg", json!("RSA-OAEP-256")),
            with(&key, "crv", json!("X25519")),
        ] {
            assert_eq!(parse(&key).err(), Some(KeysError::NoKeys { count: 1 }), "{key}");
        }
    }

    fn signing(name: &str) -> (&'static EcdsaSigningAlgorithm, Algorithm) {
        match name {
            "P-256" => (&ECDSA_P256_SHA256_FIXED_SIGNING, Algorithm::ES256),
            _ => (&ECDSA_P384_SHA384_FIXED_SIGNING, Algorithm::ES384),
        }
    }

    /// The coordinates of a key of this curve, the first of which begins with a zero.
    fn short_point(name: &str) -> (Vec<u8>, Vec<u8>) {
        let random = ring::rand::SystemRandom::new();
        loop {
            let pair = EcdsaKeyPair::generate_pkcs8(signing(name).0, &random).unwrap();
            let pair = EcdsaKeyPair::from_pkcs8(signing(name).0, pair.as_ref(), &random).unwrap();
            let point = &pair.public_key().as_ref()[1..];
            let (x, y) = point.split_at(point.len() / 2);
            if x[0] == 0 {
                return (x.to_vec(), y.to_vec());
            }
        }
    }

    /// The key that verifies the algorithm's tokens is the same for both.
    #[track_caller]
    fn check_same(key: &Value, standard: &Value, algorithm: Algorithm) {
        let [key, standard] = [key, standard].map(|key| {
            let keys = parse(key).unwrap_or_else(|error| panic!("{key}: {error}"));
            let all = ALGORITHMS.map(|(_, algorithm)| keys.of(algorithm, None).count());
            let kind = match keys
                .of(algorithm, Some("7"))
                .chain(keys.of(algorithm, Some("k\n")))
                .next()
                .unwrap()
                .kind()
            {
                DecodingKeyKind::SecretOrDer(point) => vec![point.clone()],
                DecodingKeyKind::RsaModulusExponent { n, e } => vec![n.clone(), e.clone()],
            };
            (kind, all)
        });
        assert_eq!(key, standard);
    }

    #[test]
    fn other_spellings_of_a_key_are_the_same_key() {
        let (modulus, exponent) = (modulus(2048), &[1, 0, 1][..]);
        let standard = rsa(&modulus, exponent);
        let zeros = |bytes: &[u8]| [&[0, 0][..], bytes].concat();
        for key in [
            rsa(&zeros(&modulus), exponent),
            rsa(&modulus, &zeros(exponent)),
            with(&standard, "n", json!(STANDARD.encode(&modulus))),
            with(&standard, "n", json!(format!(" {}\n", URL_SAFE.encode(&modulus).replace("__", "_\r\n_")))),
            with(&standard, "e", json!(65537)),
            with(&standard, "kty", json!("rsa")),
            with(&standard, "kid", json!(7)),
            with(&standard, "use", json!("SIG")),
            with(&standard, "use", Value::Null),
            with(&standard, "key_ops", json!(["Verify"])),
            with(&standard, "key_ops", json!("verify")),
            with(&standard, "key_ops", json!(["sign"])),
            with(&standard, "key_ops", json!([])),
            with(&standard, "alg", json!("")),
            with(&standard, "alg", json!("RSA")),
            with(&standard, "x5c", json!("AAAA")),
            with(&standard, "d", json!(1)),
        ] {
            check_same(&key, &standard, Algorithm::RS256);
        }
        let only = with(&standard, "alg", json!("RS256"));
        for alg in ["RSA256", "rs256", "SHA256withRSA"] {
            check_same(&with(&standard, "alg", json!(alg)), &only, Algorithm::RS256);
        }
        for (name, other) in [("P-256", "secp256r1"), ("P-384", "p-384")] {
            let (x, y) = short_point(name);
            let (standard, algorithm) = (curve(name, &x, &y), signing(name).1);
            for (x, y) in [(&x[1..], &*y), (&*x, &*zeros(&y))] {
                check_same(&curve(other, x, y), &standard, algorithm);
            }
            let names = json!(format!("{algorithm:?}").to_lowercase());
            check_same(&with(&standard, "alg", names), &standard, algorithm);
        }
        let standard = ed25519(&[9; 32]);
        check_same(&with(&standard, "alg", json!("Ed25519")), &standard, Algorithm::EdDSA);
        let with_mark = [b"\xEF\xBB\xBF", json!({"keys": [standard]}).to_string().as_bytes()].concat();
        assert!(Keys::parse(&with_mark).is_ok());
    }

    #[test]
    fn keys_at_the_bounds_are_accepted() {
        for (bits, exponent) in [(2048, &[3][..]), (8192, &[1, 0, 1]), (4096, &[1, 0xFF, 0xFF, 0xFF, 0xFF])] {
            assert!(parse(&rsa(&modulus(bits), exponent)).is_ok(), "{bits} {exponent:?}");
        }
    }
}
