//! What a cache of metadata still believes, and when.

use super::*;

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
        self.cache.update(MetadataAnswer { brokers, topics }, self.at(seconds));
    }

    /// The host of a leader or the code of a refusal, as asked for at a time that `since` is equal to.
    fn lookup(
        &self,
        name: &str,
        partition: i32,
        seconds: u64,
        newer_than: Option<u64>,
    ) -> Option<Result<String, i16>> {
        let target = TopicPartition::parse(name, partition).expect("a valid target");
        let now = self.at(seconds);
        let freshness = Freshness {
            max_age: MAX_AGE,
            since: now,
            newer_than: newer_than.map(|instant| self.at(instant)),
        };
        let known = self.cache.leader(target, freshness, now)?;
        Some(known.map(|leader| leader.address.host).map_err(|error| error.code()))
    }
}

fn topic(name: &str, error: i16, partitions: Vec<PartitionAnswer>) -> TopicAnswer {
    TopicAnswer {
        error: ErrorCode::of(error),
        name: name.to_owned(),
        internal: false,
        id: TopicId::new(7),
        partitions,
    }
}

fn partition(partition: i32, leader: i32) -> PartitionAnswer {
    let replicas = [topic::Replica { broker: leader, in_sync: true }].into();
    PartitionAnswer { error: None, partition, leader, epoch: 0, replicas }
}

#[test]
fn a_leader_is_known_until_it_is_too_old() {
    let case = Case::new();
    assert_eq!(case.lookup("t", 0, 899, None), Some(Ok("one".to_owned())));
    assert_eq!(case.lookup("t", 1, 899, None), Some(Ok("two".to_owned())));
    assert_eq!(case.lookup("t", 0, 900, None), None);
}

#[test]
fn what_is_known_to_be_wrong_is_not_told_again() {
    let mut case = Case::new();
    assert_eq!(case.lookup("t", 0, 1, Some(0)), None);
    case.learn(1, vec![topic("t", 0, vec![partition(0, 2)])]);
    assert_eq!(case.lookup("t", 0, 1, Some(0)), Some(Ok("two".to_owned())));
}

#[test]
fn a_topic_that_nobody_asked_for_is_not_known() {
    assert_eq!(Case::new().lookup("other", 0, 0, None), None);
}

#[test]
fn a_refusal_is_believed_for_a_short_time() {
    let mut case = Case::new();
    case.learn(10, vec![topic("secret", 29, Vec::new())]);
    assert_eq!(case.lookup("secret", 0, 10, None), Some(Err(29)));
    let target = TopicPartition::parse("secret", 0).expect("a valid target");
    let later = |millis| case.at(10) + Duration::from_millis(millis);
    let ask =
        |now| case.cache.leader(target, Freshness { max_age: MAX_AGE, since: now, newer_than: None }, now);
    assert!(ask(later(999)).is_some());
    assert!(ask(later(1000)).is_none());
}

#[test]
fn a_missing_topic_or_partition_is_looked_up_by_each_later_call() {
    let mut case = Case::new();
    case.learn(10, vec![topic("absent", 3, Vec::new())]);
    for (name, partition, learned) in [("absent", 0, 10), ("t", 99, 0)] {
        assert_eq!(case.lookup(name, partition, learned, None), Some(Err(3)));
        let target = TopicPartition::parse(name, partition).expect("a valid target");
        let now = case.at(learned) + Duration::from_millis(1);
        let freshness = Freshness { max_age: MAX_AGE, since: now, newer_than: None };
        assert!(case.cache.leader(target, freshness, now).is_none(), "{name}");
    }
    let now = case.at(10) + Duration::from_millis(1);
    let freshness = Freshness { max_age: MAX_AGE, since: now, newer_than: None };
    assert!(case.cache.topic("absent", freshness, now).is_none());
}

#[test]
fn a_missing_leader_is_believed_for_a_short_time() {
    let case = Case::new();
    assert_eq!(case.lookup("t", 2, 0, None), Some(Err(5)));
    assert_eq!(case.lookup("t", 2, 1, None), None);
}

#[test]
fn an_answer_to_a_question_of_the_caller_is_good_at_any_age() {
    let mut case = Case::new();
    case.learn(10, vec![topic("absent", 3, Vec::new())]);
    let target = TopicPartition::parse("absent", 0).expect("a valid target");
    let freshness = Freshness { max_age: MAX_AGE, since: case.at(10), newer_than: None };
    assert!(case.cache.leader(target, freshness, case.at(60)).is_some());
}

#[test]
fn a_topic_that_is_deleted_or_created_is_noticed() {
    let mut case = Case::new();
    case.learn(1, vec![topic("t", 3, Vec::new())]);
    assert_eq!(case.lookup("t", 0, 1, None), Some(Err(3)));
    case.learn(2, vec![topic("t", 0, vec![partition(0, 1)])]);
    assert_eq!(case.lookup("t", 0, 2, None), Some(Ok("one".to_owned())));
}

#[test]
fn a_broker_with_an_impossible_port_leads_nothing() {
    let mut case = Case::new();
    case.learn(1, vec![topic("t", 0, vec![partition(0, 3)])]);
    assert_eq!(case.lookup("t", 0, 1, None), Some(Err(5)));
    assert_eq!(case.cache.nodes().len(), 2);
}

#[test]
fn made_up_names_push_out_no_real_topic_and_fill_no_memory() {
    let mut case = Case::new();
    for at in 0..3 * MAX_ERRORS {
        case.learn(1, vec![topic(&format!("made-up-{at}"), 3, Vec::new())]);
        assert!(case.cache.errors.len() <= MAX_ERRORS);
    }
    assert_eq!(case.lookup("t", 0, 1, None), Some(Ok("one".to_owned())));
}

#[test]
fn of_too_many_topics_the_oldest_gives_way() {
    let mut case = Case::new();
    let topics = (0..MAX_TOPICS).map(|at| topic(&format!("topic-{at}"), 0, vec![partition(0, 1)]));
    case.learn(1, topics.collect());
    assert_eq!(case.cache.topics.len(), MAX_TOPICS);
    assert_eq!(case.lookup("t", 0, 1, None), None);
    assert_eq!(case.lookup("topic-0", 0, 1, None), Some(Ok("one".to_owned())));
}

/// `None` where the cluster must be asked.
fn known_replica(case: &Case, seconds: u64) -> Option<ReadReplica> {
    let target = TopicPartition::parse("t", 0).expect("a valid target");
    let now = case.at(seconds);
    let freshness = Freshness { max_age: MAX_AGE, since: now, newer_than: None };
    case.cache.leader(target, freshness, now).map(|leader| leader.expect("a leader").replica)
}

fn replica(case: &Case, seconds: u64) -> ReadReplica {
    known_replica(case, seconds).expect("a known leader")
}

#[test]
fn a_nearer_replica_is_known_until_the_topic_is_asked_for_again() {
    let mut case = Case::new();
    let target = TopicPartition::parse("t", 0).expect("a valid target");
    assert_eq!(replica(&case, 0), ReadReplica::Leader);
    case.cache.prefer(target, 2, case.at(1));
    let two = Address { host: "two".to_owned(), port: 9092 };
    assert_eq!(replica(&case, 899), ReadReplica::Preferred(two));
    case.learn(899, vec![topic("t", 0, vec![partition(0, 1)])]);
    assert_eq!(replica(&case, 899), ReadReplica::Leader);
}

#[test]
fn a_nearer_replica_that_failed_or_is_none_is_looked_for_again_after_a_while() {
    let target = TopicPartition::parse("t", 0).expect("a valid target");
    let check = |mut case: Case| {
        assert_eq!(replica(&case, 5), ReadReplica::LeaderOnly);
        assert_eq!(known_replica(&case, 6), None);
        case.learn(6, vec![topic("t", 0, vec![partition(0, 1)])]);
        assert_eq!(replica(&case, 6), ReadReplica::Leader);
    };
    // An unknown broker, and the leader itself.
    for node in [77, 1] {
        let mut case = Case::new();
        case.cache.prefer(target, node, case.at(1));
        check(case);
    }
    let mut case = Case::new();
    case.cache.prefer(target, 2, case.at(0));
    case.cache.prefer_leader(target, case.at(1));
    check(case);
}

#[test]
fn a_topic_that_is_created_again_has_another_id() {
    let mut case = Case::new();
    let target = TopicPartition::parse("t", 0).expect("a valid target");
    let freshness = Freshness { max_age: MAX_AGE, since: case.at(1), newer_than: None };
    let id = |case: &Case| case.cache.leader(target, freshness, case.at(1)).unwrap().unwrap().topic_id;
    assert_eq!(id(&case), TopicId::new(7));
    let again = TopicAnswer { id: TopicId::new(8), ..topic("t", 0, vec![partition(0, 1)]) };
    case.learn(1, vec![again]);
    assert_eq!(id(&case), TopicId::new(8));
}

#[test]
fn within_one_topic_an_older_leader_epoch_is_no_news() {
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
fn another_topic_of_the_name_may_have_any_leader_epoch() {
    let elected = |leader, epoch| PartitionAnswer { epoch, ..partition(0, leader) };
    for id in [TopicId::new(8), None] {
        let mut case = Case::new();
        case.learn(1, vec![TopicAnswer { id, ..topic("t", 0, vec![elected(2, 5)]) }]);
        let id = id.and(TopicId::new(9));
        case.learn(2, vec![TopicAnswer { id, ..topic("t", 0, vec![elected(1, 4)]) }]);
        assert_eq!(case.lookup("t", 0, 2, Some(1)), Some(Ok("one".to_owned())), "{id:?}");
    }
}

#[test]
fn a_topic_is_described_in_the_order_of_its_partitions_until_that_is_too_old() {
    let mut case = Case::new();
    case.learn(0, vec![topic("absent", 3, Vec::new())]);
    let described = |name: &str, seconds| {
        let max_age = Duration::from_secs(2);
        let freshness = Freshness { max_age, since: case.at(seconds), newer_than: None };
        case.cache.topic(name, freshness, case.at(seconds))
    };
    let known = described("t", 1).expect("a fresh description").expect("a topic");
    let leaders: Vec<_> = known.partitions.iter().map(|p| (p.partition, p.leader)).collect();
    assert_eq!(leaders, [(0, Some(1)), (1, Some(2)), (2, None)]);
    assert_eq!(*known.partitions[1].replicas, [topic::Replica { broker: 2, in_sync: true }]);
    assert_eq!(described("t", 2), None);
    assert_eq!(described("absent", 0), Some(Err(ErrorCode(ResponseError::UnknownTopicOrPartition))));
    assert_eq!(described("absent", 1), None);
    assert_eq!(described("other", 0), None);
}
