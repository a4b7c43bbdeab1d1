//! Creating, sharing, closing and refusing clusters of routes.

use std::iter;
use std::sync::atomic::AtomicUsize;
use std::sync::{Weak, mpsc};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use futures_util::FutureExt;
use futures_util::future::join_all;
use prost::Message;
use rdkafka::mocking::MockCluster;
use sluicegate_backend::System;
use sluicegate_backend::command::Record;
use sluicegate_delivery::cluster::WriteTicket;
use sluicegate_delivery::grant::Grant;
use sluicegate_delivery::testing::script::Script;
use sluicegate_kafka::{EncoderPool, Kafka};
use sluicegate_protocol::ClusterDefinition;
use sluicegate_protocol::cluster_definition::{Sasl, Tls};
use sluicegate_shared_log::SharedLog;
use sluicegate_telemetry::metrics::Metrics;
use tokio::runtime::Builder;
use tokio::sync::oneshot;
use tokio::task::spawn_blocking;
use tokio::time::{advance, timeout};
use tokio_util::sync::CancellationToken;

use super::*;
use crate::config::Config;

struct Pool {
    clusters: Arc<Clusters>,
    made: Arc<AtomicUsize>,
}

/// A pool with these keys in `[route_clusters]`.
fn pool(keys: &str) -> Pool {
    scripted(&routes(&["kafka:*", "*.svc:9092"], keys))
}

/// A configuration that allows these brokers, with more keys of `[route_clusters]`.
fn routes(hosts: &[&str], keys: &str) -> Config {
    let secret = "gateway_secret = \"s3cret-of-the-gateway\"";
    let text = format!("{secret}\n[route_clusters]\nallowed_hosts = {hosts:?}\n{keys}");
    Config::load(&text, iter::empty()).unwrap()
}

/// The clusters of a configuration, which count the backends that they make.
fn scripted(config: &Config) -> Pool {
    let made = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&made);
    let make = Box::new(move |_: &str, _: &ClusterConfig, _: bool| {
        count.fetch_add(1, Ordering::Relaxed);
        Arc::<Script>::default() as Arc<dyn Backend>
    });
    let clusters = Arc::new(Clusters::new(config, Metrics::default(), CancellationToken::new(), make));
    Pool { clusters, made }
}

type Defined = Result<Arc<Cluster>, RouteClusterError>;

impl Pool {
    async fn get(&self, definition: &ClusterDefinition) -> Defined {
        self.get_for("", definition).await
    }

    /// For the client at this address.
    async fn get_for(&self, address: &str, definition: &ClusterDefinition) -> Defined {
        self.clusters.defined(ClientKey::parse(address.as_bytes()), header(definition).as_bytes()).await
    }

    fn named(&self, name: &str) -> Arc<Cluster> {
        self.clusters.named(name).unwrap()
    }

    fn made(&self) -> usize {
        self.made.load(Ordering::Relaxed)
    }

    fn len(&self) -> usize {
        self.clusters.state.lock().defined.len()
    }
}

fn header(definition: &ClusterDefinition) -> String {
    STANDARD_NO_PAD.encode(definition.encode_to_vec())
}

fn of(node: &str) -> ClusterDefinition {
    ClusterDefinition { nodes: vec![node.to_owned()], ..ClusterDefinition::default() }
}

fn user(username: &str, password: &str) -> ClusterDefinition {
    let (username, password) = (username.to_owned(), password.to_owned());
    ClusterDefinition {
        sasl: Some(Sasl { username, password, mechanism: "PLAIN".into() }),
        ..of("kafka:9092")
    }
}

#[tokio::test]
async fn different_definitions_never_share_a_cluster() {
    let pool = pool("");
    let scram = |definition: ClusterDefinition| {
        let sasl = definition.sasl.map(|sasl| Sasl { mechanism: "SCRAM-SHA-512".into(), ..sasl });
        ClusterDefinition { sasl, ..definition }
    };
    let tls = |verify| ClusterDefinition { tls: Some(Tls { verify }), ..user("a", "1") };
    let users =
        [("a", "1"), ("a", "2"), ("b", "1"), ("a1", "1")].map(|(name, password)| user(name, password));
    let others = [of("kafka:9092"), of("kafka:9093"), scram(user("a", "1")), tls(true), tls(false)];
    let all = [&users[..], &others].concat();
    let mut clusters = Vec::new();
    for definition in &all {
        clusters.push(pool.get(definition).await.unwrap());
    }
    for (index, cluster) in clusters.iter().enumerate() {
        assert!(clusters[..index].iter().all(|other| !Arc::ptr_eq(cluster, other)), "{:?}", all[index]);
        assert!(Arc::ptr_eq(cluster, &pool.get(&all[index]).await.unwrap()));
    }
    assert_eq!(pool.made(), all.len());
}

#[tokio::test]
async fn concurrent_callers_create_a_cluster_once() {
    let pool = pool("");
    let definition = user("a", "1");
    let clusters = join_all((0..100).map(|_| pool.get(&definition))).await;
    let first = clusters[0].as_ref().unwrap();
    assert!(clusters.iter().all(|cluster| Arc::ptr_eq(cluster.as_ref().unwrap(), first)));
    assert_eq!(pool.made(), 1);
}

#[test]
fn cancelled_caller_leaves_creation_to_the_others() {
    with_one_blocking_thread(async |busy| {
        let pool = pool("");
        let definition = user("a", "1");
        assert!(pool.get(&definition).now_or_never().is_none());
        drop(busy);
        pool.get(&definition).await.unwrap();
        assert_eq!((pool.made(), pool.len()), (1, 1));
    });
}

#[tokio::test(start_paused = true)]
async fn unused_clusters_close_after_the_idle_timeout() {
    let pool = pool("idle_timeout_ms = 1000\n");
    tokio::spawn(Arc::clone(&pool.clusters).close_unused());
    let used = pool.get(&user("used", "1")).await.unwrap();
    let unused = Arc::downgrade(&pool.get(&user("unused", "1")).await.unwrap());
    sleep(Duration::from_millis(900)).await;
    assert_eq!(pool.len(), 2);
    // Each use restarts the timeout.
    pool.get(&user("unused", "1")).await.unwrap();
    sleep(Duration::from_millis(900)).await;
    assert_eq!(pool.len(), 2);
    sleep(Duration::from_millis(400)).await;
    assert_eq!((pool.len(), Weak::strong_count(&unused)), (1, 0));
    sleep(Duration::from_secs(3600)).await;
    assert!(Arc::ptr_eq(&used, &pool.get(&user("used", "1")).await.unwrap()));
    drop(used);
    sleep(Duration::from_millis(1300)).await;
    assert_eq!(pool.len(), 0);
    // The sweep pauses without clusters, and resumes with the next one.
    let next = Arc::downgrade(&pool.get(&user("next", "1")).await.unwrap());
    sleep(Duration::from_millis(1300)).await;
    assert_eq!((pool.len(), Weak::strong_count(&next), pool.made()), (0, 0, 3));
}

#[test]
fn cluster_that_was_never_created_is_removed() {
    with_one_blocking_thread(async |busy| {
        let pool = pool("idle_timeout_ms = 1000\n");
        tokio::spawn(Arc::clone(&pool.clusters).close_unused());
        assert!(pool.get(&of("kafka:9092")).now_or_never().is_none());
        drop(busy);
        assert_eq!(pool.len(), 1);
        sleep(Duration::from_millis(1300)).await;
        assert_eq!((pool.len(), pool.made()), (0, 0));
    });
}

/// Runs a test in paused time. The only blocking thread is busy until the test drops its argument.
fn with_one_blocking_thread(test: impl AsyncFnOnce(mpsc::Sender<()>)) {
    let mut builder = Builder::new_current_thread();
    let runtime = builder.enable_all().start_paused(true).max_blocking_threads(1).build().unwrap();
    runtime.block_on(async {
        let (busy, free) = mpsc::channel::<()>();
        spawn_blocking(move || free.recv());
        test(busy).await;
    });
}

#[tokio::test]
async fn client_with_many_clusters_leaves_some_to_others() {
    let pool = pool("max = 8\n");
    let mut held = Vec::new();
    let full = loop {
        match pool.get_for("192.0.2.1", &user(&held.len().to_string(), "1")).await {
            Ok(cluster) => held.push(cluster),
            Err(error) => break error,
        }
    };
    assert_eq!((held.len(), full), (6, RouteClusterError::TooMany { max: 8 }));
    let other = pool.get_for("192.0.2.2", &user("other", "1")).await.unwrap();
    // Its own make room for it, and others' do not.
    drop(other);
    assert!(pool.get_for("192.0.2.1", &user("new", "1")).await.is_err());
    held.pop();
    assert!(pool.get_for("192.0.2.1", &user("new", "1")).await.is_ok());
    assert_eq!(pool.len(), 7);
}

#[tokio::test(start_paused = true)]
async fn unused_clusters_make_room_at_the_limit() {
    let pool = pool("max = 2\n");
    let first = pool.get(&user("first", "1")).await.unwrap();
    let second = pool.get(&user("second", "1")).await.unwrap();
    assert_eq!(pool.get(&user("third", "1")).await.err(), Some(RouteClusterError::TooMany { max: 2 }));
    assert!(Arc::ptr_eq(&second, &pool.get(&user("second", "1")).await.unwrap()));
    drop(second);
    pool.clusters.sweep(Instant::now());
    advance(Duration::from_secs(1)).await;
    drop(first);
    pool.clusters.sweep(Instant::now());
    // The longest unused cluster is closed.
    let third = pool.get(&user("third", "1")).await.unwrap();
    let first = pool.get(&user("first", "1")).await.unwrap();
    assert_eq!((pool.made(), pool.len()), (3, 2));
    assert_eq!(pool.get(&user("second", "1")).await.err(), Some(RouteClusterError::TooMany { max: 2 }));
    drop((first, third));
    assert!(pool.get(&user("second", "1")).await.is_ok());
    assert_eq!((pool.made(), pool.len()), (4, 2));
}

#[tokio::test]
async fn definition_with_a_forbidden_broker_is_refused() {
    let pool = pool("");
    let nodes = |nodes: &[&str]| ClusterDefinition {
        nodes: nodes.iter().map(|node| (*node).to_owned()).collect(),
        ..user("a", "hidden")
    };
    assert!(pool.get(&nodes(&["KAFKA:1", "a.svc.:9092"])).await.is_ok());
    for other in
        ["169.254.169.254:80", "svc:9092", "a.svc:9093", "kafka.example:1", "[::1]:9092", "localhost:9092"]
    {
        let refused = pool.get(&nodes(&["kafka:1", other, "a.svc:9092"])).await.err();
        assert_eq!(refused, Some(RouteClusterError::Host(other.to_owned())));
    }
    assert_eq!((pool.made(), pool.len()), (1, 1));
}

/// A configuration with these brokers, which nobody contacts.
fn named(brokers: &[(&str, &str)], keys: &str) -> Config {
    let table =
        |(name, broker): &(&str, &str)| format!("[clusters.{name}]\nbootstrap.servers = \"{broker}:9092\"\n");
    let tables: String = brokers.iter().map(table).collect();
    Config::load(&format!("{keys}\n{tables}"), iter::empty()).unwrap()
}

#[tokio::test]
async fn reload_replaces_the_backends_of_changed_clusters_only() {
    let pool = scripted(&named(&[("a", "old"), ("b", "same")], ""));
    let (a, b) = (pool.named("a"), pool.named("b"));
    let reads = "read.wait_ms = 7\nread.max_bytes = 2000";
    pool.clusters.apply(&named(&[("a", "new"), ("b", "same")], reads)).await;
    assert!(Arc::ptr_eq(&a, &pool.named("a")) && Arc::ptr_eq(&b, &pool.named("b")));
    assert_eq!(pool.made(), 3);
    assert_eq!((b.reads().wait, b.reads().max_bytes), (Duration::from_millis(7), 2000));
    assert!(!a.is_writable());
    pool.clusters.apply(&named(&[("a", "new"), ("b", "same")], "write.clusters = [\"a\"]")).await;
    assert!(a.is_writable() && !b.is_writable());
    assert_eq!(pool.made(), 4);
    pool.clusters.apply(&named(&[("a", "new"), ("b", "same")], "")).await;
    assert!(!a.is_writable(), "withdrawn");
    assert!(!a.drain.has_begun() && !b.drain.has_begun());
}

#[tokio::test]
async fn cluster_of_another_kind_is_another_cluster() {
    let config = |kind: &str| {
        let b = "[clusters.b]\nkind = \"nats\"\nservers = \"nats://same\"\n";
        Config::load(&format!("{b}[clusters.a]\n{kind}"), iter::empty()).unwrap()
    };
    let (kafka, nats) = ("bootstrap.servers = \"a:1\"", "kind = \"nats\"\nservers = \"nats://a:1\"");
    for (old, new, system) in [(kafka, nats, System::Nats), (nats, kafka, System::Kafka)] {
        let pool = scripted(&config(old));
        let (a, b) = (pool.named("a"), pool.named("b"));
        pool.clusters.apply(&config(new)).await;
        let other = pool.named("a");
        assert!(!Arc::ptr_eq(&a, &other) && other.system == system && a.system != system);
        assert!(a.drain.has_begun() && !other.drain.has_begun(), "only sessions of the old kind end");
        assert!(Arc::ptr_eq(&b, &pool.named("b")) && !b.drain.has_begun());
        assert_eq!(pool.made(), 3);
    }
}

#[tokio::test]
async fn routes_clusters_are_judged_by_the_new_configuration() {
    let pool = scripted(&routes(&["kafka:*", "other:*"], ""));
    let get = async |node: &str| pool.get(&of(node)).await;
    let (kept, forbidden) = (get("kafka:9092").await.unwrap(), get("other:9092").await.unwrap());
    pool.clusters.apply(&routes(&["kafka:*"], "write = true")).await;
    assert!(kept.is_writable() && !kept.drain.has_begun() && forbidden.drain.has_begun());
    assert!(Arc::ptr_eq(&kept, &get("kafka:9092").await.unwrap()));
    assert_eq!(get("other:9092").await.err(), Some(RouteClusterError::Host("other:9092".into())));
    assert_eq!(pool.made(), 3);
}

#[tokio::test]
async fn errors_in_the_bridges_files_are_not_shown() {
    let folder = tempfile::tempdir().unwrap();
    let ca = folder.path().join("ca.pem");
    let certificate = rcgen::generate_simple_self_signed(vec!["kafka".to_owned()]).unwrap().cert.pem();
    std::fs::write(&ca, certificate).unwrap();
    let pool = pool(&format!("[route_clusters.properties]\nssl.ca.location = {ca:?}\n"));
    let tls = ClusterDefinition { tls: Some(Tls { verify: true }), ..of("kafka:9092") };
    std::fs::remove_file(&ca).unwrap();
    assert_eq!(pool.get(&tls).await.err(), Some(RouteClusterError::Unusable));
    // Without TLS, or without verification, the file is not read.
    let unverified = ClusterDefinition { tls: Some(Tls { verify: false }), ..of("kafka:9092") };
    assert!(pool.get(&unverified).await.is_ok() && pool.get(&of("kafka:9092")).await.is_ok());
}

#[tokio::test]
async fn cluster_stays_open_until_its_records_are_delivered() {
    let mock = MockCluster::new(1).unwrap();
    mock.create_topic("orders", 1, 1).unwrap();
    let keys = "idle_timeout_ms = 100\nwrite = true\n[route_clusters.properties]\nlinger.ms = 1500\n";
    let config = routes(&["127.0.0.1:*"], keys);
    let make = Box::new(|_: &str, config: &ClusterConfig, _: bool| {
        let ClusterConfig::Kafka(config, _) = config else { panic!("{config:?}") };
        let metrics = Metrics::default();
        let (logs, writes) = (SharedLog::default().add_cluster(), Some(metrics.writes("route")));
        Arc::new(Kafka::new("route", config, (logs, EncoderPool::new()), metrics.brokers("route"), writes))
            as Arc<dyn Backend>
    });
    let clusters = Arc::new(Clusters::new(&config, Metrics::default(), CancellationToken::new(), make));
    tokio::spawn(Arc::clone(&clusters).close_unused());

    let definition = header(&of(&mock.bootstrap_servers()));
    let cluster = clusters.defined(ClientKey::UNKNOWN, definition.as_bytes()).await.unwrap();
    let record = Record { topic: "orders".into(), value: Some("1".into()), ..Record::default() };
    let (sent, queued) = oneshot::channel();
    let begun = Instant::now();
    let grant = Grant::all(&cluster);
    tokio::select! {
        written = grant.produce(vec![record], WriteTicket::default(), || sent.send(()).unwrap()) => {
            panic!("{written:?}")
        }
        queued = queued => queued.unwrap(),
    }
    drop((cluster, grant));
    let closed = async {
        while !clusters.state.lock().defined.is_empty() {
            sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(Duration::from_secs(30), closed).await.unwrap();
    assert!(begun.elapsed() >= Duration::from_millis(1500), "{:?}", begun.elapsed());
}
