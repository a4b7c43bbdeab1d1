//! Requests to coordinators, and what members tell each other.

use std::sync::Arc;

use kafka_protocol::messages::consumer_group_describe_response as new;
use kafka_protocol::messages::consumer_protocol_assignment::{ConsumerProtocolAssignment, TopicPartition};
use kafka_protocol::messages::consumer_protocol_subscription::{self, ConsumerProtocolSubscription};
use kafka_protocol::messages::describe_groups_response::{DescribedGroup, DescribedGroupMember};
use kafka_protocol::messages::join_group_response::JoinGroupResponseMember;
use kafka_protocol::messages::leave_group_response::MemberResponse;
use kafka_protocol::messages::offset_commit_response::{
    OffsetCommitResponsePartition, OffsetCommitResponseTopic,
};
use kafka_protocol::messages::offset_fetch_response::{
    OffsetFetchResponsePartition, OffsetFetchResponseTopic,
};

use super::super::consumer_group_describe::ConsumerGroupDescribeAnswer;
use super::super::describe_groups::DescribeGroupsAnswer;
use super::super::find_coordinator::FindCoordinatorAnswer;
use super::super::join_group::JoinGroupAnswer;
use super::super::offset_fetch::OffsetFetchAnswer;
use super::super::sync_group::SyncGroupAnswer;
use super::*;

fn member() -> GroupMember {
    GroupMember { group: "g".into(), instance: Some("i".into()), id: "m".into(), generation: 7 }
}

fn logs() -> [(Arc<str>, i32); 3] {
    [("t".into(), 1), ("u".into(), 0), ("t".into(), 0)]
}

#[test]
fn coordinator_is_asked_for() {
    let request = FindCoordinatorRequest { group: "g".to_owned() };
    let response = |_| {
        messages::FindCoordinatorResponse::default()
            .with_error_code(15)
            .with_error_message(Some(text("no")))
            .with_host(text("host"))
            .with_port(9092)
    };
    let error = ErrorCode::of(15);
    check(&request, response, |_| FindCoordinatorAnswer { error, host: "host".to_owned(), port: 9092 });
    each(&request, |_, request: messages::FindCoordinatorRequest| {
        assert_eq!((&request.key[..], request.key_type), ("g", 0));
    });
}

#[test]
fn member_joins_and_learns_whether_it_leads() {
    let (member, subscription) = (member(), Bytes::from_static(b"wants"));
    let request = JoinGroupRequest {
        member: &member,
        session_timeout: Duration::from_secs(6),
        rebalance_timeout: Duration::from_secs(60),
        protocols: &["range", "roundrobin"],
        subscription: &subscription,
    };
    for (leader, error) in [("m", 0), ("other", 0), ("m", 79)] {
        let response = |version| {
            let joined =
                JoinGroupResponseMember::default().with_member_id(text("m")).with_metadata("wants".into());
            let named = joined.clone().with_member_id(text("n")).with_group_instance_id(Some(text("i")));
            messages::JoinGroupResponse::default()
                .with_error_code(error)
                .with_generation_id(8)
                .with_protocol_type((version >= 7).then(|| text("consumer")))
                .with_protocol_name(Some(text("range")))
                .with_leader(text(leader))
                .with_skip_assignment(version >= 9)
                .with_member_id(text("m"))
                .with_members(vec![joined, named])
        };
        let joined = |id: &str, instance: Option<&str>| JoinedMember {
            id: id.into(),
            instance: instance.map(Arc::from),
            subscription: subscription.clone(),
        };
        check(&request, response, |version| JoinGroupAnswer {
            error: ErrorCode::of(error),
            member_id: "m".into(),
            generation: 8,
            protocol: "range".to_owned(),
            is_leader: leader == "m" && error == 0,
            skips_assignment: version >= 9,
            members: vec![joined("m", None), joined("n", Some("i"))],
        });
    }
    each(&request, |_, request: messages::JoinGroupRequest| {
        assert_eq!((&request.group_id.0[..], &request.member_id[..]), ("g", "m"));
        assert_eq!((request.session_timeout_ms, request.rebalance_timeout_ms), (6_000, 60_000));
        assert_eq!(
            (request.group_instance_id.as_deref(), &request.protocol_type[..]),
            (Some("i"), "consumer")
        );
        let protocols = request.protocols.iter().map(|of| (&of.name[..], &of.metadata[..]));
        assert_eq!(protocols.collect::<Vec<_>>(), [("range", &b"wants"[..]), ("roundrobin", b"wants")]);
    });
}

#[test]
fn leader_gives_assignments_and_members_get_theirs() {
    let (member, assignments) = (member(), [(Arc::from("m"), Bytes::from_static(b"logs"))]);
    let request = SyncGroupRequest { member: &member, protocol: "range", assignments: &assignments };
    let response = |version| {
        messages::SyncGroupResponse::default()
            .with_error_code(27)
            .with_protocol_type((version >= 5).then(|| text("consumer")))
            .with_protocol_name((version >= 5).then(|| text("range")))
            .with_assignment("logs".into())
    };
    check(&request, response, |_| SyncGroupAnswer { error: ErrorCode::of(27), assignment: "logs".into() });
    each(&request, |version, request: messages::SyncGroupRequest| {
        assert_eq!((&request.group_id.0[..], &request.member_id[..], request.generation_id), ("g", "m", 7));
        assert_eq!(request.protocol_name.as_deref(), (version >= 5).then_some("range"));
        assert_eq!(
            (&request.assignments[0].member_id[..], &request.assignments[0].assignment[..]),
            ("m", &b"logs"[..])
        );
    });
}

#[test]
fn member_stays_and_leaves() {
    let member = member();
    let response = |_| messages::HeartbeatResponse::default().with_error_code(27);
    check(&HeartbeatRequest(&member), response, |_| ErrorCode::of(27));
    for (of_all, of_one, want) in [(0, 0, 0), (16, 0, 16), (0, 25, 25)] {
        let response = |_| {
            let one = MemberResponse::default().with_member_id(text("m")).with_error_code(of_one);
            messages::LeaveGroupResponse::default().with_error_code(of_all).with_members(vec![one])
        };
        check(&LeaveGroupRequest(&member), response, |_| ErrorCode::of(want));
    }
    each(&HeartbeatRequest(&member), |_, request: messages::HeartbeatRequest| {
        assert_eq!((&request.group_id.0[..], &request.member_id[..], request.generation_id), ("g", "m", 7));
        assert_eq!(request.group_instance_id.as_deref(), Some("i"));
    });
    each(&LeaveGroupRequest(&member), |_, request: messages::LeaveGroupRequest| {
        let leaving = &request.members[0];
        assert_eq!((&request.group_id.0[..], &leaving.member_id[..]), ("g", "m"));
        assert_eq!(leaving.group_instance_id.as_deref(), Some("i"));
    });
}

#[test]
fn commits_and_committed_positions_keep_the_order_of_the_request() {
    let (member, logs) = (member(), logs());
    let offset = |(topic, partition): &(Arc<str>, i32)| GroupOffset {
        topic: Arc::clone(topic),
        partition: *partition,
        offset: 42,
        metadata: "text".into(),
    };
    let offsets: Vec<_> = logs.iter().map(offset).collect();
    let commit = OffsetCommitRequest { member: &member, offsets: &offsets };
    let response = |_| {
        let of = |partition, error| {
            OffsetCommitResponsePartition::default().with_partition_index(partition).with_error_code(error)
        };
        let topic = |name, partitions| {
            OffsetCommitResponseTopic::default().with_name(topic_name(name)).with_partitions(partitions)
        };
        let topics = vec![topic("u", vec![of(0, 3)]), topic("t", vec![of(0, 0), of(1, 12)])];
        messages::OffsetCommitResponse::default().with_topics(topics)
    };
    check(&commit, response, |_| [12, 3, 0].map(ErrorCode::of).to_vec());
    each(&commit, |_, request: messages::OffsetCommitRequest| {
        assert_eq!((&request.member_id[..], request.generation_id_or_member_epoch), ("m", 7));
        assert_eq!((request.topics.len(), request.topics[0].partitions.len()), (2, 2));
        let first = &request.topics[0].partitions[0];
        assert_eq!((first.partition_index, first.committed_offset), (1, 42));
        assert_eq!(first.committed_metadata.as_deref(), Some("text"));
    });

    let fetch = OffsetFetchRequest { group: "g", logs: &logs };
    let response = |error| {
        let of = |partition, offset, metadata: Option<&str>| {
            OffsetFetchResponsePartition::default()
                .with_partition_index(partition)
                .with_committed_offset(offset)
                .with_metadata(metadata.map(text))
        };
        let topic = |name, partitions| {
            OffsetFetchResponseTopic::default().with_name(topic_name(name)).with_partitions(partitions)
        };
        let u = of(0, -1, None).with_error_code(88);
        let topics = vec![topic("t", vec![of(0, 5, Some("text")), of(1, -1, None)]), topic("u", vec![u])];
        messages::OffsetFetchResponse::default().with_topics(topics).with_error_code(error)
    };
    let fetched = |error, offset, metadata: &str| FetchedOffset {
        error: ErrorCode::of(error),
        offset,
        metadata: metadata.into(),
    };
    check(
        &fetch,
        |_| response(0),
        |_| OffsetFetchAnswer {
            error: None,
            offsets: vec![fetched(0, -1, ""), fetched(88, -1, ""), fetched(0, 5, "text")],
        },
    );
    check(&fetch, |_| response(30), |_| OffsetFetchAnswer { error: ErrorCode::of(30), offsets: Vec::new() });
    each(&fetch, |version, request: messages::OffsetFetchRequest| {
        assert_eq!((&request.group_id.0[..], request.require_stable), ("g", version >= 7));
        assert_eq!(request.topics.expect("topics")[0].partition_indexes, [1, 0]);
    });
    let missing = sent(&messages::OffsetCommitResponse::default(), 8);
    assert_eq!(read(&commit, 8, missing), Err(WireError::Partition));
}

#[test]
fn member_of_an_instance_is_described() {
    let request = DescribeGroupsRequest { group: "g" };
    let response = |_| {
        let plain =
            DescribedGroupMember::default().with_member_id(text("a")).with_member_metadata("other".into());
        let named = DescribedGroupMember::default()
            .with_group_instance_id(Some(text("i")))
            .with_member_metadata("wants".into())
            .with_member_assignment("logs".into());
        let group = DescribedGroup::default()
            .with_group_id(group_id("g"))
            .with_group_state(text("Stable"))
            .with_members(vec![plain, named]);
        messages::DescribeGroupsResponse::default().with_groups(vec![group])
    };
    let members = vec![("i".to_owned(), "wants".into())];
    let want = |_| DescribeGroupsAnswer { error: None, state: "Stable".to_owned(), members: members.clone() };
    check(&request, response, want);
    let request_new = |instance| ConsumerGroupDescribeRequest { group: "g", instance };
    let response = |version| {
        let topic =
            new::TopicPartitions::default().with_topic_name(topic_name("t")).with_partitions(vec![0, 1]);
        let assignment = new::Assignment::default().with_topic_partitions(vec![topic]);
        let plain = new::Member::default()
            .with_member_id(text("a"))
            .with_assignment(assignment.clone())
            .with_target_assignment(assignment);
        let member = plain
            .clone()
            .with_instance_id(Some(text("i")))
            .with_rack_id(Some(text("rack")))
            .with_subscribed_topic_names(vec![topic_name("t"), topic_name("u")])
            .with_member_type(if version >= 1 { 0 } else { -1 });
        let group = new::DescribedGroup::default()
            .with_group_id(group_id("g"))
            .with_group_state(text("Stable"))
            .with_members(vec![plain, member]);
        messages::ConsumerGroupDescribeResponse::default().with_groups(vec![group])
    };
    let wants = Subscription { topics: vec!["t".into(), "u".into()], rack: Some("rack".into()) };
    for (instance, wants) in [("i", Some(wants)), ("j", None)] {
        let want = |_| ConsumerGroupDescribeAnswer { error: None, subscription: wants.clone() };
        check(&request_new(instance), response, want);
    }
    each(&request_new("i"), |_, request: messages::ConsumerGroupDescribeRequest| {
        assert_eq!(request.group_ids, [group_id("g")]);
    });
    let none = sent(&messages::DescribeGroupsResponse::default(), 5);
    assert_eq!(read(&request, 5, none), Err(WireError::Group));
    each(&request, |_, request: messages::DescribeGroupsRequest| {
        assert_eq!(request.groups, [group_id("g")]);
    });
}

/// As Kafka's own messages in each version; a newer version has more at its end.
#[test]
fn subscriptions_and_assignments_are_those_of_kafka() {
    fn message(version: i16, message: &impl Encodable) -> Bytes {
        let mut bytes = BytesMut::from(&version.to_be_bytes()[..]);
        message.encode(&mut bytes, version).expect("a message");
        bytes.freeze()
    }
    let topics = vec!["t".into(), "u".into()];
    let assignment = Assignment(vec![("t".into(), 0), ("t".into(), 2), ("u".into(), 1)]);
    for version in 0..=3 {
        let owned = consumer_protocol_subscription::TopicPartition::default().with_topic(topic_name("t"));
        let theirs = ConsumerProtocolSubscription::default()
            .with_topics(vec![text("t"), text("u")])
            .with_user_data(Some("ours".into()))
            .with_owned_partitions(if version >= 1 { vec![owned] } else { Vec::new() })
            .with_rack_id((version >= 3).then(|| text("rack")));
        let bytes = message(version, &theirs);
        let rack = (version >= 3).then(|| "rack".into());
        let want = Some(Subscription { topics: topics.clone(), rack });
        assert_eq!(Subscription::decode(bytes.clone()), want, "version {version}");
        let of = |topic, partitions: &[i32]| {
            TopicPartition::default().with_topic(topic_name(topic)).with_partitions(partitions.to_vec())
        };
        let logs = vec![of("u", &[1]), of("t", &[2, 0, 2])];
        let theirs = message(version, &ConsumerProtocolAssignment::default().with_assigned_partitions(logs));
        assert_eq!(Assignment::decode(theirs.clone()), Some(assignment.clone()), "version {version}");
        for cut in 0..theirs.len() {
            let cut = Assignment::decode(theirs.slice(..cut));
            assert!(cut.is_none_or(|cut| cut.0.is_empty() || cut == assignment), "version {version}");
        }
        assert_eq!(Subscription::decode(bytes.slice(..9)), None);
    }
    let subscription = Subscription { topics, rack: Some("ours".into()) };
    let mut ours = subscription.encode();
    assert_eq!(Subscription::decode(ours.clone()), Some(subscription.clone()));
    assert_eq!(ours.get_i16(), 3);
    let ours = ConsumerProtocolSubscription::decode(&mut ours, 3).expect("a subscription");
    assert_eq!(
        (ours.topics.len(), ours.rack_id.as_deref(), ours.owned_partitions.len()),
        (2, Some("ours"), 0)
    );
    assert_eq!(Assignment::decode(assignment.encode()), Some(assignment));
    assert_eq!(Assignment::decode(Bytes::new()), Some(Assignment::default()));
    let none = Subscription::default();
    assert_eq!(Subscription::decode(none.encode()), Some(none));
}
