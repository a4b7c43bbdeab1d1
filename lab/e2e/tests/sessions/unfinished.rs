//! Clients that do not finish their messages take no memory from other addresses, and hold their own only briefly.

use std::net::Ipv4Addr;
use std::time::Duration;

use sluicegate_stack::envoy::Profile;
use sluicegate_stack::kafka::Kafka;
use sluicegate_stack::raw::{BINARY, CLOSE, FIN, PING, PONG, Raw, close, masked};
use sluicegate_stack::stack::{Setup, Stack};
use sluicegate_stack::way::Way;
use sluicegate_tests::in_every_profile;
use tokio::time::{Instant, sleep};

use crate::sessions::peer::{ping, pong};
use crate::sessions::stacks::start;

/// Between the bystander's fragments the attackers say nothing, then each adds a byte, then as many more begin anew.
async fn unfinished_messages_take_no_memory_from_other_addresses(way: Way) {
    let mut attack = Attack::begin(way).await;
    attack.check().await;
}

/// 70 clients of one address, each with a fragment that reserves 1 MiB, at default limits, on one worker.
struct Attack {
    stack: Stack,
    clients: Vec<Raw>,
}

impl Attack {
    async fn begin(way: Way) -> Self {
        let kafka = Kafka::shared().await.unwrap();
        let setup = Setup { concurrency: 1, ..Setup::new(way, kafka.bootstrap()) };
        let mut attack = Self { stack: Stack::start(setup).await.unwrap(), clients: Vec::new() };
        attack.hold().await;
        attack
    }

    async fn hold(&mut self) {
        let held = [masked(BINARY & !FIN, &[0; (512 << 10) + 1]), masked(PING, b"")].concat();
        for _ in 0..70 {
            let mut client = Raw::open(self.stack.gateway()).await;
            client.write(&held).await;
            assert_eq!(client.frame().await.first, PONG, "the youngest message is held");
            self.clients.push(client);
        }
    }

    async fn drip(&mut self) {
        for client in &mut self.clients {
            // One that was evicted may be closed before it has written.
            client.try_write(masked(0, b"x")).await;
        }
    }

    /// A client of another address sends 256 KiB in four fragments, the attack going on between them; then one of the
    /// attackers' address sends a small one.
    async fn check(&mut self) {
        let mut bystander = Raw::open_from(self.stack.gateway(), Ipv4Addr::new(127, 0, 0, 2)).await;
        let state = vec![b's'; 256 << 10];
        let message = ping(7, &state);
        let parts: Vec<_> = message.chunks(message.len().div_ceil(4)).collect();
        for (at, first) in [BINARY & !FIN, 0, 0, FIN].into_iter().enumerate() {
            bystander.write([masked(PING, b"here"), masked(first, parts[at])].concat()).await;
            assert_eq!(bystander.frame().await.first, PONG, "the bystander is not closed");
            match at {
                0 => {}
                1 => self.drip().await,
                _ => self.hold().await,
            }
        }
        assert_eq!(bystander.answer().await, pong(7, &state));

        let mut newcomer = Raw::open(self.stack.gateway()).await;
        let (start, end) = message.split_at(20_000);
        newcomer.write(masked(BINARY & !FIN, start)).await;
        newcomer.write(masked(FIN, end)).await;
        assert_eq!(newcomer.answer().await, pong(7, &state));

        let oldest = &mut self.clients[0];
        oldest.try_write(masked(PING, b"")).await;
        let reason = "unfinished message dropped: too many from this address, try again later";
        oldest.is_closed(&close(1013, reason), "the oldest message was dropped").await;
    }
}

#[tokio::test]
async fn stalled_and_dripping_messages_close_with_1008() {
    let stack = start(Profile::Tunnel, "[session]\nping_interval_ms = 500\n", Vec::new()).await;
    for drips in [false, true] {
        let mut client = Raw::open(stack.gateway()).await;
        let began = Instant::now();
        client.write(masked(BINARY & !FIN, &[0; 1000])).await;
        let closed = loop {
            assert!(began.elapsed() < Duration::from_secs(10), "it is still open, drips: {drips}");
            tokio::select! {
                biased;
                frame = client.frame() => match frame.first {
                    PING => client.write(masked(PONG, &frame.payload)).await,
                    CLOSE => break frame,
                    _ => panic!("{frame:?}"),
                },
                () = sleep(Duration::from_millis(100)), if drips => {
                    client.try_write(masked(0, b"x")).await;
                }
            }
        };
        assert_eq!(closed, close(1008, "message not finished within 1.5s"), "drips: {drips}");
        assert!(began.elapsed() >= Duration::from_millis(1500));
    }
}

in_every_profile! {
    unfinished_messages_take_no_memory_from_other_addresses
}
