//! Clients that come and go: many that connect and disconnect for a few rounds, or for as many as `just churn` sets; and 300
//! at a time that are gone before they have an answer.

use std::net::Ipv4Addr;
use std::time::Duration;

use futures_util::future::join_all;
use futures_util::{StreamExt, stream};
use sluicegate_protocol::CmdPing;
use sluicegate_protocol::pub_sub_req::Req;
use sluicegate_stack::raw::{Raw, Upgrade, request};
use sluicegate_stack::socket::fetch;
use sluicegate_stack::tools::{number, scale};
use sluicegate_stack::waiting::becomes;
use sluicegate_stack::way::Way;
use sluicegate_tests::in_ways;
use tokio::net::TcpSocket;
use tokio::task::JoinSet;

use crate::load::bench::{ATTACKER, Bench, open};
use crate::load::memory::{IDLE_SESSION, IDLE_SOCKET, MIB, Memory};
use crate::load::witness::{Percentiles, Witness};

in_ways! {
    [relay]
    clients_that_come_and_go_leave_nothing_behind
}

in_ways! {
    [tunnel]
    clients_that_come_and_go_leave_nothing_behind
    clients_that_leave_at_once_end_no_session_of_others
}

/// At the same time.
fn clients() -> u64 {
    scale(300, 1_000)
}

async fn clients_that_come_and_go_leave_nothing_behind(way: Way) {
    let bench = Bench::new(way).await;
    let mut witness = Witness::new(&bench).await;
    let start = Memory::now(&bench);
    let descriptors = || bench.stack.processes().map(|process| process.usage().unwrap().descriptors).sum();
    let before: u64 = descriptors();
    round(&bench).await;
    let (gateway, bridge) = (clients() * IDLE_SOCKET + 8 * MIB, clients() * IDLE_SESSION + 8 * MIB);
    let first = Memory { gateway, bridge };
    start.check(&bench, "the first clients", first);
    // Memory of the first round is used again: nothing piles up.
    let reached = Memory::now(&bench);
    let rounds = number("SLUICEGATE_CHURN_ROUNDS", 3);
    for _ in 0..rounds {
        round(&bench).await;
    }
    // Some answers are on their way at the same time, in one round more of them than in another.
    let bridge = clients() / 2 * IDLE_SESSION + 4 * MIB;
    let again = Memory { gateway: clients() / 2 * IDLE_SOCKET, bridge };
    reached.check(&bench, &format!("{rounds} × as many again"), again);
    witness.check("all have left").await;
    // Connections to Kafka, and between Envoy and bridge, outlive the clients.
    let are_closed = async || descriptors() <= before + 16;
    becomes("descriptors are closed", true, Duration::from_secs(20), are_closed).await;
    bench.assert_filter_survived().await;
}

/// All are there at the same time; each leaves in its own way, and half of them with an answer on its way.
async fn round(bench: &Bench) {
    let gateway = bench.stack.gateway();
    let client = |_| open(gateway, Ipv4Addr::LOCALHOST);
    let sessions: Vec<Raw> = stream::iter(0..clients()).map(client).buffer_unordered(100).collect().await;
    bench.is_left_with(clients() + 1).await;
    let ping = request(1, Req::CmdPing(CmdPing { state: "on its way".into() }));
    let fetch = request(1, fetch(bench.large, 0, 0));
    for (number, mut client) in sessions.into_iter().enumerate() {
        match number % 4 {
            0 => client.write(&ping).await,
            1 => client.io.set_zero_linger().unwrap(),
            2 => client.ask_and_reset(&fetch).await,
            _ => {}
        }
    }
    bench.is_left_with(1).await;
}

async fn clients_that_leave_at_once_end_no_session_of_others(way: Way) {
    let bench = Bench::new(way).await;
    let mut witness = Witness::new(&bench).await;
    let gateway = bench.stack.gateway();
    let ping = request(1, Req::CmdPing(CmdPing::default()));
    let first = [Upgrade::default().bytes(), ping.repeat(20)].concat();
    let mut attack = JoinSet::new();
    attack.spawn(async move {
        loop {
            let connect = async || {
                let socket = TcpSocket::new_v4().unwrap();
                socket.bind((ATTACKER, 0).into()).unwrap();
                Raw::over(socket.connect(gateway).await.unwrap())
            };
            let clients = join_all((0..300).map(|_| connect())).await;
            join_all(clients.into_iter().map(|client| client.ask_and_reset(&first))).await;
        }
    });
    witness.check_within("while clients come and leave", ALLOWED).await;
    assert!(attack.try_join_next().is_none(), "the attack has ended");
    attack.shutdown().await;
    bench.is_left_with(1).await;
    assert_eq!(
        bench.stat("cluster.sluicegate_bridge.upstream_cx_destroy_local").await,
        0,
        "connections with sessions"
    );
    bench.assert_filter_survived().await;
}

/// All programs share a few cores, which the handshakes keep busy.
const ALLOWED: Percentiles = Percentiles { p50: Duration::from_millis(50), p99: Duration::from_millis(300) };
