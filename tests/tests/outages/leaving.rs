//! A client goes, with a close frame or without: within a second the bridge notices and releases what its session held,
//! its fetch at Kafka included.

use std::time::Duration;

use sluicegate_tests::in_every_way;
use sluicegate_tests::kafka::{Kafka, Record, Write};
use sluicegate_tests::socket::{Socket, fetch};
use sluicegate_tests::waiting::becomes;
use sluicegate_tests::way::Way;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::stacks::{answered, assert_unharmed, ended, kafka_connections, ready, sessions};
use crate::upgrade::{Upgrade, frame};

in_every_way! {
    however_a_client_leaves_the_bridge_notices_and_cancels_what_it_waited_for
    a_client_that_reads_nothing_is_noticed_when_it_leaves
}

/// The bridge looks every half second at what is not heard by itself. A machine that is busy has the other half, and what
/// it takes to ask.
const NOTICED_WITHIN: Duration = Duration::from_secs(1);
/// A fetch at the log end would hold its connection to Kafka for so long.
const WAIT: &str = "[read]\nwait_ms = 30000\n";

async fn however_a_client_leaves_the_bridge_notices_and_cancels_what_it_waited_for(way: Way) {
    let kafka = Kafka::shared().await.unwrap();
    let topic = kafka.topic("leaving", 1, &[]).await.unwrap();
    let stack = ready(way, kafka, WAIT).await;
    let mut witness = Socket::open(&stack).await;
    let idle = kafka_connections(&stack, kafka);
    for leave in [Leave::CloseFrame, Leave::Close, Leave::Reset, Leave::HalfClose] {
        let what = &format!("{leave:?}");
        let mut stream = Upgrade::open(&stack).await;
        let fetch = frame(1, fetch(&topic, 0, 0));
        stream.write_all(&fetch).await.unwrap();
        // Its fetch waits at the broker, on a connection of its own.
        let busy = || async { kafka_connections(&stack, kafka).difference(&idle).count() > 0 };
        becomes(what, true, Duration::from_secs(10), busy).await;
        assert_eq!(sessions(&stack).await, 2.0, "{what}");
        let before = ended(&stack, leave.reason()).await;
        let rest = leave.leave(stream).await;
        let held = async || (sessions(&stack).await, busy().await);
        becomes(what, (1.0, false), NOTICED_WITHIN, held).await;
        assert_eq!(ended(&stack, leave.reason()).await, before + 1.0, "{what}");
        drop(rest);
    }
    witness.ping().await;
    assert_unharmed(&stack).await;
}

/// Its input is not read while its answers wait, so it cannot be heard leaving.
async fn a_client_that_reads_nothing_is_noticed_when_it_leaves(way: Way) {
    let kafka = Kafka::shared().await.unwrap();
    let topic = kafka.topic("unread", 1, &[]).await.unwrap();
    let records = vec![Record::of(vec![7; 200_000]); 5];
    kafka.produce(&topic, 0, &records, Write::default()).await.unwrap();
    let stack = ready(way, kafka, "").await;
    for leave in [Leave::Close, Leave::Reset] {
        let mut stream = Upgrade::open(&stack).await;
        let fetches: Vec<u8> = (1..=200).flat_map(|sequence| frame(sequence, fetch(&topic, 0, 0))).collect();
        stream.write_all(&fetches).await.unwrap();
        // Its answers are held back once the bridge makes no more of them.
        let mut before = f64::NAN;
        let stands = async || {
            tokio::time::sleep(Duration::from_millis(300)).await;
            let now = answered(&stack).await;
            now == std::mem::replace(&mut before, now)
        };
        becomes("answers", true, Duration::from_secs(20), stands).await;
        leave.leave(stream).await;
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
    /// What the bridge calls it.
    fn reason(self) -> &'static str {
        match self {
            Self::CloseFrame => "closed",
            Self::Close | Self::Reset | Self::HalfClose => "left",
        }
    }

    /// Gives the connection where there still is one.
    async fn leave(self, mut stream: TcpStream) -> Option<TcpStream> {
        match self {
            Self::CloseFrame => {
                stream.write_all(&CLOSE).await.unwrap();
                let mut echo = [0; 4];
                let read = timeout(NOTICED_WITHIN, stream.read_exact(&mut echo)).await;
                read.expect("an echo within a second").unwrap();
                assert_eq!(echo, ECHO);
                Some(stream)
            }
            Self::Close => None,
            Self::Reset => {
                stream.set_zero_linger().unwrap();
                None
            }
            Self::HalfClose => {
                stream.shutdown().await.unwrap();
                let mut rest = Vec::new();
                let end = timeout(NOTICED_WITHIN, stream.read_to_end(&mut rest)).await;
                let _ = end.expect("the end within a second");
                // The bridge itself says that this is the end.
                assert!([None, Some(&CLOSE[0])].contains(&rest.first()), "{rest:?}");
                Some(stream)
            }
        }
    }
}

/// 1000, masked with zeros.
const CLOSE: [u8; 8] = [0x88, 0x82, 0, 0, 0, 0, 0x03, 0xE8];
/// The same as a server sends it.
const ECHO: [u8; 4] = [0x88, 0x02, 0x03, 0xE8];
