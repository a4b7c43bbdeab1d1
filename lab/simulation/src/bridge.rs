//! A bridge over the simulated network: readers, shared log, delivery and sessions as they ship.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join;
use sluicegate_backend::{Backend, System};
use sluicegate_bridge::testing;
use sluicegate_delivery::cluster::{Cluster, Parts, Rates, Reads, TableLimits, Writes};
use sluicegate_delivery::consumers::ConsumerLimits;
use sluicegate_delivery::drain::Drain;
use sluicegate_delivery::grant::Grant;
use sluicegate_fair_share::ClientKey;
use sluicegate_kafka::EncoderPool;
use sluicegate_nats::{ClusterConfig, Dialer, Nats};
use sluicegate_protocol::codec::Codec;
use sluicegate_rights::{Rights, Topics};
use sluicegate_shared_log::{ClusterLogs, Limits, SharedLog};
use sluicegate_telemetry::metrics::Metrics;
use tokio::io::{DuplexStream, duplex};
use tokio_util::sync::CancellationToken;

use crate::identity::Identity;
use crate::jetstream::JetStream;
use crate::jetstream::wire::Route;
use crate::kafka::answer::{PORT, host};
use crate::kafka::writer::{QUEUE_BYTES, QUEUE_RECORDS, WritableCluster};
use crate::network::{Faults, SimulatedNetwork, relay};
use crate::quota::{Quotas, Received};
use crate::world::World;

/// A bridge with one cluster.
pub(crate) struct Bridge {
    cluster: Arc<Cluster>,
    endpoint: testing::Endpoint,
    pub(crate) tables: TableLimits,
    /// `None`: its clients have none.
    quotas: Option<Quotas>,
    pub(crate) logs: SharedLog,
    /// Begins when its sessions must end.
    pub(crate) drain: Drain,
    pub(crate) backend: Arc<dyn Backend>,
    /// Cancelled when writes must be answered with what is known.
    pub(crate) due: CancellationToken,
    /// Cancelled to kill it.
    pub(crate) killed: CancellationToken,
}

/// The sizes and times of a bridge.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Settings {
    /// Of recently read records; 0: none are kept.
    pub(crate) cache_bytes: usize,
    pub(crate) max_read_bytes: usize,
    /// Whether it reads from followers.
    pub(crate) has_rack: bool,
    /// Whether its clients wait for each other.
    pub(crate) has_small_rates: bool,
    /// Whether its clients have quotas.
    pub(crate) has_quotas: bool,
}

impl Bridge {
    pub(crate) fn start(world: &World) -> Self {
        let logs = SharedLog::new(Limits { max_bytes: world.settings.cache_bytes, max_age: CACHE_AGE });
        let (metrics, killed) = (Metrics::default(), CancellationToken::new());
        let (system, backend) = match &world.jetstream {
            None => (System::Kafka, kafka(world, &logs, &metrics, &killed)),
            Some(servers) => (System::Nats, nats(servers, logs.add_cluster(), &metrics, &killed)),
        };
        let reads = Reads {
            max_bytes: world.settings.max_read_bytes,
            wait: Duration::from_millis(500),
            table_away: Duration::from_secs(3600),
        };
        let due = CancellationToken::new();
        let writes = Writes { max_records: 1_000, due: due.clone() };
        let rates = if world.settings.has_small_rates {
            Rates::new(1_000, 64 << 10, 100, 1_000)
        } else {
            Rates::new(100_000, 64 << 20, 4_000, 1_000)
        };
        rates.set_has_clusters(false);
        let tables = TableLimits::new(TABLE_BYTES, metrics.tables());
        let metrics = metrics.cluster(NAME);
        let quotas = world.settings.has_quotas.then(|| Quotas::new(Arc::clone(&metrics.quotas)));
        let cluster = Cluster::new(
            system,
            Parts::new(Arc::clone(&backend), 0, reads, Some(writes)),
            metrics,
            rates,
            tables.clone(),
            ConsumerLimits::new(100, Duration::from_secs(300)),
        );
        let cluster = Arc::new(cluster);
        let (endpoint, drain) = (testing::Endpoint::new(Arc::clone(&cluster)), cluster.drain.clone());
        Self { cluster, endpoint, tables, quotas, logs, drain, backend, due, killed }
    }

    /// A client's connection to the endpoint, over which answers come late, and which breaks.
    pub(crate) fn dial(&self, client: ClientKey, faults: &Arc<Faults>) -> DuplexStream {
        let ((near, far), (outer, inner)) = (duplex(PIPE), duplex(PIPE));
        let peer = client.address().unwrap_or(Ipv4Addr::LOCALHOST.into());
        let (endpoint, faults, killed) = (self.endpoint.clone(), Arc::clone(faults), self.killed.clone());
        tokio::spawn(async move {
            let served = join(endpoint.serve(inner, peer), relay(far, outer, &faults));
            killed.run_until_cancelled(served).await;
        });
        near
    }

    /// A client's session, which has ended if the quota of the client allows none. What the client receives is counted.
    pub(crate) fn connect(
        &self,
        client: ClientKey,
        identity: Option<&Arc<Identity>>,
    ) -> (DuplexStream, Option<Arc<Received>>) {
        let (pipe, stream) = duplex(PIPE);
        let grant = match identity {
            None => Grant::new(Arc::clone(&self.cluster), client, None, Rights::all())
                .with_tables(Topics::default()),
            Some(identity) => identity.grant(&self.cluster, client),
        };
        let (usage, received) = self.quotas.as_ref().map(|quotas| quotas.of(client)).unzip();
        if let Ok((grant, place)) = grant.counted_to(usage).into_session() {
            // NATS' clients speak JSON.
            let is_nats = self.cluster.system == System::Nats;
            let codec = if is_nats { Codec::Json } else { Codec::Protobuf };
            let session = testing::session(stream, codec, grant, self.drain.clone());
            let killed = self.killed.clone();
            tokio::spawn(async move {
                let _place = place;
                killed.run_until_cancelled(session).await
            });
        }
        (pipe, received)
    }

    /// Checks that its memory for records, and what its clients have got, are within their bounds.
    pub(crate) fn check_bounds(&self) -> Result<(), String> {
        let (bytes, max) = (self.logs.stats().bytes, self.logs.limits().max_bytes);
        if bytes > max {
            return Err(format!("{bytes} bytes of records are kept, at most {max}"));
        }
        self.quotas.as_ref().map_or(Ok(()), Quotas::check)
    }

    /// Bytes of records that are kept when all are too old.
    pub(crate) fn bytes_left(&self) -> usize {
        self.logs.expire((tokio::time::Instant::now() + CACHE_AGE * 2).into_std());
        self.logs.stats().bytes
    }

    /// Frees records that are too old to be served.
    pub(crate) fn expire(&self) {
        self.logs.expire(tokio::time::Instant::now().into_std());
    }
}

fn kafka(world: &World, logs: &SharedLog, metrics: &Metrics, killed: &CancellationToken) -> Arc<dyn Backend> {
    let brokers = world.kafka.state().brokers.len();
    let servers: Vec<_> = (0..brokers).map(|broker| format!("{}:{PORT}", host(broker))).collect();
    let rack = if world.settings.has_rack { RACK } else { "" };
    let properties = [
        ("bootstrap.servers", servers.join(",")),
        ("client.rack", rack.to_owned()),
        ("message.timeout.ms", "10000".to_owned()),
    ];
    let properties: BTreeMap<_, _> =
        properties.map(|(key, value)| (key.to_owned(), value)).into_iter().collect();
    #[expect(clippy::expect_used, reason = "the simulation itself is wrong")]
    let mut config = sluicegate_kafka::ClusterConfig::parse(&properties).expect("valid properties");
    let network = SimulatedNetwork::new(world.kafka.clone(), Arc::clone(&world.faults));
    config.reader = config.reader.over(network);
    let shared = (logs.add_cluster(), EncoderPool::new());
    let mut reads = sluicegate_kafka::Kafka::new(
        NAME,
        &config,
        shared,
        metrics.brokers(NAME),
        Some(metrics.writes(NAME)),
    );
    if let Some(registry) = &world.registry {
        reads = reads.with_schemas(registry.schemas(), logs.add_cluster(), metrics.decodes(NAME));
    }
    Arc::new(WritableCluster::new(reads, &world.kafka, killed))
}

fn nats(
    servers: &JetStream,
    logs: ClusterLogs,
    metrics: &Metrics,
    killed: &CancellationToken,
) -> Arc<dyn Backend> {
    let (queue_bytes, queue_records) = (QUEUE_BYTES, QUEUE_RECORDS);
    let config = ClusterConfig { queue_bytes, queue_records, ..sluicegate_nats::testing::config() };
    let dialer: Arc<dyn Dialer> = Arc::new(Route { servers: servers.clone(), killed: killed.clone() });
    Arc::new(Nats::over(&dialer, NAME, &config, logs, metrics.nats(NAME), Some(metrics.writes(NAME))))
}

/// Of the bridges.
const RACK: &str = "rack";
/// Of the cluster.
const NAME: &str = "simulated";
/// The bytes that are under way to a client.
const PIPE: usize = 8 * 1024;
const TABLE_BYTES: usize = 16 << 20;
const CACHE_AGE: Duration = Duration::from_secs(30);
