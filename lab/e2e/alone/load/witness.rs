//! A well-behaved client that sends one command after another and measures the time.

use std::time::Duration;

use sluicegate_stack::socket::Socket;
use tokio::time::{Instant, timeout};

use crate::load::bench::Bench;

pub(crate) struct Witness {
    socket: Socket,
    topic: &'static str,
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
        let socket = Socket::open(&bench.stack).await;
        let nothing = Percentiles { p50: Duration::ZERO, p99: Duration::ZERO };
        let undisturbed = Latency { ping: nothing, fetch: nothing };
        let mut witness = Self { socket, topic: bench.small, undisturbed };
        witness.latency().await;
        witness.undisturbed = witness.latency().await;
        witness
    }

    /// Checks that latency stays close to that of the undisturbed run: half of the commands nearly as fast, nearly all
    /// without a stall.
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
        let Self { socket, topic, .. } = self;
        let (mut pings, mut fetches) = (Vec::new(), Vec::new());
        for _ in 0..COUNT {
            let start = Instant::now();
            timeout(WITHIN, socket.ping()).await.expect("a pong for the witness within 10 s");
            pings.push(start.elapsed());
        }
        for _ in 0..COUNT {
            let start = Instant::now();
            let read = timeout(WITHIN, socket.fetch(topic, 0, 0)).await;
            let read = read.expect("records for the witness within 10 s").unwrap();
            assert_eq!(read[0].value.as_deref(), Some(&b"seen"[..]));
            fetches.push(start.elapsed());
        }
        Latency { ping: percentiles(pings), fetch: percentiles(fetches) }
    }
}

fn percentiles(mut all: Vec<Duration>) -> Percentiles {
    all.sort_unstable();
    Percentiles { p50: all[all.len() / 2 - 1], p99: all[all.len() * 99 / 100 - 1] }
}

const COUNT: usize = 100;
const WITHIN: Duration = Duration::from_secs(10);
/// Allowed extra latency at p50: two cores run Envoy, the bridge, Kafka and this program, and each can wait a few
/// milliseconds for a core.
const SLACK: Duration = Duration::from_millis(5);
/// Allowed extra latency at p99: several such waits, far below any stall.
const STALL: Duration = Duration::from_millis(150);
