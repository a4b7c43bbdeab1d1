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

/// The 99th percentiles of [`COUNT`] commands each.
#[derive(Clone, Copy, Debug)]
struct Latency {
    ping: Duration,
    fetch: Duration,
}

impl Witness {
    /// Takes the time while nobody else is there.
    pub(crate) async fn new(bench: &Bench) -> Self {
        let (stream, _) =
            timeout(WITHIN, connect_async(bench.stack.url())).await.expect("an upgrade").unwrap();
        let undisturbed = Latency { ping: Duration::ZERO, fetch: Duration::ZERO };
        let mut witness = Self { stream, topic: bench.small, sequence: 0, undisturbed };
        witness.latency().await;
        witness.undisturbed = witness.latency().await;
        witness
    }

    /// Nearly every command is answered as fast as when nobody else was there, by a machine that is busy with other
    /// things as well.
    pub(crate) async fn check(&mut self, what: &str) {
        self.check_within(what, FLOOR).await;
    }

    /// The same at a moment when the machine has much to do: up to `floor` is good enough.
    #[expect(clippy::print_stdout, reason = "a measurement, for `--nocapture`")]
    pub(crate) async fn check_within(&mut self, what: &str, floor: Duration) {
        let Latency { ping, fetch } = self.undisturbed;
        let seen = self.latency().await;
        println!("{what}: 99th percentiles {seen:?}, undisturbed {:?}", self.undisturbed);
        for (seen, undisturbed) in [(seen.ping, ping), (seen.fetch, fetch)] {
            let allowed = (undisturbed * 4).max(floor);
            assert!(seen <= allowed, "{what}: {seen:?}, undisturbed {undisturbed:?}, allowed {allowed:?}");
        }
    }

    async fn latency(&mut self) -> Latency {
        let fetch = CmdKafkaFetch { topic: self.topic.to_owned(), partition: 0, offset: 0 };
        Latency {
            ping: self.percentile(&Req::CmdPing(CmdPing { state: Bytes::from_static(b"witness") })).await,
            fetch: self.percentile(&Req::CmdKafkaFetch(fetch)).await,
        }
    }

    async fn percentile(&mut self, req: &Req) -> Duration {
        let mut all = Vec::new();
        for _ in 0..COUNT {
            let start = Instant::now();
            self.ask(req.clone()).await;
            all.push(start.elapsed());
        }
        all.sort_unstable();
        all[COUNT * 99 / 100 - 1]
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
                    Some(Resp::KafkaFetchResp(fetched)) => assert_eq!(fetched.messages[0].value, "seen"),
                    other => panic!("{other:?}"),
                }
            }
            other => panic!("{other:?} instead of an answer"),
        }
    }
}

const COUNT: usize = 200;
const WITHIN: Duration = Duration::from_secs(10);
/// What a machine of two cores may take for anything while other tests run: far below any stall.
const FLOOR: Duration = Duration::from_millis(150);
