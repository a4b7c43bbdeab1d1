//! One of the systems.

mod jetstream;

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};

use rdkafka::ClientConfig;
use rdkafka::producer::{FutureProducer, FutureRecord};
use sluicegate_protocol::pub_sub_req::Req;
use sluicegate_protocol::{CmdKafkaSubscribe, KafkaSource, Snapshot};
use sluicegate_stack::envoy::{Envoy, instead};
use sluicegate_stack::folder::Folder;
use sluicegate_stack::kafka::{Kafka, Record};
use sluicegate_stack::nats::Nats;
use sluicegate_stack::process::{Process, Usage, total};
use sluicegate_stack::raw::{BINARY, Raw, Upgrade, masked, request};
use sluicegate_stack::stack::Stack;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::sync::Mutex;
use tokio::time::Instant;

use self::jetstream::JetStream;
use super::{MARKER, VALUE};
use crate::place::{MANY_SESSIONS, bridge_of, cpu_between, fill, stack_with};
use crate::{Failure, Plan};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Sluicegate,
    /// A table of [`KEYS`] keys.
    Table,
    /// The same records without a table.
    Log,
    Nats,
    /// With an Envoy in front of it, which only relays.
    NatsBehindEnvoy,
    /// The gateway in front of JetStream.
    SluicegateOnNats,
    /// JetStream, with a consumer for each socket.
    Consumers,
    /// JetStream, whose messages the sockets get without it: what they miss is missed.
    Core,
}

impl Kind {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Sluicegate => "Sluicegate",
            Self::Table => "a table",
            Self::Log => "a log",
            Self::Nats => "nats",
            Self::NatsBehindEnvoy => "nats behind Envoy",
            Self::SluicegateOnNats => "Sluicegate",
            Self::Consumers => "ordered consumers",
            Self::Core => "core NATS",
        }
    }
}

pub(super) struct Server {
    kind: Kind,
    system: System,
    partitions: i32,
    published: AtomicUsize,
}

enum System {
    Sluicegate { stack: Box<Stack>, kafka: Kafka, topic: String, producer: FutureProducer },
    Nats { server: Nats, envoy: Option<Envoy>, publisher: Mutex<BufReader<TcpStream>>, _folder: Folder },
    JetStream(JetStream),
}

impl Server {
    /// The producer to Kafka gathers records for so many milliseconds.
    pub(super) async fn start(
        kind: Kind,
        plan: &Plan,
        partitions: i32,
        linger_ms: u32,
    ) -> Result<Self, Failure> {
        let system = match kind {
            Kind::Sluicegate | Kind::Table | Kind::Log => {
                let kafka = Kafka::start().await?;
                let topic = kafka.topic("live", partitions, &[]).await?;
                if kind != Kind::Sluicegate {
                    let record = |number| Record { key: Some(key(number)), ..Record::of("x".repeat(VALUE)) };
                    fill(&kafka, &topic, KEYS, record).await?;
                }
                let tables = instead("", &[r#"{"path": "/pubsub", "tables": ["*"]}"#]);
                let stack = stack_with(plan, bridge_of(&kafka, MANY_SESSIONS), vec![tables]).await?;
                let mut config = ClientConfig::new();
                config.set("bootstrap.servers", kafka.bootstrap()).set("linger.ms", linger_ms.to_string());
                config.set("queue.buffering.max.messages", "1000000");
                let producer = config.create()?;
                System::Sluicegate { stack: Box::new(stack), kafka, topic, producer }
            }
            Kind::Nats | Kind::NatsBehindEnvoy => {
                let folder = Folder::new("nats")?;
                let server = Nats::start(folder.path()).await?;
                let envoy = match kind {
                    Kind::NatsBehindEnvoy => {
                        Some(Envoy::relay(server.websocket(), plan.concurrency, folder.path()).await?)
                    }
                    _ => None,
                };
                let mut publisher = BufReader::new(TcpStream::connect(server.client()).await?);
                publisher.get_ref().set_nodelay(true)?;
                publisher.write_all(b"CONNECT {\"verbose\":false}\r\n").await?;
                System::Nats { server, envoy, publisher: Mutex::new(publisher), _folder: folder }
            }
            Kind::SluicegateOnNats | Kind::Consumers | Kind::Core => {
                System::JetStream(JetStream::start(kind, plan).await?)
            }
        };
        Ok(Self { kind, system, partitions, published: AtomicUsize::new(0) })
    }

    /// A socket that has sent its subscription. Sockets share the partitions evenly.
    pub(super) async fn subscribed(&self, number: usize) -> Raw {
        match &self.system {
            System::Sluicegate { stack, topic, .. } => {
                let mut raw = Raw::open(stack.gateway()).await;
                let partition = i32::try_from(number).unwrap_or_default() % self.partitions;
                let source =
                    KafkaSource { topic: topic.clone(), partitions: vec![partition], ..Default::default() };
                let is_table = self.kind == Kind::Table;
                let snapshot = if is_table { Snapshot::LatestPerKey } else { Snapshot::NoSnapshot }.into();
                let command = CmdKafkaSubscribe { sources: vec![source], snapshot, ..Default::default() };
                raw.write(request(1, Req::CmdKafkaSubscribe(command))).await;
                // Skips the subscribed partitions, and the event at their end.
                for _ in 0..2 {
                    raw.frame().await;
                }
                raw
            }
            System::Nats { server, envoy, .. } => {
                let address = websocket(server, envoy.as_ref());
                let mut raw = Raw::connect(address).await.upgraded(&Upgrade::to("/")).await;
                // INFO
                raw.frame().await;
                raw.write(masked(BINARY, b"CONNECT {\"verbose\":false}\r\nSUB live 1\r\nPING\r\n")).await;
                // PONG
                raw.frame().await;
                raw
            }
            System::JetStream(jetstream) => jetstream.subscribed(number).await,
        }
    }

    /// The address of the WebSocket endpoint, and the topic or subject.
    pub(super) fn for_browsers(&self) -> Result<(String, &str), Failure> {
        match &self.system {
            System::Sluicegate { stack, topic, .. } => Ok((stack.gateway().to_string(), topic)),
            System::Nats { server, envoy, .. } => {
                let address = websocket(server, envoy.as_ref());
                Ok((address.to_string(), "live"))
            }
            System::JetStream(_) => Err("no page is measured with JetStream".into()),
        }
    }

    /// Publishes records without a pause, and waits until all are acknowledged. Tells when the first was sent: NATS
    /// delivers before it acknowledges.
    pub(super) async fn publish(&self, count: usize) -> Result<Instant, Failure> {
        let first = self.published.fetch_add(count, Ordering::Relaxed);
        let values = (first..first + count).map(value);
        let begun = Instant::now();
        match &self.system {
            System::Sluicegate { topic, producer, .. } => {
                let mut sent = Vec::with_capacity(count);
                for (number, value) in (first..).zip(values) {
                    let mut record = FutureRecord::<[u8], [u8]>::to(topic).partition(0).payload(&value);
                    let key = (self.kind != Kind::Sluicegate).then(|| key(number % KEYS));
                    record.key = key.as_deref();
                    sent.push(producer.send_result(record).map_err(|(error, _)| error)?);
                }
                for sent in sent {
                    sent.await?.map_err(|(error, _)| error)?;
                }
            }
            System::Nats { publisher, .. } => {
                let mut publisher = publisher.lock().await;
                // In one large write: the server batches what it reads together.
                let message = |value: Vec<u8>| [b"PUB live 100\r\n", &value[..], b"\r\n"].concat();
                let messages: Vec<u8> = values.flat_map(message).chain(*b"PING\r\n").collect();
                publisher.write_all(&messages).await?;
                pong(&mut publisher).await?;
            }
            System::JetStream(jetstream) => jetstream.publish(values).await?,
        }
        Ok(begun)
    }

    pub(super) fn published(&self) -> usize {
        self.published.load(Ordering::Relaxed)
    }

    /// The bytes of records that Kafka has sent to all bridges, as a multiple of what the first partition's log has.
    /// `None` without Kafka.
    pub(super) async fn sent(&self) -> Result<Option<f64>, Failure> {
        let System::Sluicegate { stack, kafka, topic, .. } = &self.system else { return Ok(None) };
        let mut sent = 0.0;
        for bridge in stack.bridges() {
            sent += bridge.count("sluicegate_read_bytes_total ", "").await?;
        }
        let log = kafka.folder().path().join("data-1").join(format!("{topic}-0/00000000000000000000.log"));
        Ok(Some(sent / log.metadata()?.len() as f64))
    }

    /// CPU and memory of the gateway, if there is one, and of the servers behind it.
    pub(super) fn usage(&self) -> Result<[Usage; 2], Failure> {
        let (gateway, servers): (_, Vec<&Process>) = match &self.system {
            System::Sluicegate { stack, .. } => {
                let bridges = stack.bridges().map(|bridge| &bridge.process);
                (Some(&stack.envoy().process), bridges.collect())
            }
            System::Nats { server, envoy, .. } => {
                (envoy.as_ref().map(|envoy| &envoy.process), vec![&server.process])
            }
            System::JetStream(jetstream) => jetstream.processes(),
        };
        Ok([total(gateway)?, total(servers)?])
    }

    /// Seconds of CPU of all of them since then.
    pub(super) fn cpu_since(&self, before: [Usage; 2]) -> Result<f64, Failure> {
        Ok(cpu_between(before, self.usage()?).iter().sum())
    }
}

/// The address of nats-server's WebSocket endpoint, or of the Envoy in front of it.
fn websocket(server: &Nats, envoy: Option<&Envoy>) -> SocketAddr {
    envoy.map_or_else(|| server.websocket(), Envoy::gateway)
}

/// The marker and the number of a record, filled up.
fn value(number: usize) -> Vec<u8> {
    let mut value = MARKER.to_vec();
    value.extend(format!("{number:08}").bytes());
    value.resize(VALUE, b'.');
    value
}

fn key(number: usize) -> Vec<u8> {
    format!("key {number}").into_bytes()
}

/// Waits until all before the last PING has been taken.
async fn pong(publisher: &mut BufReader<TcpStream>) -> Result<(), Failure> {
    let mut line = String::new();
    loop {
        line.clear();
        publisher.read_line(&mut line).await?;
        match line.trim_end() {
            "PONG" => return Ok(()),
            "PING" => publisher.write_all(b"PONG\r\n").await?,
            info if info.starts_with("INFO") => {}
            other => return Err(format!("nats-server said {other:?}").into()),
        }
    }
}

/// Of a table.
const KEYS: usize = 1000;
