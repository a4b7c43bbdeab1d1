//! Edits of the committed configurations that add routes, or let one write.

/// Puts `keys` into the filter's configuration, and further objects into its `routes`.
#[must_use]
pub fn plugin(keys: &str, routes: &[&str]) -> (String, String) {
    instead(keys, &[&[PUBSUB], routes].concat())
}

/// Puts `keys` into the filter's configuration, and these objects into its `routes`, where `/pubsub` alone is.
#[must_use]
pub fn instead(keys: &str, routes: &[&str]) -> (String, String) {
    (format!("\"routes\": [{PUBSUB}]"), format!("{keys} \"routes\": [{}]", routes.join(", ")))
}

/// Lets the route `/pubsub` write.
#[must_use]
pub fn writing() -> (String, String) {
    let route = r#""path": "/pubsub", "cluster": "default""#;
    (route.to_owned(), format!("{route}, \"write\": true"))
}

/// Envoy's own routes for these paths, as the one for `/pubsub`.
#[must_use]
pub fn routes(paths: &[&str]) -> (String, String) {
    let first = "- match: {path: /pubsub}";
    let to_bridge =
        "{cluster: sluicegate_bridge, prefix_rewrite: /sluicegate.v1.Bridge/Session, timeout: 0s}";
    let more = paths.iter().map(|path| format!("- {{match: {{path: {path}}}, route: {to_bridge}}}\n"));
    (first.to_owned(), more.chain([first.to_owned()]).collect::<Vec<_>>().join(&" ".repeat(14)))
}

/// The committed route.
const PUBSUB: &str = r#"{"path": "/pubsub", "cluster": "default"}"#;
