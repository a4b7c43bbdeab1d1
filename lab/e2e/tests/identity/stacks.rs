//! A gateway that verifies tokens, and people who have some.

use std::sync::LazyLock;
use std::time::{Duration, SystemTime};

use serde_json::{Map, Value, json};
use sluicegate_client::{Client, ConnectError};
use sluicegate_stack::apisix;
use sluicegate_stack::envoy::{instead, routes, verifying};
use sluicegate_stack::http::client::{Request, Response, ask};
use sluicegate_stack::kafka::Kafka;
use sluicegate_stack::nats::Nats;
use sluicegate_stack::stack::{BridgeConfig, Setup, Stack};
use sluicegate_stack::tokens::Signer;
use sluicegate_stack::way::Way;

/// The issuer of all tokens.
pub(crate) static SIGNER: LazyLock<Signer> = LazyLock::new(|| Signer::new().unwrap());

/// The name of the issuer.
pub(crate) const ISSUER: &str = "https://issuer.example";

/// Tables of the bridge's configuration that believe the gateway.
pub(crate) const BELIEVED: &str = "[identity]\nfrom_gateway = true\nleeway_ms = 0\n";

/// A topic, and one of its name with `.alice` or `.bob` behind it for each of them.
pub(crate) async fn topics_of_people(kafka: &Kafka, name: &str) -> String {
    let shared = kafka.topic(name, 1, &[]).await.unwrap();
    for person in ["alice", "bob"] {
        kafka.make_topic(&format!("{shared}.{person}"), 1, &[]).await.unwrap();
    }
    shared
}

/// A token of `subject` with more claims, for so many seconds.
pub(crate) fn token(subject: &str, more: &Value, seconds: i64) -> String {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs().cast_signed();
    let mut claims = json!({"iss": ISSUER, "sub": subject, "iat": now, "exp": now + seconds});
    claims.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    SIGNER.sign_json(&claims).unwrap()
}

/// A gateway with `/pubsub` and `/kafka`, whose routes have these keys, and the same below `/unverified`, where the
/// gateway verifies no token.
pub(crate) async fn start(way: Way, kafka: &Kafka, keys: &str, tables: &str) -> Stack {
    let mut stack = Stack::start(setup(way, kafka, keys, tables)).await.unwrap();
    stack.ready_within(Duration::from_secs(30)).await.unwrap();
    stack
}

/// The setup of [`start`].
pub(crate) fn setup(way: Way, kafka: &Kafka, keys: &str, tables: &str) -> Setup {
    let bootstrap = kafka.bootstrap();
    let cluster = format!("bootstrap.servers = {bootstrap:?}\n");
    let setup = Setup::new(way, bootstrap);
    setup_with(setup, way, &cluster, keys, tables)
}

/// The same in front of a NATS server.
pub(crate) async fn start_on_nats(way: Way, server: &Nats, keys: &str, tables: &str) -> Stack {
    let cluster = format!("kind = \"nats\"\nservers = \"nats://{}\"\n", server.client());
    Stack::start(setup_with(Setup::new(way, ""), way, &cluster, keys, tables)).await.unwrap()
}

fn setup_with(mut setup: Setup, way: Way, cluster: &str, keys: &str, tables: &str) -> Setup {
    let cluster = format!("[clusters.default]\n{cluster}");
    let text = format!("gateway_secret = {SECRET:?}\n{tables}\n[write]\nclusters = [\"default\"]\n{cluster}");
    // Envoy's configuration has it in one line.
    let keys = keys.split_whitespace().collect::<Vec<_>>().join(" ");
    let route = |path: &str, kind: &str| format!(r#"{{"path": "{path}", "type": "{kind}", {keys}}}"#);
    let all = [
        route("/pubsub", "pubsub"),
        route("/kafka", "rest"),
        route("/unverified", "pubsub"),
        route("/unverified-kafka", "rest"),
    ];
    setup.bridge = BridgeConfig::Text(text);
    if way == Way::Apisix {
        setup.apisix.routes = all.iter().map(|route| in_apisix(route)).collect();
        return setup;
    }
    if !way.is_envoy() {
        return setup;
    }
    let all: Vec<&str> = all.iter().map(String::as_str).collect();
    setup.envoy_edits = vec![instead(&format!("\"gateway_secret\": {SECRET:?},"), &all)];
    if keys.contains("jwt_authn") {
        setup.envoy_edits.push(verifying(ISSUER, &SIGNER.key_set(), &["/pubsub", "/kafka"]));
    }
    if way != Way::Relay {
        setup.envoy_edits.push(routes(&["/unverified"]));
    }
    setup
}

/// A route of the filter as APISIX has it: in a route of its own, with what Envoy has for all of them.
fn in_apisix(route: &str) -> apisix::Route {
    let mut conf: Map<String, Value> = serde_json::from_str(route).unwrap();
    conf.insert("gateway_secret".into(), SECRET.into());
    let path = conf["path"].as_str().unwrap().to_owned();
    if conf["type"] == "rest" {
        return apisix::Route::below(&path, conf);
    }
    conf.remove("path");
    apisix::Route::new(path, conf)
}

/// The answer to a request of the person with `token`.
pub(crate) async fn http(stack: &Stack, token: Option<&str>, request: Request) -> Response {
    let request = match token {
        Some(token) => request.with("authorization", format!("Bearer {token}")),
        None => request,
    };
    ask(stack.gateway(), request).await
}

/// A session of the person with `token`.
pub(crate) async fn session(stack: &Stack, token: Option<&str>) -> Result<Client, ConnectError> {
    let mut builder = Client::builder(stack.url());
    if let Some(token) = token {
        builder = builder.header("authorization", format!("Bearer {token}"));
    }
    builder.connect().await
}

/// The secret of gateways.
pub(crate) const SECRET: &str = "between-gateway-and-bridge";
