//! The messaging systems that the demo brings along, each with a generator of sluice gate readings.

mod kafka;
mod nats;
mod readings;

use self::kafka::Kafka;
use self::nats::{Nats, readings_to};
use crate::source::{Source, System};
use crate::{Failure, sentence};

/// One of them, running; dropping it stops it.
#[expect(clippy::large_enum_variant, reason = "one in the program")]
pub(crate) enum Embedded {
    Kafka(Kafka),
    Nats(Nats),
}

impl Embedded {
    /// Starts one. A Kafka also has the topics `more`.
    pub(crate) async fn start(system: System, more: &[String]) -> Result<Self, Failure> {
        let started: Result<Self, Failure> = match system {
            System::Kafka => Kafka::start(more).map(Self::Kafka).map_err(Failure::from),
            System::Nats => Nats::start().await.map(Self::Nats).map_err(Failure::from),
        };
        started.map_err(|e| format!("cannot start the embedded {}: {}", system.name(), sentence(&*e)).into())
    }

    pub(crate) fn source(&self) -> Source {
        match self {
            Self::Kafka(kafka) => Source::Embedded(System::Kafka, kafka.bootstrap()),
            Self::Nats(nats) => Source::Embedded(System::Nats, nats.address()),
        }
    }

    /// The configuration of its bridge.
    pub(crate) fn bridge_config(&self) -> String {
        let cluster = match self {
            Self::Kafka(kafka) => kafka.cluster_config(),
            Self::Nats(nats) => nats.cluster_config(),
        };
        format!("[write]\nclusters = [\"default\"]\n\n[clusters.default]\n{cluster}")
    }

    /// Writes a few readings a second until something fails.
    pub(crate) async fn run(&mut self) -> Failure {
        let stopped = match self {
            Self::Kafka(kafka) => Failure::from(kafka.write_readings().await),
            Self::Nats(nats) => tokio::select! {
                error = readings_to(&nats.streams) => error.into(),
                ended = nats.server.process.watch() => return ended.into(),
            },
        };
        format!("the generator of readings stopped: {}", sentence(&*stopped)).into()
    }
}

/// The topic of Kafka, the stream of NATS.
pub(crate) const NAME: &str = "demo";
