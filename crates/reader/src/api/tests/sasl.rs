//! SaslHandshake and SaslAuthenticate.

use super::*;
use crate::api::sasl::SaslHandshakeAnswer;

fn authenticate_request() -> SaslAuthenticateRequest {
    SaslAuthenticateRequest { message: Bytes::from_static(b"message") }
}

#[test]
fn mechanisms_are_decoded() {
    let mechanisms = ["PLAIN", "OAUTHBEARER"];
    let response = |_| {
        messages::SaslHandshakeResponse::default()
            .with_error_code(33)
            .with_mechanisms(mechanisms.map(StrBytes::from_static_str).to_vec())
    };
    let want = |_| SaslHandshakeAnswer {
        error: ErrorCode::of(33),
        mechanisms: mechanisms.map(str::to_owned).to_vec(),
    };
    check(&SaslHandshakeRequest { mechanism: "PLAIN" }, response, want);
}

#[test]
fn authentication_is_asked_for_and_its_result_decoded() {
    let response = |version| {
        messages::SaslAuthenticateResponse::default()
            .with_error_code(58)
            .with_error_message(Some(StrBytes::from_static_str("no")))
            .with_auth_bytes(Bytes::from_static(b"answer"))
            .with_session_lifetime_ms(if version >= 1 { 5_000 } else { 0 })
    };
    let want = |version| SaslAuthenticateAnswer {
        error: ErrorCode::of(58),
        message: "no".to_owned(),
        bytes: Bytes::from_static(b"answer"),
        lifetime: (version >= 1).then_some(Duration::from_secs(5)),
    };
    check(&authenticate_request(), response, want);
    let request: messages::SaslHandshakeRequest = received(&SaslHandshakeRequest { mechanism: "PLAIN" }, 1);
    assert_eq!(&request.mechanism[..], "PLAIN");
    for version in SaslAuthenticateRequest::VERSIONS {
        let request: messages::SaslAuthenticateRequest = received(&authenticate_request(), version);
        assert_eq!(request.auth_bytes, "message");
    }
}
