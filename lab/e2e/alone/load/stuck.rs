//! 300 clients ask for 16 MiB each and read none of it.

use std::net::Ipv4Addr;
use std::time::Duration;

use futures_util::future::join_all;
use sluicegate_protocol::CmdKafkaFetch;
use sluicegate_protocol::pub_sub_req::Req;
use sluicegate_protocol::pub_sub_resp::Resp;
use sluicegate_stack::raw::request;
use sluicegate_stack::waiting::settles;
use sluicegate_stack::way::Way;
use sluicegate_tests::in_every_profile;
use tokio::time::timeout;

use crate::load::bench::{Bench, LARGE, open};
use crate::load::memory::{Memory, stuck_session, stuck_socket};
use crate::load::witness::Witness;

in_every_profile! {
    unread_answers_slow_nobody_within_their_limits
}

const CLIENTS: u64 = 300;
const FETCHES: i64 = 64;

async fn unread_answers_slow_nobody_within_their_limits(way: Way) {
    let bench = Bench::new(way).await;
    let mut witness = Witness::new(&bench).await;
    let before = Memory::now(&bench);
    let gateway = bench.stack.gateway();
    let fetch =
        CmdKafkaFetch { topic: bench.large.to_owned(), partition: 0, offset: 0, ..Default::default() };
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
    let allowed = Memory { gateway: CLIENTS * stuck_socket(way), bridge: CLIENTS * stuck_session() };
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
