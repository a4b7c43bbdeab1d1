//! Clients that disconnect, with a close frame or without, or fall silent: the bridge releases their sessions, including a
//! fetch that waits at the end of a log.

use std::time::Duration;

use sluicegate_stack::kafka::{Kafka, Record, Write};
use sluicegate_stack::raw::{CLOSE, Raw, close, masked, request};
use sluicegate_stack::socket::{Socket, fetch};
use sluicegate_stack::stack::Stack;
use sluicegate_stack::waiting::{becomes, settles};
use sluicegate_stack::way::Way;
use sluicegate_tests::in_ways;
use tokio::io::AsyncWriteExt;
use tokio::time::{Instant, timeout};

use crate::outages::assert_unharmed;
use crate::pool::Config;

in_ways! {
    [direct]
    clients_that_leave_are_noticed_and_their_fetches_cancelled
}

in_ways! {
    [tunnel relay]
    clients_that_leave_are_noticed_and_their_fetches_cancelled
    silent_client_is_closed_and_an_idle_one_stays
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
    let config = Config::new(way).await.settings("[read]\nwait_ms = 30000");
    // Without a gateway, the bridge closes leftover connections itself.
    let stack = if way == Way::Direct { config.closing_soon() } else { config }.own().await;
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

async fn silent_client_is_closed_and_an_idle_one_stays(way: Way) {
    const INTERVAL: Duration = Duration::from_millis(500);
    let topic = Kafka::shared().await.unwrap().topic("silent", 1, &[]).await.unwrap();
    let settings = "[session]\nping_interval_ms = 500\n[read]\nwait_ms = 30000";
    let stack = Config::new(way).await.settings(settings).own().await;
    let mut idle = Socket::open(&stack).await;
    let listening = tokio::spawn(async move {
        let end = timeout(INTERVAL * 10, idle.listen()).await;
        assert!(end.is_err(), "a client that answered every ping got {end:?}");
        idle
    });
    // It answers no ping.
    let mut silent = Raw::open(stack.gateway()).await;
    silent.write(request(1, fetch(&topic, 0, 0))).await;
    let began = Instant::now();
    becomes("a waiting fetch", (2.0, 1.0), INTERVAL * 2, || held(&stack)).await;
    let within = INTERVAL * 3 + Duration::from_secs(2);
    becomes("sessions that ended in silence", 1.0, within, || ended(&stack, "silent")).await;
    // The silence before a ping, and the same again for each of two: no client is given up early.
    let took = began.elapsed();
    assert!(took > INTERVAL * 2, "it was given up after {took:?}");
    becomes("what is held", (1.0, 0.0), Duration::from_secs(7), || held(&stack)).await;
    listening.await.unwrap().ping().await;
    assert_unharmed(&stack).await;
}
