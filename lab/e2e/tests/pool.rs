//! The stacks of all tests. Tests that ask for the same configuration share a stack, which starts for the first of them.

mod standard;

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::Duration;

use serde_json::{Map, Value, json};
use sluicegate_protocol::metadata::{CLUSTER, CONSUME, GATEWAY_SECRET, TABLES, WRITE};
use sluicegate_stack::json_socket::upgrade;
use sluicegate_stack::kafka::Kafka;
use sluicegate_stack::nats::Nats;
use sluicegate_stack::socket::Socket;
use sluicegate_stack::stack::{BridgeConfig, Lent, Setup, Stack};
use sluicegate_stack::waiting::until;
use sluicegate_stack::way::Way;
use sluicegate_stack::{apisix, envoy, nginx};
use tokio::sync::{self, MutexGuard, OnceCell};

pub(crate) use self::standard::{
    ANY, EVENTS, NATS_EVENTS, NATS_REST, NATS_SESSION, RED_REST, REST, REST_EVENTS, routed, standard,
};

/// The configuration of gateway and bridge.
#[derive(Clone, Debug)]
pub(crate) struct Config {
    way: Way,
    settings: String,
    default_cluster: String,
    clusters: String,
    keys: String,
    routes: Vec<Value>,
    edits: Vec<(String, String)>,
    environment: Vec<(String, String)>,
    concurrency: u32,
    knows_secret: bool,
}

impl Config {
    /// The committed configuration in front of the shared Kafka: `/pubsub` is the only route, and may not write. Gateways
    /// that relay over HTTP/1.1 have [`SECRET`]: without it, the bridge would take their clients for those of this machine.
    pub(crate) async fn new(way: impl Into<Way>) -> Self {
        Self::on(way, &Kafka::shared().await.unwrap().bootstrap())
    }

    /// The same in front of other brokers.
    pub(crate) fn on(way: impl Into<Way>, bootstrap: &str) -> Self {
        let way = way.into();
        Self {
            way,
            settings: String::new(),
            default_cluster: format!("bootstrap.servers = {bootstrap:?}\n"),
            clusters: String::new(),
            keys: String::new(),
            routes: vec![json!({"path": "/pubsub", "cluster": "default"})],
            edits: Vec::new(),
            environment: Setup::new(way, "").bridge_environment,
            concurrency: 2,
            knows_secret: matches!(way, Way::Relay | Way::Nginx | Way::Apisix),
        }
    }

    /// TOML above the bridge's clusters: keys, then tables.
    pub(crate) fn settings(mut self, toml: &str) -> Self {
        self.settings += &format!("{toml}\n");
        self
    }

    /// TOML in the default cluster.
    pub(crate) fn properties(mut self, toml: &str) -> Self {
        self.default_cluster += &format!("{toml}\n");
        self
    }

    /// One more cluster with these properties.
    pub(crate) fn cluster(mut self, name: &str, properties: &str) -> Self {
        self.clusters += &format!("[clusters.{name}]\n{properties}\n");
        self
    }

    /// The cluster `nats`.
    pub(crate) fn with_nats(self, server: &Nats) -> Self {
        let properties = nats(server);
        self.cluster("nats", &properties)
    }

    /// Keys of the filter's configuration, such as `"gateway_secret": "secret",`.
    pub(crate) fn keys(mut self, json: &str) -> Self {
        // Envoy's configuration has them in one line.
        self.keys += &json.split_whitespace().collect::<Vec<_>>().join(" ");
        self
    }

    /// The filter's routes, which replace others of their paths.
    pub(crate) fn routes(mut self, routes: impl IntoIterator<Item = Value>) -> Self {
        for route in routes {
            self.routes.retain(|other| other["path"] != route["path"]);
            self.routes.push(route);
        }
        self
    }

    /// Lets the bridge write to these clusters, and clients of `/pubsub` write, keep tables of each topic, and consume in
    /// each group. Without a gateway, clients say so themselves.
    pub(crate) fn writing(self, clusters: &[&str]) -> Self {
        let route = json!({"path": "/pubsub", "cluster": "default", "write": true, "tables": ["*"], "consume": ["*"]});
        self.settings(&format!("[write]\nclusters = {clusters:?}")).routes([route])
    }

    /// Replaces a text that occurs once in Envoy's configuration.
    pub(crate) fn edit(mut self, edit: (String, String)) -> Self {
        self.edits.push(edit);
        self
    }

    /// A variable of the bridge's environment.
    pub(crate) fn environment(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Has Envoy run one worker, so that all clients share its connections to the bridge.
    pub(crate) fn one_worker(self) -> Self {
        Self { concurrency: 1, ..self }
    }

    /// Has gateway and bridge share [`SECRET`].
    pub(crate) fn with_secret(self) -> Self {
        Self { knows_secret: true, ..self }
    }

    /// The stack of this configuration, which other tests use at the same time.
    pub(crate) async fn shared(self) -> Lent<&'static Stack> {
        static STACKS: Stacks<Stack> = Mutex::new(BTreeMap::new());
        let cell = cell(&STACKS, &self);
        Lent(cell.get_or_init(|| self.own()).await)
    }

    /// A stack of this configuration for one test at a time, for exact counts.
    pub(crate) async fn alone(self) -> Lent<MutexGuard<'static, Stack>> {
        static STACKS: Stacks<sync::Mutex<Stack>> = Mutex::new(BTreeMap::new());
        let cell = cell(&STACKS, &self);
        Lent(cell.get_or_init(async || sync::Mutex::new(self.own().await)).await.lock().await)
    }

    /// A stack of the test's own, which it may break.
    pub(crate) async fn own(self) -> Stack {
        let mut stack = self.unready().await;
        stack.ready_within(Duration::from_secs(30)).await.unwrap();
        stack
    }

    /// The same before it reaches the cluster `default`, which may be down.
    pub(crate) async fn unready(self) -> Stack {
        Stack::start(self.setup()).await.unwrap()
    }

    /// The stack's setup, for changes of a single test.
    pub(crate) fn setup(self) -> Setup {
        let Self { way, settings, default_cluster, clusters, mut keys, routes, .. } = self;
        let secret = self.knows_secret.then_some(SECRET);
        let mut text = format!("{settings}[clusters.default]\n{default_cluster}{clusters}");
        if let Some(secret) = secret {
            text.insert_str(0, &format!("gateway_secret = {secret:?}\n"));
            keys.insert_str(0, &format!("\"gateway_secret\": {secret:?}, "));
        }
        let mut setup = Setup { bridge: BridgeConfig::Text(text), ..Setup::new(way, "") };
        setup.bridge_environment = self.environment;
        setup.concurrency = self.concurrency;
        setup.envoy_edits = self.edits;
        match way {
            Way::Direct => {}
            Way::Nginx => setup.routes = routes.iter().map(|route| in_nginx(route, secret)).collect(),
            Way::Apisix => setup.apisix.routes = routes.iter().map(|route| in_apisix(route, &keys)).collect(),
            Way::Tunnel | Way::Relay => {
                let objects: Vec<String> = routes.iter().map(Value::to_string).collect();
                let objects: Vec<&str> = objects.iter().map(String::as_str).collect();
                setup.envoy_edits.push(envoy::instead(&keys, &objects));
                let more: Vec<&str> = routes.iter().filter_map(session_path).collect();
                if way == Way::Tunnel && !more.is_empty() {
                    setup.envoy_edits.push(envoy::routes(&more));
                }
            }
        }
        setup
    }
}

/// The properties of a cluster of NATS.
fn nats(server: &Nats) -> String {
    format!("kind = \"nats\"\nservers = \"nats://{}\"\n", server.client())
}

/// The path of a route for sessions besides `/pubsub`, which needs a route of Envoy's.
fn session_path(route: &Value) -> Option<&str> {
    let path = route["path"].as_str().unwrap();
    let is_session = route.get("type").is_none_or(|kind| kind == "pubsub");
    (is_session && path != "/pubsub").then_some(path)
}

/// A route of the filter as APISIX has it: in a route of its own, with the keys that Envoy has for all of them, and
/// without a path but where the filter needs one.
fn in_apisix(route: &Value, keys: &str) -> apisix::Route {
    let keys = keys.trim_end().trim_end_matches(',');
    let mut conf: Map<String, Value> = serde_json::from_str(&format!("{{{keys}}}")).unwrap();
    conf.extend(route.as_object().unwrap().clone());
    let path = conf["path"].as_str().unwrap().to_owned();
    if conf.get("type").is_some_and(|kind| kind == "rest" || kind == "streams") {
        return apisix::Route::below(&path, conf);
    }
    conf.remove("path");
    apisix::Route::new(path, conf)
}

/// The same as nginx has it without a filter: as headers for the bridge.
fn in_nginx(route: &Value, secret: Option<&str>) -> nginx::Route {
    let mut all = nginx::Route::new(route["path"].as_str().unwrap());
    if let Some(secret) = secret {
        all = all.with(GATEWAY_SECRET, secret);
    }
    for (key, value) in route.as_object().unwrap() {
        all = match (key.as_str(), value) {
            ("path", _) => all,
            ("cluster", Value::String(name)) => all.with(CLUSTER, name),
            ("write", Value::Bool(true)) => all.with(WRITE, "true"),
            ("tables", tables) if *tables == json!(["*"]) => all.with(TABLES, "*"),
            ("consume", groups) if *groups == json!(["*"]) => all.with(CONSUME, "*"),
            other => panic!("{other:?} is not translated for nginx"),
        };
    }
    all
}

/// The stacks of one kind, by the text of their configurations.
type Stacks<T> = Mutex<BTreeMap<String, &'static OnceCell<T>>>;

fn cell<T>(stacks: &'static Stacks<T>, config: &Config) -> &'static OnceCell<T> {
    let mut stacks = stacks.lock().unwrap();
    // They end with the process.
    stacks.entry(format!("{config:?}")).or_insert_with(|| Box::leak(Box::new(OnceCell::new())))
}

/// The bridge's counts of this name, added up.
pub(crate) async fn count(stack: &Stack, name: &str) -> f64 {
    let samples = stack.bridge.metrics(&format!("sluicegate_{name}{{")).await.unwrap();
    samples.into_iter().map(|(_, value)| value).sum()
}

/// Waits until the bridge's count of this name is at least `want`.
pub(crate) async fn reaches(stack: &Stack, name: &str, want: f64) {
    let reached = async || match count(stack, name).await {
        seen if seen >= want => Ok(()),
        seen => Err(format!("{seen} instead of {want}")),
    };
    until(name, Duration::from_secs(180), reached).await;
}

/// A session at the bridge itself, with a header that a gateway would set.
pub(crate) async fn direct(stack: &Stack, (name, value): (&'static str, &str)) -> Socket {
    let mut request = upgrade(&stack.url());
    request.headers_mut().remove("sec-websocket-protocol");
    request.headers_mut().insert(name, value.parse().unwrap());
    Socket::open_with(request).await
}

/// Lets its client write.
pub(crate) const WRITES: (&str, &str) = (WRITE, "true");

/// Between gateway and bridge.
pub(crate) const SECRET: &str = "between-gateway-and-bridge";
