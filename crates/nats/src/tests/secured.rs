//! Users and permissions.

use super::*;

#[tokio::test]
async fn credentials_are_sent() {
    let nkey = r#"{ users: [ { nkey: "UDXU4RCSJNZOIQHZNWXHXORDPRTGNJAHAHFRGZNEEJCPQTT2M7NLCNF4" } ] }"#;
    let seed = "SUACSSL3UAHUDXKFSNVUZRF5UHPMWZ6BFDTJ7M6USDXIEDNPPQYYYCU3VY";
    for (authorization, right, wrong) in [
        ("{ user: u, password: p }", password("p"), password("wrong")),
        ("{ token: t }", Credentials::Token("t".to_owned()), Credentials::None),
        (nkey, Credentials::NKey(seed.to_owned()), Credentials::NKey("no seed".to_owned())),
    ] {
        let server = Server::jetstream(&format!("authorization {authorization}")).await.unwrap();
        let (accepted, _shared) = nats(&server, |config| config.credentials = right);
        assert!(accepted.ready(Duration::from_secs(5)).await.is_ok(), "{authorization}");
        let (refused, _shared) = nats(&server, |config| config.credentials = wrong);
        assert!(refused.ready(Duration::from_secs(5)).await.is_err(), "{authorization}");
        let error = fetch(&refused, "S", at(1)).await.unwrap_err();
        assert_eq!(error.fault, Fault::Unreachable { retriable: false }, "an operator must fix it");
    }
}

#[tokio::test]
async fn denied_request_fails_at_once() {
    let case = Case::without("$JS.API.STREAM.INFO.>").await;
    let error = case.read("S", 1).await.unwrap_err();
    assert_eq!(error.fault, Fault::NotAuthorized);
    assert!(!error.message.contains("STREAM"), "{}", error.message);
}
