//! Kafka, NATS, and for each way in a gateway, if it has one, with a bridge of its own.

use std::net::SocketAddr;
use std::time::Duration;

use serde_json::{Value, json};
use sluicegate_protocol::metadata::WRITE;
use sluicegate_stack::apisix;
use sluicegate_stack::envoy::{instead, routes};
use sluicegate_stack::folder::Folder;
use sluicegate_stack::kafka::Kafka;
use sluicegate_stack::nats::{Nats, Streams};
use sluicegate_stack::nginx::Route;
use sluicegate_stack::stack::{BridgeConfig, Setup, Stack};
use sluicegate_stack::way::Way;

use super::identity;
use crate::Failure;

/// All of them. A drop ends them.
pub(super) struct Stacks {
    pub(super) stacks: Vec<Stack>,
    _kafka: Kafka,
    _nats: Nats,
    _keys: Folder,
}

/// A way in, as clients see it.
#[derive(Clone)]
pub(super) struct Gateway {
    pub(super) way: Way,
    pub(super) address: SocketAddr,
}

impl Gateway {
    /// Whether the filter grants rights to people, and serves plain HTTP and NATS.
    pub(super) fn has_filter(&self) -> bool {
        has_filter(self.way)
    }

    pub(super) fn has_sessions(&self) -> bool {
        self.way != Way::Apisix
    }
}

impl Stacks {
    pub(super) async fn start() -> Result<Self, Failure> {
        let (kafka, nats, keys) = (Kafka::start().await?, Nats::jetstream("").await?, Folder::new("keys")?);
        kafka.make_topic(TOPIC, i32::try_from(WAYS.len())?, &[]).await?;
        let streams = Streams::connect(nats.client()).await?;
        streams.create(STREAM, json!({"subjects": [format!("{STREAM}.*")]})).await?;
        let mut stacks = Vec::new();
        for way in WAYS {
            let mut stack = Stack::start(setup(way, &kafka, &nats, &keys)?).await?;
            stack.ready_within(Duration::from_secs(30)).await?;
            stacks.push(stack);
        }
        Ok(Self { stacks, _kafka: kafka, _nats: nats, _keys: keys })
    }

    pub(super) fn gateways(&self) -> impl Iterator<Item = Gateway> {
        self.stacks.iter().map(|stack| Gateway { way: stack.way(), address: stack.gateway() })
    }
}

fn setup(way: Way, kafka: &Kafka, nats: &Nats, keys: &Folder) -> Result<Setup, Failure> {
    let (bootstrap, servers) = (kafka.bootstrap(), nats.client());
    let clusters = format!(
        "[write]\nclusters = [\"default\", \"nats\"]\n[clusters.default]\nbootstrap.servers = {bootstrap:?}\n\
         [clusters.nats]\nkind = \"nats\"\nservers = \"nats://{servers}\"\n"
    );
    let mut setup = Setup::new(way, bootstrap);
    if !has_filter(way) {
        setup.bridge = BridgeConfig::Text(clusters);
        if way == Way::Nginx {
            setup.routes = vec![Route::new("/pubsub").with(WRITE, "true")];
        }
        return Ok(setup);
    }
    setup.bridge = BridgeConfig::Text(format!("{}{clusters}", identity::tables(keys)?));
    let route = |path: &str, kind: &str, cluster: &str| {
        let identity = json!({"from": "token", "name": "main"});
        json!({"path": path, "type": kind, "cluster": cluster, "identity": identity, "topics": ["*"],
            "tables": ["*"], "write": true})
    };
    if way == Way::Apisix {
        let rest = [(KAFKA_REST, "default"), (NATS_REST, "nats")];
        setup.apisix.routes = rest
            .into_iter()
            .filter_map(|(path, cluster)| match route(path, "rest", cluster) {
                Value::Object(conf) => Some(apisix::Route::below(path, conf)),
                _ => None,
            })
            .collect();
        return Ok(setup);
    }
    let all = [
        route("/pubsub", "pubsub", "default"),
        route(KAFKA_REST, "rest", "default"),
        route(NATS, "pubsub", "nats"),
        route(NATS_REST, "rest", "nats"),
    ]
    .map(|route| route.to_string());
    setup.envoy_edits.push(instead("", &all.each_ref().map(String::as_str)));
    if way != Way::Relay {
        setup.envoy_edits.push(routes(&[NATS]));
    }
    Ok(setup)
}

/// See [`Gateway::has_filter`].
pub(super) fn has_filter(way: Way) -> bool {
    way.is_envoy() || way == Way::Apisix
}

/// The ways in, whose numbers are the partitions that are written through them.
pub(super) const WAYS: [Way; Way::COUNT] = [Way::Tunnel, Way::Relay, Way::Nginx, Way::Apisix, Way::Direct];
pub(super) const TOPIC: &str = "soak";
/// The beginning of the names of streams, and the only one.
pub(super) const STREAMS: &str = "SOAK";
pub(super) const STREAM: &str = "SOAK-0";
pub(super) const KAFKA_REST: &str = "/kafka";
pub(super) const NATS: &str = "/nats";
pub(super) const NATS_REST: &str = "/nats-rest";
