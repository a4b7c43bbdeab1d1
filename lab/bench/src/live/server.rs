//! One of the systems.

mod jetstream;

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::producer::{FutureProducer, FutureRecord};
use sluicegate_protocol::pub_sub_req::Req;
use sluicegate_protocol::{CmdKafkaSubscribe, KafkaSource};
use sluicegate_stack::envoy::Envoy;
use sluicegate_stack::folder::Folder;
use sluicegate_stack::kafka::Kafka;
use sluicegate_stack::nats::Nats;
use sluicegate_stack::process::Process;
use sluicegate_stack::raw::{BINARY, Raw, Upgrade, masked, request};
use sluicegate_stack::stack::{BridgeConfig, Setup, Stack};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::sync::Mutex;
use tokio::time::Instant;

use self::jetstream::JetStream;
use super::{MARKER, VALUE};
use crate::place::stack;
use crate::{Failure, Plan};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Sluicegate,
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
            Self::Nats => "nats",
            Self::NatsBehindEnvoy => "nats behind Envoy",
            Self::SluicegateOnNats => "Sluicegate",
            Self::Consumers => "ordered consumers",
            Self::Core => "core NATS",
        }
    }

    /// Of the ratio to it in a flood.
    pub(super) fn target(self) -> &'static str {
        match self {
            Self::Nats => " (target 1.5)",
            _ => "",
        }
    }
}

pub(super) struct Server {
    system: System,
    partitions: i32,
    published: AtomicUsize,
}

enum System {
    Sluicegate { stack: Box<Stack>, kafka: Kafka, topic: String, producer: FutureProducer },
    Nats { server: Nats, envoy: Option<Envoy>, publisher: Mutex<BufReader<TcpStream>>, _folder: Folder },
    JetStream(JetStream),
}

/// Resource use of the system's processes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Usage {
    cpu: Duration,
    pub(super) bridge_bytes: u64,
    pub(super) gateway_bytes: u64,
}

impl Server {
    pub(super) async fn start(kind: Kind, plan: &Plan, partitions: i32) -> Result<Self, Failure> {
        Self::with_linger(kind, plan, partitions, 0).await
    }

    /// As [`Server::start`], with a producer to Kafka that gathers records for so many milliseconds.
    pub(super) async fn with_linger(
        kind: Kind,
        plan: &Plan,
        partitions: i32,
        linger_ms: u32,
    ) -> Result<Self, Failure> {
        let system = match kind {
            Kind::Sluicegate => {
                let kafka = Kafka::start().await?;
                let topic = kafka.topic("live", partitions, &[]).await?;
                // All sockets are of one address, which has a share of the limit.
                let settings = "[limits]\nmax_sessions = 100000\n".to_owned();
                let bridge = BridgeConfig::Cluster { bootstrap: kafka.bootstrap(), settings };
                let setup = Setup { bridges: plan.bridges, bridge, ..Setup::new(plan.profile, "") };
                let stack = stack(plan, setup).await?;
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
        Ok(Self { system, partitions, published: AtomicUsize::new(0) })
    }

    /// A socket that has sent its subscription. Sockets share the partitions evenly.
    pub(super) async fn subscribed(&self, number: usize) -> Raw {
        match &self.system {
            System::Sluicegate { stack, topic, .. } => {
                let mut raw = Raw::open(stack.gateway()).await;
                let partition = i32::try_from(number).unwrap_or_default() % self.partitions;
                let source =
                    KafkaSource { topic: topic.clone(), partitions: vec![partition], ..Default::default() };
                let command = CmdKafkaSubscribe { sources: vec![source], ..Default::default() };
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

    /// Publishes a record, and waits for the acknowledgement. Tells when it was sent: NATS delivers before it
    /// acknowledges.
    pub(super) async fn publish(&self) -> Result<Instant, Failure> {
        let value = value(self.published.fetch_add(1, Ordering::Relaxed));
        let sent = Instant::now();
        match &self.system {
            System::Sluicegate { topic, producer, .. } => {
                let record = FutureRecord::<[u8], [u8]>::to(topic).partition(0).payload(&value);
                let sent = producer.send_result(record).map_err(|(error, _)| error)?;
                sent.await?.map_err(|(error, _)| error)?;
            }
            System::Nats { publisher, .. } => {
                let mut publisher = publisher.lock().await;
                let message = [b"PUB live 100\r\n", &value[..], b"\r\nPING\r\n"].concat();
                publisher.write_all(&message).await?;
                pong(&mut publisher).await?;
            }
            System::JetStream(jetstream) => jetstream.publish([value]).await?,
        }
        Ok(sent)
    }

    /// Publishes records without a pause, and waits until all are acknowledged.
    pub(super) async fn publish_fast(&self, count: usize) -> Result<(), Failure> {
        let first = self.published.fetch_add(count, Ordering::Relaxed);
        match &self.system {
            System::Sluicegate { topic, producer, .. } => {
                let mut sent = Vec::with_capacity(count);
                for number in first..first + count {
                    let value = value(number);
                    let record = FutureRecord::<[u8], [u8]>::to(topic).partition(0).payload(&value);
                    sent.push(producer.send_result(record).map_err(|(error, _)| error)?);
                }
                for sent in sent {
                    sent.await?.map_err(|(error, _)| error)?;
                }
            }
            System::Nats { publisher, .. } => {
                let mut publisher = publisher.lock().await;
                // In large writes: the server batches what it reads together.
                let message = |number| [b"PUB live 100\r\n", &value(number)[..], b"\r\n"].concat();
                let messages: Vec<u8> = (first..first + count).flat_map(message).collect();
                publisher.write_all(&messages).await?;
                publisher.write_all(b"PING\r\n").await?;
                pong(&mut publisher).await?;
            }
            System::JetStream(jetstream) => jetstream.publish((first..first + count).map(value)).await?,
        }
        Ok(())
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

    pub(super) fn usage(&self) -> Result<Usage, Failure> {
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
        let mut sum = Usage { cpu: Duration::ZERO, bridge_bytes: 0, gateway_bytes: 0 };
        for process in servers {
            let usage = process.usage()?;
            sum.cpu += usage.cpu;
            sum.bridge_bytes += usage.resident_bytes;
        }
        if let Some(gateway) = gateway {
            let usage = gateway.usage()?;
            sum.cpu += usage.cpu;
            sum.gateway_bytes = usage.resident_bytes;
        }
        Ok(sum)
    }
}

impl Usage {
    /// Seconds.
    pub(super) fn cpu_since(&self, before: Self) -> f64 {
        self.cpu.saturating_sub(before.cpu).as_secs_f64()
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
