//! 300 clients ask for 16 MiB each and read none of it.

use std::time::Duration;

use futures_util::future::join_all;
use prost::Message as _;
use sluicegate_protocol::pub_sub_req::Req;
use sluicegate_protocol::pub_sub_resp::Resp;
use sluicegate_protocol::{CmdKafkaFetch, PubSubResp};
use sluicegate_tests::in_both_profiles;
use sluicegate_tests::through_the_relay;
use sluicegate_tests::way::Way;
use tokio::io::AsyncWriteExt;
use tokio::time::timeout;

use crate::bench::{Bench, LARGE, settles};
use crate::memory::{Memory, stuck_session, stuck_socket};
use crate::raw;
use crate::witness::Witness;

in_both_profiles! {
    clients_that_do_not_read_their_answers_slow_nobody_and_hold_no_more_than_the_limits
}

through_the_relay! {
    clients_that_do_not_read_their_answers_slow_nobody_and_hold_no_more_than_the_limits
}

const CLIENTS: u64 = 300;
const FETCHES: i64 = 64;

async fn clients_that_do_not_read_their_answers_slow_nobody_and_hold_no_more_than_the_limits(way: Way) {
    let bench = Bench::new(way).await;
    let mut witness = Witness::new(&bench).await;
    let before = Memory::now(&bench);
    let gateway = bench.stack.gateway();
    let fetch = CmdKafkaFetch { topic: bench.large.to_owned(), partition: 0, offset: 0 };
    let requests: Vec<u8> =
        (1..=FETCHES).flat_map(|sequence| raw::binary(sequence, Req::CmdKafkaFetch(fetch.clone()))).collect();
    let stuck = (0..CLIENTS).map(async |_| {
        let mut stream = raw::open(gateway).await;
        stream.write_all(&requests).await.unwrap();
        stream
    });
    let mut stuck = join_all(stuck).await;
    let answered = bench.commands().await;
    settles("answers", || bench.commands()).await;
    let answered = bench.commands().await - answered;
    let asked = CLIENTS as f64 * FETCHES as f64;
    assert!(answered < asked / 2.0, "{answered} of {asked} fetches were made for clients that read none");
    witness.check("300 clients read nothing").await;
    let allowed = Memory { gateway: CLIENTS * stuck_socket(way), bridge: CLIENTS * stuck_session() };
    before.check(&bench, "300 clients read nothing", allowed);

    // One that reads after all gets everything it asked for.
    let late = &mut stuck[0];
    let mut sequences = Vec::new();
    for _ in 0..FETCHES {
        let frame = timeout(Duration::from_secs(10), raw::frame(late)).await.expect("an answer within 10 s");
        let (first, payload) = frame.unwrap();
        assert_eq!(first, raw::BINARY);
        let answer = PubSubResp::decode(&payload[..]).unwrap();
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
