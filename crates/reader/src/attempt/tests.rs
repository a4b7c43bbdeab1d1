//! Tables of what happens to an attempt, and the steps that it takes.

use kafka_protocol::error::ResponseError::{self, *};

use super::*;
use crate::testing::target;

const MS: Duration = Duration::from_millis(1);
const DEADLINE: Duration = Duration::from_millis(2_000);

/// The reaction of a broker to a call.
#[derive(Clone)]
enum Broker {
    Answers,
    Rejects(ResponseError),
    Redirects,
    IsBehind,
    Fails(ConnectionError),
    IsSilent(Duration),
    LosesLeadership,
    IsSilentUntilDeadline,
    FailsForGood(ConnectionError),
}

/// Metadata and brokers for one attempt. Node 1, `leader`, leads; node 2 is `replica`.
struct Cluster<'a> {
    attempt: Attempt<'static>,
    metadata: Vec<Result<ReadReplica, ReadError>>,
    brokers: &'a mut dyn FnMut(usize, &Call) -> Broker,
}

impl Cluster<'_> {
    /// The steps of the attempt, with times in milliseconds since its start. Each metadata request and call takes 1 ms.
    fn steps(mut self) -> String {
        let start = Instant::now();
        self.attempt.deadline = start + DEADLINE;
        let since = |at: Instant| at.duration_since(start).as_millis();
        let (mut now, mut outcome, mut preferred) = (start, Outcome::Proceed, None);
        let (mut calls, mut steps) = (0, Vec::new());
        let mut metadata = self.metadata.into_iter();
        loop {
            let step = self.attempt.next(now, outcome);
            steps.push(match &step {
                Step::FindLeader { newer_than: None } => "find".to_owned(),
                Step::FindLeader { newer_than: Some(at) } => format!("find >{}", since(*at)),
                Step::Call(call) => {
                    let check = call.leader_check.map_or("", |_| " and metadata");
                    let alone = if call.role == Role::LeaderOnly { " alone" } else { "" };
                    format!("{}{alone}{check}", call.address.host)
                }
                Step::Sleep(pause) => format!("sleep {}", pause.as_millis()),
                Step::Prefer(Some(node)) => format!("prefer {node}"),
                Step::Prefer(None) => "prefer none".to_owned(),
                Step::Done(()) => format!("done at {}", since(now)),
                Step::GiveUp(failure) => format!("{} at {}", failure.with_causes(), since(now)),
            });
            outcome = match step {
                Step::FindLeader { .. } => {
                    let replica = metadata.next().unwrap_or(Ok(ReadReplica::Leader));
                    let replica = replica.map(|replica| preferred.clone().unwrap_or(replica));
                    let leader = Outcome::Leader(replica.map(|replica| leader(replica, now)));
                    now += MS;
                    leader
                }
                Step::Call(call) => {
                    let broker = (self.brokers)(calls, &call);
                    calls += 1;
                    now += match &broker {
                        Broker::IsSilent(time) => *time,
                        Broker::IsSilentUntilDeadline => start + DEADLINE - now,
                        _ => MS,
                    };
                    broker.outcome(call)
                }
                Step::Sleep(pause) => {
                    now += pause;
                    Outcome::Proceed
                }
                Step::Prefer(replica) => {
                    preferred = Some(
                        replica.map_or(ReadReplica::LeaderOnly, |_| ReadReplica::Preferred(at("replica"))),
                    );
                    Outcome::Proceed
                }
                Step::Done(()) | Step::GiveUp(_) => return steps.join(" | "),
            };
        }
    }
}

impl Broker {
    fn outcome(self, call: Call) -> Outcome<()> {
        let address = call.address.to_string();
        let reply = match self {
            Broker::Answers => Ok(Reply::Success(())),
            Broker::Rejects(code) => Ok(Reply::Error(ErrorCode(code))),
            Broker::Redirects => Ok(Reply::Redirect(2)),
            Broker::IsBehind => Ok(Reply::Behind),
            Broker::Fails(cause) => Err(cause),
            Broker::IsSilent(after) => Err(ConnectionError::Silent { address, after }),
            Broker::LosesLeadership => return Outcome::LeaderChanged(call),
            Broker::IsSilentUntilDeadline => return Outcome::TimedOut(call),
            Broker::FailsForGood(cause) => return Outcome::Failed(call, cause),
        };
        Outcome::Reply(call, reply)
    }
}

fn at(host: &str) -> Address {
    Address { host: host.to_owned(), port: 1 }
}

fn leader(replica: ReadReplica, learned: Instant) -> Leader {
    Leader { address: at("leader"), epoch: 7, topic_id: Some(9), replica, learned }
}

fn nearest() -> Attempt<'static> {
    Attempt::at_nearest(target("t", 0), Instant::now(), |_| 0)
}

fn lost() -> ConnectionError {
    let cause = std::io::Error::from(std::io::ErrorKind::BrokenPipe).into();
    ConnectionError::Lost { address: "leader:1".to_owned(), cause }
}

fn throttled(millis: u64) -> ConnectionError {
    ConnectionError::Throttled { address: "leader:1".to_owned(), left: Duration::from_millis(millis) }
}

fn unreachable(cause: ConnectionError) -> ReadError {
    let retriable = cause.retriable();
    ReadError::Unreachable { brokers: "leader:1".to_owned(), cause, retriable }
}

fn missing_leader() -> ReadError {
    ReadError::Broker { code: ErrorCode(LeaderNotAvailable), detail: "partition 0 of topic t".to_owned() }
}

/// The steps of a call whose brokers do `brokers` in turn, and answer afterwards.
#[track_caller]
fn check(brokers: &[Broker], want: &str) {
    check_attempt(nearest(), Vec::new(), brokers, want);
}

#[track_caller]
fn check_attempt(
    attempt: Attempt<'static>,
    metadata: Vec<Result<ReadReplica, ReadError>>,
    brokers: &[Broker],
    want: &str,
) {
    let mut act = |call: usize, request: &Call| {
        assert_eq!((request.leader_epoch, request.topic_id), (7, Some(9)));
        brokers.get(call).cloned().unwrap_or(Broker::Answers)
    };
    assert_eq!(Cluster { attempt, metadata, brokers: &mut act }.steps(), want);
}

/// Errors of brokers that do not lead any more, or not yet.
const CHANGES: [ResponseError; 8] = [
    NotLeaderOrFollower,
    LeaderNotAvailable,
    FencedLeaderEpoch,
    UnknownLeaderEpoch,
    KafkaStorageError,
    ReplicaNotAvailable,
    OffsetNotAvailable,
    UnknownTopicId,
];

#[test]
fn moved_leader_is_found_in_newer_metadata() {
    // Only metadata can tell that a partition does not exist.
    let errors = CHANGES.into_iter().chain([UnknownTopicOrPartition]);
    for failure in errors.map(Broker::Rejects).chain([Broker::Fails(lost())]) {
        check(&[failure], "find | leader | sleep 50 | find >0 | leader | done at 54");
    }
}

#[test]
fn pauses_grow_and_leave_time_for_a_last_try() {
    let want = "find | leader | sleep 50 | find >0 | leader | sleep 100 | find >52 | leader | sleep 200 | find >154 | \
                leader | sleep 400 | find >356 | leader | sleep 400 | find >758 | leader | sleep 400 | find >1160 | \
                leader | sleep 218 | find >1562 | leader | sleep 108 | find >1782 | leader | sleep 53 | find >1892 | \
                leader | sleep 25 | find >1947 | leader | NOT_LEADER_OR_FOLLOWER: partition 0 of topic t at 1976";
    check(&vec![Broker::Rejects(NotLeaderOrFollower); 20], want);
}

#[test]
fn leader_is_looked_for_while_that_can_help() {
    let starting = ConnectionError::Starting { address: "leader:1".to_owned() };
    for (failures, want) in [
        (
            vec![missing_leader(), missing_leader()],
            "find | sleep 50 | find >1 | sleep 100 | find >52 | leader | done at 154",
        ),
        // Nothing is known about a cluster that cannot be reached: any metadata will do.
        (vec![unreachable(starting)], "find | sleep 50 | find | leader | done at 53"),
        (vec![unreachable(throttled(700))], "find | sleep 700 | find | leader | done at 703"),
        (
            vec![unreachable(lost())],
            "find | no broker of leader:1 could be reached: lost the connection to leader:1: broken pipe at 1",
        ),
    ] {
        check_attempt(nearest(), failures.into_iter().map(Err).collect(), &[], want);
    }
}

#[test]
fn leader_is_called_again_while_that_can_help() {
    let silent = || Broker::IsSilent(Duration::from_secs(1));
    let no_response =
        ConnectionError::Silent { address: "leader:1".to_owned(), after: Duration::from_secs(1) };
    let moved = || Broker::Rejects(NotLeaderOrFollower);
    for (brokers, want) in [
        (
            vec![Broker::Rejects(TopicAuthorizationFailed)],
            "TOPIC_AUTHORIZATION_FAILED: partition 0 of topic t at 2",
        ),
        (vec![Broker::Rejects(OffsetOutOfRange)], "OFFSET_OUT_OF_RANGE: partition 0 of topic t at 2"),
        // It keeps its leader.
        (vec![Broker::Fails(throttled(700))], "sleep 700 | find | leader | done at 704"),
        (
            vec![Broker::Fails(throttled(1_998))],
            "no usable answer from broker leader:1: leader:1 throttles this client for another 2.0 s at 2",
        ),
        // Another leader is looked for while a silent broker is called again.
        (vec![silent()], "sleep 50 | find >0 | leader and metadata | done at 1053"),
        (
            vec![silent(), Broker::LosesLeadership],
            "sleep 50 | find >0 | leader and metadata | find >1051 | leader and metadata | done at 1055",
        ),
        (
            vec![moved(), Broker::FailsForGood(no_response)],
            "sleep 50 | find >0 | leader | no usable answer from broker leader:1: \
             no response from leader:1 within 1.0s at 54",
        ),
        (
            vec![Broker::IsSilentUntilDeadline],
            "no usable answer from broker leader:1: no response from leader:1 within 2.0s at 2000",
        ),
        // The last try may have had little time.
        (
            vec![moved(), Broker::IsSilentUntilDeadline],
            "sleep 50 | find >0 | leader | NOT_LEADER_OR_FOLLOWER: partition 0 of topic t at 2000",
        ),
    ] {
        check(&brokers, &format!("find | leader | {want}"));
    }
}

#[test]
fn throttled_callers_return_up_to_a_quarter_later_and_in_time() {
    let (least, most) = (nearest(), Attempt { jitter: |end| end - 1, ..nearest() });
    let second = Duration::from_secs(1);
    assert_eq!(least.spread(second, 5 * second), second);
    assert_eq!(most.spread(second, 5 * second), second + second * 99 / 400);
    // With a tenth of a second left, a quarter of it is spread over.
    assert_eq!(most.spread(second, second * 11 / 10), second + second / 10 * 99 / 400);
    assert_eq!(most.spread(second, second / 4), second);
}

#[test]
fn failed_replica_is_left_for_the_leader_without_a_pause() {
    let errors =
        CHANGES.into_iter().chain([OffsetOutOfRange, UnknownTopicOrPartition, TopicAuthorizationFailed]);
    for failure in errors.map(Broker::Rejects).chain([Broker::Fails(lost())]) {
        let want =
            "find | leader | prefer 2 | find | replica | prefer none | find | leader alone | done at 6";
        check(&[Broker::Redirects, failure], want);
    }
}

#[test]
fn preferred_replica_is_called() {
    let replica = "find | leader | prefer 2 | find | replica";
    let check = |brokers: &[Broker], then: &str| {
        check(&[&[Broker::Redirects], brokers].concat(), &format!("{replica} | {then}"));
    };
    check(&[], "done at 4");
    check(&[Broker::Fails(throttled(300))], "sleep 300 | find | replica | done at 306");
    check(&[Broker::IsSilent(DEADLINE / 2)], "prefer none | find | leader alone and metadata | done at 1005");
    // If it is behind, it gets one moment to catch up.
    check(&[Broker::IsBehind], "sleep 20 | find | replica | done at 26");
    let want = "sleep 20 | find | replica | find | leader alone | done at 28";
    check(&[Broker::IsBehind, Broker::IsBehind], want);
    // Redirects are bounded.
    check(&[Broker::Redirects], "prefer 2 | find | leader alone | done at 6");
    // The error of the leader counts after a failed replica.
    let want = "prefer none | find | leader alone | OFFSET_OUT_OF_RANGE: partition 0 of topic t at 6";
    check(&vec![Broker::Rejects(OffsetOutOfRange); 2], want);
}

#[test]
fn call_to_the_leader_alone_ignores_replicas() {
    for replica in [ReadReplica::Leader, ReadReplica::LeaderOnly, ReadReplica::Preferred(at("replica"))] {
        let attempt = Attempt::at_leader(target("t", 0), Instant::now(), |_| 0);
        check_attempt(attempt, vec![Ok(replica)], &[], "find | leader alone | done at 2");
    }
}

#[test]
fn search_for_a_leader_at_the_deadline_reports_the_failure_before() {
    let mut attempt = nearest();
    let now = Instant::now();
    attempt.deadline = now;
    let search = |attempt: &mut Attempt<'_>| {
        let step = attempt.next::<()>(now, Outcome::Leader(Err(unreachable(lost()))));
        if let Step::GiveUp(failure) = step { failure.to_string() } else { panic!("{step:?}") }
    };
    assert_eq!(search(&mut attempt), "no broker of leader:1 could be reached");
    attempt.last_failure = Some(missing_leader());
    assert_eq!(search(&mut attempt), "LEADER_NOT_AVAILABLE: partition 0 of topic t");
}

#[test]
fn only_another_leader_supersedes_a_call() {
    let call = nearest().call(leader(ReadReplica::Preferred(at("replica")), Instant::now()), Instant::now());
    let other = Leader { address: at("other"), ..leader(ReadReplica::Leader, Instant::now()) };
    assert!(!call.is_superseded_by(&leader(ReadReplica::Leader, Instant::now())));
    assert!(call.is_superseded_by(&other));
}
