//! The admin endpoints: health, readiness and metrics.

use std::time::Duration;

use serde_json::{Value, json};
use sluicegate_protocol::metadata;
use sluicegate_stack::http::client::{Request, ask};
use sluicegate_stack::raw::Raw;
use sluicegate_stack::tokens::Signer;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::{Instant, timeout};

use crate::support::{WRITES, admin, start, start_with};

#[tokio::test]
async fn probes_answer_by_what_they_ask() {
    let bridge = start("").await;
    assert_eq!(admin(&bridge, "/livez").await, (200, "ok\n".into()));
    assert_eq!(admin(&bridge, "/readyz").await, (200, "ok\n".into()));
    assert_eq!(admin(&bridge, "/readyz?cluster=other").await, (404, "not ready\n".into()));
    for query in ["cluster=default", "cluster=default?x=1"] {
        assert_eq!(admin(&bridge, &format!("/readyz?{query}")).await, (503, "not ready\n".into()));
    }
    assert_eq!(admin(&bridge, "/other").await.0, 404);
}

#[tokio::test]
async fn sessions_are_listed_for_nobody_without_a_token() {
    let bridge = start("").await;
    let none = "this bridge has no admin_token: set it first\n";
    assert_eq!(admin(&bridge, "/sessions").await, (401, none.into()));
}

/// The headers are those of the filter, and the answers to the client's own requests are the same.
#[tokio::test]
async fn operators_learn_what_a_client_can_do_and_why_not() {
    let (signer, folder) = (Signer::new().unwrap(), tempfile::tempdir().unwrap());
    let [keys, revoked] = ["keys", "revoked"].map(|name| folder.path().join(name));
    std::fs::write(&keys, signer.key_set()).unwrap();
    std::fs::write(&revoked, r#"{"jti": "lost", "until": 4000000000}"#).unwrap();
    let tables = format!(
        "{WRITES}[identity.main]\nissuer = \"i\"\naudience = [\"app\"]\njwks_file = {keys:?}\n\
         [revocation]\nlist_file = {revoked:?}\n"
    );
    let bridge = start_with("admin_token = \"of-operators-only\"", &tables).await;
    let policy = json!({
        "identity": {"token": "main"}, "claims": {"team": ["team"]}, "capabilities": ["caps"], "quota": {"sessions": 9},
        "read": [{"topic": "${sub}"}, {"topic": "ops", "when": {"team": ["ops"]}}, {"topic": "all", "only": {"key_prefix": "${sub}:"}}],
        "write": [{"topic": "${sub}"}],
    });
    let policy = policy.to_string();
    let explained = async |query: &str, headers: &[(&'static str, &str)]| {
        let request = Request::new("POST", format!("/explain{query}"));
        let request = headers.iter().fold(request, |request, (name, value)| request.with(name, *value));
        ask(bridge.admin_address(), request).await
    };
    let operator = ("authorization", "Bearer of-operators-only");
    let of = async |token: Option<&str>| -> Value {
        let mut headers =
            vec![operator, (metadata::ACCESS, &policy), (metadata::WRITE, "true"), (metadata::TABLES, "all")];
        headers.extend(token.map(|token| (metadata::TOKEN, token)));
        let answer = explained("?topic=al&topic=ops&topic=all", &headers).await;
        assert!(answer.status == 200 && !answer.text().contains(token.unwrap_or("?")), "{}", answer.text());
        serde_json::from_slice(&answer.body).unwrap()
    };
    let claims = |changed: Value| {
        let mut claims = json!({"iss": "i", "sub": "al", "aud": "app", "exp": 4_000_000_000_i64});
        claims.as_object_mut().unwrap().extend(changed.as_object().unwrap().clone());
        claims
    };
    for (changed, cause) in [
        (json!({"aud": "other"}), "the token is for another audience"),
        (json!({"exp": 1_000_000_000}), "the identity has expired, log in again"),
        (json!({"iss": "j"}), "the token is of another issuer"),
        (json!({"jti": "lost"}), "the identity was revoked"),
    ] {
        let claims = claims(changed);
        let refused = of(Some(&signer.sign_json(&claims).unwrap())).await;
        assert_eq!(refused["refused"]["status"], 401);
        let told = refused["refused"]["cause"].as_str().unwrap();
        assert!(told.starts_with(cause), "{refused}");
        let identity = &refused["identity"];
        assert_eq!([&identity["audience"], &identity["issuer"]], [&claims["aud"], &claims["iss"]]);
        assert_eq!(identity["expected"]["audience"], json!(["app"]));
    }
    let foreign = signer.sign_with(&json!({"alg": "ES256", "kid": "new"}), &claims(json!({}))).unwrap();
    let foreign = of(Some(&foreign)).await;
    let cause = "the token is signed with a key that its issuer does not have";
    assert_eq!([&foreign["refused"]["cause"], &foreign["identity"]["key"]], [cause, "new"]);
    assert!(of(None).await["refused"]["cause"].as_str().unwrap().starts_with("log in first"));

    let rights = |topic: &Value| {
        ["read", "write", "table"].map(|right| {
            let decision = &topic[right];
            let rows = decision["rows"].as_str().or(decision["because"].as_str());
            rows.unwrap_or(decision["cause"].as_str().unwrap_or_default()).to_owned()
        })
    };
    let (nothing, all) = ("no entry of the route grants it to this client", "all records");
    let (hers, taken) = ("keys that begin with \"al:\"", "the capabilities of this identity leave it out");
    let no_table = "this route has no table of topic al: its key tables does not list it";
    let caps = json!({"caps": [{"topics": ["all"], "allow": ["read"]}]});
    for (changed, want) in [
        (json!({}), [[all, all, no_table], [nothing; 3], [hers, nothing, hers]]),
        (caps, [[taken; 3], [nothing; 3], [hers, nothing, hers]]),
    ] {
        let accepted = of(Some(&signer.sign_json(&claims(changed)).unwrap())).await;
        let quota = &accepted["quota"]["sessions"];
        assert_eq!((&accepted["refused"], quota), (&Value::Null, &json!(9)), "{accepted}");
        let topics = accepted["topics"].as_array().unwrap();
        assert_eq!(topics.iter().map(rights).collect::<Vec<_>>(), want, "{accepted}");
        let entries = accepted["entries"].as_array().unwrap();
        let because: Vec<_> = entries.iter().map(|entry| entry["because"].as_str()).collect();
        assert_eq!(because, [None, Some("its `when` is not met"), None, None], "{accepted}");
    }
    assert!(!admin(&bridge, "/metrics").await.1.contains("identity_"), "no refusal is counted");
    assert_eq!(explained("", &[]).await.status, 401);
    assert_eq!(explained("?subject=al", &[operator]).await.status, 400);
}

/// More connections than there are places, from the address of the probes themselves.
#[tokio::test]
async fn probes_answer_beside_idle_and_slow_connections() {
    let bridge = start("").await;
    let mut others = Vec::new();
    for _ in 0..100 {
        others.push(Raw::connect(bridge.admin_address()).await);
        let mut slow = Raw::connect(bridge.admin_address()).await;
        slow.write("GET /livez HTTP/1.1\r\nhost: ").await;
        others.push(slow);
    }
    for _ in 0..10 {
        for path in ["/livez", "/readyz"] {
            let answered = timeout(Duration::from_secs(1), admin(&bridge, path)).await;
            assert_eq!(answered, Ok((200, "ok\n".into())), "{path}");
        }
    }
}

#[tokio::test]
async fn connection_without_whole_headers_is_closed_after_two_seconds() {
    let bridge = start("").await;
    let ends = async |request: &'static str| {
        let (begun, mut client) = (Instant::now(), Raw::connect(bridge.admin_address()).await.io);
        let mut unsent = request.bytes().cycle();
        let mut byte = [0];
        // Each byte comes long before the time is over.
        while let Err(_still_open) = timeout(Duration::from_millis(100), client.read(&mut byte)).await {
            if let Some(next) = unsent.next() {
                // The connection can be closed meanwhile, as the next read tells.
                let _ = client.write_u8(next).await;
            }
        }
        begun.elapsed()
    };
    let (idle, slow) = tokio::join!(ends(""), ends("GET /livez?a=very-long-name-that-takes-its-time"));
    for elapsed in [idle, slow] {
        assert!((Duration::from_secs(1)..Duration::from_secs(5)).contains(&elapsed), "{elapsed:?}");
    }
}
