//! Clients that connect, send commands and are gone before they have an answer, 300 at a time.

use std::time::Duration;

use futures_util::future::join_all;
use sluicegate_protocol::CmdPing;
use sluicegate_protocol::pub_sub_req::Req;
use sluicegate_stack::raw::{Raw, Upgrade, request};
use sluicegate_stack::way::Way;
use sluicegate_tests::in_a_tunnel;
use tokio::net::TcpSocket;
use tokio::task::JoinSet;

use crate::load::bench::{ATTACKER, Bench};
use crate::load::witness::{Percentiles, Witness};

in_a_tunnel! {
    clients_that_leave_at_once_end_no_session_of_others
}

const CLIENTS: usize = 300;

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
            let clients = join_all((0..CLIENTS).map(|_| connect())).await;
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
