//! A nats-server of the demo's own, with JetStream.

use serde_json::json;
use sluicegate_stack::Error;
use sluicegate_stack::nats::{Nats as Server, Streams};

use super::NAME;
use super::readings::{GATES, reading_of, ticks};

/// The server; dropping it stops it.
pub(crate) struct Nats {
    pub(super) server: Server,
    pub(super) streams: Streams,
}

impl Nats {
    /// A server with a stream, whose oldest messages make room for new ones.
    pub(super) async fn start() -> Result<Self, Error> {
        let server = Server::jetstream("").await?;
        let streams = Streams::connect(server.client()).await?;
        streams.create(NAME, json!({ "max_bytes": MAX_BYTES })).await?;
        Ok(Self { server, streams })
    }

    pub(super) fn address(&self) -> String {
        self.server.client().to_string()
    }

    pub(super) fn cluster_config(&self) -> String {
        format!("kind = \"nats\"\nservers = \"nats://{}\"\n", self.address())
    }
}

/// Publishes readings until the stream does not acknowledge one. Each gate has a subject.
pub(super) async fn readings_to(streams: &Streams) -> Error {
    let mut ticks = ticks();
    let mut reading = 0_u32;
    loop {
        for gate in GATES {
            ticks.tick().await;
            let message = reading_of(gate, reading).into();
            if let Err(error) = streams.write(&format!("{NAME}.{gate}"), [message]).await {
                return error;
            }
        }
        reading = reading.wrapping_add(1);
    }
}

/// Days of readings.
const MAX_BYTES: u64 = 64 << 20;
