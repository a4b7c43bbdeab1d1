//! Records that a broker rejects, beside those of others: batches are rejected as a whole.

use futures_util::future::{Either, select};
use sluicegate_protocol::ProduceRecord;
use sluicegate_stack::kafka::Kafka;
use sluicegate_stack::socket::{Socket, produce};
use sluicegate_stack::way::Way;

use crate::pool::Config;
use crate::writing::{error, record};

/// An attacker without pause makes few writes of a bystander fail, even if both come from one address.
async fn bystander_writes_beside(property: (&str, &str), bad: impl Fn(&str) -> ProduceRecord, code: i32) {
    const WRITES: usize = 100;
    const IN_FLIGHT: usize = 8;
    let kafka = Kafka::shared().await.unwrap();
    let stack = Config::new(Way::Tunnel).await.writing(&["default"]).alone().await;
    let topic = kafka.topic("rejected", 1, &[property]).await.unwrap();
    let (mut attacker, mut bystander) = (Socket::open(&stack).await, Socket::open(&stack).await);
    let attack = async {
        for _ in 0..IN_FLIGHT {
            attacker.send(produce(vec![bad(&topic)])).await;
        }
        loop {
            attacker.receive().await;
            attacker.send(produce(vec![bad(&topic)])).await;
        }
    };
    let writes = async {
        let mut failed = 0_usize;
        for number in 0..WRITES {
            let good =
                || vec![ProduceRecord { key: Some("key".into()), ..record(&topic, format!("{number}")) }];
            let first = bystander.produce(good()).await.unwrap();
            if first[0].error.is_none() {
                continue;
            }
            let rejected = error(&first[0]);
            // 87, too, is the code of a good record in a batch with a bad one.
            assert!([code, 87].contains(&rejected.code) && rejected.retriable, "{rejected:?}");
            failed += 1;
            let again = bystander.produce(good()).await.unwrap();
            assert_eq!(again[0].error, None, "after {failed} failures");
        }
        failed
    };
    let failed = match select(Box::pin(attack), Box::pin(writes)).await {
        Either::Left(((), _)) => panic!("an endless attack ended"),
        Either::Right((failed, _)) => failed,
    };
    assert!(failed <= 2, "{failed} of {WRITES} failed");
}

#[tokio::test]
async fn records_without_a_key_do_not_fail_those_of_others() {
    bystander_writes_beside(("cleanup.policy", "compact"), |topic| record(topic, "x"), 87).await;
}

#[tokio::test]
async fn bad_timestamps_do_not_fail_records_of_others() {
    let far = |topic: &str| ProduceRecord { timestamp: Some(8_204_889_600_000), ..record(topic, "x") };
    bystander_writes_beside(("cleanup.policy", "delete"), far, 32).await;
}
