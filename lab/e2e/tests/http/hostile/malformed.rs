//! Kinds of malformed requests, each with its expected answer.

use sluicegate_stack::random::Random;

/// A kind of request, made from random numbers for a topic that must stay empty.
pub(super) struct Class {
    pub(super) name: &'static str,
    pub(super) make: fn(&mut Random, &str) -> Vec<u8>,
    pub(super) want: Want,
}

/// Expected answers.
#[derive(Debug)]
pub(super) enum Want {
    /// Answers of these statuses alone, one at least.
    Status(&'static [u16]),
    /// These answers.
    Sequence(&'static [u16]),
    /// Nothing: the server waits for the rest.
    Silence,
    /// As `Status`, or the end without a word.
    StatusOrEnd(&'static [u16]),
}

use Want::{Sequence, Silence, Status, StatusOrEnd};

macro_rules! classes {
    ($($name:literal => $want:expr, |$random:ident, $topic:ident| $make:expr;)+) => {
        pub(super) const CLASSES: &[Class] = &[
            $(Class { name: $name, want: $want, make: |$random, $topic| { let _ = (&$random, &$topic); $make } },)+
        ];
    };
}

classes! {
    // Envoy joins a folded line to the one before it, which makes no topic's name.
    "a header's name that is none" => Status(&[400, 404]), |random, topic| {
        let bad = ["a b: c", ": c", "a\u{0}b: c", "a(b): c", " folded: c", "a\u{e9}: c", "no colon", "a[]: c"];
        produce(topic, &format!("{}\r\n", bad[random.below(bad.len())]), b"v")
    };
    "a header's value with a control character" => Status(&[400]), |random, topic| {
        let bad = pick(random, b"\x00\x01\x7F\n\x0B\x1B");
        with_length("POST /any", &[format!("x-kafka-topic: {topic}\r\nx-kafka-key: a").as_bytes(), &[bad],
            b"b\r\n"].concat(), b"v")
    };
    "headers that are too long" => Status(&[431]), |random, topic| {
        produce(topic, &format!("x-kafka-key: {}\r\n", "k".repeat(70_000 + random.below(50_000))), b"v")
    };
    "too many headers" => Status(&[431]), |random, topic| {
        let headers: String = (0..200 + random.below(200)).map(|at| format!("x-kafka-header-{at}: v\r\n")).collect();
        produce(topic, &headers, b"v")
    };
    "a path that is too long" => Status(&[431]), |random, topic| {
        with_length(&format!("POST /any/{}", "p".repeat(70_000 + random.below(10_000))), b"", b"v")
    };
    "a path that no URL has" => Status(&[400, 404]), |random, topic| {
        let bad = pick(random, b"\"<>\\^`{|}\xE9\x7F");
        [b"POST /any", [bad].as_slice(), b" HTTP/1.1\r\nhost: a\r\ncontent-length: 1\r\n\r\nv"].concat()
    };
    "a method that is none" => Status(&[400, 404, 405, 501]), |random, topic| {
        let method = ["post", "P\u{0}ST", "GET,POST", "", "(POST)", "P\tOST", "POST\u{1}", "CONNECT"][random.below(8)];
        with_length(&format!("{method} /any"), format!("x-kafka-topic: {topic}\r\n").as_bytes(), b"v")
    };
    "no version, or another" => StatusOrEnd(&[400, 426, 505]), |random, topic| {
        let version = ["HTTP/1.0", "HTTP/0.9", "HTTP/2.0", "HTTP/9.9", "HTTP/1.1x", "http/1.1", "",
            "ICAP/1.0"][random.below(8)];
        format!("POST /any {version}\r\nhost: a\r\nx-kafka-topic: {topic}\r\ncontent-length: 1\r\n\r\nv").into_bytes()
    };
    "no host, or one that is none" => Status(&[400]), |random, topic| {
        let hosts = ["", "host: a b\r\n", "host: /\r\n"][random.below(3)];
        format!("POST /any HTTP/1.1\r\n{hosts}x-kafka-topic: {topic}\r\ncontent-length: 1\r\n\r\nv").into_bytes()
    };
    "no HTTP at all" => StatusOrEnd(&[400]), |random, topic| {
        let len = random.below(200) + 1;
        [b"\xFF", random.bytes(len).as_slice(), b"\r\n\r\n"].concat()
    };
    "a body that stops" => Silence, |random, topic| {
        let body = vec![b'x'; random.below(5_000)];
        let missing = random.below(1 << 19) + 1;
        framed(topic, &format!("content-length: {}\r\n", body.len() + missing), &body)
    };
    "a body that is cut off" => Status(&[400]), |random, topic| {
        // The rest of it stands where a request should.
        framed(topic, "content-type: application/json\r\ncontent-length: 3\r\n", b"{\"a\":\"\x00\x01 b\"}\r\n\r\n")
    };
    "a length that is none" => Status(&[400]), |random, topic| {
        let bad = ["-1", "+1", "0x1", "1.0", "one", "99999999999999999999999", "1 1", "", "1;"];
        framed(topic, &format!("content-length: {}\r\n", bad[random.below(bad.len())]), b"v")
    };
    "two lengths" => Status(&[400]), |random, topic| {
        let both = ["content-length: 1\r\ncontent-length: 2\r\n", "content-length: 1, 2\r\n",
            "content-length: 2\r\nContent-Length: 1\r\n"];
        framed(topic, both[random.below(3)], b"v")
    };
    "a length beside chunks" => Status(&[400]), |random, topic| {
        let (chunked, length) = ("transfer-encoding: chunked\r\n", format!("content-length: {}\r\n", random.below(50)));
        let both = if random.below(2) == 0 { format!("{chunked}{length}") } else { format!("{length}{chunked}") };
        framed(topic, &both, &[b"0\r\n\r\n", smuggled(topic).as_slice()].concat())
    };
    "an encoding in disguise" => Status(&[400, 501]), |random, topic| {
        let bad = ["transfer-encoding: xchunked", "transfer-encoding: chunked, identity", "transfer-encoding : chunked",
            "transfer-encoding: \u{b}chunked", "transfer-encoding: chunked\u{0}", "transfer-encoding: identity",
            "transfer-encoding: gzip, chunked", "transfer-encoding: chunked\r\ntransfer-encoding: x",
            "transfer-encoding:\u{1}chunked", "transfer-encoding: \"chunked\"", "transfer-encoding: chunked;x=y",
            "x: y\ntransfer-encoding: x", "transfer-encoding: cow"];
        let line = bad[random.below(bad.len())];
        framed(topic, &format!("{line}\r\n"), &[b"1\r\nv\r\n0\r\n\r\n", smuggled(topic).as_slice()].concat())
    };
    "a chunk's size that is none" => Status(&[400]), |random, topic| {
        let bad = ["x", "-1", "0x1", "FFFFFFFFFFFFFFFFF", "\r\n", "1\u{0}", "+1", "\u{e9}"];
        let body = format!("{}\r\nv\r\n0\r\n\r\n", bad[random.below(bad.len())]);
        framed(topic, "transfer-encoding: chunked\r\n", body.as_bytes())
    };
    // Envoy passes over what is between a chunk and the next line, so that there is a request, and it names no topic.
    "a chunk that is longer than it says" => Status(&[400]), |random, topic| {
        let body = format!("1\r\n{}\r\n0\r\n\r\n", "v".repeat(random.below(100) + 2));
        format!("POST /any HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n{body}").into_bytes()
    };
    "a chunk that is shorter than it says" => Silence, |random, topic| {
        let body = format!("{:x}\r\nv\r\n0\r\n\r\n", random.below(100_000) + 20);
        framed(topic, "transfer-encoding: chunked\r\n", body.as_bytes())
    };
    "chunks without an end" => Silence, |random, topic| {
        let chunk = format!("{:x}\r\n{}\r\n", 300, "v".repeat(300));
        framed(topic, "transfer-encoding: chunked\r\n", chunk.repeat(random.below(50)).as_bytes())
    };
    "a topic in a trailer" => Status(&[400]), |random, topic| {
        format!("POST /any HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n1\r\nv\r\n0\r\n\
                 x-kafka-topic: {topic}\r\n\r\n").into_bytes()
    };
    "a good request behind a refused one" => Sequence(&[415, 200, 405]), |random, topic| {
        let bad = produce(topic, "content-encoding: x\r\n", &vec![b'v'; random.below(3_000)]);
        [bad, plain("GET /kafka/topics", ""), plain("DELETE /kafka/topics", "")].concat()
    };
    "a body that says it is larger than all" => StatusOrEnd(&[413]), |random, topic| {
        framed(topic, "content-length: 1048577\r\n", &vec![b'v'; 1_048_577])
    };
}

/// A request that must not be found where a body is.
fn smuggled(topic: &str) -> Vec<u8> {
    produce(topic, "", b"smuggled")
}

/// To the route on which headers say everything.
fn produce(topic: &str, headers: &str, body: &[u8]) -> Vec<u8> {
    with_length("POST /any", format!("x-kafka-topic: {topic}\r\n{headers}").as_bytes(), body)
}

fn with_length(line: &str, headers: &[u8], body: &[u8]) -> Vec<u8> {
    let length = format!("content-length: {}\r\n\r\n", body.len());
    [line.as_bytes(), b" HTTP/1.1\r\nhost: gateway.example\r\n", headers, length.as_bytes(), body].concat()
}

/// With these headers alone for its length, and whatever behind them.
fn framed(topic: &str, headers: &str, rest: &[u8]) -> Vec<u8> {
    let head =
        format!("POST /any HTTP/1.1\r\nhost: gateway.example\r\nx-kafka-topic: {topic}\r\n{headers}\r\n");
    [head.as_bytes(), rest].concat()
}

/// Without a body.
fn plain(line: &str, headers: &str) -> Vec<u8> {
    format!("{line} HTTP/1.1\r\nhost: gateway.example\r\n{headers}\r\n").into_bytes()
}

fn pick(random: &mut Random, from: &[u8]) -> u8 {
    from[random.below(from.len())]
}
