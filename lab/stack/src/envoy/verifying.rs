//! Envoy's own filter for tokens, in front of ours.

/// Verifies tokens of `issuer` by these keys, a JWK Set, on requests whose paths have one of the prefixes, and keeps their
/// claims as `claims`. Clients without any token pass.
#[must_use]
pub fn verifying(issuer: &str, keys: &str, prefixes: &[&str]) -> (String, String) {
    let ours = "          - name: envoy.filters.http.wasm\n";
    let rule = |prefix: &&str| {
        format!(
            "              - match: {{prefix: {prefix}}}\n                requires: {{requires_any: {{requirements: [{{provider_name: tests}}, {{allow_missing: {{}}}}]}}}}\n"
        )
    };
    let rules: String = prefixes.iter().map(rule).collect();
    let theirs = format!(
        "          - name: envoy.filters.http.jwt_authn
            typed_config:
              '@type': type.googleapis.com/envoy.extensions.filters.http.jwt_authn.v3.JwtAuthentication
              providers:
                tests:
                  issuer: {issuer}
                  local_jwks: {{inline_string: '{keys}'}}
                  payload_in_metadata: claims
                  forward_payload_header: x-claims
              rules:
{rules}"
    );
    (ours.to_owned(), format!("{theirs}{ours}"))
}
