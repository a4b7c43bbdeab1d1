//! Many commands in flight, 6 MB in all: more than the windows on the way hold. They keep their order in every
//! partition.

use std::collections::BTreeMap;

use sluicegate_protocol::ProduceRecord;
use sluicegate_stack::socket::{Socket, produce, results};
use sluicegate_stack::way::Way;

use crate::pool::standard;
use crate::writing::told::numbers;
use crate::writing::{offset, record};

#[tokio::test]
async fn commands_keep_their_order_in_every_partition() {
    const PARTITIONS: i32 = 4;
    const COMMANDS: u64 = 400;
    const RECORDS: u64 = 10;
    let (kafka, stack) = standard(Way::Tunnel).await;
    let topic = &kafka.topic("order", PARTITIONS, &[]).await.unwrap();
    let mut socket = Socket::open(&stack).await;
    // A topic in between that takes its time to be missed.
    let missing =
        |command: u64| (command % 50 == 7).then(|| record(&format!("missing-order-{command}"), "x"));
    let mut open = BTreeMap::new();
    for command in 0..COMMANDS {
        let one = |at: u64| {
            let number = command * RECORDS + at;
            let partition = (!number.is_multiple_of(3)).then(|| i32::try_from(number).unwrap() % PARTITIONS);
            // Without a partition a key chooses it, the same one each time.
            ProduceRecord {
                key: Some("key".into()),
                partition,
                ..record(topic, format!("{number} {}", "x".repeat(1500)))
            }
        };
        let records: Vec<_> = missing(command).into_iter().chain((0..RECORDS).map(one)).collect();
        open.insert(socket.send(produce(records)).await, command);
    }
    while !open.is_empty() {
        let (sequence, resp) = socket.receive().await;
        let command = open.remove(&sequence).expect("an open sequence");
        let produced = results(resp).unwrap();
        let written = produced.iter().skip(missing(command).iter().len());
        assert_eq!(written.inspect(|one| _ = offset(one)).count() as u64, RECORDS);
    }
    let mut all = Vec::new();
    for partition in 0..PARTITIONS {
        let numbers = numbers(kafka, topic, partition);
        assert!(numbers.is_sorted_by(|a, b| a < b), "partition {partition}: {numbers:?}");
        all.extend(numbers);
    }
    all.sort_unstable();
    assert_eq!(all, (0..COMMANDS * RECORDS).collect::<Vec<_>>());
}
