//! Many sockets at once.

use futures_util::future::join_all;
use sluicegate_protocol::KafkaMessage;
use sluicegate_stack::envoy::Profile;
use sluicegate_stack::kafka::{Codec, Record, Write};
use sluicegate_stack::socket::Socket;
use sluicegate_tests::in_every_profile;

use crate::reading::gateway::shared;
use crate::reading::reference::{FOREVER, START, assert_same, messages, noise};

in_every_profile! {
    sockets_that_walk_at_once_get_every_record_once
}

const SOCKETS: usize = 64;

async fn sockets_that_walk_at_once_get_every_record_once(profile: Profile) {
    let (kafka, stack) = shared(profile).await;
    let topic = kafka.topic("crowd", 5, &[FOREVER]).await.unwrap();
    let mut written: Vec<Vec<KafkaMessage>> = Vec::new();
    for (partition, codec) in (0..).zip(Codec::ALL) {
        let record = |number: u64| Record {
            key: Some(format!("{codec:?} {number}").into()),
            timestamp: Some(START),
            ..Record::of(noise(250, number + 1))
        };
        let records: Vec<Record> = (0..3_000).map(record).collect();
        let how = Write { codec, ..Write::default() };
        let offsets = kafka.produce(&topic, partition, &records, how).await.unwrap();
        written.push(messages(&offsets, &records));
    }
    // All are open before the first one walks.
    let mut sockets = join_all((0..SOCKETS).map(|_| Socket::open(stack))).await;
    let walks = sockets.iter_mut().enumerate().map(async |(number, socket)| {
        let at = number % written.len();
        let walked = socket.walk(&topic, i32::try_from(at).unwrap(), 0).await;
        assert_same(&walked, &written[at], &format!("socket {number}, partition {at}"));
    });
    join_all(walks).await;
}
