//! `sluicegate admin sessions`.

use std::fmt::Write as _;

use super::*;

#[tokio::test]
async fn pages_are_followed_to_the_end() {
    let own = format!("{{\"id\":7,\"subject\":\"a\",{REST},\n\"later\":1.50}}");
    let first = format!(r#"{{"sessions":[{own}],"more":true,"open":2}}"#);
    let hostile = format!("{{\"id\":9,\"subject\":\"\u{9b}2J\",{REST}}}");
    let second = format!(r#"{{"sessions":[{hostile}],"more":false,"open":2}}"#);
    let lines = [
        format!(r#"{{"id":7,"subject":"a",{REST}, "later":1.50}}"#),
        format!(r#"{{"id":9,"subject":"\u009b2J",{REST}}}"#),
    ];
    let filters =
        ["--issuer", "https://a/?b=c&d", "--subject", "ü", "--address", "2001:DB8:0::1", "--id", "7"];
    for (options, stdout) in [
        (
            &[][..],
            "ID  IDENTITY  ROUTE  ADDRESS  AGE  RECEIVED  SENT  SUBSCRIPTIONS\n\
             7   a         -      -        0s   1 B       1 B   -\n\
             9   2J        -      -        0s   1 B       1 B   -\n",
        ),
        (&["--json"], &format!("{}\n", lines.join("\n"))),
    ] {
        let (url, heads) = server::http(vec![(200, first.clone()), (200, second.clone())]).await;
        let run = sessions(&url, &[&filters, options].concat()).await;
        run.is(0, stdout, "% 2 sessions\n");
        let query =
            "issuer=https%3A%2F%2Fa%2F%3Fb%3Dc%26d&subject=%C3%BC&address=2001%3Adb8%3A%3A1&id=7&limit=100";
        let lines = [format!("GET /sessions?{query} "), format!("GET /sessions?{query}&after=7 ")];
        for (head, line) in heads.await.unwrap().iter().zip(lines) {
            let token = "\r\nauthorization: Bearer s3cret\r\n";
            assert!(head.starts_with(&line) && head.contains(token), "{head}");
        }
    }
}

#[tokio::test]
async fn list_ends_after_10_000_sessions() {
    let mut page = String::from(r#"{"more":true,"open":12345,"sessions":["#);
    for id in 1..=10_000 {
        let comma = if id == 1 { "" } else { "," };
        write!(page, r#"{comma}{{"id":{id},{REST}}}"#).unwrap();
    }
    page.push_str("]}");
    let (url, _) = server::http(vec![(200, page)]).await;
    let run = sessions(&url, &["-J"]).await;
    assert_eq!((run.code, run.stdout.lines().count()), (Some(0), 10_000));
    assert_eq!(run.stderr, "% 10000 of 12345 sessions: add a filter\n");
}

#[tokio::test]
async fn matching_sessions_are_ended() {
    for (ended, stdout) in [(3, "3 sessions ended\n"), (1, "1 session ended\n")] {
        let (url, heads) = server::http(vec![(200, format!("{{\"ended\":{ended}}}"))]).await;
        let run = sessions(&url, &["--end", "--route", "/pubsub", "--topic", "orders"]).await;
        run.is(0, stdout, "");
        let (heads, start) =
            (heads.await.unwrap(), "DELETE /sessions?route=%2Fpubsub&topic=orders HTTP/1.1\r\n");
        assert!(heads[0].starts_with(start), "{heads:?}");
    }
}

/// The token reaches the bridge as the gateway sends it, and is nowhere else.
#[tokio::test]
async fn explanation_of_the_bridge_is_shown_and_decides_the_exit_code() {
    let routes = tempfile::NamedTempFile::new().unwrap();
    let identity = r#""identity": {"from": "token", "name": "main"}, "read": ["${sub}"]"#;
    let routes_json = format!(
        r#"{{"gateway_secret": "of-the-gateway-itself", "routes": [{{"path": "/a", {identity}}}, {{"path": "/b"}}]}}"#
    );
    std::fs::write(&routes, routes_json).unwrap();
    let refused = r#"{"now": "NOW", "refused": {"status": 401, "reason": "identity_invalid", "cause": "it is over"}, "entries": [], "topics": [],
        "identity": {"name": "main", "expected": {"issuer": "i", "audience": ["a"], "algorithms": ["ES256"], "leeway_ms": 9}, "subject": "al", "audience": "b"}}"#;
    let says = "refused with 401: it is over\nit says: subject al, audience \"b\"\n\
        [identity.main] expects: issuer i, audience a, algorithm ES256, clocks within 9 ms\nthe bridge's clock: NOW\n";
    let no = r#"{"allowed": false, "cause": "may not", "because": "nothing grants it"}"#;
    let accepted = format!(
        r#"{{"now": "NOW", "cluster": "c", "identity": {{"subject": "al"}}, "quota": {{"sessions": 9}}, "capabilities": [], "entries": [
        {{"right": "read", "entry": {{"topic": "${{sub}}"}}, "grants": [{{"topic": "al", "rows": "keys"}}]}}], "topics": [
        {{"topic": "x", "read": {{"allowed": true, "rows": "all records"}}, "write": {no}, "table": {no}}}]}}"#
    );
    let grants = "cluster c\naccepted\nit says: subject al\nread ${sub}: grants al (keys)\ncapabilities []\nquota sessions 9\n";
    let (yes, denied) = ("read of x: yes, all records\n", "write of x: no, nothing grants it: may not\n");
    let silent = r#"{"now": "NOW", "refused": {"status": 401, "reason": "login_required", "cause": "no token"}, "entries": [], "topics": [], "identity": {}}"#;
    for (answer, options, code, want) in [
        (refused, "", 1, says.to_owned()),
        (silent, "", 1, "refused with 401: no token\nthe bridge's clock: NOW\n".to_owned()),
        (&accepted, "--topic x --right read", 0, format!("{grants}{yes}")),
        (&accepted, "--topic x --right write", 1, format!("{grants}{denied}")),
    ] {
        let (url, heads) = server::http(vec![(200, answer.to_owned())]).await;
        let words = format!("admin explain {} /x/..//a?b {options}", routes.path().display());
        let mut command = command("ws://127.0.0.1:1/", &words.split_terminator(' ').collect::<Vec<_>>());
        command
            .env("SLUICEGATE_ADMIN", url)
            .env("SLUICEGATE_ADMIN_TOKEN", "s3cret")
            .env("SLUICEGATE_CLIENT_TOKEN", "t0.k.en");
        finish(&mut command).await.is(code, &format!("route /a (pubsub)\n{want}"), "");
        let head = &heads.await.unwrap()[0];
        for line in [
            "sluicegate-token: t0.k.en",
            "x-sluicegate-route: /a",
            "sluicegate-cluster: default",
            "authorization: Bearer s3cret",
        ] {
            assert!(head.contains(&format!("\r\n{line}\r\n")), "{line}: {head}");
        }
        assert!(!head.contains("of-the-gateway") && head.starts_with("POST /explain?"), "{head}");
    }
    let file = routes.path().to_str().unwrap();
    for (arguments, says) in [
        ([file, "/c"], "no route for /c: expected one of /a, /b"),
        (["/nowhere", "/a"], "failed to read /nowhere: "),
        (
            [file, "/a --claims /nowhere"],
            "this route takes a token: use --client-token-file instead of --claims",
        ),
    ] {
        let words = format!("admin explain {}", arguments.join(" "));
        let mut command = command("ws://127.0.0.1:1/", &words.split(' ').collect::<Vec<_>>());
        let run = finish(command.env("SLUICEGATE_ADMIN_TOKEN", "s3cret")).await;
        assert!(run.stdout.is_empty() && run.stderr.contains(says), "{run:?}");
    }
}

#[tokio::test]
async fn rejected_requests_are_exit_code_1_and_invalid_answers_3() {
    let stuck = r#"{"sessions":[],"more":true,"open":1}"#;
    let long = "x".repeat((8 << 20) + 1);
    let endless = "HTTP/1.1 100 Continue\r\n\r\n".repeat(360_000) + "HTTP/1.1 503 x\r\n\r\n";
    let no_token = "the bridge has no \u{1b}admin_token\n";
    let no_secret = "header sluicegate-gateway-secret is missing: expected the bridge's gateway_secret";
    let is_other = ": expected /livez; is this the admin port of a bridge, and the bridge new enough?";
    let no_json = "its answer is not that of an admin port: expected value at line 1 column 1";
    let [refused, unclear] = ["use the admin port: it answered HTTP", "understand the bridge:"]
        .map(|start| move |words: &str| format!("{start} {words}"));
    for (status, body, code, words) in [
        (401, no_token, 1, refused("401: the bridge has no  admin_token")),
        (401, no_secret, 1, refused(&format!("401: {no_secret}; this is `listen`, not `admin_listen`"))),
        (404, "expected /livez", 1, refused(&format!("404{is_other}"))),
        (503, "", 3, refused("503")),
        (200, "ok", 3, unclear(no_json)),
        (200, stuck, 3, unclear("its next page of sessions has no larger ID")),
        (200, &long, 3, unclear("its answer exceeds the limit of 8388608 bytes")),
        (100, &endless, 3, "keep the connection: connection closed before message completed".to_owned()),
    ] {
        let (url, _) = server::http(vec![(status, body.to_owned())]).await;
        let run = sessions(&url, &[]).await;
        run.is(code, "", &format!("sluicegate: {url}: failed to {words}\n"));
    }
}

#[tokio::test]
async fn unreachable_and_misused_ports_are_told_apart() {
    let closed = sessions("http://127.0.0.1:1", &[]).await;
    let start = "sluicegate: failed to connect to http://127.0.0.1:1: ";
    assert!(closed.code == Some(3) && closed.stderr.starts_with(start), "{closed:?}");
    for url in ["127.0.0.1:7401", "https://g:7401", "http://u:p@g:7401", "http://g:7401/sessions"] {
        let misused = sessions(url, &[]).await;
        let end = "expected http://HOST:PORT, a bridge's admin port\n";
        assert!(misused.code == Some(2) && misused.stderr.ends_with(end), "{misused:?}");
        assert!(!misused.stderr.contains("u:p"), "{misused:?}");
    }
    let (_listener, url) = server::listener().await;
    let silent = sessions(&url.replace("ws:", "http:").replace("/pubsub", ""), &["--timeout", "0.1"]).await;
    let end = "failed to get an answer within 0.1 s\n";
    assert!(silent.code == Some(3) && silent.stderr.ends_with(end), "{silent:?}");
}

/// Runs `admin sessions` against the admin port at `url`.
async fn sessions(url: &str, args: &[&str]) -> Run {
    let mut command = command("ws://127.0.0.1:1/", &[&["admin", "sessions"], args].concat());
    finish(command.env("SLUICEGATE_ADMIN", url).env("SLUICEGATE_ADMIN_TOKEN", "s3cret")).await
}

/// Fields of a session that the table needs.
const REST: &str = r#""age_ms":1,"received_bytes":1,"sent_bytes":1,"subscriptions":[]"#;
