//! Many sockets at once.

use std::time::Duration;

use futures_util::future::join_all;
use sluicegate_protocol::KafkaMessage;
use sluicegate_tests::envoy::Profile;
use sluicegate_tests::in_both_profiles;
use sluicegate_tests::kafka::{Codec, Record, Write};
use sluicegate_tests::socket::Socket;
use tokio::time::timeout;

use crate::gateway::shared;
use crate::reference::{FOREVER, START, assert_same, messages, noise, varied};

in_both_profiles! {
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

#[tokio::test]
async fn sockets_that_keep_up_with_a_writer_get_every_record_once() {
    const ROUNDS: u32 = 40;
    let (kafka, stack) = shared(Profile::Tunnel).await;
    let topic = &kafka.topic("tail", 1, &[FOREVER]).await.unwrap();
    let records = varied(10 * ROUNDS);
    let write = async {
        for round in records.chunks(10) {
            kafka.produce(topic, 0, round, Write::default()).await.unwrap();
        }
    };
    let offsets: Vec<i64> = (0..i64::from(10 * ROUNDS)).collect();
    let written = messages(&offsets, &records);
    let mut sockets = join_all((0..20).map(|_| Socket::open(stack))).await;
    let tails = sockets.iter_mut().map(async |socket| {
        let mut read = Vec::new();
        // Empty answers are the log end's: the writer is slower than the readers.
        while read.len() < written.len() {
            let offset = i64::try_from(read.len()).unwrap();
            read.extend(socket.fetch(topic, 0, offset).await.unwrap());
        }
        assert_same(&read, &written, "what was written meanwhile");
    });
    let both = async { tokio::join!(write, join_all(tails)) };
    timeout(Duration::from_secs(60), both).await.expect("every record at every socket within 60 s");
}
