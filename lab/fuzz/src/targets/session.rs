//! WebSocket frames of a client and gRPC messages of the bridge.

use sluicegate_protocol::codec::Codec;

use crate::session_invariant::check;

/// The codec, where each stream is cut, and how long the client's stream is; then both streams.
pub(super) fn session(input: &[u8]) {
    let Some(([codec, first, second, third, len @ ..], streams)) = input.split_first_chunk::<6>() else {
        return;
    };
    let codec = if codec & 1 == 0 { Codec::Protobuf } else { Codec::Json };
    let len = usize::from(u16::from_le_bytes(*len)).min(streams.len());
    let (client, bridge) = streams.split_at(len);
    check(codec, client, bridge, &[first, second, third].map(|cut| usize::from(*cut)));
}
