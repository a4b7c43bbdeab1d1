//! Tables of scripted logs: what a client has is a replay of the log.

mod staleness;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;

use proptest::prelude::*;
use sluicegate_backend::command::{TableCommand, ValuePart};
use sluicegate_rights::{Pattern, Rights, Row, Topics};

use super::*;

/// A client, and its keys with the offsets of their newest records, by partition.
struct Holder {
    subscription: Subscription,
    held: BTreeMap<(i32, String), i64>,
    unconfirmed: BTreeSet<(i32, String)>,
    /// Complete ones.
    snapshots: usize,
    is_in_snapshot: bool,
}

impl Holder {
    fn new(subscription: Subscription) -> Self {
        Self { subscription, held: [].into(), unconfirmed: [].into(), snapshots: 0, is_in_snapshot: false }
    }

    async fn open(cluster: &Arc<Cluster>) -> Self {
        Self::of(cluster, command()).await
    }

    async fn of(cluster: &Arc<Cluster>, command: SubscribeCommand) -> Self {
        Self::new(subscribe_in(cluster, command).await.unwrap())
    }

    async fn soon(&mut self) -> Option<Item> {
        soon(&mut self.subscription).await
    }

    fn take(&mut self, item: Item) {
        match item {
            Item::Snapshot(_) => {
                self.is_in_snapshot = true;
                self.unconfirmed = self.held.keys().cloned().collect();
            }
            Item::Delivery { next, messages, .. } => {
                for message in decode(&messages) {
                    let key = String::from_utf8(message.key.expect("a key").to_vec()).unwrap();
                    let key = (next.partition, key);
                    self.unconfirmed.remove(&key);
                    match message.value {
                        Some(_) => drop(self.held.insert(key, message.offset)),
                        None => drop(self.held.remove(&key)),
                    }
                }
            }
            Item::SnapshotEnd { .. } => {
                self.snapshots += 1;
                self.is_in_snapshot = false;
                self.held.retain(|key, _| !self.unconfirmed.contains(key));
                self.unconfirmed.clear();
            }
            Item::LogStart(start) => {
                self.held.retain(|(of, _), offset| *of != start.partition || *offset >= start.offset);
            }
            Item::Skipped { .. } | Item::Ended { .. } | Item::Assigned { .. } | Item::Revoked => {
                panic!("{item:?} of a table")
            }
            Item::Subscribed(_) | Item::Building { .. } | Item::CaughtUp { .. } | Item::Retrying { .. } => {}
        }
    }

    /// Takes all there is to tell.
    async fn settle(&mut self) {
        while let Some(item) = self.soon().await {
            self.take(item);
        }
        assert!(!self.is_in_snapshot);
    }

    /// Settles, after so many snapshots since the beginning.
    async fn settle_as_replay(&mut self, logs: &Logs, partitions: i32, snapshots: usize) {
        self.settle().await;
        assert_eq!((self.snapshots, &self.held), (snapshots, &replay(logs, partitions)));
    }
}

/// Some keys, and none that only begins like another.
fn key(offset: i64) -> &'static str {
    ["a", "b", "c", "d", "e"][(offset * 7919 % 997 % 5) as usize]
}

fn is_empty(offset: i64) -> bool {
    offset * 104_729 % 11 < 3
}

fn replay(logs: &Logs, partitions: i32) -> BTreeMap<(i32, String), i64> {
    let mut newest = BTreeMap::new();
    for partition in 0..partitions {
        for offset in logs.start(partition)..logs.end(partition) {
            let key = (partition, key(offset).to_owned());
            match is_empty(offset) {
                true => drop(newest.remove(&key)),
                false => drop(newest.insert(key, offset)),
            }
        }
    }
    newest
}

/// Logs of which the first has so many records.
fn logs(records: usize) -> Logs {
    let logs = Logs::default();
    logs.set_keys(key);
    logs.change(|state| state.is_empty = Some(is_empty));
    logs.recreate(1, None);
    logs.append(0, records);
    logs
}

/// A client with these rights, and with tables.
fn with_tables(cluster: &Arc<Cluster>, rights: Rights) -> Grant {
    Grant::of(cluster, rights).with_tables(Topics::default())
}

fn command() -> SubscribeCommand {
    let source = Source { topic: TOPIC.to_owned(), ..Default::default() };
    let table = Some(TableCommand::default());
    SubscribeCommand { sources: vec![source], table, ..Default::default() }
}

#[derive(Debug, Clone)]
enum Step {
    /// Records for a partition.
    Append(i32, usize),
    /// Reads of this size.
    Read(usize),
    /// The client has no room for what was read.
    PutBack,
    /// The partition cannot be read.
    Break(i32),
    /// All can be read again.
    Mend,
    /// Records that were read are no longer kept, or are again.
    Keep(bool),
    /// Another leader, which has all records.
    Elect,
    /// Another leader, which has lost so many records at the end.
    Truncate(i32, i64),
    /// The log loses so many records at its start.
    Delete(i32, i64),
    Recreate,
    AddPartition,
    Wait(u64),
}

fn step() -> impl Strategy<Value = Step> {
    let partition = || 0..logs::PARTITIONS;
    prop_oneof![
        4 => (partition(), 1_usize..20).prop_map(|(partition, count)| Step::Append(partition, count)),
        6 => (1_usize..400).prop_map(Step::Read),
        1 => Just(Step::PutBack),
        1 => partition().prop_map(Step::Break),
        1 => Just(Step::Mend),
        1 => any::<bool>().prop_map(Step::Keep),
        1 => Just(Step::Elect),
        1 => (partition(), 1_i64..20).prop_map(|(partition, count)| Step::Truncate(partition, count)),
        1 => (partition(), 1_i64..20).prop_map(|(partition, count)| Step::Delete(partition, count)),
        1 => Just(Step::Recreate),
        1 => Just(Step::AddPartition),
        1 => (1_u64..5000).prop_map(Step::Wait),
    ]
}

proptest! {
    #[test]
    fn table_is_a_replay_whatever_happens_to_its_log(steps in prop::collection::vec(step(), 0..80)) {
        let mut runtime = tokio::runtime::Builder::new_current_thread();
        runtime.enable_time().start_paused(true).build().unwrap().block_on(run(steps));
    }
}

/// Takes the steps, and waits for all that follows from them.
async fn run(steps: Vec<Step>) {
    let logs = logs(0);
    let mut holder = Holder::open(&logs.cluster()).await;
    let (mut partitions, mut topic_id) = (logs::PARTITIONS, 1);
    let soon = Duration::from_millis(10);
    for step in steps {
        match step {
            Step::Append(partition, count) => logs.append(partition, count),
            Step::Read(max_bytes) => {
                if let Ok(item) = timeout(soon, next(&mut holder.subscription, max_bytes)).await {
                    holder.take(item);
                }
            }
            Step::PutBack => {
                let _ = timeout(soon, holder.subscription.ready(100)).await;
                holder.subscription.put_back();
            }
            Step::Break(partition) => logs.break_with(partition, unreachable()),
            Step::Mend => logs.mend(),
            Step::Keep(keeps) => logs.keep(keeps),
            Step::Elect => logs.elect(None),
            Step::Truncate(of, count) => logs.truncate(of, (logs.end(of) - count).max(logs.start(of))),
            Step::Delete(of, count) => logs.delete_before(of, (logs.start(of) + count).min(logs.end(of))),
            Step::Recreate => {
                topic_id += 1;
                (0..partitions).for_each(|partition| logs.truncate(partition, 0));
                logs.recreate(topic_id, None);
            }
            Step::AddPartition => {
                logs.add_partitions(1);
                partitions += 1;
            }
            Step::Wait(millis) => advance(Duration::from_millis(millis)).await,
        }
    }
    logs.mend();
    holder.settle().await;
    assert_eq!(holder.held, replay(&logs, partitions));
}

/// As it is for a moment while it is created again.
#[tokio::test(start_paused = true)]
async fn table_waits_for_a_topic_that_is_missing() {
    let logs = logs(20);
    let mut holder = Holder::open(&logs.cluster()).await;
    holder.settle().await;
    logs.truncate(0, 0);
    logs.recreate(2, None);
    logs.append(0, 25);
    logs.change(|state| state.is_hidden = true);
    let _ = timeout(Duration::from_secs(5), holder.settle()).await;
    assert_eq!(holder.snapshots, 1);
    logs.change(|state| state.is_hidden = false);
    holder.settle_as_replay(&logs, logs::PARTITIONS, 2).await;
}

#[tokio::test(start_paused = true)]
async fn topic_that_is_recreated_with_fewer_partitions_begins_its_snapshot_anew() {
    let logs = logs(20);
    logs.break_with(3, CommandError::new(Fault::Transient, 0, "no leader"));
    let mut holder = Holder::open(&logs.cluster()).await;
    let _ = timeout(Duration::from_secs(1), holder.settle()).await;
    assert_eq!(holder.snapshots, 0);
    logs.truncate(0, 0);
    logs.recreate(2, None);
    logs.break_with(3, CommandError::new(Fault::NotFound, 3, "no such partition"));
    logs.add_partitions(-1);
    logs.append(0, 5);
    holder.settle_as_replay(&logs, logs::PARTITIONS - 1, 1).await;
}

/// Its rows come when it has one. Until then, the tables of the others tell what they know.
#[tokio::test(start_paused = true)]
async fn table_begins_without_a_partition_that_has_no_leader() {
    let logs = logs(20);
    let of_others = replay(&logs, logs::PARTITIONS);
    logs.append(1, 10);
    logs.change(|state| state.unled = Some(1));
    let cluster = logs.cluster();
    let mut holder = Holder::open(&cluster).await;
    holder.settle().await;
    assert_eq!((holder.snapshots, &holder.held), (1, &of_others));
    logs.append(0, 5);
    holder.settle().await;
    assert_eq!((holder.snapshots, holder.held.len()), (1, replay(&logs, 1).len()));
    let grant = with_tables(&cluster, Rights::all());
    let (_, known) = of_others.keys().next().unwrap();
    assert!(grant.look_up(TOPIC, known.as_bytes(), false).await.unwrap().is_some());
    // It can have the key.
    assert!(grant.look_up(TOPIC, b"unknown", false).await.unwrap_err().fault.is_retriable());
    logs.change(|state| state.unled = None);
    holder.settle_as_replay(&logs, logs::PARTITIONS, 1).await;
}

#[tokio::test(start_paused = true)]
async fn table_can_wait_for_its_only_partition() {
    let logs = logs(20);
    logs.change(|state| state.unled = Some(0));
    let mut command = command();
    command.sources[0].partitions = vec![0];
    let grant = with_tables(&logs.cluster(), Rights::all());
    assert!(grant.subscribe(command.clone()).await.is_err());
    let mut holder = Holder::new(grant.follow(command).await.unwrap());
    assert!(matches!(holder.soon().await, Some(Item::Retrying { .. })));
    logs.change(|state| state.unled = None);
    holder.settle_as_replay(&logs, 1, 1).await;
}

#[tokio::test(start_paused = true)]
async fn building_and_outages_are_told() {
    let logs = logs(20);
    logs.change(|state| state.silent = Some(0));
    let mut holder = Holder::open(&logs.cluster()).await;
    assert!(matches!(holder.soon().await, Some(Item::Snapshot(_))));
    for _ in 0..3 {
        let began = Instant::now();
        let Some(Item::Building { place, end }) = holder.soon().await else { panic!("silence") };
        assert_eq!((place.partition, place.offset, end), (0, 0, 20));
        assert!(began.elapsed() <= Duration::from_millis(1010), "{:?}", began.elapsed());
    }
    logs.change(|state| state.silent = None);
    logs.break_with(0, unreachable());
    let mut holder = Holder::open(&logs.cluster()).await;
    assert!(matches!(holder.soon().await, Some(Item::Snapshot(_))));
    assert!(matches!(holder.soon().await, Some(Item::Retrying { .. })));
    logs.mend();
    holder.settle_as_replay(&logs, logs::PARTITIONS, 1).await;
}

#[tokio::test(start_paused = true)]
async fn renewal_with_other_rows_begins_anew() {
    let logs = logs(50);
    let grant = with_tables(&logs.cluster(), reads("a"));
    let mut holder = Holder::new(grant.subscribe(command()).await.unwrap());
    for (key, snapshots) in [("a", 1), ("b", 2), ("b", 2)] {
        grant.renew(reads(key), somebody());
        logs.append(0, 1);
        holder.settle().await;
        let mut want = replay(&logs, 4);
        want.retain(|(_, of), _| of == key);
        assert_eq!((holder.snapshots, &holder.held), (snapshots, &want), "{key}");
    }
    // Also while nothing is written.
    let renew = async {
        tokio::task::yield_now().await;
        grant.renew(reads("a"), somebody());
    };
    let told = timeout(Duration::from_secs(1), holder.subscription.ready(100));
    assert!(tokio::join!(told, renew).0.is_ok());
}

#[tokio::test(start_paused = true)]
async fn value_that_matches_no_more_removes_its_key() {
    let logs = Logs::default();
    logs.set_keys(|offset| ["a", "b"][offset as usize % 2]);
    logs.change(|state| {
        state.value = Some(|offset| match offset {
            2 => r#"{"status":"closed"}"#,
            5 => "open",
            _ => r#"{"status":"open"}"#,
        });
        state.is_empty = Some(|offset| offset == 6);
    });
    logs.append(0, 2);
    let value = Some(ValuePart { pointer: "/status".to_owned(), ..Default::default() });
    let filter = RecordFilter { value, equals: vec![r#""open""#.into()], ..Default::default() };
    let command = SubscribeCommand { filters: vec![filter], ..command() };
    let mut holder = Holder::of(&logs.cluster(), command).await;
    for want in [&[("a", 0), ("b", 1)][..], &[("b", 3)], &[("a", 4)], &[("b", 7)]] {
        holder.settle().await;
        let held: Vec<_> = holder.held.iter().map(|((_, key), offset)| (key.as_str(), *offset)).collect();
        assert_eq!(held, want);
        logs.append(0, 2);
    }
}

/// The rights of a client change while it has no connection, or it asks for other keys.
#[tokio::test(start_paused = true)]
async fn table_of_other_records_begins_anew() {
    let rows = |prefix: &str| Some(keys(prefix));
    let (all, a, ab) = (&[][..], &["a"][..], &["a", "b"][..]);
    let cases = [
        ((None, all), (None, all), true),
        ((rows("a"), all), (rows("a"), all), true),
        ((None, a), (None, a), true),
        ((rows("a"), ab), (rows("a"), ab), true),
        ((rows("a"), all), (rows("b"), all), false),
        ((rows("a"), all), (None, all), false),
        ((None, all), (rows("a"), all), false),
        ((None, a), (None, ab), false),
        ((rows("a"), a), (rows("a"), all), false),
    ];
    let cases = [None, Some(7)].into_iter().flat_map(|id| cases.clone().map(|case| (id, case)));
    for (id, ((first, asked_first), (then, asked_then), goes_on)) in cases {
        let logs = logs(0);
        id.into_iter().for_each(|id| logs.recreate(id, None));
        let begin = async |row: &Option<Row>, keys: &[&str], source: Option<Source>| {
            let read = Some([(Pattern::Name(TOPIC.into()), row.clone())].into_iter().collect());
            // Another bridge.
            let grant = with_tables(&logs.cluster(), Rights { read, ..Rights::default() });
            let prefixes = keys.iter().map(|key| Bytes::copy_from_slice(key.as_bytes())).collect();
            let filter = RecordFilter { prefixes, ..Default::default() };
            let mut command = SubscribeCommand { filters: vec![filter], ..command() };
            command.filters.truncate(keys.len());
            if let Some(source) = source {
                command.sources = vec![source];
                command.table = Some(TableCommand { away: Some(Duration::ZERO) });
            }
            soon(&mut grant.subscribe(command).await.unwrap()).await
        };
        let told = begin(&first, asked_first, None).await;
        let Some(Item::Snapshot(topics)) = &told else { panic!("{told:?}") };
        let [SubscribedTopic { topic_id, partitions, .. }] = &topics[..] else { panic!("{told:?}") };
        let (next, topic_id) = (partitions.clone(), *topic_id);
        let source = Source { topic: TOPIC.into(), next, topic_id, ..Default::default() };
        // The bridge does not know the topic yet.
        logs.change(|state| state.is_version_unknown = true);
        let told = begin(&then, asked_then, Some(source.clone())).await;
        let case = format!("{first:?} {asked_first:?}, then {then:?} {asked_then:?}: {told:?}");
        match &told {
            Some(Item::Subscribed(again)) => assert!(goes_on && again == topics, "{case}"),
            told => assert!(!goes_on && matches!(told, Some(Item::Snapshot(_))), "{case}"),
        }
        // The client does not tell it.
        let told = begin(&then, asked_then, Some(Source { topic_id: None, ..source })).await;
        assert!(matches!(told, Some(Item::Snapshot(_))), "{told:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn idle_table_is_dropped() {
    let logs = logs(20);
    let cluster = logs.cluster();
    Holder::open(&cluster).await.settle().await;
    assert_eq!(cluster.tables_in_memory(), 4);
    advance(Duration::from_secs(700)).await;
    assert!(Holder::open(&logs.cluster()).await.soon().await.is_some());
    tokio::time::sleep(Duration::from_secs(30)).await;
    assert_eq!(cluster.tables_in_memory(), 0);
}

/// A log with 200 records, a tenth of them of one key, and the others of keys of a kibibyte.
fn flooded() -> Logs {
    fn key(offset: i64) -> &'static str {
        static FLOOD: LazyLock<Vec<String>> =
            LazyLock::new(|| (0..90).map(|key| format!("other:{key}{}", "x".repeat(1000))).collect());
        if offset % 10 == 0 { "mine:a" } else { &FLOOD[(offset % 90) as usize] }
    }
    let logs = Logs::default();
    logs.set_keys(key);
    logs.append(0, 200);
    logs
}

/// All of a log is looked at for the table of a part of it.
#[tokio::test(start_paused = true)]
async fn client_with_a_table_of_a_part_has_its_share_of_work() {
    let logs = flooded();
    let cluster = logs.cluster_with(System::Kafka, 100_000);
    cluster.bound_tables(50_000);
    let all = with_tables(&cluster, Rights::all());
    let began = Instant::now();
    for _ in 0..4 {
        assert!(all.look_up(TOPIC, b"mine:a", false).await.unwrap().is_some());
        logs.append(0, 200);
    }
    assert!(began.elapsed() >= Duration::from_secs(2), "{:?}", began.elapsed());
}

#[tokio::test(start_paused = true)]
async fn tenant_that_fills_a_topic_takes_no_table_from_others() {
    let logs = flooded();
    let cluster = logs.cluster();
    cluster.bound_tables(50_000);
    let [mine, all] = [reads("mine:"), Rights::all()].map(|rights| with_tables(&cluster, rights));
    let mut holder = Holder::new(mine.subscribe(command()).await.unwrap());
    holder.settle().await;
    logs.append(0, 11);
    holder.settle().await;
    assert_eq!(holder.held, [((0, "mine:a".to_owned()), 210)].into());
    for grant in [&mine, &all] {
        assert!(grant.look_up(TOPIC, b"mine:a", false).await.unwrap().is_some());
    }
    // A client that sees all is told to come back.
    let mut holder = Holder::new(all.subscribe(command()).await.unwrap());
    let error = loop {
        if let Item::Ended { error, .. } = holder.soon().await.unwrap() {
            break error;
        }
    };
    assert_eq!((error.fault, error.retry_after), (Fault::Transient, Duration::from_secs(30)));
    cluster.bound_tables(500_000);
    let mut holder = Holder::new(all.subscribe(command()).await.unwrap());
    holder.settle().await;
    assert_eq!(holder.held.len(), 81 + 1);
    // Nor does a look-up in another topic end the table that is in use.
    cluster.bound_tables(200_000);
    assert!(all.look_up("another", b"mine:a", false).await.unwrap().is_some());
    logs.change(|state| state.forgotten = 0);
    Holder::new(all.subscribe(command()).await.unwrap()).settle().await;
    logs.change(|state| assert_eq!(state.forgotten, 0, "the table is there"));
}

#[tokio::test(start_paused = true)]
async fn look_up_ends_with_the_identity_that_it_was_begun_with() {
    let logs = logs(1);
    logs.change(|state| state.silent = Some(0));
    let began = Instant::now();
    let holding = Holding { expires: Some(began + Duration::from_secs(1)), ..somebody() };
    let grant = with_tables(&logs.cluster(), Rights::all()).held(Some(holding), None);
    let found = grant.look_up(TOPIC, b"a", false).await;
    assert_eq!(found.err().map(|error| error.fault), Some(Fault::Unauthenticated));
    assert_eq!(began.elapsed(), Duration::from_secs(1));
}
