//! A client that breaks RFC 6455 is told in what, by one close frame, and then there is nothing more.

use futures_util::future::join_all;
use sluicegate_tests::in_every_way;
use sluicegate_tests::stack::Stack;
use sluicegate_tests::way::Way;

use crate::peer::{Peer, ping, pong};
use crate::raw::{BINARY, CLOSE, FIN, Frame, PING, PONG, Raw, TEXT, close, head, masked};
use crate::stacks::committed;

/// What each of these gets, at the beginning of a session and behind a good request, while another session is open.
async fn check(stack: &Stack, violations: Vec<(String, Vec<u8>, Frame)>) {
    let mut bystander = Peer::open(stack).await;
    bystander.is_idle().await;
    join_all(violations.iter().map(async |(what, bytes, want)| {
        let mut raw = Raw::open(stack).await;
        raw.write(bytes).await;
        raw.is_closed(want, what).await;
        let mut raw = Raw::open(stack).await;
        // What follows is not looked at any more.
        let late = masked(BINARY, &ping(8, b"late"));
        raw.write(&[&masked(BINARY, &ping(7, b"good")), bytes.as_slice(), &late].concat()).await;
        assert_eq!(raw.answer().await, pong(7, b"good"), "{what}");
        raw.is_closed(want, what).await;
    }))
    .await;
    bystander.is_idle().await;
}

fn breaks(what: impl Into<String>, bytes: Vec<u8>, reason: &str) -> (String, Vec<u8>, Frame) {
    (what.into(), bytes, close(1002, reason))
}

async fn frames_that_break_the_rules_are_answered_with_1002(way: Way) {
    let stack = committed(way).await;
    let mut all = Vec::new();
    for (what, first) in [("binary", BINARY), ("text", TEXT), ("ping", PING), ("close", CLOSE)] {
        let unmasked = [head(first, 0, 2), b"\x03\xE8".to_vec()].concat();
        all.push(breaks(format!("{what} without a mask"), unmasked, "frame without a mask"));
    }
    for bit in [0x40, 0x20, 0x10] {
        for first in [BINARY, PING, CLOSE] {
            let what = format!("bit {bit:#x} on {first:#x}");
            all.push(breaks(what, masked(first | bit, b""), "reserved bits set"));
        }
    }
    for opcode in (0x3..=0x7).chain(0xB..=0xF) {
        all.push(breaks(format!("opcode {opcode:#x}"), masked(FIN | opcode, b"x"), "reserved opcode"));
    }
    for first in [PING, PONG, CLOSE] {
        let fragmented = masked(first & !FIN, b"");
        all.push(breaks(format!("{first:#x} fragmented"), fragmented, "fragmented control frame"));
        let long = masked(first, &[b'x'; 126]);
        all.push(breaks(format!("{first:#x} of 126 bytes"), long, "control frame over 125 bytes"));
    }
    let stray = "continuation without a first frame";
    all.push(breaks("a continuation", masked(0, b"x"), stray));
    all.push(breaks("a last continuation", masked(FIN, b"x"), stray));
    let after_a_message = [masked(TEXT & !FIN, b"a"), masked(FIN, b"b"), masked(FIN, b"c")].concat();
    all.push(breaks("a continuation too many", after_a_message, stray));
    for second in [TEXT, BINARY, BINARY & !FIN] {
        let inside = [masked(BINARY & !FIN, b"a"), masked(second, b"b")].concat();
        all.push(breaks(format!("{second:#x} inside"), inside, "new message inside a fragmented one"));
    }
    let long = [head(BINARY, 0x80, 1 << 63), vec![0; 4]].concat();
    all.push(breaks("a length of 2^63", long, "payload length over 63 bits"));
    check(&stack, all).await;
}

async fn close_frames_that_break_the_rules_are_answered_with_1002(way: Way) {
    let stack = committed(way).await;
    let mut all = vec![breaks("half a code", masked(CLOSE, b"\x03"), "close payload of 1 byte")];
    for code in [0_u16, 999, 1004, 1005, 1006, 1015, 1016, 2999, 5000, 65_535] {
        let bytes = masked(CLOSE, &code.to_be_bytes());
        all.push(breaks(format!("code {code}"), bytes, "close code that must not be sent"));
    }
    check(&stack, all).await;
}

async fn text_that_is_not_utf8_is_answered_with_1007(way: Way) {
    let stack = committed(way).await;
    let texts: [(&str, Vec<u8>); 6] = [
        ("0xFF", masked(TEXT, b"\xFF")),
        ("a surrogate", masked(TEXT, b"\xED\xA0\x80")),
        ("an overlong slash", masked(TEXT, b"\xC0\xAF")),
        ("a character that is cut off", masked(TEXT, b"sp\xC3")),
        ("in fragments", [masked(TEXT & !FIN, b"\xC3"), masked(FIN, b"\x28")].concat()),
        ("a close reason", masked(CLOSE, b"\x03\xE8\xFF")),
    ];
    let want = || close(1007, "text that is not UTF-8");
    check(&stack, texts.map(|(what, bytes)| (what.to_owned(), bytes, want())).to_vec()).await;
}

in_every_way! {
    frames_that_break_the_rules_are_answered_with_1002
    close_frames_that_break_the_rules_are_answered_with_1002
    text_that_is_not_utf8_is_answered_with_1007
}
