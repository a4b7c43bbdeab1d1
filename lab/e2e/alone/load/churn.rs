//! 1,000 clients connect and disconnect for a few rounds, or for as many as `just churn` sets.

use std::net::Ipv4Addr;

use futures_util::StreamExt;
use futures_util::stream;
use sluicegate_protocol::CmdPing;
use sluicegate_protocol::pub_sub_req::Req;
use sluicegate_stack::raw::{Raw, request};
use sluicegate_stack::tools::number;
use sluicegate_stack::way::Way;
use sluicegate_tests::in_every_profile;

use crate::load::bench::{Bench, open};
use crate::load::memory::{IDLE_SESSION, MIB, Memory, idle_socket};
use crate::load::witness::Witness;

in_every_profile! {
    clients_that_come_and_go_leave_nothing_behind
}

const CLIENTS: u64 = 1000;

async fn clients_that_come_and_go_leave_nothing_behind(way: Way) {
    let bench = Bench::new(way).await;
    let mut witness = Witness::new(&bench).await;
    let start = Memory::now(&bench);
    round(&bench).await;
    let (gateway, bridge) = (CLIENTS * idle_socket(way), CLIENTS * IDLE_SESSION);
    let first = Memory { gateway: gateway + 8 * MIB, bridge: bridge + 8 * MIB };
    start.check(&bench, "1,000 clients", first);
    // Memory of the first round is used again: nothing piles up.
    let reached = Memory::now(&bench);
    let rounds = number("SLUICEGATE_CHURN_ROUNDS", 3);
    for _ in 0..rounds {
        round(&bench).await;
    }
    let again = Memory { gateway: gateway / 2, bridge: bridge / 2 };
    reached.check(&bench, &format!("{rounds} × 1,000 clients again"), again);
    witness.check("thousands have left").await;
    bench.assert_filter_survived().await;
}

/// All are there at the same time; each leaves in its own way, and a third with an answer on its way.
async fn round(bench: &Bench) {
    let gateway = bench.stack.gateway();
    let client = |_| open(gateway, Ipv4Addr::LOCALHOST);
    let clients: Vec<Raw> = stream::iter(0..CLIENTS).map(client).buffer_unordered(100).collect().await;
    bench.is_left_with(CLIENTS + 1).await;
    let ping = request(1, Req::CmdPing(CmdPing { state: "on its way".into() }));
    for (number, mut client) in clients.into_iter().enumerate() {
        match number % 3 {
            0 => client.write(&ping).await,
            1 => client.io.set_zero_linger().unwrap(),
            _ => {}
        }
    }
    bench.is_left_with(1).await;
}
