//! A client disconnects, with a close frame or without: within a second the bridge releases its session, including a
//! fetch that waits at the end of a log.

use std::time::Duration;

use sluicegate_stack::kafka::{Kafka, Record, Write};
use sluicegate_stack::raw::{CLOSE, Raw, close, masked, request};
use sluicegate_stack::socket::{Socket, fetch};
use sluicegate_stack::waiting::{becomes, settles};
use sluicegate_stack::way::Way;
use sluicegate_tests::in_every_way;
use tokio::io::AsyncWriteExt;
use tokio::time::timeout;

use crate::outages::stacks::{answered, assert_unharmed, ended, ready, sessions, waiting};

in_every_way! {
    clients_that_leave_are_noticed_and_their_fetches_cancelled
    clients_that_read_nothing_are_noticed_when_they_leave
}

/// The bridge looks every half second at what is not heard by itself. A machine that is busy has the other half, and
/// what it takes to ask.
const NOTICED_WITHIN: Duration = Duration::from_secs(1);
/// Wait of a fetch at the log end.
const WAIT: &str = "[read]\nwait_ms = 30000\n";

async fn clients_that_leave_are_noticed_and_their_fetches_cancelled(way: Way) {
    let kafka = Kafka::shared().await.unwrap();
    let topic = kafka.topic("leaving", 1, &[]).await.unwrap();
    let stack = ready(way, kafka, WAIT).await;
    let mut witness = Socket::open(&stack).await;
    for leave in [Leave::CloseFrame, Leave::Close, Leave::Reset, Leave::HalfClose] {
        let what = &format!("{leave:?}");
        let mut client = Raw::open(stack.gateway()).await;
        client.write(request(1, fetch(&topic, 0, 0))).await;
        becomes(what, 1.0, Duration::from_secs(10), || waiting(&stack)).await;
        assert_eq!(sessions(&stack).await, 2.0, "{what}");
        let before = ended(&stack, leave.reason()).await;
        let rest = leave.leave(client).await;
        let held = async || (sessions(&stack).await, waiting(&stack).await);
        becomes(what, (1.0, 0.0), NOTICED_WITHIN, held).await;
        assert_eq!(ended(&stack, leave.reason()).await, before + 1.0, "{what}");
        drop(rest);
    }
    witness.ping().await;
    assert_unharmed(&stack).await;
}

/// Its input is not read while its answers wait, so it cannot be heard leaving.
async fn clients_that_read_nothing_are_noticed_when_they_leave(way: Way) {
    let kafka = Kafka::shared().await.unwrap();
    let topic = kafka.topic("unread", 1, &[]).await.unwrap();
    let records = vec![Record::of(vec![7; 200_000]); 5];
    kafka.produce(&topic, 0, &records, Write::default()).await.unwrap();
    let stack = ready(way, kafka, "").await;
    for leave in [Leave::Close, Leave::Reset] {
        let mut client = Raw::open(stack.gateway()).await;
        let fetches: Vec<u8> =
            (1..=200).flat_map(|sequence| request(sequence, fetch(&topic, 0, 0))).collect();
        client.write(&fetches).await;
        // Its answers are held back once the bridge makes no more of them.
        settles("answers", Duration::from_secs(20), async || answered(&stack).await).await;
        leave.leave(client).await;
        becomes("sessions", 0.0, NOTICED_WITHIN, async || sessions(&stack).await).await;
    }
    Socket::open(&stack).await.ping().await;
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
