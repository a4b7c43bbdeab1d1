//! Requests of clients and gateways, as filter and bridge decode them; answers of Kafka's brokers, and messages of NATS
//! servers.

use std::sync::LazyLock;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use sluicegate_bridge::config::{Config, RouteClusters};
use sluicegate_bridge::testing;
use sluicegate_nats::testing as nats;
use sluicegate_protocol::codec::Codec;
use sluicegate_protocol::grpc::{self, HEAD_LEN};
use sluicegate_reader::testing as kafka;

use super::{headers, parts};
use crate::session_invariant::{self, pieces};

/// WebSocket frames of a client and gRPC messages of the bridge: the codec, where each stream is cut, and how long the
/// client's stream is; then both streams.
pub(super) fn session(input: &[u8]) {
    let Some(([codec, first, second, third, len @ ..], streams)) = input.split_first_chunk::<6>() else {
        return;
    };
    let codec = if codec & 1 == 0 { Codec::Protobuf } else { Codec::Json };
    let len = usize::from(u16::from_le_bytes(*len)).min(streams.len());
    let (client, bridge) = streams.split_at(len);
    session_invariant::check(codec, client, bridge, &[first, second, third].map(|cut| usize::from(*cut)));
}

/// The largest message, where the stream is cut, and the stream: gRPC messages of a gateway.
pub(super) fn grpc_messages(input: &[u8]) {
    let Some(([max, cuts @ ..], stream)) = input.split_first_chunk::<5>() else { return };
    let max = 4 * usize::from(*max);
    let (whole, is_valid) = testing::grpc_messages(&[stream], max);
    let pieces = pieces(stream, &cuts.map(usize::from));
    assert_eq!(testing::grpc_messages(&pieces, max), (whole.clone(), is_valid));
    let mut rest = stream;
    for message in &whole {
        assert!(message.len() <= max);
        let framed = [&grpc::head(u32::try_from(message.len()).unwrap())[..], message].concat();
        rest = rest.strip_prefix(&framed[..]).expect("a message that was not sent");
    }
    // An unfinished message, or one that is refused.
    let head = rest.first_chunk().map(|head| grpc::message_len(*head).ok());
    let refused = head.is_some_and(|len| len.is_none_or(|len| len as usize > max));
    assert_eq!(is_valid, !refused);
    if let Some(Some(len)) = head.filter(|_| is_valid) {
        assert!(rest.len() < HEAD_LEN + len as usize, "a whole message is left");
    }
}

/// A byte that tells whether the rest is encoded in base64, and the rest: a cluster's definition.
pub(super) fn cluster_definitions(input: &[u8]) {
    static ROUTES: LazyLock<RouteClusters> = LazyLock::new(|| {
        let config = Config::load(CONFIG, std::iter::empty());
        config.unwrap_or_else(|problems| panic!("{problems:?}")).route_clusters
    });
    let Some((is_encoded, rest)) = input.split_first() else { return };
    if is_encoded & 1 == 1 {
        testing::cluster_definition(rest, &ROUTES);
    } else {
        testing::cluster_definition(STANDARD.encode(rest).as_bytes(), &ROUTES);
    }
}

const CONFIG: &str = "[clusters.default]\nbootstrap.servers = \"kafka:9092\"\n";

/// Messages of sessions, in protobuf.
pub(super) fn requests(input: &[u8]) {
    testing::message(&Bytes::copy_from_slice(input), Codec::Protobuf);
}

/// Messages of sessions, in JSON.
pub(super) fn json_commands(input: &[u8]) {
    testing::message(&Bytes::copy_from_slice(input), Codec::Json);
}

/// Paths and queries.
pub(super) fn targets(input: &[u8]) {
    if let Ok(target) = std::str::from_utf8(input) {
        testing::target(target);
    }
}

/// Headers, NUL, a body.
pub(super) fn writes(input: &[u8]) {
    let [lines, body] = parts(input);
    testing::write(&headers(lines), &Bytes::copy_from_slice(body));
}

/// The header `Last-Event-ID`.
pub(super) fn event_ids(input: &[u8]) {
    if let Ok(id) = std::str::from_utf8(input) {
        testing::event_id(id);
    }
}

/// The request and its version, then the answer; or a challenge of SCRAM.
pub(super) fn kafka_answers(input: &[u8]) {
    let Some((&[request, version], answer)) = input.split_first_chunk() else { return };
    if request & 8 == 0 {
        let _ = kafka::answer(request, version, &Bytes::copy_from_slice(answer));
    } else if let Ok(challenge) = std::str::from_utf8(answer) {
        let _ = kafka::check_challenge(challenge);
    }
}

/// A subject, where to answer, the status, headers in lines, and a payload.
pub(super) fn nats_messages(input: &[u8]) {
    let [subject, reply_to, status, headers, payload] = parts(input);
    let subject = Bytes::copy_from_slice(subject);
    let text = |bytes: &[u8]| std::str::from_utf8(bytes).unwrap_or_default().to_owned();
    let (reply_to, headers) = (text(reply_to), text(headers));
    nats::subject(&subject, &reply_to);
    let (subject, status) = (text(&subject), text(status).parse().unwrap_or_default());
    nats::message(&subject, &reply_to, status, &headers, &Bytes::copy_from_slice(payload));
}
