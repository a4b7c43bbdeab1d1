//! Identities that gateways tell, and those in tokens.

use serde_json::{Value, json};
use sluicegate_identity::{Algorithm, Issuer, Keys, KeysFrom};
use sluicegate_stack::tokens::Signer;

use super::*;

const GATEWAY: policy::Identity = policy::Identity { from_gateway: true, token: None, anonymous: false };
const NOW: u64 = 1_800_000_000;
const ISSUER: &str = "https://issuer.example";

fn headers(claims: &Value) -> HeaderMap {
    carrying(metadata::IDENTITY, &BASE64.encode(claims.to_string()))
}

fn carrying(name: &str, value: &str) -> HeaderMap {
    [(name.parse().unwrap(), value.parse().unwrap())].into_iter().collect()
}

fn believed() -> Believed {
    Believed { from_gateway: true, leeway: Duration::from_secs(60), verifiers: BTreeMap::new() }
}

async fn identify(way: Option<&policy::Identity>, headers: &HeaderMap) -> Result<Option<Identity>, Refusal> {
    believed().identify(way, headers, SystemTime::UNIX_EPOCH + Duration::from_secs(NOW)).await
}

#[track_caller]
fn check_error(result: Result<Option<Identity>, Refusal>, want: IdentityError) {
    match result {
        Err(Refusal::Identity(error)) => assert_eq!(error, want),
        other => panic!("{want:?}: {other:?}"),
    }
}

#[track_caller]
fn check_header(result: Result<Option<Identity>, Refusal>) {
    let Err(Refusal::InvalidHeader { .. }) = result else { panic!("{result:?}") };
}

#[tokio::test]
async fn claims_of_gateways_are_believed_until_they_expire() {
    let told = async |claims: Value| identify(Some(&GATEWAY), &headers(&claims)).await;
    for (expires, until) in [(NOW + 10, NOW + 70), (NOW - 59, NOW + 1)] {
        let identity = told(json!({"sub": "a", "exp": expires})).await.unwrap().unwrap();
        assert_eq!(identity.until, Some(SystemTime::UNIX_EPOCH + Duration::from_secs(until)));
    }
    check_error(told(json!({"sub": "a", "exp": NOW - 60})).await, IdentityError::Expired);
    for other in [json!("never"), json!(null), json!(-1), json!([NOW + 10])] {
        check_error(told(json!({"sub": "a", "exp": other})).await, IdentityError::NotATime);
    }
    for (name, value) in [("iss", json!(["i"])), ("sub", json!(7)), ("jti", json!(null))] {
        check_error(told(json!({"exp": NOW + 10, name: value})).await, IdentityError::NotText);
    }
    let identity = told(json!({"sub": "a"})).await.unwrap().unwrap();
    assert_eq!(identity.until, None);
    // Identities of people whose tokens expire together end at random, up to 10 s sooner.
    let identity = Identity { until: Some(SystemTime::now() + Duration::from_secs(600)), ..identity };
    let ends: BTreeSet<_> = (0..100).map(|_| identity.holding(&BTreeSet::new()).expires).collect();
    let spread = ends.last().unwrap().unwrap() - ends.first().unwrap().unwrap();
    assert!((5..=10).contains(&spread.as_secs()), "{spread:?}");
}

#[tokio::test]
async fn client_without_identity_is_refused_unless_it_can_be_anonymous() {
    check_error(identify(Some(&GATEWAY), &HeaderMap::new()).await, IdentityError::Missing);
    let anonymous = policy::Identity { anonymous: true, ..GATEWAY };
    assert_eq!(identify(Some(&anonymous), &HeaderMap::new()).await.ok(), Some(None));
    check_error(identify(Some(&anonymous), &headers(&json!({"exp": 5}))).await, IdentityError::Expired);
    assert_eq!(identify(None, &HeaderMap::new()).await.ok(), Some(None));
}

#[tokio::test]
async fn identity_that_nobody_asked_for_is_refused() {
    let told = headers(&json!({"sub": "a"}));
    let of_bridge = policy::Identity { from_gateway: false, token: Some("main".into()), anonymous: true };
    let mut both = told.clone();
    both.extend(carrying(metadata::TOKEN, "a.b.c"));
    let token = carrying(metadata::TOKEN, "a.b.c");
    for headers in [&told, &token] {
        check_header(identify(None, headers).await);
    }
    check_header(identify(Some(&of_bridge), &told).await);
    for headers in [&token, &both] {
        check_header(identify(Some(&GATEWAY), headers).await);
    }
    let refused = Believed::default().identify(Some(&GATEWAY), &told, SystemTime::now()).await;
    assert!(matches!(refused, Err(Refusal::IdentityFromGateway)), "{refused:?}");
}

#[tokio::test]
async fn malformed_claims_are_refused() {
    let long = BASE64.encode(json!({"a": "x".repeat(3100)}).to_string());
    let list = BASE64.encode("[]");
    for told in ["", "x", "{}", &list, &long] {
        check_header(identify(Some(&GATEWAY), &carrying(metadata::IDENTITY, told)).await);
    }
}

#[tokio::test]
async fn token_is_verified_by_the_issuer_that_the_route_names() {
    let signer = Signer::new().unwrap();
    let keys = Arc::new(Keys::parse(signer.key_set().as_bytes()).unwrap());
    let issuer = Issuer {
        name: ISSUER.into(),
        audience: vec!["app".into()],
        algorithms: vec![Algorithm::ES256],
        leeway: Duration::ZERO,
        keys: KeysFrom::Fixed(keys),
    };
    let verifier = Arc::new(Verifier::new(issuer, || panic!("no URL")));
    let believed = Believed { verifiers: [("main".to_owned(), verifier)].into(), ..Believed::default() };
    let now = SystemTime::now();
    let seconds = now.duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
    let identify = async |name: &str, expires: u64| {
        let claims = json!({"iss": ISSUER, "aud": "app", "sub": "alice", "exp": expires});
        let headers = carrying(metadata::TOKEN, &signer.sign_json(&claims).unwrap());
        let way = policy::Identity { from_gateway: false, token: Some(name.into()), anonymous: false };
        believed.identify(Some(&way), &headers, now).await
    };
    let identity = identify("main", seconds + 600).await.unwrap().unwrap();
    assert_eq!((identity.claims.subject(), identity.until.is_some()), (Some("alice"), true));
    check_error(identify("main", seconds - 600).await, IdentityError::Expired);
    let unknown = identify("other", seconds + 600).await;
    assert!(matches!(unknown, Err(Refusal::UnknownIssuer { .. })), "{unknown:?}");
    let way = policy::Identity { from_gateway: false, token: Some("main".into()), anonymous: true };
    let refused = believed.identify(Some(&way), &carrying(metadata::TOKEN, "a.b.c"), now).await;
    check_error(refused, IdentityError::Token(TokenError::Malformed));
}
