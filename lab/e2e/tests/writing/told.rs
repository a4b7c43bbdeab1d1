//! A client that writes numbers without a pause, and what it was told of each, held against the log.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use sluicegate_protocol::{KafkaMessage, ProduceRecord};
use sluicegate_stack::kafka::Kafka;
use sluicegate_stack::socket::{Socket, produce, results};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

/// Outcomes that clients were told of their records, by number.
#[derive(Default)]
pub(crate) struct Told {
    /// The offset of each.
    acknowledged: BTreeMap<u64, i64>,
    pub(crate) refused: BTreeSet<u64>,
    pub(crate) unknown: BTreeSet<u64>,
}

impl Told {
    /// Checks that what was `written` to the partition, from offset 0 on, is what a client that sends nothing again was
    /// told.
    fn check(&self, written: &[u64]) {
        let there: BTreeSet<_> = written.iter().collect();
        for (number, offset) in &self.acknowledged {
            let at = usize::try_from(*offset).unwrap();
            assert_eq!(written.get(at), Some(number), "{number} was acknowledged at {offset}");
        }
        for number in &self.refused {
            assert!(!there.contains(number), "{number} was refused and is there");
        }
        let behind = written.windows(2).enumerate().find(|(_, pair)| pair[0] >= pair[1]);
        assert_eq!(behind, None, "a record is there twice, or behind a later one");
    }
}

/// A client that writes to partition 0 of a topic, sends nothing again, and notes what it is told.
pub(crate) struct Writing {
    stop: Arc<AtomicBool>,
    told: watch::Receiver<Told>,
    task: JoinHandle<()>,
}

impl Writing {
    pub(crate) fn start(socket: Socket, topic: &str) -> Self {
        let (stop, (tell, told)) = (Arc::<AtomicBool>::default(), watch::channel(Told::default()));
        let task = tokio::spawn(write(socket, topic.to_owned(), Arc::clone(&stop), tell));
        Self { stop, told, task }
    }

    /// Waits until the client was told something.
    pub(crate) async fn comes_about(&mut self, what: &str, is_it: impl Fn(&Told) -> bool) {
        let told = timeout(Duration::from_secs(60), self.told.wait_for(|told| is_it(told))).await;
        assert!(told.is_ok_and(|told| told.is_ok()), "{what}");
    }

    /// Stops it, waits for its last answers, and holds all of them against the log.
    pub(crate) async fn end(self, within: Duration, kafka: &Kafka, topic: &str) {
        self.stop.store(true, Ordering::Relaxed);
        timeout(within, self.task).await.expect("an end").unwrap();
        self.told.borrow().check(&numbers(kafka, topic));
    }
}

/// Writes numbers until it is to stop, several commands in flight.
async fn write(mut socket: Socket, topic: String, stop: Arc<AtomicBool>, tell: watch::Sender<Told>) {
    const RECORDS: u64 = 20;
    const IN_FLIGHT: usize = 8;
    let (mut open, mut next) = (BTreeMap::new(), 0);
    let record = |number: u64| ProduceRecord {
        topic: topic.clone(),
        partition: Some(0),
        value: Some(format!("{number} {}", "x".repeat(100)).into()),
        ..ProduceRecord::default()
    };
    loop {
        while open.len() < IN_FLIGHT && !stop.load(Ordering::Relaxed) {
            let numbers = next..next + RECORDS;
            next += RECORDS;
            let records = numbers.clone().map(record).collect();
            open.insert(socket.send(produce(records)).await, numbers);
        }
        if open.is_empty() {
            return;
        }
        let (sequence, resp) = socket.receive().await;
        let numbers = open.remove(&sequence).expect("an open sequence");
        let told = match results(resp) {
            Ok(produced) => produced.into_iter().map(|one| one.error.map_or(Ok(one.offset), Err)).collect(),
            Err(error) => {
                assert!(error.retriable, "{error:?}");
                vec![Err(error); numbers.clone().count()]
            }
        };
        let is_refused = told.iter().all(Result::is_err);
        tell.send_modify(|all| {
            for (number, told) in numbers.zip(told) {
                match told {
                    Ok(offset) => _ = all.acknowledged.insert(number, offset),
                    Err(error) if error.unknown_outcome => _ = all.unknown.insert(number),
                    Err(_) => _ = all.refused.insert(number),
                }
            }
        });
        if is_refused {
            // At once, while no broker can be reached.
            sleep(Duration::from_millis(10)).await;
        }
    }
}

/// The numbers that the values of partition 0 begin with, up to a space, from offset 0 on.
pub(crate) fn numbers(kafka: &Kafka, topic: &str) -> Vec<u64> {
    let messages = kafka.read(topic, 0);
    assert!(messages.iter().map(|message| message.offset).eq(0..messages.len() as i64));
    let number = |message: KafkaMessage| {
        let value = String::from_utf8(message.value.unwrap().to_vec()).unwrap();
        value.split(' ').next().unwrap().parse().unwrap()
    };
    messages.into_iter().map(number).collect()
}
