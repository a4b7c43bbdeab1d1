//! A stream in files: through the gateway, or as nats-server itself delivers it.

use memchr::memmem;
use serde_json::json;
use sluicegate_protocol::pub_sub_req::Req;
use sluicegate_protocol::{CmdNatsSubscribe, NatsSource};
use sluicegate_stack::nats::{Nats, Streams};
use sluicegate_stack::process::Process;
use sluicegate_stack::raw::{BINARY, Raw, Upgrade, masked, request};
use sluicegate_stack::stack::Stack;

use super::Kind;
use crate::{Failure, Plan, nats};

pub(super) struct JetStream {
    kind: Kind,
    server: Nats,
    streams: Streams,
    stack: Option<Box<Stack>>,
}

impl JetStream {
    pub(super) async fn start(kind: Kind, plan: &Plan) -> Result<Self, Failure> {
        let server = Nats::jetstream("").await?;
        let streams = Streams::connect(server.client()).await?;
        streams.create(STREAM, json!({})).await?;
        let stack = match kind {
            Kind::SluicegateOnNats => Some(Box::new(nats::stack(plan, &server).await?)),
            _ => None,
        };
        Ok(Self { kind, server, streams, stack })
    }

    pub(super) async fn subscribed(&self, number: usize) -> Raw {
        if let Some(stack) = &self.stack {
            let mut raw = Raw::open(stack.gateway()).await;
            let source = NatsSource { stream: STREAM.to_owned(), ..Default::default() };
            let command = CmdNatsSubscribe { sources: vec![source], ..Default::default() };
            raw.write(request(1, Req::CmdNatsSubscribe(command))).await;
            // Skips the subscribed streams, and the event at their end.
            for _ in 0..2 {
                raw.frame().await;
            }
            return raw;
        }
        let mut raw = Raw::connect(self.server.websocket()).await.upgraded(&Upgrade::to("/")).await;
        // INFO
        raw.frame().await;
        let subscribe = match self.kind {
            Kind::Core => format!("SUB {SUBJECT} 1\r\nPING\r\n"),
            _ => ordered_consumer(number),
        };
        raw.write(masked(BINARY, format!("CONNECT {{\"verbose\":false}}\r\n{subscribe}").as_bytes())).await;
        // PONG, or the consumer
        let answer = raw.frame().await;
        assert!(memmem::find(&answer.payload, b"error").is_none(), "{answer:?}");
        raw
    }

    /// Publishes messages, and waits until all are stored.
    pub(super) async fn publish(&self, messages: impl IntoIterator<Item = Vec<u8>>) -> Result<(), Failure> {
        Ok(self.streams.write(SUBJECT, messages.into_iter().map(Into::into)).await?)
    }

    /// The gateway, if there is one, and the servers behind it.
    pub(super) fn processes(&self) -> (Option<&Process>, Vec<&Process>) {
        match &self.stack {
            Some(stack) => (Some(&stack.envoy().process), vec![&stack.bridge.process, &self.server.process]),
            None => (None, vec![&self.server.process]),
        }
    }
}

/// Pushes to the socket as soon as a message is stored: without requests, acknowledgements, heartbeats and flow
/// control, this is the consumer that costs least.
fn ordered_consumer(number: usize) -> String {
    let config = json!({
        "deliver_subject": format!("to.{number}"), "deliver_policy": "new", "ack_policy": "none", "max_deliver": 1,
        "mem_storage": true, "num_replicas": 1,
    });
    let create = json!({ "stream_name": STREAM, "config": config }).to_string();
    format!(
        "SUB to.{number} 1\r\nSUB created.{number} 2\r\nPUB $JS.API.CONSUMER.CREATE.{STREAM} created.{number} {}\r\n\
         {create}\r\n",
        create.len()
    )
}

const STREAM: &str = "live";
const SUBJECT: &str = "live.a";
