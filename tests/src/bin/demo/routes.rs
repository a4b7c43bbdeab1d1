//! The gateway's routes.

use serde_json::{Value, json};
use sluicegate_tests::envoy::DEMO_ROUTES;

use crate::source::System;

/// The filter's routes. If pages of other origins are named, plain HTTP answers them and those of the gateway's own `port`; everybody
/// may open a session in any case.
pub(crate) fn routes(system: System, port: u16, origins: &[String]) -> Vec<String> {
    let routes = match system {
        System::Kafka => DEMO_ROUTES,
        System::Nats => NATS_ROUTES,
    };
    let own = ["127.0.0.1", "localhost"].map(|host| format!("http://{host}:{port}"));
    let allowed: Vec<&String> = own.iter().chain(origins).collect();
    let with_origins = |route: &str| match route.parse() {
        Ok(Value::Object(mut route)) if !origins.is_empty() && route.contains_key("type") => {
            route.insert("origins".to_owned(), json!(allowed));
            Value::Object(route).to_string()
        }
        _ => route.to_owned(),
    };
    routes.into_iter().map(with_origins).collect()
}

/// As [`DEMO_ROUTES`], in terms of NATS.
const NATS_ROUTES: [&str; 3] = [
    r#"{"path": "/pubsub", "cluster": "default", "write": true}"#,
    concat!(
        r#"{"path": "/produce", "type": "produce", "topic": "demo", "key": "demo.mine", "headerprefix": "x-nats-", "#,
        r#""overrides": ["topic", "key"], "recordheaderprefix": "x-nats-header-"}"#
    ),
    r#"{"path": "/nats", "type": "rest", "write": true}"#,
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn origins_are_listed_on_routes_of_plain_http() {
        let page = "http://127.0.0.1:3000".to_owned();
        let [pubsub, produce, rest] = &routes(System::Kafka, 8080, &[page])[..] else { panic!() };
        assert!(!pubsub.contains("origins"), "{pubsub}");
        let listed = r#""origins":["http://127.0.0.1:8080","http://localhost:8080","http://127.0.0.1:3000"]"#;
        assert!(produce.contains(listed) && rest.contains(listed), "{produce} {rest}");
        assert_eq!(routes(System::Kafka, 8080, &[]), DEMO_ROUTES);
    }
}
