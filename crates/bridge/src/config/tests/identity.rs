//! `[identity]`.

use sluicegate_identity::Algorithm;

use super::*;

#[test]
fn secret_of_an_issuer_verifies_no_other_algorithm() {
    let secret = "0123456789abcdef0123456789abcdef";
    let issuer = format!("identity.a = {{ issuer = \"i\", audience = [\"app\"], secret = {secret:?} }}");
    let config = load(&format!("{issuer}\n{CLUSTER}"), &[]).unwrap();
    assert_eq!(config.identity.issuers["a"].algorithms, [Algorithm::HS256]);
}

#[test]
fn refused_keys_of_a_file_are_warnings_unless_no_others_are_there() {
    let key = |id: &str, x: &str| format!(r#"{{"kty":"OKP","crv":"Ed25519","kid":"{id}","x":"{x}"}}"#);
    let (weak, good) = (key("weak", "AAAA"), key("good", "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"));
    let file = tempfile::NamedTempFile::new().unwrap();
    let path = file.path().display();
    let text =
        format!("identity.a = {{ issuer = \"i\", audience = [\"app\"], jwks_file = \"{path}\" }}\n{CLUSTER}");
    let load_with = |keys: &str| {
        std::fs::write(&file, format!(r#"{{"keys":[{keys}]}}"#)).unwrap();
        load(&text, &[])
    };
    let told = r#"key "weak": x: 3 bytes: expected 32"#;
    let warnings = load_with(&format!("{weak},{good}")).unwrap().warnings;
    let warnings: Vec<String> = warnings.iter().map(Problem::to_string).collect();
    assert_eq!(warnings, [format!("identity.a.jwks_file: {path}: skipped {told}")]);
    let problems = load_with(&weak).unwrap_err();
    assert_eq!(problems, [format!("identity.a.jwks_file: {path}: no usable key: {told}")]);
}

#[test]
fn each_mistake_in_an_identity_is_one_problem() {
    let whole = |text: &str| text.replace("ISSUER", r#"issuer = "i", audience = ["app"]"#) + CLUSTER;
    check_each(
        whole,
        r#"
identity.from_gateway = true
    identity.from_gateway: needs authenticated gateways: set `gateway_secret` or `tls.client_ca`
identity.a = {}
    identity.a.issuer: is missing, expected the claim iss of tokens
    identity.a.audience: is missing, expected the claim aud of tokens: a token for others must not work here
    identity.a: expected one of jwks_url, jwks_file and secret
identity."a b" = { ISSUER, jwks_url = "https://h/keys" }
    identity.a b: expected a name of 1 to 100 letters, digits, '.', '_' and '-'
identity.a = { issuer = 7, audience = "app", jwks_url = "https://h/keys" }
    identity.a.issuer: is 7, expected a string that is not empty
    identity.a.audience: is "app", expected a list of names
identity.a = { issuer = "i", audience = [], jwks_url = "https://h/keys" }
    identity.a.audience: is missing, expected the claim aud of tokens: a token for others must not work here
identity.a = { ISSUER, jwks_url = "https://me:hidden@h/keys" }
    identity.a.jwks_url: is a URL with credentials, expected an HTTP(S) URL
    identity.a: expected one of jwks_url, jwks_file and secret
identity.a = { ISSUER, jwks_url = "file:///keys" }
    identity.a.jwks_url: is "file:///keys", expected an HTTP(S) URL
    identity.a: expected one of jwks_url, jwks_file and secret
identity.a = { ISSUER, jwks_url = "https://h/keys", secret = "0123456789abcdef0123456789abcdef" }
    identity.a: expected one of jwks_url, jwks_file and secret
identity.a = { ISSUER, jwks_url = "https://h/keys", algorithms = ["RS256", "none"] }
    identity.a.algorithms: expected some of RS256, RS384, RS512, PS256, PS384, PS512, ES256, ES384, EdDSA
identity.a = { ISSUER, secret = "0123456789abcdef0123456789abcde" }
    identity.a.secret: has 31 characters, expected at least 32
identity.a = { ISSUER, secret = "0123456789abcdef0123456789abcdef", algorithms = ["RS256"] }
    identity.a.algorithms: a secret verifies HS256 only: leave this out
identity.a = { ISSUER, jwks_file = "/nowhere" }
    identity.a.jwks_file: /nowhere: No such file or directory (os error 2)
"#,
    );
}
