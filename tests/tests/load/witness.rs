//! A well-behaved client that asks one thing after another and takes the time.

use std::time::Duration;

use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use prost::Message as _;
use sluicegate_protocol::pub_sub_req::Req;
use sluicegate_protocol::pub_sub_resp::Resp;
use sluicegate_protocol::{CmdKafkaFetch, CmdPing, PubSubReq, PubSubResp};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

use crate::bench::Bench;

pub(crate) struct Witness {
    stream: WebSocketStream<MaybeTlsStream<TcpStream>>,
    topic: &'static str,
    sequence: i64,
    undisturbed: Latency,
}

/// Of [`COUNT`] commands each.
#[derive(Clone, Copy, Debug)]
struct Latency {
    ping: Percentiles,
    fetch: Percentiles,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Percentiles {
    pub(crate) p50: Duration,
    pub(crate) p99: Duration,
}

impl Witness {
    /// Takes the time while nobody else is there.
    pub(crate) async fn new(bench: &Bench) -> Self {
        let (stream, _) =
            timeout(WITHIN, connect_async(bench.stack.url())).await.expect("an upgrade").unwrap();
        let nothing = Percentiles { p50: Duration::ZERO, p99: Duration::ZERO };
        let undisturbed = Latency { ping: nothing, fetch: nothing };
        let mut witness = Self { stream, topic: bench.small, sequence: 0, undisturbed };
        witness.latency().await;
        witness.undisturbed = witness.latency().await;
        witness
    }

    /// Commands are answered as when nobody else was there, by a machine that is busy with other things as well: half of
    /// them nearly as fast, nearly all without a stall.
    pub(crate) async fn check(&mut self, what: &str) {
        self.check_within(what, Percentiles { p50: SLACK, p99: STALL }).await;
    }

    /// As [`check`](Self::check), with so much more than 4 × the undisturbed time.
    #[expect(clippy::print_stdout, reason = "a measurement, for `--nocapture`")]
    pub(crate) async fn check_within(&mut self, what: &str, more: Percentiles) {
        let Latency { ping, fetch } = self.undisturbed;
        let seen = self.latency().await;
        println!("{what}: {seen:?}, undisturbed {:?}", self.undisturbed);
        for (command, seen, undisturbed) in [("ping", seen.ping, ping), ("fetch", seen.fetch, fetch)] {
            let allowed =
                Percentiles { p50: undisturbed.p50 * 4 + more.p50, p99: undisturbed.p99 * 4 + more.p99 };
            assert!(
                seen.p50 <= allowed.p50 && seen.p99 <= allowed.p99,
                "{what}: {command} took {seen:?}, undisturbed {undisturbed:?}, allowed {allowed:?}"
            );
        }
    }

    async fn latency(&mut self) -> Latency {
        let fetch = CmdKafkaFetch { topic: self.topic.to_owned(), partition: 0, offset: 0 };
        Latency {
            ping: self.percentiles(&Req::CmdPing(CmdPing { state: Bytes::from_static(b"witness") })).await,
            fetch: self.percentiles(&Req::CmdKafkaFetch(fetch)).await,
        }
    }

    async fn percentiles(&mut self, req: &Req) -> Percentiles {
        let mut all = Vec::new();
        for _ in 0..COUNT {
            let start = Instant::now();
            self.ask(req.clone()).await;
            all.push(start.elapsed());
        }
        all.sort_unstable();
        Percentiles { p50: all[COUNT / 2 - 1], p99: all[COUNT * 99 / 100 - 1] }
    }

    async fn ask(&mut self, req: Req) {
        self.sequence += 1;
        let request = PubSubReq { sequence: self.sequence, req: Some(req) };
        self.stream.send(Message::binary(request.encode_to_vec())).await.unwrap();
        match timeout(WITHIN, self.stream.next()).await.expect("an answer for the witness within 10 s") {
            Some(Ok(Message::Binary(bytes))) => {
                let PubSubResp { sequence, resp } = PubSubResp::decode(bytes).unwrap();
                assert_eq!(sequence, self.sequence);
                match resp {
                    Some(Resp::PongResp(pong)) => assert_eq!(pong.state, "witness"),
                    Some(Resp::KafkaFetchResp(fetched)) => {
                        assert_eq!(fetched.messages[0].value.as_deref(), Some(&b"seen"[..]))
                    }
                    other => panic!("{other:?}"),
                }
            }
            other => panic!("{other:?} instead of an answer"),
        }
    }
}

const COUNT: usize = 200;
const WITHIN: Duration = Duration::from_secs(10);
/// What half of the commands may take besides: a machine of two cores runs Envoy, the bridge, Kafka and this program, and
/// each of them may wait for a turn of a few milliseconds.
const SLACK: Duration = Duration::from_millis(5);
/// What one command of a hundred may take besides: turns that several others have first, far below any stall.
const STALL: Duration = Duration::from_millis(150);
