//! Clients that break RFC 6455 are closed with the reason, and get nothing more.

use futures_util::future::join_all;
use sluicegate_stack::raw::{BINARY, CLOSE, FIN, PING, Raw, TEXT, close, head, masked};
use sluicegate_stack::way::Way;
use sluicegate_tests::in_every_way;

use crate::sessions::peer::{Peer, ping, pong};
use crate::sessions::stacks::committed;

async fn broken_frames_close_with_their_code(way: Way) {
    let stack = &committed(way).await;
    let mut bystander = Peer::open(stack).await;
    bystander.is_idle().await;
    let unmasked = [head(BINARY, 0, 2), b"\x03\xE8".to_vec()].concat();
    let inside = [masked(BINARY & !FIN, b"a"), masked(BINARY, b"b")].concat();
    let violations = [
        (unmasked, 1002, "frame without a mask"),
        (masked(PING | 0x40, b""), 1002, "reserved bits set"),
        (inside, 1002, "new message inside a fragmented one"),
        (masked(CLOSE, &1005_u16.to_be_bytes()), 1002, "close code that must not be sent"),
        (masked(TEXT, b"\xED\xA0\x80"), 1007, "text that is not UTF-8"),
    ];
    join_all(violations.iter().map(async |(bytes, code, reason)| {
        let want = close(*code, reason);
        let mut raw = Raw::open(stack.gateway()).await;
        raw.write(bytes).await;
        raw.is_closed(&want, reason).await;
        let mut raw = Raw::open(stack.gateway()).await;
        // Later frames are ignored.
        let late = masked(BINARY, &ping(8, b"late"));
        raw.write([&masked(BINARY, &ping(7, b"good")), bytes.as_slice(), &late].concat()).await;
        assert_eq!(raw.answer().await, pong(7, b"good"), "{reason}");
        raw.is_closed(&want, reason).await;
    }))
    .await;
    bystander.is_idle().await;
}

in_every_way! {
    broken_frames_close_with_their_code
}
