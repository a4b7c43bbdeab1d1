//! Good tokens, and each way to forge one.

use std::time::SystemTime;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::hmac;
use serde_json::json;
use sluicegate_stack::tokens::Signer;

use super::*;

const ISSUER: &str = "https://issuer.example";

fn now() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs()
}

fn issuer(keys: Keys) -> Issuer {
    Issuer {
        name: ISSUER.into(),
        audience: vec!["app".into(), "other".into()],
        algorithms: vec![Algorithm::ES256, Algorithm::RS256],
        leeway: Duration::from_secs(60),
        keys: KeysFrom::Fixed(Arc::new(keys)),
    }
}

fn of(issuer: Issuer) -> Verifier {
    Verifier::new(issuer, || unreachable!("the keys have no URL"))
}

fn set(signer: &Signer) -> Keys {
    Keys::parse(signer.key_set().as_bytes()).unwrap()
}

fn verifier(signer: &Signer) -> Verifier {
    of(issuer(set(signer)))
}

/// Good claims with these in place of them; null removes one.
fn claims(changes: Value) -> Value {
    let mut claims = json!({"iss": ISSUER, "aud": "app", "sub": "alice", "exp": now() + 600, "iat": now()});
    for (name, value) in changes.as_object().unwrap() {
        match value {
            Value::Null => claims.as_object_mut().unwrap().remove(name),
            value => claims.as_object_mut().unwrap().insert(name.clone(), value.clone()),
        };
    }
    claims
}

fn head(changes: Value) -> Value {
    let mut head = json!({"alg": "ES256", "typ": "JWT", "kid": "tests"});
    head.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
    head
}

async fn verify(head: Value, claims: Value) -> Result<Claims, TokenError> {
    let signer = Signer::new().unwrap();
    let token = signer.sign_with(&head, &claims).unwrap();
    verifier(&signer).verify(token.as_bytes()).await
}

/// A token that is signed with a secret.
fn signed_with(secret: &[u8]) -> String {
    let part = |value: Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let signed = format!("{}.{}", part(head(json!({"alg": "HS256"}))), part(claims(json!({}))));
    let signature = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret), signed.as_bytes());
    format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
}

#[track_caller]
fn parsed(claims: &Value) -> Claims {
    Claims::parse(claims.to_string().as_bytes()).unwrap()
}

#[tokio::test]
async fn good_token_tells_its_claims() {
    let claims = claims(json!({"roles": ["a", 1], "realm": {"team": "x"}}));
    for typ in [json!({}), json!({"typ": "at+JWT"}), json!({"typ": "application/at+jwt"})] {
        assert_eq!(verify(head(typ), claims.clone()).await, Ok(parsed(&claims)));
    }
    let untyped = json!({"alg": "ES256"});
    assert_eq!(verify(untyped, claims.clone()).await, Ok(parsed(&claims)));
}

#[tokio::test]
async fn claims_decide_whether_a_token_is_accepted() {
    let cases = [
        (json!({"exp": now() - 50}), None),
        (json!({"exp": now() - 70}), Some(TokenError::Expired)),
        (json!({"exp": 0}), Some(TokenError::Expired)),
        (json!({"nbf": now() + 50}), None),
        (json!({"nbf": now() + 90}), Some(TokenError::Immature)),
        (json!({"aud": ["x", "other"]}), None),
        (json!({"aud": ["x", "y"]}), Some(TokenError::Audience)),
        (json!({"aud": "APP"}), Some(TokenError::Audience)),
        (json!({"aud": []}), Some(TokenError::Audience)),
        (json!({"iss": "https://issuer.example/"}), Some(TokenError::Issuer)),
        (json!({"iss": "https://evil.example"}), Some(TokenError::Issuer)),
        (json!({"exp": null}), Some(TokenError::Claims)),
        (json!({"iss": null}), Some(TokenError::Claims)),
        (json!({"aud": null}), Some(TokenError::Claims)),
        (json!({"exp": "9999999999"}), Some(TokenError::Claims)),
        (json!({"exp": [now() + 600]}), Some(TokenError::Claims)),
        (json!({"exp": -1}), Some(TokenError::Claims)),
        (json!({"nbf": "0"}), Some(TokenError::Claims)),
        (json!({"iss": 7}), Some(TokenError::Claims)),
        (json!({"aud": {"app": true}}), Some(TokenError::Claims)),
    ];
    for (changes, want) in cases {
        assert_eq!(verify(head(json!({})), claims(changes.clone())).await.err(), want, "{changes}");
    }
}

#[tokio::test]
async fn header_cannot_weaken_the_check() {
    for (changes, want) in [
        (json!({"crit": ["exp"]}), TokenError::Critical),
        (json!({"crit": []}), TokenError::Critical),
        (json!({"typ": "logout+jwt"}), TokenError::Type),
        (json!({"typ": "id_token"}), TokenError::Type),
        (json!({"alg": "none"}), TokenError::Malformed),
        (json!({"alg": "NONE"}), TokenError::Malformed),
        (json!({"alg": "es256"}), TokenError::Malformed),
        (json!({"alg": "ES384"}), TokenError::Algorithm),
        (json!({"alg": "HS256"}), TokenError::Algorithm),
        // The issuer has no key of RSA.
        (json!({"alg": "RS256"}), TokenError::Key),
        (json!({"kid": "foreign"}), TokenError::Key),
        (json!({"kid": ["tests"]}), TokenError::Malformed),
    ] {
        assert_eq!(verify(head(changes.clone()), claims(json!({}))).await, Err(want), "{changes}");
    }
    // Keys and addresses of a header are not looked at.
    let (own, foreign) = (Signer::new().unwrap(), Signer::new().unwrap());
    let key: Value = serde_json::from_str(&foreign.key_set()).unwrap();
    for changes in [
        json!({"jwk": key["keys"][0]}),
        json!({"jku": "https://evil.example/jwks"}),
        json!({"x5u": "https://evil.example/cert"}),
        json!({"x5c": ["AAAA"]}),
    ] {
        let token = foreign.sign_with(&head(changes.clone()), &claims(json!({}))).unwrap();
        assert_eq!(verifier(&own).verify(token.as_bytes()).await, Err(TokenError::Signature), "{changes}");
    }
}

#[tokio::test]
async fn public_key_is_no_secret() {
    let signer = Signer::new().unwrap();
    let set = signer.key_set();
    let key: Value = serde_json::from_str(&set).unwrap();
    let number = |name: &str| URL_SAFE_NO_PAD.decode(key["keys"][0][name].as_str().unwrap()).unwrap();
    let point = [&[4][..], &number("x"), &number("y")].concat();
    let mut careless = issuer(Keys::parse(set.as_bytes()).unwrap());
    careless.algorithms.push(Algorithm::HS256);
    let verifier = of(careless);
    for secret in [&point[..], set.as_bytes(), b""] {
        assert_eq!(verifier.verify(signed_with(secret).as_bytes()).await, Err(TokenError::Key));
    }
}

#[tokio::test]
async fn secret_verifies_only_its_own_tokens() {
    let keys = Keys::secret(b"a secret of thirty-two characters");
    let verifier = of(Issuer { algorithms: vec![Algorithm::HS256], ..issuer(keys) });
    let own = signed_with(b"a secret of thirty-two characters");
    assert!(verifier.verify(own.as_bytes()).await.is_ok());
    let foreign = signed_with(b"another secret");
    assert_eq!(verifier.verify(foreign.as_bytes()).await, Err(TokenError::Signature));
    let signer = Signer::new().unwrap();
    let token = signer.sign_with(&head(json!({})), &claims(json!({}))).unwrap();
    assert_eq!(verifier.verify(token.as_bytes()).await, Err(TokenError::Algorithm));
}

#[tokio::test]
async fn changed_or_cut_token_is_refused() {
    let signer = Signer::new().unwrap();
    let verifier = verifier(&signer);
    let token = signer.sign_with(&head(json!({})), &claims(json!({}))).unwrap();
    for cut in 0..token.len() {
        assert!(verifier.verify(&token.as_bytes()[..cut]).await.is_err(), "cut at byte {cut}");
    }
    let other = signer.sign_with(&head(json!({})), &claims(json!({"sub": "bob"}))).unwrap();
    let parts = |token: &str| token.split('.').map(str::to_owned).collect::<Vec<_>>();
    let (ours, theirs) = (parts(&token), parts(&other));
    let mixed = format!("{}.{}.{}", ours[0], theirs[1], ours[2]);
    assert_eq!(verifier.verify(mixed.as_bytes()).await, Err(TokenError::Signature));
    for bad in
        ["", ".", "..", "...", "a.b", &format!("{token}.x"), &format!("{}.{}.", ours[0], ours[1]), "\u{0}"]
    {
        assert!(verifier.verify(bad.as_bytes()).await.is_err(), "{bad}");
    }
    assert_eq!(verifier.verify(&[0xFF; 100]).await, Err(TokenError::Malformed));
    let long = signer.sign_with(&head(json!({})), &claims(json!({"x": "y".repeat(8192)}))).unwrap();
    assert_eq!(verifier.verify(long.as_bytes()).await, Err(TokenError::TooLong));
}

/// Tokens that OpenSSL signed, valid until 2100.
#[tokio::test]
async fn signatures_of_openssl_are_verified() {
    let tokens =
        [include_str!("tests/openssl/rs256"), include_str!("tests/openssl/ps256")].map(str::trim_ascii);
    let keys = Keys::parse(include_bytes!("tests/openssl/keys.json")).unwrap();
    let verifier = of(Issuer { algorithms: vec![Algorithm::RS256, Algorithm::PS256], ..issuer(keys) });
    for token in tokens {
        let claims = json!({"iss": ISSUER, "aud": "app", "exp": 4_102_444_800_u64});
        assert_eq!(verifier.verify(token.as_bytes()).await, Ok(parsed(&claims)));
        let (signed, signature) = token.rsplit_once('.').unwrap();
        let forged = format!("{signed}.AA{}", &signature[2..]);
        assert_eq!(verifier.verify(forged.as_bytes()).await, Err(TokenError::Signature));
    }
    let mixed = tokens[0].split('.').take(2).chain([tokens[1].rsplit('.').next().unwrap()]);
    let mixed = mixed.collect::<Vec<_>>().join(".");
    assert_eq!(verifier.verify(mixed.as_bytes()).await, Err(TokenError::Signature));
}

/// Tokens that Keycloak 26.7.3 issued, valid until 2090. Its keys have one for encryption, too.
#[tokio::test]
async fn tokens_of_keycloak_are_verified() {
    let keys = Keys::parse(include_bytes!("tests/keycloak/keys.json")).unwrap();
    let name = "https://sso.example/realms/shop".into();
    let verifier = of(Issuer { name, audience: vec!["orders".into()], ..issuer(keys) });
    // Of the types JWT and at+jwt.
    for token in [include_str!("tests/keycloak/jwt"), include_str!("tests/keycloak/at-jwt")] {
        let claims = verifier.verify(token.trim_ascii().as_bytes()).await.unwrap();
        let roles = claims.at(&["realm_access".to_owned(), "roles".to_owned()]);
        assert!(roles.is_some_and(Value::is_array), "{claims:?}");
    }
    // Without a mapper for the audience, and with a lightweight token.
    for (token, want) in [
        (include_str!("tests/keycloak/other-audience"), TokenError::Audience),
        (include_str!("tests/keycloak/lightweight"), TokenError::Claims),
    ] {
        assert_eq!(verifier.verify(token.trim_ascii().as_bytes()).await, Err(want));
    }
}

#[test]
fn sets_of_keys_leave_out_what_verifies_nothing() {
    let own: Value = serde_json::from_str(&Signer::new().unwrap().key_set()).unwrap();
    let own = &own["keys"][0];
    let with = |changes: Value| {
        let mut key = own.clone();
        key.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
        key
    };
    let count = |keys: Vec<Value>| {
        let set = json!({"keys": keys}).to_string();
        Keys::parse(set.as_bytes()).map(|keys| keys.of(Algorithm::ES256, Some("tests")).count())
    };
    let unknown = json!({"kty": "AKP", "alg": "ML-DSA-44", "kid": "new", "pub": "AAAA"});
    let odd = json!({"kty": "EC", "crv": "P-256", "kid": 7, "x": "AAAA", "y": "AAAA"});
    assert_eq!(count(vec![unknown.clone(), odd, own.clone()]), Ok(1));
    assert_eq!(count(vec![own.clone(), with(json!({"kid": "tests"}))]), Ok(2));
    let encrypts = with(json!({"use": "enc"}));
    assert_eq!(count(vec![encrypts]), Err(crate::KeysError::NoKeys { count: 1 }));
    assert_eq!(count(vec![own.clone(), with(json!({"alg": "ES384"}))]), Ok(1));
    assert_eq!(count(vec![own.clone(); 32]), Ok(32));
    assert_eq!(count(vec![own.clone(); 33]), Err(crate::KeysError::TooMany { count: 33 }));
    for bad in ["", "[]", "{}", r#"{"keys":{}}"#, "x"] {
        assert_eq!(Keys::parse(bad.as_bytes()).err(), Some(crate::KeysError::NoSet), "{bad}");
    }
}
