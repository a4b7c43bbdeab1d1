//! Writers with a producer: through the gateway and whichever bridge, they repeat every write without an answer, also in the
//! next life of a program that is killed. Each of their records must be in Kafka once, and in order.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use sluicegate_client::{Account, Client, ProduceRecord, Writer};
use sluicegate_protocol::KafkaMessage;
use sluicegate_stack::random::Random;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout};

use super::writers::Written;
use crate::clients::source::key;

/// A writer of numbered records to a partition.
pub(super) struct Numbered {
    pub(super) url: String,
    pub(super) topic: Arc<str>,
    pub(super) partition: i32,
    pub(super) value: fn(partition: i32, number: u64) -> String,
}

impl Numbered {
    /// Writes a record in each pause, and several after an outage, until it is to stop and has an answer to all.
    pub(super) async fn write(self, stopped: watch::Receiver<bool>, mut random: Random) -> Written {
        let saved = Arc::new(Mutex::new(Account::new().unwrap()));
        // A program saves this with its account: the number of the first record without an answer.
        let (start, mut first, mut written) = (Instant::now(), 0, Written::default());
        loop {
            let mut writer = self.begin(&saved).await;
            loop {
                let due = start.elapsed().as_millis() / PAUSE.as_millis();
                let count = match writer.account().unfinished() {
                    0 if *stopped.borrow() => {
                        written.numbered.insert(self.partition, first);
                        return written;
                    }
                    0 => u64::try_from(due).unwrap().saturating_sub(first).min(MOST),
                    unfinished => u64::try_from(unfinished).unwrap(),
                };
                let records: Vec<_> = (first..first + count).map(|number| self.record(number)).collect();
                let life = if random.below(LIVES) == 0 { random.below(200) } else { usize::MAX >> 1 };
                let life = Duration::from_millis(u64::try_from(life).unwrap());
                // Dropped at any point, as by a kill.
                let Ok(outcomes) = timeout(life, writer.write(&records)).await else { break };
                for outcome in outcomes.unwrap() {
                    let place = outcome.unwrap();
                    written.offsets.extend(place.offset.map(|offset| (place.partition, offset)));
                    written.duplicates += usize::from(place.is_duplicate);
                }
                // Killed before it has saved that.
                if random.below(LIVES) == 0 {
                    break;
                }
                *saved.lock().unwrap() = writer.account().clone();
                first += count;
                sleep(PAUSE).await;
            }
        }
    }

    async fn begin(
        &self,
        saved: &Arc<Mutex<Account>>,
    ) -> Writer<impl FnMut(&Account) -> std::io::Result<()> + use<>> {
        let client = connect(&self.url).await;
        // As a file: the flag of what was tried is not in it.
        let account = serde_json::to_string(&*saved.lock().unwrap()).unwrap();
        let saved = Arc::clone(saved);
        client.writer(&*self.topic, serde_json::from_str(&account).unwrap(), move |account: &Account| {
            *saved.lock().unwrap() = account.clone();
            Ok(())
        })
    }

    fn record(&self, number: u64) -> ProduceRecord {
        ProduceRecord {
            partition: Some(self.partition),
            key: Some(key(number % KEYS).into()),
            value: Some((self.value)(self.partition, number).into()),
            ..ProduceRecord::default()
        }
    }
}

/// A session, as soon as there can be one.
pub(super) async fn connect(url: &str) -> Client {
    loop {
        match Client::connect(url).await {
            Ok(client) => return client,
            Err(_) => sleep(PAUSE).await,
        }
    }
}

/// Panics unless each record of the writers is in the logs once, and in order, so far as they reach.
pub(super) fn each_is_there_once(
    numbered: &BTreeMap<i32, u64>,
    value: fn(i32, u64) -> String,
    first_offset: i64,
    logs: &BTreeMap<i32, Vec<KafkaMessage>>,
) {
    let number = |message: &KafkaMessage| u64::try_from(message.offset - first_offset).unwrap();
    for (partition, count) in numbered {
        let log = logs.get(partition).map(Vec::as_slice).unwrap_or_default();
        for message in log {
            let want = value(*partition, number(message));
            let got = message.value.as_deref().unwrap_or_default();
            assert!(
                got == want.as_bytes(),
                "partition {partition}: {:?} at offset {} of {count}",
                String::from_utf8_lossy(got.get(..20).unwrap_or(got)),
                message.offset
            );
        }
        let end = log.last().map_or(*count, |last| number(last) + 1);
        assert!(end == *count, "partition {partition}: {end} records instead of {count}");
    }
}

/// One write in so many ends with its program, and so does one after its answer.
pub(super) const LIVES: usize = 12;
pub(super) const PAUSE: Duration = Duration::from_millis(250);
/// Records of one write after an outage.
pub(super) const MOST: u64 = 100;
pub(super) const KEYS: u64 = 4;
