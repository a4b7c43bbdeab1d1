//! Requests of clients and gateways, as filter and bridge decode them.

use std::sync::LazyLock;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use sluicegate_bridge::config::{Config, RouteClusters};
use sluicegate_bridge::testing;
use sluicegate_protocol::codec::Codec;
use sluicegate_protocol::grpc::{self, HEAD_LEN};

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
