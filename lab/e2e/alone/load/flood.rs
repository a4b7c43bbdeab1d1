//! 10 clients send without pause and read nothing.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use sluicegate_protocol::pub_sub_req::Req;
use sluicegate_protocol::{CmdKafkaFetch, CmdPing};
use sluicegate_stack::raw::{BINARY, PING, masked, request};
use sluicegate_stack::waiting::settles;
use sluicegate_stack::way::Way;
use sluicegate_tests::directly;
use sluicegate_tests::in_a_tunnel;
use tokio::io::AsyncWriteExt;

use crate::load::bench::{Bench, open};
use crate::load::memory::{MAX_REQUEST_BYTES, MIB, Memory, STREAM_WINDOW_BYTES, stuck_session, stuck_socket};
use crate::load::witness::{Percentiles, Witness};

in_a_tunnel! {
    flooding_clients_are_held_back_and_slow_nobody
}

// A gateway that relays serves a client that sends for as long as the bridge takes it, and the others then.
directly! {
    flooding_clients_are_held_back_and_slow_nobody
}

async fn flooding_clients_are_held_back_and_slow_nobody(way: Way) {
    let bench = Bench::new(way).await;
    let mut witness = Witness::new(&bench).await;
    let before = Memory::now(&bench);
    let ping = |len| request(1, Req::CmdPing(CmdPing { state: vec![b'p'; len].into() }));
    let fetch =
        CmdKafkaFetch { topic: bench.large.to_owned(), partition: 0, offset: 0, ..Default::default() };
    // Many tiny frames have a limit of their own: see `frames`.
    let control = masked(PING, &[b'p'; 100]);
    let requests = [
        ping(100),
        ping(200),
        ping(1000),
        ping(100_000),
        ping(1_000_000),
        request(1, Req::CmdKafkaFetch(fetch.clone())),
        request(1, Req::CmdKafkaFetch(fetch)),
        request(1, Req::CmdEmpty(Default::default())),
        masked(BINARY, &[0xFF; 100]),
        control,
    ];
    let clients = u64::try_from(requests.len()).unwrap();
    let sent = Arc::new(AtomicU64::new(0));
    let mut flood = tokio::task::JoinSet::new();
    for request in requests {
        let mut client = open(bench.stack.gateway(), Ipv4Addr::LOCALHOST).await;
        // As few writes as many requests allow.
        let many = Bytes::from(request.repeat((64 * 1024 / request.len()).max(1)));
        let sent = Arc::clone(&sent);
        flood.spawn(async move {
            loop {
                client.io.write_all(&many).await.unwrap();
                sent.fetch_add(many.len() as u64, Ordering::Relaxed);
            }
        });
    }
    witness.check_within("while 10 clients begin to send", WHILE_IT_BEGINS).await;
    settles("what is taken of them", Duration::from_secs(60), async || sent.load(Ordering::Relaxed) as f64)
        .await;
    witness.check("while 10 clients are held back").await;
    let allowed = Memory {
        // Requests on their way are held as answers are, and assembled besides.
        gateway: clients * (2 * stuck_socket(way) + 2 * MAX_REQUEST_BYTES) + 8 * MIB,
        bridge: clients * (stuck_session() + 2 * MAX_REQUEST_BYTES + STREAM_WINDOW_BYTES) + 8 * MIB,
    };
    before.check(&bench, "10 clients send without pause", allowed);
    assert!(flood.try_join_next().is_none(), "a client was closed, not held back");
    flood.shutdown().await;
    bench.is_left_with(1).await;
    bench.assert_filter_survived().await;
}

/// Until the buffers are full, a command waits for its turn behind what ten others have sent, messages of 1 MB among
/// them: half of the commands for a few milliseconds, one in a hundred for up to a third of a second where the machine
/// is busy with other things as well. A session that is stalled waits for as long as the flood lasts.
const WHILE_IT_BEGINS: Percentiles =
    Percentiles { p50: Duration::from_millis(30), p99: Duration::from_secs(1) };
