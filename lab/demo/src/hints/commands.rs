//! Commands to try while the demo runs.

use std::net::SocketAddr;

use prost::Message;
use sluicegate_protocol::{CmdKafkaFetch, CmdNatsFetch, CmdPing, PubSubReq, pub_sub_req::Req};
use sluicegate_stack::login::{PROGRAM_SECRET, USERS};
use sluicegate_stack::tools;

use crate::orders::TOPIC;
use crate::routes::{Kind, Shown};
use crate::server::NAME;
use crate::source::{Source, System};

/// The addresses and programs in the commands.
pub(super) struct Parts<'a> {
    /// The gateway's URL for plain HTTP.
    pub(super) http: &'a str,
    /// The gateway's URL for sessions.
    pub(super) url: &'a str,
    pub(super) cli: &'a str,
}

/// The commands for a source without logins. `registry` is the address of the demo's own schema registry.
pub(super) fn commands(source: &Source, registry: Option<&str>, parts: &Parts<'_>) -> Vec<Command> {
    let mut commands = match (source, registry) {
        (Source::Started(System::Kafka, ..), Some(registry)) => return decoded(registry, parts),
        (Source::Started(System::Kafka, ..), None) => started_kafka(parts),
        (Source::Started(System::Nats, ..), _) => started_nats(parts),
        (Source::Servers(_) | Source::Config(System::Kafka, _), _) => kafka(parts),
        (Source::Config(System::Nats, _), _) => nats(parts),
    };
    commands.push(raw(source, parts.url));
    commands
}

/// A command for each of the user's own routes that clients without a login can use.
pub(super) fn of_routes(
    routes: &[Shown],
    gateway: &SocketAddr,
    Parts { cli, .. }: &Parts<'_>,
    system: System,
) -> Vec<Command> {
    let logs = if system == System::Kafka { "topics" } else { "streams" };
    let partition = if system == System::Kafka { "/0" } else { "" };
    let command = |route: &Shown| {
        let url = route.url(gateway);
        match route.kind {
            Kind::Pubsub => ("a round trip", format!("{cli} -u {url} ping -c 3")),
            Kind::Rest => ("what can be read", format!("curl {url}/{logs}")),
            Kind::Streams => ("the end of a stream", format!("curl -I {url}/demo{partition}")),
            Kind::Produce => ("write a record", format!("curl -d '{{\"gate\": \"mine\"}}' {url}")),
        }
    };
    routes.iter().filter(|route| !route.needs_identity).map(command).collect()
}

/// The same, for users who log in. The first command gets the token for the others.
pub(super) fn logged_in(issuer: &str, Parts { http, url, cli }: &Parts<'_>) -> Vec<Command> {
    let [alice, bob] = USERS;
    let token = "-H \"Authorization: Bearer $TOKEN\"";
    vec![
        ("nobody gets in without a token: 401", format!("curl {http}/kafka/topics")),
        (
            "a token for a program of Alice's, which the next commands send",
            format!(
                "TOKEN=$(curl -s -u {alice}:{PROGRAM_SECRET} -d grant_type=client_credentials {issuer}/token | \
                 sed 's/.*\"access_token\":\"\\([^\"]*\\)\".*/\\1/')"
            ),
        ),
        (
            "write an order of Alice's: the page in which she is logged in shows it",
            format!(
                "curl {token} -H 'x-kafka-topic: orders.{alice}' -d '{{\"order\": \"3 planks\"}}' {http}/produce"
            ),
        ),
        ("read her orders", format!("{cli} -u {url} {token} fetch orders.{alice} -p 0 --from earliest -c 1")),
        (
            "she reads none of Bob's: 403",
            format!("curl {token} '{http}/kafka/topics/orders.{bob}/partitions/0/records'"),
        ),
    ]
}

/// A text on what a command shows, and the command.
type Command = (&'static str, String);

fn started_kafka(Parts { http, url, cli }: &Parts<'_>) -> Vec<Command> {
    vec![
        ("follow a gate's readings", format!("{cli} -u {url} fetch {NAME} -p 0 --from latest --follow")),
        (
            "write a reading of your own by plain HTTP: the follower shows it arriving",
            format!("curl -d '{{\"gate\": \"mine\"}}' -H 'x-kafka-partition: 0' {http}/produce"),
        ),
        (
            "read what is there",
            format!(
                "curl -H 'Accept: application/json' \
                 '{http}/kafka/topics/{NAME}/partitions/0/records?max_bytes=1000'"
            ),
        ),
        ("where each log begins", format!("{cli} -u {url} list-offsets {NAME} --at earliest")),
    ]
}

fn decoded(registry: &str, Parts { http, .. }: &Parts<'_>) -> Vec<Command> {
    let records = format!("{http}/kafka/topics/{TOPIC}/partitions/0/records?max_records=1");
    vec![
        (
            "follow the orders: their values are Avro, and come as JSON",
            format!("curl -sN {http}/kafka/topics/{TOPIC}/events"),
        ),
        ("read the first one", format!("curl -H 'Accept: application/json' '{records}'")),
        (
            "the same one as it is stored: a zero, the schema's id, and Avro, in base64",
            format!("curl -H 'Accept: application/vnd.kafka.binary.v2+json' '{records}'"),
        ),
        ("their schema", format!("curl {registry}/subjects/{TOPIC}-value/versions/latest")),
    ]
}

fn started_nats(Parts { http, url, cli }: &Parts<'_>) -> Vec<Command> {
    vec![
        ("follow the readings", format!("{cli} -u {url} subscribe --stream {NAME}")),
        (
            "publish a reading of your own by plain HTTP: the follower shows it arriving",
            format!("curl -d '{{\"gate\": \"mine\"}}' -H 'x-nats-key: {NAME}.mine' {http}/produce"),
        ),
        (
            "read what is there",
            format!(
                "curl -H 'Accept: application/json' '{http}/nats/streams/{NAME}/messages?sequence=0&max_bytes=1000'"
            ),
        ),
        ("where the stream begins", format!("{cli} -u {url} list-offsets --stream {NAME} --at earliest")),
    ]
}

fn kafka(Parts { http, url, cli }: &Parts<'_>) -> Vec<Command> {
    vec![
        ("a round trip", format!("{cli} -u {url} ping -c 3")),
        ("your topics", format!("curl {http}/kafka/topics")),
        ("one of them, followed", format!("{cli} -u {url} fetch TOPIC -p 0 --from latest --follow")),
        (
            "a record by plain HTTP, if `write.clusters` of your configuration (--config) names `default`",
            format!("curl -d hello -H 'x-kafka-topic: TOPIC' {http}/produce"),
        ),
    ]
}

fn nats(Parts { http, url, cli }: &Parts<'_>) -> Vec<Command> {
    vec![
        ("a round trip", format!("{cli} -u {url} ping -c 3")),
        ("your streams", format!("curl {http}/nats/streams")),
        ("one of them, followed", format!("{cli} -u {url} subscribe --stream STREAM")),
        (
            "a message by plain HTTP, if `write.clusters` of your configuration names `default`",
            format!("curl -d hello -H 'x-nats-topic: STREAM' -H 'x-nats-key: SUBJECT' {http}/produce"),
        ),
    ]
}

fn raw(source: &Source, url: &str) -> Command {
    let python = tools::workspace().join("target/tools/venv/bin/python");
    let (about, request) = match source {
        Source::Started(System::Kafka, ..) => {
            let fetch = CmdKafkaFetch { topic: NAME.into(), ..Default::default() };
            ("any WebSocket client will do: a fetch, as raw bytes", Req::CmdKafkaFetch(fetch))
        }
        Source::Started(System::Nats, ..) => {
            let fetch = CmdNatsFetch { stream: NAME.into(), ..Default::default() };
            ("any WebSocket client will do: a fetch, as raw bytes", Req::CmdNatsFetch(fetch))
        }
        Source::Servers(_) | Source::Config(..) => {
            let ping = CmdPing { state: "hello".into() };
            ("any WebSocket client will do: a ping, as raw bytes", Req::CmdPing(ping))
        }
    };
    let request = PubSubReq { sequence: 1, req: Some(request) }.encode_to_vec();
    let command = format!(
        "{} -c \"from websockets.sync.client import connect; ws = connect('{url}'); \
         ws.send(b'{}'); print(ws.recv())\"",
        python.display(),
        escaped(&request)
    );
    (about, command)
}

/// Escapes bytes for Python source and for a shell's double quotes.
fn escaped(bytes: &[u8]) -> String {
    let escape = |&byte: &u8| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' => char::from(byte).to_string(),
        _ => format!("\\x{byte:02x}"),
    };
    bytes.iter().map(escape).collect()
}
