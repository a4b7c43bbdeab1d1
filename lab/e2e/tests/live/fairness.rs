//! Subscriptions of one session take turns.

use sluicegate_protocol::pub_sub_req::Req;
use sluicegate_protocol::pub_sub_resp::Resp;
use sluicegate_stack::socket::{self, Socket};
use sluicegate_stack::way::Way;
use sluicegate_tests::in_every_way;

use crate::live::stacks::shared;
use crate::live::subscriber::{from_end, from_start, numbered, write};

in_every_way! {
    flood_delays_neither_a_trickle_nor_a_ping
}

/// Records of the flood that arrive before the trickle's record and the pong are those for which gateway and kernel
/// have room.
async fn flood_delays_neither_a_trickle_nor_a_ping(way: Way) {
    let (kafka, stack) = shared(way).await;
    let flood = &kafka.topic("flood", 1, &[]).await.unwrap();
    let trickle = &kafka.topic("trickle", 1, &[]).await.unwrap();
    let value = "v".repeat(10_000);
    for round in 0..10 {
        write(kafka, flood, 0, &numbered(&format!("{round} {value}"), 400)).await;
    }
    let mut socket = Socket::open_narrow(stack).await;
    let trickling = socket.send(Req::CmdKafkaSubscribe(from_end(trickle))).await;
    let mut told = 0;
    while told < 2 {
        let (sequence, _) = socket.receive().await;
        assert_eq!(sequence, trickling);
        told += 1;
    }
    let flooding = socket.send(Req::CmdKafkaSubscribe(from_start(flood))).await;
    let mut delivered = 0;
    while delivered < 2_000_000 {
        delivered += bytes(&socket.receive().await.1);
    }
    write(kafka, trickle, 0, &numbered("new", 1)).await;
    let pinged = socket.send(socket::ping()).await;
    let mut between = 0;
    let mut missing = vec![trickling, pinged];
    while !missing.is_empty() {
        let (sequence, resp) = socket.receive().await;
        missing.retain(|awaited| *awaited != sequence);
        if sequence == flooding {
            between += bytes(&resp);
        }
        assert!(between < MOST, "{between} bytes of the flood, and still nothing of {missing:?}");
    }
}

fn bytes(resp: &Resp) -> usize {
    match resp {
        Resp::KafkaDeliveryResp(delivery) => delivery
            .messages
            .iter()
            .map(|message| message.value.as_ref().map_or(0, |value| value.len()))
            .sum(),
        _ => 0,
    }
}

/// The flood has 40 MB. A busy gateway leaves several of them in the kernel's buffers.
const MOST: usize = 24 << 20;
