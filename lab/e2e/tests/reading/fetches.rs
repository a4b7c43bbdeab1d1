//! The largest answers pass every way in.

use sluicegate_stack::kafka::{Codec, Record, Write};
use sluicegate_stack::socket::Socket;
use sluicegate_stack::way::Way;
use sluicegate_tests::in_every_way;
use sluicegate_tests::through_nginx;

use crate::reading::gateway::shared;
use crate::reading::reference::{FOREVER, START, assert_same, messages, noise};

in_every_way! {
    values_of_megabytes_arrive_whole
}

through_nginx! {
    values_of_megabytes_arrive_whole
}

async fn values_of_megabytes_arrive_whole(way: Way) {
    let (kafka, stack) = shared(way).await;
    let lens = [65_500, 65_535, 65_536, 262_144, 1 << 20, 4 << 20];
    let mut socket = Socket::open(stack).await;
    for codec in Codec::ALL {
        let topic = kafka.topic("large", 1, &[FOREVER, ("max.message.bytes", "8388608")]).await.unwrap();
        let large = |(seed, len): (u64, &usize)| Record {
            key: Some(noise(len / 4, seed)),
            timestamp: Some(START),
            ..Record::of(noise(*len, seed + 100))
        };
        let records: Vec<Record> = (1..).zip(&lens).map(large).collect();
        let offsets = kafka.produce(&topic, 0, &records, Write { codec, ..Write::default() }).await.unwrap();
        let walked = socket.walk(&topic, 0, 0).await;
        assert_same(&walked, &messages(&offsets, &records), &format!("{codec:?}"));
    }
}
