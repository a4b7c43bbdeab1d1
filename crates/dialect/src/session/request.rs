//! Parses an inbound message into a request.

mod json;

use bytes::Bytes;
use prost::Message;
use sluicegate_backend::System;
use sluicegate_backend::command::Command;
use sluicegate_protocol::codec::Codec;
use sluicegate_protocol::control_req::Control;
use sluicegate_protocol::metadata::MAX_TOKEN_BYTES;
use sluicegate_protocol::pub_sub_req::Req;
use sluicegate_protocol::{
    CONTROL_PREFIX, CmdAuth, CmdCredit, CmdSession, CmdUnsubscribe, ControlReq, PubSubReq,
};
use sluicegate_telemetry::metrics::Kind;
use sluicegate_ws_session::request::{Command as Known, Request as Checked};

use super::answer::Encoding;
use super::bounds::Counts;
use super::message_bound::MessageBound;
use crate::{Asked, Subscribed};

/// A checked request.
#[derive(Debug, PartialEq)]
#[expect(missing_docs, reason = "fields are those of the message, and the encoding of its answer")]
pub enum Request {
    /// Answered by the session itself.
    Ping { sequence: i64, state: Bytes },
    /// Asks for the session's limits, and says which the client has.
    Limits { sequence: i64, bound: Option<MessageBound> },
    /// Renews the client's identity.
    Auth { sequence: i64, token: String },
    /// Answered by the cluster.
    Command { sequence: i64, command: Command, encoding: Encoding },
    /// Begins a subscription.
    Subscribe { sequence: i64, subscribed: Subscribed, encoding: Encoding },
    /// Ends the subscription with this sequence.
    Unsubscribe { sequence: i64, subscription: i64 },
    /// Lets a subscription deliver more.
    Credit(CmdCredit),
    /// A command that is not valid, or beyond the limits.
    Invalid { sequence: i64, kind: Kind, message: String },
    /// A control message of the gateway.
    Control(Control),
    /// Has no command, and gets no answer.
    Nothing,
    /// Has a command that this version does not know.
    Unknown { sequence: i64 },
    /// Not a `PubSubReq`.
    Wrong,
}

impl Request {
    /// Scans a message, and decodes it if it is within bounds.
    pub fn parse(message: Bytes, codec: Codec, system: System) -> Self {
        // A gateway's own messages have no field but `control`. A client's message cannot start with it: the gateway
        // refuses that.
        if !message.starts_with(&CONTROL_PREFIX) {
            if codec == Codec::Json {
                return json::parse(&message, system);
            }
            let mut counts = Counts::default();
            match Checked::scan(&message, |command, content| counts.add(command, content)) {
                Checked::Nothing => return Self::Nothing,
                Checked::Unknown { sequence } => return Self::Unknown { sequence },
                Checked::Wrong => return Self::Wrong,
                Checked::Command { sequence, command } => {
                    if let Some(message) = suggestion(command, system).or_else(|| counts.exceeded()) {
                        return Self::Invalid { sequence, kind: kind(command), message };
                    }
                }
            }
        }
        let Ok(PubSubReq { sequence, req }) = PubSubReq::decode(message) else { return Self::Wrong };
        let encoding = Encoding::Protobuf;
        match req {
            Some(Req::CmdPing(ping)) => Self::Ping { sequence, state: ping.state },
            Some(Req::CmdSession(CmdSession { max_message_bytes })) => {
                Self::limits(sequence, max_message_bytes)
            }
            Some(Req::Control(ControlReq { control: Some(control) })) => Self::Control(control),
            Some(Req::CmdUnsubscribe(CmdUnsubscribe { subscription })) => {
                Self::Unsubscribe { sequence, subscription }
            }
            Some(Req::CmdCredit(credit)) => Self::Credit(credit),
            Some(Req::CmdAuth(CmdAuth { token })) => Self::auth(sequence, token),
            Some(Req::CmdEmpty(_) | Req::Control(ControlReq { control: None })) | None => {
                Self::Unknown { sequence }
            }
            Some(req) => match crate::of(system).command(req) {
                Some(Ok(Asked::Command(command))) => Self::Command { sequence, command, encoding },
                Some(Ok(Asked::Subscribe(subscribed))) => Self::Subscribe { sequence, subscribed, encoding },
                Some(Err(message)) => Self::Invalid { sequence, kind: Kind::Subscribe, message },
                None => Self::Unknown { sequence },
            },
        }
    }

    /// The request of a client that takes no larger messages than this.
    #[must_use]
    pub fn within(self, bound: MessageBound) -> Self {
        match self {
            Self::Command { sequence, command, encoding } => match bound.narrow(command, encoding) {
                Ok(command) => Self::Command { sequence, command, encoding },
                Err((kind, message)) => Self::Invalid { sequence, kind, message },
            },
            Self::Subscribe { sequence, subscribed: Subscribed { command, credit }, encoding } => {
                let command = bound.narrow_subscription(command, encoding);
                Self::Subscribe { sequence, subscribed: Subscribed { command, credit }, encoding }
            }
            request => request,
        }
    }

    fn limits(sequence: i64, max_message_bytes: Option<u32>) -> Self {
        match max_message_bytes.map(MessageBound::new).transpose() {
            Ok(bound) => Self::Limits { sequence, bound },
            Err(message) => Self::Invalid { sequence, kind: Kind::Session, message },
        }
    }

    /// Another token, which can be one.
    fn auth(sequence: i64, token: String) -> Self {
        match token.len() {
            1..=MAX_TOKEN_BYTES => Self::Auth { sequence, token },
            _ => Self::Invalid { sequence, kind: Kind::Auth, message: NO_TOKEN.to_owned() },
        }
    }
}

const NO_TOKEN: &str = "auth: expected a token of 1 to 8192 bytes";

fn kind(command: Known) -> Kind {
    match command {
        Known::Ping => Kind::Ping,
        Known::Session => Kind::Session,
        Known::Auth => Kind::Auth,
        Known::KafkaFetch | Known::NatsFetch => Kind::Fetch,
        Known::KafkaListOffset => Kind::ListOffset,
        Known::KafkaProduce | Known::NatsPublish => Kind::Produce,
        Known::KafkaMultiFetch => Kind::MultiFetch,
        Known::KafkaListOffsets | Known::NatsListSequences => Kind::ListOffsets,
        Known::KafkaMetadata => Kind::Topics,
        Known::KafkaCommit => Kind::Consume,
        Known::KafkaSubscribe | Known::NatsSubscribe | Known::Unsubscribe | Known::Credit => Kind::Subscribe,
    }
}

/// The error of a command of another system.
fn suggestion(command: Known, system: System) -> Option<String> {
    let expected = crate::of(system).suggested_command(command)?;
    Some(format!("the cluster is of {}: expected {expected}", system.name))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use sluicegate_backend::command::{self, Header, LogName, ReadBounds, Record, Write};
    use sluicegate_protocol as wire;
    use sluicegate_protocol::{
        CmdEmpty, CmdKafkaFetch, CmdKafkaMultiFetch, CmdKafkaProduce, CmdKafkaSubscribe, CmdNatsFetch,
        CmdNatsPublish, CmdPing, CmdSession, Isolation, KafkaSource, ProduceRecord, PublishMessage,
    };

    use super::*;

    fn request(sequence: i64, req: Req) -> Vec<u8> {
        PubSubReq { sequence, req: Some(req) }.encode_to_vec()
    }

    fn runs(sequence: i64, command: Command) -> Request {
        Request::Command { sequence, command, encoding: Encoding::Protobuf }
    }

    #[track_caller]
    fn check(message: &[u8], want: Request) {
        check_of(System::Kafka, message, want);
    }

    #[track_caller]
    fn check_of(system: System, message: &[u8], want: Request) {
        let message = Bytes::copy_from_slice(message);
        assert_eq!(Request::parse(message.clone(), Codec::Protobuf, system), want, "{message:?}");
    }

    #[test]
    fn each_command_is_parsed() {
        let ping = CmdPing { state: "s".into() };
        check(&request(7, Req::CmdPing(ping)), Request::Ping { sequence: 7, state: "s".into() });
        let fetch = CmdKafkaFetch { topic: "t".into(), partition: 1, offset: 2, ..Default::default() };
        let log = LogName { topic: "t".into(), partition: 1 };
        let bounds = ReadBounds { reads_on: true, ..ReadBounds::default() };
        let want = runs(8, Command::Fetch { log, offset: 2, bounds, filters: Vec::new() });
        check(&request(8, Req::CmdKafkaFetch(fetch)), want);
        let isolation = Isolation::ReadCommitted.into();
        let fetches = CmdKafkaMultiFetch { isolation, ..Default::default() };
        let bounds = ReadBounds { committed: true, ..ReadBounds::default() };
        let want = runs(8, Command::MultiFetch { places: Vec::new(), bounds, filters: Vec::new() });
        check(&request(8, Req::CmdKafkaMultiFetch(fetches)), want);
        check(&request(9, Req::CmdEmpty(CmdEmpty {})), Request::Unknown { sequence: 9 });
        for system in [System::Kafka, System::Nats] {
            let limits = request(6, Req::CmdSession(CmdSession::default()));
            check_of(system, &limits, Request::Limits { sequence: 6, bound: None });
        }
        let control = ControlReq { control: Some(Control::Alive("x".into())) };
        check(&request(0, Req::Control(control)), Request::Control(Control::Alive("x".into())));
    }

    #[test]
    fn commands_of_nats_are_run_on_streams() {
        let fetch = CmdNatsFetch { stream: "s".into(), sequence: 7, max_messages: 5, ..Default::default() };
        let bounds = ReadBounds { max_records: 5, ..ReadBounds::default() };
        let log = LogName::of_stream("s".into());
        let want = runs(1, Command::Fetch { log, offset: 7, bounds, filters: Vec::new() });
        check_of(System::Nats, &request(1, Req::CmdNatsFetch(fetch)), want);
        let (stream, subject, message_id) = ("s".into(), "a.b".into(), "id".into());
        let message = PublishMessage { stream, subject, message_id, ..Default::default() };
        let header = Header { key: "Nats-Msg-Id".into(), value: Some("id".into()) };
        let (key, value) = (Some("a.b".into()), Some(Bytes::new()));
        let record = Record { topic: "s".into(), key, value, headers: vec![header], ..Default::default() };
        let producer = command::Producer::new("p".to_owned(), 1, 2, Some(Duration::ZERO)).unwrap();
        let write = Write { records: vec![record], producer: Some(producer), ..Write::default() };
        let want = runs(2, Command::Produce(write));
        let producer = wire::Producer { id: "p".to_owned(), epoch: 1, sequence: 2, age_ms: Some(0) };
        let publish =
            CmdNatsPublish { messages: vec![message], producer: Some(producer), ..CmdNatsPublish::default() };
        check_of(System::Nats, &request(2, Req::CmdNatsPublish(publish)), want);
    }

    #[test]
    fn command_of_another_system_names_the_one_to_use() {
        let message = "the cluster is of NATS: expected cmd_nats_fetch".to_owned();
        let fetch = request(3, Req::CmdKafkaFetch(CmdKafkaFetch::default()));
        check_of(System::Nats, &fetch, Request::Invalid { sequence: 3, kind: Kind::Fetch, message });
        let message = "the cluster is of Kafka: expected cmd_kafka_produce".to_owned();
        let publish = request(4, Req::CmdNatsPublish(CmdNatsPublish::default()));
        check(&publish, Request::Invalid { sequence: 4, kind: Kind::Produce, message });
    }

    #[test]
    fn id_of_a_topic_has_16_bytes() {
        let of = |topic_id: Vec<u8>| {
            let source = KafkaSource { topic: "t".into(), topic_id: topic_id.into(), ..Default::default() };
            let command = CmdKafkaSubscribe { sources: vec![source], ..Default::default() };
            Request::parse(request(5, Req::CmdKafkaSubscribe(command)).into(), Codec::Protobuf, System::Kafka)
        };
        let message = "topic_id of 15 bytes: expected 16 or none, topic: t".to_owned();
        assert_eq!(of(vec![1; 15]), Request::Invalid { sequence: 5, kind: Kind::Subscribe, message });
        let id = |parsed| match parsed {
            Request::Subscribe { subscribed, .. } => subscribed.command.sources[0].topic_id,
            other => panic!("{other:?}"),
        };
        assert_eq!([of(vec![]), of([&[0; 15][..], &[7]].concat())].map(id), [None, Some(7)]);
    }

    #[test]
    fn produce_beyond_the_limits_is_not_decoded() {
        let produce = CmdKafkaProduce { records: vec![ProduceRecord::default(); 1001], ..Default::default() };
        let message = "1001 records in one command: expected at most 1000".to_owned();
        let want = Request::Invalid { sequence: -7, kind: Kind::Produce, message };
        check(&request(-7, Req::CmdKafkaProduce(produce)), want);
    }
}
