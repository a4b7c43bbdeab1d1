//! Answers of the cache, and the time for which it gives them.

use super::*;
use crate::testing::target;

const MAX_AGE: Duration = Duration::from_secs(900);

struct Case {
    cache: MetadataCache,
    start: Instant,
}

impl Case {
    /// Two brokers; topic `t` with partition 0 on broker 1, partition 1 on broker 2, partition 2 without a leader.
    fn new() -> Self {
        let mut case = Self { cache: MetadataCache::default(), start: Instant::now() };
        let partitions = vec![partition(0, 1), partition(1, 2), partition(2, -1)];
        case.learn(0, vec![topic("t", 0, partitions)]);
        case
    }

    fn at(&self, seconds: u64) -> Instant {
        self.start + Duration::from_secs(seconds)
    }

    fn learn(&mut self, seconds: u64, topics: Vec<TopicAnswer>) {
        let brokers =
            vec![(1, "one".to_owned(), 9092), (2, "two".to_owned(), 9092), (3, "bad".to_owned(), -1)];
        self.cache.update(MetadataAnswer { cluster_id: None, brokers, topics }, self.at(seconds));
    }

    /// The host of a leader or the code of an error, for a call that begins at `seconds`.
    fn lookup(
        &self,
        name: &str,
        partition: i32,
        seconds: u64,
        newer_than: Option<u64>,
    ) -> Option<Result<String, i16>> {
        let now = self.at(seconds);
        let freshness = Freshness { newer_than: newer_than.map(|instant| self.at(instant)), ..fresh(now) };
        let known = self.cache.leader(target(name, partition), freshness, now)?;
        Some(known.map(|leader| leader.address.host).map_err(|error| error.code()))
    }

    /// Whether the leader of partition 0, or its error, is known to a call that begins so long after `seconds`.
    fn knows(&self, name: &str, partition: i32, seconds: u64, later: Duration) -> bool {
        let now = self.at(seconds) + later;
        self.cache.leader(target(name, partition), fresh(now), now).is_some()
    }
}

fn fresh(since: Instant) -> Freshness {
    Freshness { max_age: MAX_AGE, since, newer_than: None }
}

fn topic(name: &str, error: i16, partitions: Vec<PartitionAnswer>) -> TopicAnswer {
    TopicAnswer {
        error: ErrorCode::of(error),
        name: name.to_owned(),
        internal: false,
        id: Some(7),
        partitions,
    }
}

fn partition(partition: i32, leader: i32) -> PartitionAnswer {
    let replicas = [Replica { broker: leader, in_sync: true }].into();
    PartitionAnswer { error: None, partition, leader, epoch: 0, replicas }
}

#[test]
fn leader_expires_or_becomes_outdated() {
    let mut case = Case::new();
    assert_eq!(case.lookup("t", 0, 899, None), Some(Ok("one".to_owned())));
    assert_eq!(case.lookup("t", 1, 899, None), Some(Ok("two".to_owned())));
    assert_eq!(case.lookup("t", 0, 900, None), None);
    assert_eq!(case.lookup("other", 0, 0, None), None, "it was not asked for");
    assert_eq!(case.lookup("t", 0, 1, Some(0)), None);
    case.learn(1, vec![topic("t", 0, vec![partition(0, 2)])]);
    assert_eq!(case.lookup("t", 0, 1, Some(0)), Some(Ok("two".to_owned())));
}

#[test]
fn error_and_missing_leader_are_cached_briefly() {
    let mut case = Case::new();
    case.learn(10, vec![topic("secret", 29, Vec::new())]);
    assert_eq!(case.lookup("secret", 0, 10, None), Some(Err(29)));
    assert!(case.knows("secret", 0, 10, Duration::from_millis(999)));
    assert!(!case.knows("secret", 0, 10, Duration::from_millis(1000)));
    assert_eq!(case.lookup("t", 2, 0, None), Some(Err(5)));
    assert_eq!(case.lookup("t", 2, 1, None), None);
    // A broker with an invalid port is no leader.
    case.learn(1, vec![topic("t", 0, vec![partition(0, 3)])]);
    assert_eq!(case.lookup("t", 0, 1, None), Some(Err(5)));
    assert_eq!(case.cache.nodes().len(), 2);
}

#[test]
fn missing_topic_or_partition_is_not_cached() {
    let mut case = Case::new();
    case.learn(10, vec![topic("absent", 3, Vec::new())]);
    for (name, partition, learned) in [("absent", 0, 10), ("t", 99, 0)] {
        assert_eq!(case.lookup(name, partition, learned, None), Some(Err(3)));
        assert!(!case.knows(name, partition, learned, Duration::from_millis(1)), "{name}");
    }
    let now = case.at(10) + Duration::from_millis(1);
    assert!(case.cache.topic("absent", fresh(now), now).is_none());
    // But for a call that began before it was asked for.
    assert!(case.cache.leader(target("absent", 0), fresh(case.at(10)), case.at(60)).is_some());
}

#[test]
fn deleted_and_created_topics_are_noticed() {
    let mut case = Case::new();
    case.learn(1, vec![topic("t", 3, Vec::new())]);
    assert_eq!(case.lookup("t", 0, 1, None), Some(Err(3)));
    case.learn(2, vec![topic("t", 0, vec![partition(0, 1)])]);
    assert_eq!(case.lookup("t", 0, 2, None), Some(Ok("one".to_owned())));
}

#[test]
fn invalid_names_evict_no_topic() {
    let mut case = Case::new();
    for at in 0..3 * MAX_ERRORS {
        case.learn(1, vec![topic(&format!("made-up-{at}"), 3, Vec::new())]);
        assert!(case.cache.errors.len() <= MAX_ERRORS);
    }
    assert_eq!(case.lookup("t", 0, 1, None), Some(Ok("one".to_owned())));
}

#[test]
fn oldest_topics_are_evicted() {
    let mut case = Case::new();
    let topics = (0..MAX_TOPICS).map(|at| topic(&format!("topic-{at}"), 0, vec![partition(0, 1)]));
    case.learn(1, topics.collect());
    assert_eq!(case.cache.topics.len(), MAX_TOPICS - EVICTED + 1);
    assert_eq!(case.lookup("t", 0, 1, None), None);
    case.learn(2, vec![topic("new", 0, vec![partition(0, 1)])]);
    assert_eq!(case.lookup("new", 0, 2, None), Some(Ok("one".to_owned())));
}

/// `None` if the metadata must be refreshed.
fn known_replica(case: &Case, seconds: u64) -> Option<ReadReplica> {
    let now = case.at(seconds);
    case.cache.leader(target("t", 0), fresh(now), now).map(|leader| leader.expect("a leader").replica)
}

fn replica(case: &Case, seconds: u64) -> ReadReplica {
    known_replica(case, seconds).expect("a known leader")
}

#[test]
fn preferred_replica_is_kept_until_the_topic_is_refreshed() {
    let mut case = Case::new();
    assert_eq!(replica(&case, 0), ReadReplica::Leader);
    case.cache.prefer(target("t", 0), 2, case.at(1));
    let two = Address { host: "two".to_owned(), port: 9092 };
    assert_eq!(replica(&case, 899), ReadReplica::Preferred(two));
    case.learn(899, vec![topic("t", 0, vec![partition(0, 1)])]);
    assert_eq!(replica(&case, 899), ReadReplica::Leader);
}

#[test]
fn failed_or_unknown_replica_is_retried_later() {
    let check = |mut case: Case| {
        assert_eq!(replica(&case, 5), ReadReplica::LeaderOnly);
        assert_eq!(known_replica(&case, 6), None);
        case.learn(6, vec![topic("t", 0, vec![partition(0, 1)])]);
        assert_eq!(replica(&case, 6), ReadReplica::Leader);
    };
    // An unknown broker, and the leader itself.
    for node in [77, 1] {
        let mut case = Case::new();
        case.cache.prefer(target("t", 0), node, case.at(1));
        check(case);
    }
    let mut case = Case::new();
    case.cache.prefer(target("t", 0), 2, case.at(0));
    case.cache.prefer_leader(target("t", 0), case.at(1));
    check(case);
}

#[test]
fn recreated_topic_has_another_id() {
    let mut case = Case::new();
    let freshness = fresh(case.at(1));
    let id =
        |case: &Case| case.cache.leader(target("t", 0), freshness, case.at(1)).unwrap().unwrap().topic_id;
    assert_eq!(id(&case), Some(7));
    let again = TopicAnswer { id: Some(8), ..topic("t", 0, vec![partition(0, 1)]) };
    case.learn(1, vec![again]);
    assert_eq!(id(&case), Some(8));
    // The new one has fewer partitions.
    let gone = target("t", 1);
    let version = Version { topic_id: Some(8), leader_epoch: None };
    assert_eq!(case.cache.last_version(gone), Some(version));
    assert_eq!(case.cache.version(gone, freshness, case.at(1)), None);
}

#[test]
fn older_leader_epoch_is_ignored() {
    let elected = |leader, epoch| PartitionAnswer { epoch, ..partition(0, leader) };
    let mut case = Case::new();
    case.learn(1, vec![topic("t", 0, vec![elected(2, 5)])]);
    // Of a broker that is cut off; what is known counts as asked for again.
    case.learn(2, vec![topic("t", 0, vec![elected(1, 4), partition(1, 1)])]);
    assert_eq!(case.lookup("t", 0, 2, Some(1)), Some(Ok("two".to_owned())));
    assert_eq!(case.lookup("t", 1, 2, Some(1)), Some(Ok("one".to_owned())));
    for epoch in [5, 6, -1] {
        case.learn(3, vec![topic("t", 0, vec![elected(1, epoch)])]);
        assert_eq!(case.lookup("t", 0, 3, Some(2)), Some(Ok("one".to_owned())), "epoch {epoch}");
    }
}

#[test]
fn recreated_topic_can_have_any_leader_epoch() {
    let elected = |leader, epoch| PartitionAnswer { epoch, ..partition(0, leader) };
    for id in [Some(8), None] {
        let mut case = Case::new();
        case.learn(1, vec![TopicAnswer { id, ..topic("t", 0, vec![elected(2, 5)]) }]);
        let id = id.and(Some(9));
        case.learn(2, vec![TopicAnswer { id, ..topic("t", 0, vec![elected(1, 4)]) }]);
        assert_eq!(case.lookup("t", 0, 2, Some(1)), Some(Ok("one".to_owned())), "{id:?}");
    }
}

#[test]
fn description_is_sorted_and_expires() {
    let mut case = Case::new();
    case.learn(0, vec![topic("absent", 3, Vec::new())]);
    let mut described = |name: &str, seconds| {
        let freshness = Freshness { max_age: Duration::from_secs(2), ..fresh(case.at(seconds)) };
        let described = case.cache.topic(name, freshness, case.at(seconds));
        assert_eq!(described.is_some(), case.cache.has_topic(name, freshness, case.at(seconds)), "{name}");
        described
    };
    let known = described("t", 1).expect("a fresh description").expect("a topic");
    let leaders: Vec<_> = known.partitions.iter().map(|p| (p.partition, p.leader)).collect();
    assert_eq!(leaders, [(0, Some(1)), (1, Some(2)), (2, None)]);
    assert_eq!(*known.partitions[1].replicas, [Replica { broker: 2, in_sync: true }]);
    let again = described("t", 1).expect("a fresh description").expect("a topic");
    assert!(Arc::ptr_eq(&known, &again), "the same value");
    assert_eq!(described("t", 2), None);
    assert_eq!(described("absent", 0), Some(Err(ErrorCode(ResponseError::UnknownTopicOrPartition))));
    assert_eq!(described("absent", 1), None);
    assert_eq!(described("other", 0), None);
}
