//! Random logs, and the starting offsets that matter in each.

use std::collections::{BTreeSet, HashSet};
use std::time::Duration;

use sluicegate_protocol::{Isolation, KafkaMessage};
use sluicegate_stack::kafka::{Codec, Kafka, Outcome, Record, Transaction, Write};
use sluicegate_stack::random::Random;
use sluicegate_stack::tools::scale;
use sluicegate_stack::waiting::becomes;

use crate::reading::{FOREVER, START};

/// A log, as it was written and as librdkafka reads it.
pub(super) struct Log {
    pub(super) topic: String,
    pub(super) seed: u64,
    shape: Shape,
    /// Its features, of [`FEATURES`].
    pub(super) features: BTreeSet<&'static str>,
    /// The log start.
    pub(super) start: i64,
    /// The last stable offset.
    pub(super) stable: i64,
    /// The log end.
    pub(super) end: i64,
    all: Vec<KafkaMessage>,
    committed: Vec<KafkaMessage>,
    /// The transaction that begins at the last stable offset.
    pub(super) open: Option<Transaction>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Shape {
    /// Small records, in transactions and in none.
    Small,
    /// The same, with a few large records.
    Large,
    /// Small records with keys.
    Compacted,
}

impl Log {
    /// Writes a log, whose topic's name has the seed.
    pub(super) async fn write(kafka: &Kafka, seed: u64) -> Self {
        let mut random = Random::new(seed);
        let shape =
            [Shape::Small, Shape::Small, Shape::Small, Shape::Large, Shape::Compacted][random.below(5)];
        let stamped = ["CreateTime", "LogAppendTime"][random.below(2)];
        let configs = if shape == Shape::Compacted { &COMPACTED[..] } else { &[FOREVER] };
        let configs = [configs, &[("message.timestamp.type", stamped)]].concat();
        let topic = kafka.topic(&format!("seed-{seed}"), 1, &configs).await.unwrap();
        let features = BTreeSet::from([stamped]);
        let mut writer = Writer { kafka, topic: &topic, random, shape, features, end: 0 };
        let open = if shape == Shape::Compacted {
            writer.compacted().await;
            None
        } else {
            writer.runs().await
        };
        let Writer { mut features, mut random, end, .. } = writer;
        let stable = open.as_ref().map_or(end, |(_, first)| *first);
        // A transaction's marker is written after its end is acknowledged.
        let reached = async || kafka.watermarks(&topic, 0).unwrap().1;
        becomes(format!("the last stable offset of {topic}"), stable, WITHIN, reached).await;
        let mut start = 0;
        if shape != Shape::Compacted && random.below(3) == 0 {
            start = random.below(usize::try_from(stable).unwrap() + 1) as i64;
            kafka.delete_records_before(&topic, 0, start).await.unwrap();
            features.insert("deleted records");
        }
        let (all, committed) = (kafka.read(&topic, 0), kafka.read_committed(&topic, 0));
        let open = open.map(|(transaction, _)| transaction);
        Self { topic, seed, shape, features, start, stable, end, all, committed, open }
    }

    /// Whether a batch can be larger than the tight bridge accepts.
    pub(super) fn is_large(&self) -> bool {
        self.shape == Shape::Large
    }

    /// The records that clients read, and where they wait for more.
    pub(super) fn visible(&self, isolation: Isolation) -> (&[KafkaMessage], i64) {
        match isolation {
            Isolation::ReadUncommitted => (&self.all, self.end),
            Isolation::ReadCommitted => (&self.committed, self.stable),
        }
    }

    /// Offsets to read from, each with its class.
    pub(super) fn starts(&self, random: &mut Random) -> Vec<(&'static str, i64)> {
        let Self { start, stable, end, .. } = *self;
        let all: HashSet<i64> = self.all.iter().map(|message| message.offset).collect();
        let committed: HashSet<i64> = self.committed.iter().map(|message| message.offset).collect();
        let gap = if self.shape == Shape::Compacted { "compacted gap" } else { "control marker" };
        let candidates: [(_, Vec<i64>); 9] = [
            ("log start - 1", vec![start - 1]),
            ("log start", vec![start]),
            (gap, (start..end).filter(|offset| !all.contains(offset)).collect()),
            (
                "aborted gap",
                (start..stable).filter(|at| all.contains(at) && !committed.contains(at)).collect(),
            ),
            ("last stable offset", (stable..end).take(1).collect()),
            ("open transaction", (stable..end).skip(1).collect()),
            ("log end", vec![end]),
            ("log end + 1", vec![end + 1]),
            ("anywhere", (start..=end).collect()),
        ];
        let mut starts = Vec::new();
        for (class, offsets) in candidates {
            let count = if class == "anywhere" { scale(2, 8) } else { offsets.len().min(1) };
            starts.extend((0..count).map(|_| (class, offsets[random.below(offsets.len())])));
        }
        starts
    }
}

/// Features that the logs of the kept seeds have together.
pub(super) const FEATURES: [&str; 25] = [
    // Starting offsets.
    "log start - 1",
    "log start",
    "control marker",
    "compacted gap",
    "aborted gap",
    "last stable offset",
    "open transaction",
    "log end",
    "log end + 1",
    "anywhere",
    // Records.
    "large records",
    "headers",
    "deleted records",
    "CreateTime",
    "LogAppendTime",
    // Batches.
    "none",
    "gzip",
    "snappy",
    "lz4",
    "zstd",
    "1 record a batch",
    // Runs.
    "no transaction",
    "committed transaction",
    "aborted transaction",
    "two transactions at once",
];

struct Writer<'a> {
    kafka: &'a Kafka,
    topic: &'a str,
    random: Random,
    shape: Shape,
    features: BTreeSet<&'static str>,
    /// The number of records and markers.
    end: i64,
}

impl Writer<'_> {
    /// Writes a few runs of records, each in its own way. A transaction may stay open.
    async fn runs(&mut self) -> Option<(Transaction, i64)> {
        for _ in 0..self.random.below(6) + 1 {
            let how = self.how();
            match self.random.below(5) {
                0 | 1 => self.run(how).await,
                2 => self.run(Write { transaction: Some(Outcome::Commit), ..how }).await,
                3 => self.run(Write { transaction: Some(Outcome::Abort), ..how }).await,
                _ => self.two_at_once(how).await,
            }
        }
        if self.random.below(3) > 0 {
            return None;
        }
        let how = self.how();
        let open = self.kafka.begin(how).await.unwrap();
        let first = self.part(&open).await;
        self.run(how).await;
        Some((open, first))
    }

    async fn run(&mut self, how: Write) {
        let records = self.records(150);
        self.features.insert(match how.transaction {
            None => "no transaction",
            Some(Outcome::Commit) => "committed transaction",
            Some(Outcome::Abort) => "aborted transaction",
        });
        self.kafka.produce(self.topic, 0, &records, how).await.unwrap();
        self.end += records.len() as i64 + i64::from(how.transaction.is_some());
    }

    /// Two producers in turns, each with its own transaction.
    async fn two_at_once(&mut self, how: Write) {
        let (one, other) = tokio::join!(self.kafka.begin(how), self.kafka.begin(how));
        let mut both = [one.unwrap(), other.unwrap()];
        both.rotate_left(self.random.below(2));
        for turn in 0..self.random.below(4) + 2 {
            self.part(&both[turn % 2]).await;
        }
        both.rotate_left(self.random.below(2));
        for transaction in both {
            transaction.end([Outcome::Commit, Outcome::Abort][self.random.below(2)]).await.unwrap();
            self.end += 1;
        }
        self.features.insert("two transactions at once");
    }

    /// Writes a part of a transaction. Gives its first offset.
    async fn part(&mut self, transaction: &Transaction) -> i64 {
        let records = self.records(30);
        let offsets = transaction.write(self.topic, 0, &records).await.unwrap();
        self.end += records.len() as i64;
        offsets[0]
    }

    /// Writes runs of records with few keys, and waits until one record for each key is left.
    async fn compacted(&mut self) {
        let mut keys = HashSet::new();
        for _ in 0..self.random.below(4) + 1 {
            let how = self.how();
            let mut records = self.records(150);
            for record in &mut records {
                let key = format!("key {}", self.random.below(20)).into_bytes();
                keys.insert(key.clone());
                record.key = Some(key);
            }
            self.kafka.produce(self.topic, 0, &records, how).await.unwrap();
            self.end += records.len() as i64;
        }
        // The last segment is not compacted: it is this record's.
        let last =
            Record { key: Some(b"last".to_vec()), timestamp: Some(START + 10_000), ..Record::of("last") };
        self.kafka.produce(self.topic, 0, &[last], Write::default()).await.unwrap();
        self.end += 1;
        is_compacted(self.kafka, self.topic, keys.len() + 1).await;
    }

    fn how(&mut self) -> Write {
        let codec = Codec::ALL[self.random.below(5)];
        let batch = [None, Some(1), Some(7), Some(50)][self.random.below(4)];
        self.features.insert(codec.name());
        if batch == Some(1) {
            self.features.insert("1 record a batch");
        }
        Write { codec, batch, ..Write::default() }
    }

    fn records(&mut self, at_most: usize) -> Vec<Record> {
        let mut records: Vec<Record> =
            (0..self.random.below(at_most) + 1).map(|_| record(&mut self.random)).collect();
        if records.iter().any(|record| !record.headers.is_empty()) {
            self.features.insert("headers");
        }
        if self.shape == Shape::Large {
            let at = self.random.below(records.len());
            let len = self.random.below(LARGE) + 1;
            records[at].value = Some(bytes(&mut self.random, len));
            self.features.insert("large records");
        }
        records
    }
}

fn record(random: &mut Random) -> Record {
    let (key, value) = (part(random), part(random));
    let headers = if random.below(4) == 0 { random.below(4) } else { 0 };
    let name = |random: &mut Random| ["", "name", "é"][random.below(3)].to_owned();
    let headers = (0..headers).map(|_| (name(random), part(random))).collect();
    // In no order, some twice.
    let timestamp = Some(START + random.below(1_000) as i64);
    Record { key, value, headers, timestamp }
}

/// Null, empty, short, or of a few kilobytes: 150 of these are a batch that the smallest limits let pass.
fn part(random: &mut Random) -> Option<Vec<u8>> {
    let len = match random.below(20) {
        0 | 1 => return None,
        2 | 3 => 0,
        4 => random.below(4_000),
        _ => random.below(40) + 1,
    };
    Some(bytes(random, len))
}

/// Every second time, they compress well.
fn bytes(random: &mut Random, len: usize) -> Vec<u8> {
    if random.below(2) == 0 { random.bytes(len) } else { vec![b'z'; len] }
}

/// Waits until compaction has left so many records.
async fn is_compacted(kafka: &Kafka, topic: &str, left: usize) {
    let records = async || kafka.read(topic, 0).len();
    becomes(format!("the records of {topic}"), left, Duration::from_secs(60), records).await;
}

/// Compacted as soon as a segment is full, and a segment is full at the next record.
const COMPACTED: [(&str, &str); 3] =
    [("cleanup.policy", "compact"), ("min.cleanable.dirty.ratio", "0"), ("segment.ms", "1")];
/// Bytes.
const LARGE: usize = 1 << 20;
const WITHIN: Duration = Duration::from_secs(30);
