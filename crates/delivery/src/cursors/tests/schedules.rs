//! Cursors under random schedules of events, beside a naive model of their logs.

mod model;

use proptest::prelude::*;

use self::model::Model;
use super::*;

/// A change of the logs, or of what is under way.
#[derive(Debug, Clone)]
enum Step {
    /// Entries of a partition: records, or others that are not delivered.
    Append {
        partition: usize,
        count: usize,
        are_records: bool,
    },
    /// The oldest entries are deleted.
    Delete {
        partition: usize,
        count: i64,
    },
    /// Another leader, without so many of the last entries.
    Elect {
        partition: usize,
        lost: usize,
    },
    /// The bridge knows the present leader, or none.
    Learn {
        partition: usize,
        is_known: bool,
    },
    /// A transaction is open from here on, or ends.
    Transact {
        partition: usize,
    },
    /// Reads of a partition fail, or succeed again.
    Break {
        partition: usize,
        fault: Option<Fault>,
    },
    /// Records that were read are kept for all clients, or not.
    Keep(bool),
    /// The topic is created again.
    Recreate,
    /// The topic gets another partition.
    Grow,
    /// The client has room for so many records.
    Read(usize),
    Take,
    PutBack,
    /// One of the things that are under way makes progress: a question is put, an answer or a timer arrives.
    Progress(usize),
    /// A wait at the end of a log ends without a reason, or a question takes long.
    Disturb(usize),
    /// Positions are told.
    TellProgress,
}

fn step() -> impl Strategy<Value = Step> {
    let partition = || 0..model::PARTITIONS + 1;
    let faults = [None, Some(UNREACHABLE), Some(Fault::Transient), Some(Fault::NotFound)];
    let append = (partition(), 1_usize..6, prop::bool::weighted(0.8));
    prop_oneof![
        8 => append.prop_map(|(partition, count, are_records)| Step::Append { partition, count, are_records }),
        1 => (partition(), 1_i64..6).prop_map(|(partition, count)| Step::Delete { partition, count }),
        1 => (partition(), prop_oneof![Just(0_usize), 0_usize..8])
            .prop_map(|(partition, lost)| Step::Elect { partition, lost }),
        1 => (partition(), prop::bool::weighted(0.7))
            .prop_map(|(partition, is_known)| Step::Learn { partition, is_known }),
        1 => partition().prop_map(|partition| Step::Transact { partition }),
        1 => (partition(), prop::sample::select(faults.to_vec()))
            .prop_map(|(partition, fault)| Step::Break { partition, fault }),
        1 => any::<bool>().prop_map(Step::Keep),
        1 => prop_oneof![20 => Just(Step::TellProgress), 1 => Just(Step::Recreate), 1 => Just(Step::Grow)],
        12 => (0_usize..8).prop_map(Step::Read),
        10 => Just(Step::Take),
        1 => Just(Step::PutBack),
        30 => any::<prop::sample::Index>().prop_map(|which| Step::Progress(which.index(1000))),
        2 => (0_usize..1000).prop_map(Step::Disturb),
    ]
}

proptest! {
    /// Nothing is lost, repeated or out of order, gaps are told, and no cursor gets stuck.
    #[test]
    fn each_record_is_told_once_whatever_the_order_of_events(
        (committed, skips, lingers) in any::<(bool, bool, bool)>(),
        steps in prop::collection::vec(step(), 0..400),
    ) {
        let linger = if lingers { Duration::from_millis(500) } else { Duration::ZERO };
        let mut model = Model::new(Subscribe { committed, skips, linger, ..Default::default() });
        for step in steps {
            model.perform(step);
            model.check();
        }
        model.come_to_rest();
    }
}
