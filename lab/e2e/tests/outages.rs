//! Outages during open sessions, on Envoy in both profiles and nginx: the bridge is killed or hangs, and clients disconnect,
//! with a close frame or without. And of brokers: [`brokers`].

mod brokers;

use std::fs;
use std::time::Duration;

use futures_util::future::join_all;
use sluicegate_stack::kafka::{Kafka, Record, Write};
use sluicegate_stack::raw::{CLOSE, Raw, Upgrade, close, masked, request};
use sluicegate_stack::socket::{Socket, fetch};
use sluicegate_stack::stack::Stack;
use sluicegate_stack::waiting::{becomes, settles};
use sluicegate_stack::way::Way;
use sluicegate_tests::in_ways;
use tokio::io::AsyncWriteExt;
use tokio::time::{Instant, timeout};

use crate::pool::Config;

in_ways! {
    [tunnel relay]
    hanging_or_killed_bridge_is_given_up
    clients_that_leave_are_noticed_and_their_fetches_cancelled
}

in_ways! {
    [direct]
    clients_that_leave_are_noticed_and_their_fetches_cancelled
}

in_ways! {
    [nginx]
    killed_bridge_ends_its_connections_at_once
}

/// Neither filter nor bridge ever trapped or panicked, and nginx did nothing of the kind.
async fn assert_unharmed(stack: &Stack) {
    if stack.way().is_envoy() {
        assert_eq!(stack.envoy().filter_reloads().await.unwrap(), 0);
    }
    for process in stack.processes() {
        let log = fs::read_to_string(process.log()).unwrap();
        let signs = ["Function: proxy_on_", "panicked", "[alert]", "[emerg]"];
        assert!(!signs.iter().any(|sign| log.contains(sign)), "{log}");
    }
}

/// Nobody listens on the discard port.
const NO_KAFKA: &str = "127.0.0.1:9";

async fn killed_bridge_ends_its_connections_at_once(way: Way) {
    is_killed(&mut Config::on(way, NO_KAFKA).unready().await).await;
}

async fn is_killed(stack: &mut Stack) {
    let mut idle = join_all((0..32).map(|_| Raw::open(stack.gateway()))).await;
    let mut asking = Socket::open(stack).await;
    asking.ping().await;
    stack.bridge.process.kill();
    let killed = Instant::now();
    let ends = idle.iter_mut().map(async |client| {
        // A reset is an end as well; a close frame cannot be written any more.
        client.is_at_the_end("the bridge was killed").await;
        killed.elapsed()
    });
    let slowest = join_all(ends).await.into_iter().max().unwrap();
    assert!(slowest < Duration::from_secs(1), "the last connection ended after {slowest:?}");
    let end = timeout(Duration::from_secs(1), asking.listen()).await.expect("the end within 1 s");
    assert!(matches!(end, None | Some(Err(_))), "{end:?}");
    if stack.way().is_envoy() {
        let ready = stack.ready().await.unwrap_err();
        assert!(ready.starts_with("503 "), "{ready}");
    }
    stack.bridge.up().await.unwrap();
    // It stays: nothing of the old sessions reaches it.
    let mut new = Socket::open(stack).await;
    new.ping().await;
    new.ping().await;
    assert_unharmed(stack).await;
}

/// With a keep-alive of a second's interval and a second's patience, where the committed one has 30 s and 10 s. A
/// relayed session has no keep-alive but its own pings, whose absence ends it: after 2 s instead of 90 s.
async fn hanging_or_killed_bridge_is_given_up(way: Way) {
    let keepalive = |interval, timeout| {
        format!(
            "a bridge that vanished.\n            connection_keepalive: {{interval: {interval}s, timeout: {timeout}s}}"
        )
    };
    let edit = match way {
        Way::Tunnel => (keepalive(30, 10), keepalive(1, 1)),
        _ => ("stream_idle_timeout: 90s".to_owned(), "stream_idle_timeout: 2s".to_owned()),
    };
    let mut stack = Config::on(way, NO_KAFKA).edit(edit).unready().await;
    let mut open = Socket::open(&stack).await;
    open.ping().await;
    stack.bridge.process.freeze();
    // Up to an interval, the patience, and what Envoy's delayed close and a busy machine take.
    let within = Duration::from_secs(5);
    let end = timeout(within, open.listen()).await.expect("the end of the session within 5 s");
    assert!(matches!(end, None | Some(Err(_))), "{end:?}");
    let ask = async || Raw::connect(stack.gateway()).await.ask(&Upgrade::default().bytes()).await;
    let refused = timeout(within, ask()).await.expect("a refusal within 5 s");
    assert_eq!((refused.status, refused.header("retry-after")), (503, Some("1")), "{refused:?}");
    stack.bridge.process.thaw();
    Socket::open(&stack).await.ping().await;
    is_killed(&mut stack).await;
}

/// The bridge looks every half second at what is not heard by itself. A machine that is busy has the other half, and
/// what it takes to ask.
const NOTICED_WITHIN: Duration = Duration::from_secs(1);

async fn count(stack: &Stack, name: &str, label: &str) -> f64 {
    stack.bridge.count(&format!("sluicegate_{name}"), label).await.unwrap()
}

/// Open sessions, and fetches that wait at the end of a log.
async fn held(stack: &Stack) -> (f64, f64) {
    (count(stack, "sessions{", "").await, count(stack, "tail_waiters", "").await)
}

async fn ended(stack: &Stack, reason: &str) -> f64 {
    count(stack, "sessions_ended_total{", &format!("reason=\"{reason}\"")).await
}

async fn clients_that_leave_are_noticed_and_their_fetches_cancelled(way: Way) {
    let kafka = Kafka::shared().await.unwrap();
    let topic = kafka.topic("leaving", 1, &[]).await.unwrap();
    let stack = Config::new(way).await.settings("[read]\nwait_ms = 30000").own().await;
    let mut witness = Socket::open(&stack).await;
    for leave in [Leave::CloseFrame, Leave::Close, Leave::Reset, Leave::HalfClose] {
        let what = &format!("{leave:?}");
        let mut client = Raw::open(stack.gateway()).await;
        client.write(request(1, fetch(&topic, 0, 0))).await;
        becomes(what, (2.0, 1.0), Duration::from_secs(10), || held(&stack)).await;
        let before = ended(&stack, leave.reason()).await;
        let rest = leave.leave(client).await;
        becomes(what, (1.0, 0.0), NOTICED_WITHIN, || held(&stack)).await;
        assert_eq!(ended(&stack, leave.reason()).await, before + 1.0, "{what}");
        drop(rest);
    }
    // Input is not read while answers wait, so such a client cannot be heard leaving.
    let records = vec![Record::of(vec![7; 200_000]); 5];
    kafka.produce(&topic, 0, &records, Write::default()).await.unwrap();
    for leave in [Leave::Close, Leave::Reset] {
        let mut client = Raw::open(stack.gateway()).await;
        let fetches: Vec<u8> = (1..=200).flat_map(|number| request(number, fetch(&topic, 0, 0))).collect();
        client.write(&fetches).await;
        // Its answers are held back once the bridge makes no more of them.
        let answered = async || count(&stack, "commands_total{", "").await;
        settles("answers", Duration::from_secs(20), answered).await;
        leave.leave(client).await;
        becomes("sessions", (1.0, 0.0), NOTICED_WITHIN, || held(&stack)).await;
    }
    witness.ping().await;
    assert_unharmed(&stack).await;
}

#[derive(Clone, Copy, Debug)]
enum Leave {
    /// As the protocol has it; its connection stays until the gateway ends it.
    CloseFrame,
    /// Both directions, as a program that ends.
    Close,
    /// As a machine that has forgotten the connection.
    Reset,
    /// Its own direction only. A gateway, or the bridge, takes it for the whole, and ends the other.
    HalfClose,
}

impl Leave {
    /// The bridge's name for it.
    fn reason(self) -> &'static str {
        match self {
            Self::CloseFrame => "closed",
            Self::Close | Self::Reset | Self::HalfClose => "left",
        }
    }

    /// Gives the connection where there still is one.
    async fn leave(self, mut client: Raw) -> Option<Raw> {
        match self {
            Self::CloseFrame => {
                client.write(masked(CLOSE, b"\x03\xE8")).await;
                let echo = timeout(NOTICED_WITHIN, client.frame()).await;
                assert_eq!(echo.expect("an echo within a second"), close(1000, ""));
                Some(client)
            }
            Self::Close => None,
            Self::Reset => {
                client.io.set_zero_linger().unwrap();
                None
            }
            Self::HalfClose => {
                client.io.shutdown().await.unwrap();
                let end = timeout(NOTICED_WITHIN, client.try_frame()).await;
                // The bridge itself says that this is the end.
                let told = end.expect("the end within a second");
                assert!([None, Some(CLOSE)].contains(&told.map(|frame| frame.first)));
                Some(client)
            }
        }
    }
}
