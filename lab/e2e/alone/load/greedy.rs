//! Clients that read nothing: 300 that ask for 16 MiB each, 10 that send without pause, and 300 that send tiny frames as
//! fast as they can.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::join_all;
use sluicegate_protocol::pub_sub_req::Req;
use sluicegate_protocol::pub_sub_resp::Resp;
use sluicegate_protocol::{CmdKafkaFetch, CmdPing};
use sluicegate_stack::raw::{BINARY, PING, PONG, masked, request};
use sluicegate_stack::waiting::settles;
use sluicegate_stack::way::Way;
use sluicegate_tests::in_ways;
use tokio::io::AsyncWriteExt;
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::load::bench::{ATTACKER, Bench, LARGE, open};
use crate::load::memory::{MAX_REQUEST_BYTES, MIB, Memory, STREAM_WINDOW_BYTES, STUCK_SOCKET, stuck_session};
use crate::load::witness::{Percentiles, Witness};

in_ways! {
    [relay]
    unread_answers_slow_nobody_within_their_limits
}

in_ways! {
    [tunnel]
    unread_answers_slow_nobody_within_their_limits
    flooding_clients_are_held_back_and_slow_nobody
    tiny_frames_slow_nobody
}

const CLIENTS: u64 = 300;

/// The record that fills an answer.
fn fetch(bench: &Bench) -> CmdKafkaFetch {
    CmdKafkaFetch { topic: bench.large.to_owned(), ..Default::default() }
}

async fn unread_answers_slow_nobody_within_their_limits(way: Way) {
    let bench = Bench::new(way).await;
    let mut witness = Witness::new(&bench).await;
    let before = Memory::now(&bench);
    let gateway = bench.stack.gateway();
    const FETCHES: i64 = 64;
    let fetch = fetch(&bench);
    let requests: Vec<u8> =
        (1..=FETCHES).flat_map(|sequence| request(sequence, Req::CmdKafkaFetch(fetch.clone()))).collect();
    let stuck = (0..CLIENTS).map(async |_| {
        let mut client = open(gateway, Ipv4Addr::LOCALHOST).await;
        client.write(&requests).await;
        client
    });
    let mut stuck = join_all(stuck).await;
    let answered = bench.commands().await;
    settles("answers", Duration::from_secs(60), || bench.commands()).await;
    let answered = bench.commands().await - answered;
    let asked = CLIENTS as f64 * FETCHES as f64;
    assert!(answered < asked / 2.0, "{answered} of {asked} fetches were made for clients that read none");
    witness.check("300 clients read nothing").await;
    let allowed = Memory { gateway: CLIENTS * STUCK_SOCKET, bridge: CLIENTS * stuck_session() };
    before.check(&bench, "300 clients read nothing", allowed);

    // One that reads after all gets everything it asked for.
    let late = &mut stuck[0];
    let mut sequences = Vec::new();
    for _ in 0..FETCHES {
        let answer = timeout(Duration::from_secs(10), late.answer()).await.expect("an answer within 10 s");
        let Some(Resp::KafkaFetchResp(fetched)) = answer.resp else { panic!("{answer:?}") };
        assert_eq!(
            fetched.messages.iter().map(|message| message.value.as_ref().unwrap().len()).collect::<Vec<_>>(),
            [LARGE]
        );
        sequences.push(answer.sequence);
    }
    sequences.sort_unstable();
    assert!(sequences.into_iter().eq(1..=FETCHES));

    drop(stuck);
    bench.is_left_with(1).await;
    witness.check("300 clients have left").await;
    bench.assert_filter_survived().await;
}

async fn flooding_clients_are_held_back_and_slow_nobody(way: Way) {
    let bench = Bench::new(way).await;
    let mut witness = Witness::new(&bench).await;
    let before = Memory::now(&bench);
    let ping = |len| request(1, Req::CmdPing(CmdPing { state: vec![b'p'; len].into() }));
    let fetch = fetch(&bench);
    // Many tiny frames have a limit of their own.
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
    let mut flood = JoinSet::new();
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
        gateway: clients * (2 * STUCK_SOCKET + 2 * MAX_REQUEST_BYTES) + 8 * MIB,
        bridge: clients * (stuck_session() + 2 * MAX_REQUEST_BYTES + STREAM_WINDOW_BYTES) + 8 * MIB,
    };
    before.check(&bench, "10 clients send without pause", allowed);
    assert!(flood.try_join_next().is_none(), "a client was closed, not held back");
    flood.shutdown().await;
    bench.is_left_with(1).await;
    bench.assert_filter_survived().await;
}

async fn tiny_frames_slow_nobody(way: Way) {
    let bench = Bench::new(way).await;
    let mut witness = Witness::new(&bench).await;
    let gateway = bench.stack.gateway();
    let clients = join_all((0..CLIENTS).map(|_| open(gateway, ATTACKER))).await;
    // Pings cost their answers, too.
    let many = [PING, PONG].map(|kind| masked(kind, b"")).map(|frame| frame.repeat(64 * 1024 / frame.len()));
    let mut attack = JoinSet::new();
    for (mut client, many) in clients.into_iter().zip(many.iter().cycle()) {
        let many = many.clone();
        // Until it is closed.
        attack.spawn(async move { while client.io.write_all(&many).await.is_ok() {} });
    }
    witness.check_within("while 300 clients send tiny frames", BESIDE_FRAMES).await;
    assert!(bench.stat("sluicegate.errors.too_many_frames").await > 0, "no attacker was closed");
    attack.shutdown().await;
    bench.assert_filter_survived().await;
}

/// Until the buffers are full, a command waits for its turn behind what ten others have sent, messages of 1 MB among
/// them: half of the commands for a few milliseconds, one in a hundred for up to a third of a second where the machine
/// is busy with other things as well. A session that is stalled waits for as long as the flood lasts.
const WHILE_IT_BEGINS: Percentiles =
    Percentiles { p50: Duration::from_millis(30), p99: Duration::from_secs(1) };

/// Half of the commands wait for less than a tick, 100 ms: up to 44 ms where two cores are slow. One in a hundred waits
/// behind the frames of a tick, however many clients send them: up to 488 ms there, since Envoy shares the cores with 300
/// clients and a debug build. Without the limit it takes seconds.
const BESIDE_FRAMES: Percentiles =
    Percentiles { p50: Duration::from_millis(100), p99: Duration::from_secs(1) };
