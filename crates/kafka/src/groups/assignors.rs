//! The share of each member, as the leader of a group computes it: exactly as Kafka's Java client does without racks, since
//! any member can lead.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use sluicegate_backend::groups::GroupLog;

/// The protocols of our members, the one that they like most first: those that other clients have by default.
pub(super) const PROTOCOLS: [&str; 2] = [RANGE, ROUND_ROBIN];

/// A member among which logs are shared.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Candidate {
    pub(super) id: Arc<str>,
    pub(super) instance: Option<Arc<str>>,
    pub(super) topics: BTreeSet<Arc<str>>,
}

impl Candidate {
    /// `AbstractPartitionAssignor.MemberInfo`: instances by their names, then the others by their ids.
    fn order(&self) -> (bool, &str) {
        (self.instance.is_none(), self.instance.as_ref().unwrap_or(&self.id))
    }
}

/// The logs of each member, by the number of partitions of each topic that exists.
pub(super) fn assign(
    protocol: &str,
    mut members: Vec<Candidate>,
    counts: &BTreeMap<Arc<str>, i32>,
) -> Vec<(Arc<str>, Vec<GroupLog>)> {
    members.sort_by(|one, other| one.order().cmp(&other.order()));
    let mut logs: Vec<Vec<GroupLog>> = members.iter().map(|_| Vec::new()).collect();
    let mut turn = 0_usize;
    for (topic, count) in counts {
        let wants = |(_, member): &(usize, &Candidate)| member.topics.contains(topic);
        let wanting: Vec<usize> = members.iter().enumerate().filter(wants).map(|(at, _)| at).collect();
        let mut give = |at: Option<usize>, partition: i32| {
            if let Some(logs) = at.and_then(|at| logs.get_mut(at)) {
                logs.push((Arc::clone(topic), partition));
            }
        };
        if protocol == ROUND_ROBIN {
            for partition in 0..*count {
                // The next member in turn that wants it, over all topics.
                let next = wanting.iter().find(|at| **at >= turn).or(wanting.first()).copied();
                give(next, partition);
                turn = next.map_or(turn, |at| at.saturating_add(1));
            }
        } else {
            // Consecutive partitions, one more for the first members if they do not divide evenly.
            let among = i32::try_from(wanting.len()).unwrap_or(i32::MAX);
            let (each, mut more) =
                (count.checked_div(among).unwrap_or(0), count.checked_rem(among).unwrap_or(0));
            let mut partitions = 0..*count;
            for at in wanting {
                let share = each.saturating_add(i32::from(more > 0));
                more = more.saturating_sub(1);
                let share = usize::try_from(share).unwrap_or_default();
                partitions.by_ref().take(share).for_each(|partition| give(Some(at), partition));
            }
        }
    }
    members.into_iter().map(|member| member.id).zip(logs).collect()
}

const RANGE: &str = "range";
const ROUND_ROBIN: &str = "roundrobin";

#[cfg(test)]
mod tests {
    use super::*;

    /// Rows of Kafka's `RangeAssignorTest` and `RoundRobinAssignorTest`, and of what both compute for names of instances.
    #[test]
    fn shares_are_those_of_java() {
        let mixed: &[&str] = &["a:t,u", "b:u", "c:t,u"];
        for (protocol, members, counts, want) in [
            (RANGE, &["a:t"][..], &["t3"][..], "a=t0,t1,t2"),
            (RANGE, &["b:t", "a:t"], &["t3"], "a=t0,t1 b=t2"),
            (RANGE, &["a:t", "b:t"], &["t1"], "a=t0 b="),
            (RANGE, &["a:t,u", "b:t,u"], &["t3", "u3"], "a=t0,t1,u0,u1 b=t2,u2"),
            (RANGE, mixed, &["t3", "u2"], "a=t0,t1,u0 b=u1 c=t2"),
            (RANGE, &["a:t", "z/i1:t", "y/i2:t"], &["t3"], "z=t0 y=t1 a=t2"),
            (RANGE, &["a:t", "b:gone"], &["t2"], "a=t0,t1 b="),
            (RANGE, &["a:", "b:t"], &["t2"], "a= b=t0,t1"),
            (ROUND_ROBIN, &["a:t"], &["t3"], "a=t0,t1,t2"),
            (ROUND_ROBIN, &["b:t", "a:t"], &["t1"], "a=t0 b="),
            (ROUND_ROBIN, &["a:t,u", "b:t,u"], &["t3", "u3"], "a=t0,t2,u1 b=t1,u0,u2"),
            (ROUND_ROBIN, mixed, &["t3", "u2"], "a=t0,t2 b=u0 c=t1,u1"),
            (ROUND_ROBIN, &["a:t", "z/i1:t", "y/i2:t"], &["t4"], "z=t0 y=t1 a=t2 z=t3"),
        ] {
            let member = |text: &&str| {
                let (name, topics) = text.split_once(':').expect("a member");
                let (id, instance) = name.split_once('/').map_or((name, None), |(id, of)| (id, Some(of)));
                let topics = topics.split(',').filter(|topic| !topic.is_empty()).map(Arc::from).collect();
                Candidate { id: id.into(), instance: instance.map(Arc::from), topics }
            };
            let count = |text: &&str| (Arc::from(&text[..1]), text[1..].parse().expect("a number"));
            let shares =
                assign(protocol, members.iter().map(member).collect(), &counts.iter().map(count).collect());
            let mut wanted = BTreeMap::<&str, Vec<&str>>::new();
            for (id, logs) in want.split(' ').filter_map(|share| share.split_once('=')) {
                wanted.entry(id).or_default().extend(logs.split(',').filter(|log| !log.is_empty()));
            }
            let logs = |logs: &[GroupLog]| logs.iter().map(|(topic, of)| format!("{topic}{of}")).collect();
            let shares: BTreeMap<&str, Vec<String>> =
                shares.iter().map(|(id, of)| (&**id, logs(of))).collect();
            assert_eq!(format!("{shares:?}"), format!("{wanted:?}"), "{protocol} {members:?} {counts:?}");
        }
    }
}
