//! Clients that never finish a message, in the profile `tunnel`, where all share a filter: others are not affected.

use std::net::Ipv4Addr;

use prost::Message as _;
use sluicegate_protocol::pub_sub_req::Req;
use sluicegate_protocol::{CmdPing, PubSubReq};
use sluicegate_stack::raw::{BINARY, FIN, PING, PONG, Raw, close, masked};
use sluicegate_stack::stack::Stack;
use sluicegate_stack::way::Way;

use crate::pool::Config;
use crate::sessions::{is_alive, pong};

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
