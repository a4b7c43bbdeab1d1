//! A session over an in-memory stream, with the clock paused.

mod ending;
mod renewing;
mod turns;

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::{Buf, BytesMut};
use http_body_util::BodyExt as _;
use prost::Message;
use sluicegate_delivery::cluster::Cluster;
use sluicegate_delivery::testing::script::Script;
use sluicegate_protocol::control_req::Control as Ask;
use sluicegate_protocol::pub_sub_req::Req;
use sluicegate_protocol::pub_sub_resp::Resp;
use sluicegate_protocol::{
    Close, CmdEmpty, CmdKafkaFetch, CmdKafkaListOffset, CmdKafkaMultiFetch, CmdKafkaProduce, CmdPing,
    CmdSession, ControlReq, ControlResp, KafkaFetchResp, KafkaMessage, KafkaMultiFetchResp, PartitionOffset,
    ProduceRecord, PubSubReq, PubSubResp, Refusal, grpc,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::task::JoinHandle;

use super::intake::MAX_WAITING_REQUESTS;
use super::*;

/// The gateway's end of a session.
struct Peer {
    stream: DuplexStream,
    unread: BytesMut,
    session: JoinHandle<End>,
    drain: Drain,
    cluster: Arc<Cluster>,
    script: Arc<Script>,
}

impl Peer {
    fn start() -> Self {
        Self::with(|_| {})
    }

    fn with(change: impl FnOnce(&mut Limits)) -> Self {
        Self::overloaded(Overload::StopReading, change)
    }

    fn overloaded(overload: Overload, change: impl FnOnce(&mut Limits)) -> Self {
        Self::granted(overload, change, Granted::from)
    }

    fn granted(
        overload: Overload,
        change: impl FnOnce(&mut Limits),
        granted: impl FnOnce(Grant) -> Granted,
    ) -> Self {
        let mut limits = limits();
        change(&mut limits);
        let (stream, session) = tokio::io::duplex(PIPE_BYTES);
        let drain = Drain::default();
        let (cluster, script) = Script::cluster(MAX_FETCH);
        let granted = granted(Grant::all(&cluster));
        let run = {
            let drain = drain.clone();
            async move {
                run(Transport::stream(session, overload), Codec::Protobuf, granted, &limits, drain).await
            }
        };
        Self { stream, unread: BytesMut::new(), session: tokio::spawn(run), drain, cluster, script }
    }

    async fn send(&mut self, message: &[u8]) {
        self.stream.write_all(&framed(message)).await.unwrap();
    }

    async fn ask(&mut self, sequence: i64, req: Req) {
        self.send(&PubSubReq { sequence, req: Some(req) }.encode_to_vec()).await;
    }

    async fn control(&mut self, control: Ask) {
        self.ask(0, Req::Control(ControlReq { control: Some(control) })).await;
    }

    /// The next answer; `None` at the end of the stream.
    async fn next(&mut self) -> Option<PubSubResp> {
        loop {
            if let Some(head) = self.unread.first_chunk() {
                let len = usize::try_from(grpc::message_len(*head).unwrap()).unwrap();
                if self.unread.len() >= grpc::HEAD_LEN + len {
                    self.unread.advance(grpc::HEAD_LEN);
                    return Some(PubSubResp::decode(self.unread.split_to(len)).unwrap());
                }
            }
            if self.stream.read_buf(&mut self.unread).await.unwrap() == 0 {
                assert!(self.unread.is_empty(), "the stream ends within a message");
                return None;
            }
        }
    }

    async fn answer(&mut self) -> (i64, Resp) {
        let answer = self.next().await.expect("an answer");
        (answer.sequence, answer.resp.expect("a body"))
    }

    /// The remaining answers, and why the session ended.
    async fn rest(mut self) -> (Vec<PubSubResp>, End) {
        let mut answers = Vec::new();
        while let Some(answer) = self.next().await {
            answers.push(answer);
        }
        drop(self.stream);
        (answers, self.session.await.unwrap())
    }

    async fn expect_close(self, code: u32, reason: &str) -> End {
        let (answers, end) = self.rest().await;
        assert_eq!(answers, [close(code, reason)]);
        end
    }
}

pub(crate) fn limits() -> Limits {
    Limits {
        max_request_bytes: 1 << 20,
        max_commands: 16,
        answer_bytes: 1 << 20,
        ping_interval: Duration::from_secs(30),
        first_tick: Instant::now(),
        close_timeout: Duration::from_secs(5),
        drain_grace: Duration::from_secs(5),
    }
}

const PIPE_BYTES: usize = 16 * 1024;
const MAX_FETCH: usize = 256 * 1024;

fn framed(message: &[u8]) -> Vec<u8> {
    [&grpc::head(u32::try_from(message.len()).unwrap()), message].concat()
}

fn ping(state: &'static [u8]) -> Req {
    Req::CmdPing(CmdPing { state: state.into() })
}

/// A fetch that takes `millis` and returns `bytes`.
fn fetch(millis: u64, bytes: i32) -> Req {
    Req::CmdKafkaFetch(CmdKafkaFetch {
        topic: millis.to_string(),
        partition: bytes,
        offset: 0,
        ..Default::default()
    })
}

/// Produces this value to a topic whose look-up takes `millis`.
fn produce(millis: u64, value: impl Into<Bytes>) -> Req {
    let record = ProduceRecord { topic: millis.to_string(), value: Some(value.into()), ..Default::default() };
    produce_all(vec![record])
}

fn produce_all(records: Vec<ProduceRecord>) -> Req {
    Req::CmdKafkaProduce(CmdKafkaProduce { records, ..CmdKafkaProduce::default() })
}

fn control(control: Control) -> PubSubResp {
    PubSubResp { sequence: 0, resp: Some(Resp::Control(ControlResp { control: Some(control) })) }
}

fn close(code: u32, reason: &str) -> PubSubResp {
    control(Control::Close(Close { code, reason: reason.into() }))
}

fn error_of(resp: &Resp) -> &str {
    match resp {
        Resp::ErrorResp(error) => &error.message,
        other => panic!("expected an error: {other:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn unknown_and_wrong_requests_keep_the_session_open() {
    let mut peer = Peer::start();
    peer.ask(1, Req::CmdEmpty(CmdEmpty {})).await;
    peer.send(&[0x08, 0x02, 0xC2, 0x3E, 0x00]).await;
    peer.send(&[0xFF]).await;
    peer.send(&[]).await;
    peer.send(&[0x08, 0x05]).await;
    peer.control(Ask::Refusal(Refusal { sequence: 4, message: "too much".into() })).await;
    peer.ask(5, ping(b"")).await;
    for (sequence, message) in
        [(1, "unknown command"), (2, "unknown command"), (0, "wrong command"), (4, "too much")]
    {
        let (got, resp) = peer.answer().await;
        assert_eq!((got, error_of(&resp)), (sequence, message));
    }
    assert_eq!(peer.answer().await.0, 5);
}

/// The scripted records are as large as the numbers of their partitions.
#[tokio::test(start_paused = true)]
async fn client_gets_no_larger_messages_than_it_takes() {
    let mut peer = Peer::start();
    let place = |partition| PartitionOffset { topic: "0".into(), partition, offset: 0 };
    let many = |partitions: Vec<i32>| {
        let partitions = partitions.into_iter().map(place).collect();
        Req::CmdKafkaMultiFetch(CmdKafkaMultiFetch { partitions, ..Default::default() })
    };
    peer.ask(1, fetch(0, 20_000)).await;
    peer.ask(2, Req::CmdSession(CmdSession { max_message_bytes: Some(8_192) })).await;
    peer.ask(3, fetch(0, 20_000)).await;
    peer.ask(4, many(vec![20_000, 10])).await;
    peer.ask(5, many(vec![0; 13])).await;
    peer.ask(6, produce_all(vec![ProduceRecord::default(); 26])).await;
    peer.ask(7, many(vec![5_000, 1_400, 1_400, 1_400])).await;
    peer.ask(8, ping(&[0; 9_000])).await;
    let mut all = BTreeMap::new();
    for _ in 1..=8 {
        let answer = peer.next().await.unwrap();
        assert!(answer.sequence == 1 || answer.encoded_len() <= 8_192, "{answer:?}");
        let of = |fetched: &KafkaFetchResp| match &fetched.messages[..] {
            [] => "none",
            [KafkaMessage { error: Some(error), .. }] => error.reason().as_str_name(),
            [_] => "one",
            more => panic!("{more:?}"),
        };
        let told = match answer.resp.unwrap() {
            Resp::KafkaFetchResp(fetched) => vec![of(&fetched)],
            Resp::KafkaMultiFetchResp(KafkaMultiFetchResp { results }) => {
                results.iter().map(|result| of(result.fetched.as_ref().unwrap())).collect()
            }
            Resp::ErrorResp(error) => vec![error.reason().as_str_name()],
            _ => Vec::new(),
        };
        all.insert(answer.sequence, told);
    }
    let part = all.remove(&7).unwrap();
    assert!(part.contains(&"one") && part.contains(&"none"), "{part:?}");
    let invalid = vec!["INVALID_COMMAND"];
    let (large, many) = (vec!["TOO_LARGE"], vec!["TOO_LARGE", "one"]);
    assert_eq!(all.remove(&8), Some(large.clone()));
    let want = [(1, vec!["one"]), (2, Vec::new()), (3, large), (4, many), (5, invalid.clone()), (6, invalid)];
    assert_eq!(all, want.into());
}

#[tokio::test(start_paused = true)]
async fn slow_command_does_not_delay_others() {
    let mut peer = Peer::start();
    peer.ask(1, fetch(900, 10)).await;
    peer.ask(2, fetch(100, 20)).await;
    let list = CmdKafkaListOffset { topic: "t".into(), partition: 0, timestamp: 42 };
    peer.ask(3, Req::CmdKafkaListOffset(list)).await;
    peer.control(Ask::Pong("p".into())).await;
    let mut order = Vec::new();
    for _ in 0..4 {
        order.push(peer.answer().await.0);
    }
    assert_eq!(order, [0, 3, 2, 1]);
}

/// As many commands as can run at the same time, although their answers do not all fit.
#[tokio::test(start_paused = true)]
async fn ping_and_close_pass_slow_commands() {
    let mut peer = Peer::start();
    let start = Instant::now();
    for sequence in 1..=16 {
        peer.ask(sequence, fetch(5_000, i32::try_from(MAX_FETCH / 2).unwrap())).await;
    }
    peer.ask(17, ping(b"quick")).await;
    assert_eq!(peer.answer().await.0, 17);
    let asked = Close { code: 4000, reason: "enough".into() };
    peer.control(Ask::Close(asked.clone())).await;
    peer.ask(18, ping(b"")).await;
    // It cancels commands, and its echo is the last answer.
    assert_eq!(peer.expect_close(4000, "enough").await, End::Closed(asked));
    assert!(start.elapsed() < Duration::from_millis(100), "{:?}", start.elapsed());
}

#[tokio::test(start_paused = true)]
async fn commands_beyond_the_limit_wait() {
    let mut peer = Peer::with(|limits| limits.max_commands = 2);
    let start = Instant::now();
    for sequence in 1..=4 {
        peer.ask(sequence, fetch(100, 10)).await;
    }
    for (sequence, millis) in [(1, 100), (2, 100), (3, 200), (4, 200)] {
        assert_eq!(peer.answer().await.0, sequence);
        assert_eq!(start.elapsed().as_millis(), millis);
    }
}

#[tokio::test(start_paused = true)]
async fn unread_answers_are_bounded() {
    let mut peer = Peer::start();
    let each = i32::try_from(MAX_FETCH / 2).unwrap();
    let asked = tokio::spawn(async move {
        for sequence in 1..=100 {
            peer.ask(sequence, fetch(1, each)).await;
        }
        peer
    });
    tokio::time::sleep(Duration::from_secs(20)).await;
    let peer = asked.await.unwrap();
    let made = peer.cluster.metrics.answer_bytes.get();
    assert!((1 << 19..=(1 << 20) + PIPE_BYTES as u64 + 1024).contains(&made), "{made} bytes were made");
    drop(peer.stream);
    assert_eq!(peer.session.await.unwrap(), End::Left);
}

#[tokio::test(start_paused = true)]
async fn input_is_not_read_while_output_is_blocked() {
    let mut peer = Peer::start();
    let request = framed(&PubSubReq { sequence: 1, req: Some(ping(&[7; 1000])) }.encode_to_vec());
    let mut sent = 0;
    while tokio::time::timeout(Duration::from_secs(1), peer.stream.write_all(&request)).await.is_ok() {
        sent += request.len();
    }
    assert!(sent < (1 << 16) + 4 * PIPE_BYTES, "{sent} bytes were taken");
    assert!(sent > 1 << 16, "only {sent} bytes were taken");
}

/// Small requests up to the limit, and beyond it, while output is blocked.
#[tokio::test(start_paused = true)]
async fn unpadded_peer_is_read_until_too_much_waits() {
    let mut peer = Peer::overloaded(Overload::CloseSession, |_| {});
    // More answers than the pipe and the session's own lane hold.
    for _ in 0..8 {
        peer.ask(0, ping(&[7; 16 * 1024])).await;
    }
    let request = framed(&PubSubReq { sequence: 1, req: Some(ping(b"")) }.encode_to_vec());
    let pause = Duration::from_secs(1);
    for _ in 0..MAX_WAITING_REQUESTS - 10 {
        tokio::time::timeout(pause, peer.stream.write_all(&request)).await.expect("it is read").unwrap();
    }
    tokio::time::sleep(pause).await;
    assert!(!peer.session.is_finished());
    for _ in 0..20 {
        peer.stream.write_all(&request).await.unwrap();
    }
    let (answers, end) = peer.rest().await;
    let bytes = 4 << 20;
    assert_eq!(end, End::TooManyWaiting { requests: MAX_WAITING_REQUESTS, bytes });
    let reason = "too many waiting requests (limits: 1000, 4194304 bytes), read answers before sending more";
    assert_eq!(answers.last(), Some(&close(1008, reason)));
}

#[tokio::test(start_paused = true)]
async fn unpadded_peer_is_read_until_too_many_bytes_wait() {
    let mut peer = Peer::overloaded(Overload::CloseSession, |limits| limits.max_commands = 1);
    let pause = Duration::from_secs(1);
    for sequence in 0..5 {
        let asked = peer.ask(sequence, produce(60_000, vec![0; 1_000_000]));
        tokio::time::timeout(pause, asked).await.expect("it is read");
    }
    tokio::time::sleep(pause).await;
    assert!(!peer.session.is_finished());
    peer.ask(6, produce(60_000, vec![0; 1_000_000])).await;
    let (_, end) = peer.rest().await;
    assert!(matches!(end, End::TooManyWaiting { .. }), "{end:?}");
}

/// A session stops taking requests before its stream ends when it drains and when it is closed.
#[tokio::test(start_paused = true)]
async fn unpadded_peer_is_read_while_its_session_ends() {
    let request = framed(&PubSubReq { sequence: 1, req: Some(ping(b"")) }.encode_to_vec());
    for drains in [true, false] {
        let mut peer = Peer::overloaded(Overload::CloseSession, |_| {});
        peer.ask(1, fetch(3_000, 200_000)).await;
        if !drains {
            tokio::time::sleep(Duration::from_secs(4)).await;
            peer.control(Ask::Close(Close { code: 1000, reason: String::new() })).await;
        }
        peer.drain.begin(1, Duration::ZERO);
        for _ in 0..PIPE_BYTES {
            let written = tokio::time::timeout(Duration::from_secs(1), peer.stream.write_all(&request));
            written.await.expect("it is read").unwrap();
        }
        assert!(peer.rest().await.0.len() >= 2);
    }
}

#[tokio::test(start_paused = true)]
async fn unfinished_message_closes_with_1008_in_time() {
    let mut peer = Peer::start();
    let start = Instant::now();
    peer.control(Ask::Unfinished(1)).await;
    tokio::time::sleep(Duration::from_secs(80)).await;
    peer.control(Ask::Unfinished(3)).await;
    tokio::time::sleep(Duration::from_secs(80)).await;
    peer.control(Ask::Unfinished(0)).await;
    tokio::time::sleep(Duration::from_secs(80)).await;
    peer.control(Ask::Unfinished(4)).await;
    assert_eq!(start.elapsed().as_secs(), 240);
    let close = loop {
        match peer.next().await.expect("a close") {
            ping if ping == control(Control::Ping(Bytes::new())) => {
                peer.control(Ask::Alive(Bytes::new())).await
            }
            close => break close,
        }
    };
    assert_eq!(close, self::close(1008, "message not finished within 90s"));
    assert_eq!(start.elapsed().as_secs(), 330);
    drop(peer.stream);
    assert_eq!(peer.session.await.unwrap(), End::Unfinished(Duration::from_secs(90)));
}

#[tokio::test(start_paused = true)]
async fn oversized_answers_are_delivered_one_at_a_time() {
    let mut peer = Peer::with(|limits| limits.answer_bytes = 16 * 1024);
    for sequence in 1..=3 {
        peer.ask(sequence, fetch(10, 100_000)).await;
    }
    for sequence in 1..=3 {
        let (got, resp) = peer.answer().await;
        assert_eq!(got, sequence);
        assert!(matches!(resp, Resp::KafkaFetchResp(_)));
    }
}

#[tokio::test(start_paused = true)]
async fn records_are_enqueued_in_the_order_of_their_commands() {
    let mut peer = Peer::start();
    // Topics of later commands are found earlier.
    for number in 0..10_u8 {
        peer.ask(number.into(), produce(100 - 10 * u64::from(number), vec![number])).await;
    }
    for number in 0..10_i64 {
        let (sequence, resp) = peer.answer().await;
        let Resp::KafkaProduceResp(produced) = resp else { panic!("{resp:?}") };
        assert_eq!((sequence, produced.results[0].offset), (number, number));
    }
    assert_eq!(peer.script.taken(), (0..10_u8).map(|number| vec![number]).collect::<Vec<_>>());
}

#[tokio::test(start_paused = true)]
async fn records_in_flight_count_against_answer_bytes() {
    let mut peer = Peer::with(|limits| limits.answer_bytes = 100_000);
    peer.ask(1, produce(100, vec![0; 60_000])).await;
    peer.ask(2, produce(0, vec![1; 60_000])).await;
    peer.ask(3, ping(b"")).await;
    assert_eq!(peer.answer().await.0, 3);
    assert_eq!(peer.answer().await.0, 1);
    assert_eq!(peer.answer().await.0, 2);
}

#[tokio::test(start_paused = true)]
async fn refused_command_lets_no_later_one_overtake() {
    let mut peer = Peer::start();
    peer.ask(1, produce(100, "first")).await;
    let topic = |topic: i32| ProduceRecord { topic: topic.to_string(), ..Default::default() };
    peer.ask(2, produce_all((0..51).map(topic).collect())).await;
    peer.ask(3, produce(0, "third")).await;
    for _ in 0..3 {
        let (sequence, resp) = peer.answer().await;
        assert_eq!(matches!(resp, Resp::ErrorResp(_)), sequence == 2, "{sequence}: {resp:?}");
    }
    assert_eq!(peer.script.taken(), ["first", "third"]);
}

#[tokio::test(start_paused = true)]
async fn records_count_with_their_decoded_size() {
    let mut peer = Peer::with(|limits| limits.answer_bytes = 320_000);
    let headers = vec![Default::default(); 100];
    let record = ProduceRecord { topic: "100".to_owned(), headers, ..Default::default() };
    // About 2 KB encoded and 60 KB decoded: a fetch does not fit beside them.
    peer.ask(1, produce_all(vec![record; 10])).await;
    peer.ask(2, fetch(0, 1)).await;
    assert_eq!(peer.answer().await.0, 1);
    assert_eq!(peer.answer().await.0, 2);
}
