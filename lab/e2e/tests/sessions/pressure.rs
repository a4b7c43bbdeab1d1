//! Clients that send too much, too fast, or never finish: in the profile `tunnel`, where all share a filter and its
//! connection to the bridge, they are held back or closed, and others are not affected.

use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use prost::Message as _;
use sluicegate_protocol::pub_sub_req::Req;
use sluicegate_protocol::{CmdPing, PubSubReq};
use sluicegate_stack::kafka::Kafka;
use sluicegate_stack::process::Process;
use sluicegate_stack::raw::{BINARY, FIN, PING, PONG, Raw, close, head, masked, request};
use sluicegate_stack::socket::{Socket, fetch};
use sluicegate_stack::stack::Stack;
use sluicegate_stack::way::Way;

use crate::pool::Config;
use crate::sessions::{is_alive, pong};

/// HTTP/2's library ends a connection for DATA frames that are short and not read: here for 33,000 of them, which ten
/// clients of one worker reach.
#[tokio::test]
async fn tiny_messages_that_wait_end_no_other_session() {
    let settings =
        "[limits]\nmax_streams = 250\nconnection_window_bytes = 16384000\n[read]\nwait_ms = 15000\n";
    let stack = Config::new(Way::Tunnel).await.settings(settings).one_worker().own().await;
    let topic = Kafka::shared().await.unwrap().topic("waits", 1, &[]).await.unwrap();
    let fetch = request(1, fetch(&topic, 0, 0));
    let mut bystander = Socket::open(&stack).await;
    let mut clients = Vec::new();
    for _ in 0..10 {
        let mut client = Raw::open(stack.gateway()).await;
        // As many as run and as wait at the log end: until one is answered, nothing more is read.
        client.write(fetch.repeat(40)).await;
        clients.push(client);
    }
    // Each is a segment of its own, and on its way before the next.
    let tiny = masked(PING, b"");
    for _ in 0..ROUNDS {
        for client in &mut clients {
            client.write(&tiny).await;
        }
        bystander.ping().await;
    }
    // They were held back, not closed.
    let mut pongs = 0;
    while pongs < ROUNDS {
        match clients[0].frame().await {
            frame if frame.first == PONG => pongs += 1,
            frame => assert_eq!(frame.first, BINARY, "{frame:?}"),
        }
    }
}

#[tokio::test]
async fn bytes_over_the_limit_are_not_kept() {
    let stack = Config::new(Way::Tunnel).await.alone().await;
    let mut bystander = Socket::open(&stack).await;
    bystander.ping().await;
    let resident = |process: &Process| process.usage().unwrap().resident_bytes;
    let before: Vec<u64> = stack.processes().map(resident).collect();
    let chunk = vec![0; 1 << 20];
    for _ in 0..8 {
        let mut raw = Raw::open(stack.gateway()).await;
        raw.write([head(BINARY, 0x80, 1 << 40), vec![0; 4]].concat()).await;
        assert_eq!(raw.frame().await, close(1009, "message over the limit of 1048576 bytes"));
        let told = Instant::now();
        while raw.try_write(&chunk).await {
            assert!(told.elapsed() < Duration::from_secs(10), "a client that was closed goes on sending");
        }
    }
    for (process, before) in stack.processes().zip(before) {
        let grown = resident(process).saturating_sub(before) >> 20;
        assert!(grown < 32, "the process of {} grew by {grown} MiB", process.log().display());
    }
    bystander.ping().await;
}

/// Of one address, each with a fragment that reserves 1 MiB, at default limits, on one worker. Envoy tells the filter the
/// addresses.
#[tokio::test]
async fn unfinished_messages_take_no_memory_from_other_addresses() {
    let stack = Config::new(Way::Tunnel).await.one_worker().own().await;
    let mut attackers = Vec::new();
    hold(&stack, &mut attackers).await;

    let mut bystander = Raw::open_from(stack.gateway(), Ipv4Addr::new(127, 0, 0, 2)).await;
    let state = vec![b's'; 256 << 10];
    let message = PubSubReq { sequence: 7, req: Some(Req::CmdPing(CmdPing { state: state.clone().into() })) };
    let message = message.encode_to_vec();
    for (part, first) in message.chunks(message.len().div_ceil(4)).zip([BINARY & !FIN, 0, 0, FIN]) {
        bystander.write([masked(PING, b"here"), masked(first, part)].concat()).await;
        assert_eq!(bystander.frame().await.first, PONG, "the bystander is not closed");
        hold(&stack, &mut attackers).await;
    }
    assert_eq!(bystander.answer().await, pong(7, &state));

    // Their own address has room for a newcomer: the oldest makes it.
    let mut newcomer = Raw::open(stack.gateway()).await;
    is_alive(&mut newcomer, "a newcomer").await;
    let oldest = &mut attackers[0];
    oldest.try_write(masked(PING, b"")).await;
    let reason = "unfinished message dropped: too many from this address, try again later";
    oldest.is_closed(&close(1013, reason), "the oldest message was dropped").await;
}

/// 70 more clients with a fragment.
async fn hold(stack: &Stack, attackers: &mut Vec<Raw>) {
    let held = [masked(BINARY & !FIN, &[0; (512 << 10) + 1]), masked(PING, b"")].concat();
    for _ in 0..70 {
        let mut client = Raw::open(stack.gateway()).await;
        client.write(&held).await;
        assert_eq!(client.frame().await.first, PONG, "the youngest message is held");
        attackers.push(client);
    }
}

/// Enough to fill a stream's window.
const ROUNDS: usize = 7000;
