//! Edits of the committed configurations: more routes, more bridges, or write access.

use crate::bridge::Bridge;

/// Adds `keys` to the filter's configuration, and objects to its `routes`.
pub fn plugin(keys: &str, routes: &[&str]) -> (String, String) {
    instead(keys, &[&[PUBSUB], routes].concat())
}

/// Adds `keys` to the filter's configuration, and replaces its only route, `/pubsub`, with these objects.
pub fn instead(keys: &str, routes: &[&str]) -> (String, String) {
    (format!("\"routes\": [{PUBSUB}]"), format!("{keys} \"routes\": [{}]", routes.join(", ")))
}

/// Allows writing, and tables of all topics, on the route `/pubsub`.
pub fn writing() -> (String, String) {
    let route = r#""path": "/pubsub", "cluster": "default""#;
    (route.to_owned(), format!("{route}, \"write\": true, \"tables\": [\"*\"]"))
}

/// Adds Envoy routes for these paths, like the one for `/pubsub`.
pub fn routes(paths: &[&str]) -> (String, String) {
    let first = "- match: {path: /pubsub}";
    let to_bridge =
        "{cluster: sluicegate_bridge, prefix_rewrite: /sluicegate.v1.Bridge/Session, timeout: 0s}";
    let more = paths.iter().map(|path| format!("- {{match: {{path: {path}}}, route: {to_bridge}}}\n"));
    (first.to_owned(), more.chain([first.to_owned()]).collect::<Vec<_>>().join(&" ".repeat(14)))
}

/// Replaces Envoy's route for `/pubsub`, in the profile `tunnel`, with one like it for each of these paths.
pub fn instead_of_pubsub(path: &str, more: &[&str]) -> (String, String) {
    let (committed, all) = routes(more);
    let own = all.replace(&committed, &format!("- match: {{path: {path}}}"));
    (committed, own)
}

/// Verifies tokens of `issuer` by these keys, a JWK Set, on requests whose paths have one of the prefixes, and keeps their
/// claims as `claims`. Clients without any token pass.
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

/// Adds bridges to the first one, in the profile `tunnel`.
pub(crate) fn beside(bridges: &[Bridge]) -> Vec<(String, String)> {
    if bridges.is_empty() {
        return Vec::new();
    }
    let endpoint = |bridge: &Bridge| {
        let (host, port) = (bridge.grpc().ip(), bridge.grpc().port());
        format!(
            "        - endpoint: {{address: {{socket_address: {{address: {host}, port_value: {port}}}}}}}\n"
        )
    };
    let more: String = bridges.iter().map(endpoint).collect();
    let edit = |cluster| {
        let first = format!("cluster_name: {cluster}\n      endpoints:\n      - lb_endpoints:\n");
        let all = first.clone() + &more;
        (first, all)
    };
    ["sluicegate_bridge", "sluicegate_http"].map(edit).into()
}

/// Host names of a gateway on this machine, with its port. Names of other sites that resolve to this machine are not
/// among them.
pub fn local_hosts(port: u16) -> [String; 3] {
    // Clients leave out the default port.
    let port = if port == 80 { String::new() } else { format!(":{port}") };
    ["127.0.0.1", "localhost", "[::1]"].map(|host| format!("{host}{port}"))
}

/// The origins of pages of a gateway on this machine, and these.
pub fn local_origins(port: u16, more: &[String]) -> Vec<String> {
    let own = local_hosts(port).map(|host| format!("http://{host}"));
    own.into_iter().chain(more.iter().cloned()).collect()
}

/// These routes, for pages of a gateway on this machine and of more `origins` only.
pub fn guarded(routes: &[&str], port: u16, origins: &[String]) -> Vec<String> {
    let origins = local_origins(port, origins);
    let with_origins = |route: &&str| {
        let route = route.strip_suffix('}').unwrap_or(route);
        format!("{route}, \"origins\": {origins:?}}}")
    };
    routes.iter().map(with_origins).collect()
}

/// The routes of demo and compose, which must be [`guarded`]. Whether they can write depends on the bridge's
/// configuration.
pub const DEMO_ROUTES: [&str; 4] = [
    r#"{"path": "/pubsub", "cluster": "default", "write": true, "tables": ["*"]}"#,
    concat!(
        r#"{"path": "/produce", "type": "produce", "topic": "demo", "headerprefix": "x-kafka-", "#,
        r#""overrides": ["topic", "partition", "key"], "recordheaderprefix": "x-kafka-header-"}"#
    ),
    r#"{"path": "/kafka", "type": "rest", "write": true, "tables": ["*"]}"#,
    r#"{"path": "/streams", "type": "streams", "write": true}"#,
];
/// The committed route.
const PUBSUB: &str = r#"{"path": "/pubsub", "cluster": "default"}"#;
