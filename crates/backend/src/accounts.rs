//! Decides what becomes of a producer's batch, as a value: what is known of its account leads to one next step.
//!
//! A partition of Kafka counts the records of each producer: it takes the next one, and recognizes the last five batches. It
//! cannot tell an older repeat from a gap, and takes any record of a producer that it does not know: before such a batch is
//! sent, it is asked. It forgets a producer some time after its last record, by the records' own timestamps, and all of them if
//! a broker starts again and the partition has no records. The last message of a subject of NATS tells which one is next,
//! until the stream removes it.

use std::cmp::Ordering;
use std::collections::HashMap;
use std::hash::Hash;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use sluicegate_protocol::error_code::{
    INVALID_PRODUCER_EPOCH, INVALID_REQUEST, OUT_OF_ORDER_SEQUENCE_NUMBER, UNKNOWN_PRODUCER_ID,
};
use tokio::time::Instant;

use crate::write_queue::WriteSequencer;
use crate::{Account, CommandError, Fault, ProducerState};

/// The producers of a cluster that are in use, or were lately.
#[derive(Debug)]
pub struct Accounts<K, V> {
    kept: Mutex<All<K, V>>,
}

#[derive(Debug)]
struct All<K, V> {
    /// At most [`MAX_KEPT`], and those that are in use.
    of: HashMap<K, Arc<Kept<V>>>,
    /// Their number at which those that are not in use are forgotten.
    swept_at: usize,
}

/// A producer in one log.
#[derive(Debug)]
pub struct Kept<V> {
    /// Its account as far as it is acknowledged, as it is remembered.
    pub known: Mutex<Option<V>>,
    /// The order of its commands.
    pub sequencer: Mutex<WriteSequencer>,
}

impl<K: Eq + Hash, V> Accounts<K, V> {
    /// A producer as it is remembered, and its queue.
    pub fn of(&self, key: K) -> Arc<Kept<V>> {
        let All { of, swept_at } = &mut *self.kept.lock();
        if of.len() >= *swept_at && !of.contains_key(&key) {
            of.retain(|_, kept| Arc::strong_count(kept) > 1);
            *swept_at = of.len().saturating_mul(2).max(MAX_KEPT);
        }
        let new = || Kept { known: Mutex::new(None), sequencer: Mutex::default() };
        Arc::clone(of.entry(key).or_insert_with(|| Arc::new(new())))
    }

    /// Ends the use of a producer, which is forgotten if nothing is known of it.
    pub fn release(&self, key: &K, kept: Arc<Kept<V>>) {
        let is_known = kept.known.lock().is_some();
        drop(kept);
        let of = &mut self.kept.lock().of;
        if !is_known && of.get(key).is_some_and(|kept| Arc::strong_count(kept) == 1) {
            of.remove(key);
        }
    }
}

impl<K, V> Default for Accounts<K, V> {
    fn default() -> Self {
        Self { kept: Mutex::new(All { of: HashMap::new(), swept_at: MAX_KEPT }) }
    }
}

/// A batch, as its client claims to have counted it.
#[derive(Debug, Clone, Copy)]
pub struct Claim {
    /// As in [`Account`].
    pub epoch: i16,
    /// The sequence of the first record.
    pub first: i32,
    /// The sequence of the last record.
    pub last: i32,
    /// The time since the first record was first sent.
    pub age: Duration,
    /// As in [`Account`].
    pub is_placed: bool,
}

/// A producer's account in a partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Known {
    /// Its latest epoch.
    pub epoch: i16,
    /// The sequence of the last record; −1 if the epoch has none.
    pub last: i32,
    /// Until when the partition surely keeps it.
    pub until: Instant,
}

/// The answer to a question about an account.
#[derive(Debug, Clone, Copy)]
pub enum Told {
    /// The account.
    Known(Known),
    /// The partition has none.
    Missing,
    /// The cluster's user has no right to know, or the broker is too old to tell.
    Untold,
}

/// A leader's refusal of a batch.
#[derive(Debug, Clone, Copy)]
pub struct Refused {
    /// Whether it was sent as a repeat.
    pub is_repeat: bool,
    /// Whether the leader has a later epoch. Otherwise the batch does not follow the account.
    pub is_fenced: bool,
}

/// The next step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Ask the partition for the account.
    Ask,
    /// Ask whether the log still has all records since the first try. A partition without records forgets its accounts when
    /// its broker starts again, and so do replicas that never had them.
    LookBack {
        /// Whether the partition surely has no account: then a batch that is not in the log can only begin one.
        is_missing: bool,
    },
    /// Send the batch without its first records, which are there already.
    Send {
        /// The number of these.
        skip: usize,
        /// Whether all of it is there: the answer tells where.
        is_repeat: bool,
        /// Whether the partition may not know the producer yet.
        is_new: bool,
    },
    /// All of it is there, nobody knows where.
    Duplicate,
    /// Write nothing.
    Refuse(Refusal),
}

/// Why a batch was not written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// Records are missing before it.
    OutOfOrder(Option<ProducerState>),
    /// There is a later epoch.
    Fenced(Option<ProducerState>),
    /// With a state: no earlier try has written the batch either.
    Expired(Option<ProducerState>),
}

impl Refusal {
    /// The error of its records. `expired` says why nobody can tell.
    pub fn into_error(self, expired: impl FnOnce() -> String) -> CommandError {
        let (fault, code, state, message) = match self {
            Self::OutOfOrder(state) => (
                Fault::OutOfOrder,
                OUT_OF_ORDER_SEQUENCE_NUMBER,
                state,
                "records of the producer are missing before this one".to_owned(),
            ),
            Self::Fenced(state) => (
                Fault::Fenced,
                INVALID_PRODUCER_EPOCH,
                state,
                "the producer has begun a later epoch".to_owned(),
            ),
            Self::Expired(state) => (Fault::Expired, UNKNOWN_PRODUCER_ID, state, expired()),
        };
        let expected = state.map(|ProducerState { epoch, sequence }| {
            format!("{message}: expected sequence {sequence} in epoch {epoch}")
        });
        CommandError::new(fault, code, expected.unwrap_or(message)).of_producer(state)
    }
}

/// The error of a batch that others have overtaken again and again, as the same producer.
pub fn contended() -> CommandError {
    CommandError::new(Fault::Transient, OUT_OF_ORDER_SEQUENCE_NUMBER, CONTENDED).with_retry()
}

impl Claim {
    /// The claim of a command with so many records.
    ///
    /// # Errors
    /// The epoch has no room for them.
    pub fn of(account: &Account, records: usize) -> Result<Self, CommandError> {
        let Account { epoch, sequence: first, age, is_placed, .. } = *account;
        let more = i32::try_from(records.saturating_sub(1)).ok();
        let last = more.and_then(|more| first.checked_add(more)).filter(|last| *last < i32::MAX);
        let last = last.ok_or_else(|| {
            let message = format!("sequence {first} of {records} records: begin the next epoch");
            CommandError::new(Fault::Invalid, INVALID_REQUEST, message)
        })?;
        Ok(Self { epoch, first, last, age, is_placed })
    }

    /// The first step, with what is remembered of the account.
    pub fn begin(self, remembered: Option<Known>) -> Step {
        let alive = remembered.filter(|known| Instant::now() < known.until);
        let is_first = self.first == 0 && self.epoch == 0;
        match self.age.is_zero() && !self.is_in(alive) && (alive.is_some() || is_first) {
            true => Step::Send { skip: 0, is_repeat: false, is_new: alive.is_none() },
            // Also for a repeat: the partition can have forgotten the account, and would write it once more.
            false => Step::Ask,
        }
    }

    /// The highest sequence of the epoch once the batch is written, if this is its account.
    pub fn last_with(self, account: Option<Known>) -> i32 {
        account.filter(|known| known.epoch == self.epoch).map_or(self.last, |known| known.last.max(self.last))
    }

    /// Whether an account has all of the batch.
    fn is_in(self, account: Option<Known>) -> bool {
        account.is_some_and(|known| known.epoch == self.epoch && self.last <= known.last)
    }

    /// The step after an answer about the account, with what was remembered of it.
    pub fn told(self, told: Told, remembered: Option<Known>, lives: Lives) -> Step {
        let send = |is_new| Step::Send { skip: 0, is_repeat: false, is_new };
        let is_young = self.age < lives.kept();
        // Otherwise an earlier try can have begun an account that has expired, or is in another partition.
        let may_look_back = is_young && lives.is_told && !self.is_placed;
        let known = match told {
            Told::Known(known) => known,
            Told::Missing | Told::Untold if self.is_in(remembered) => return Step::Duplicate,
            // Its records were never sent before.
            Told::Missing if self.first != 0 && self.age.is_zero() => return self.not_written(),
            Told::Missing | Told::Untold if self.age.is_zero() => return send(true),
            Told::Missing if may_look_back => return Step::LookBack { is_missing: true },
            Told::Untold if may_look_back => return Step::LookBack { is_missing: false },
            Told::Missing | Told::Untold => return Step::Refuse(Refusal::Expired(None)),
        };
        let next = known.last.saturating_add(1);
        let state = |sequence| Some(ProducerState { epoch: known.epoch.max(self.epoch), sequence });
        match known.epoch.cmp(&self.epoch) {
            Ordering::Greater => Step::Refuse(Refusal::Fenced(state(next))),
            Ordering::Less if self.first == 0 && is_young => send(false),
            Ordering::Less if self.first == 0 => Step::Refuse(Refusal::Expired(None)),
            Ordering::Less => Step::Refuse(Refusal::OutOfOrder(state(0))),
            Ordering::Equal if self.first == next => send(false),
            Ordering::Equal if self.first > next => Step::Refuse(Refusal::OutOfOrder(state(next))),
            Ordering::Equal if self.last < next => match Instant::now() < known.until {
                true => Step::Send { skip: 0, is_repeat: true, is_new: false },
                // Once the account is forgotten, the batch would be written.
                false => Step::Duplicate,
            },
            Ordering::Equal => {
                let skip = usize::try_from(next.saturating_sub(self.first)).unwrap_or_default();
                Step::Send { skip, is_repeat: false, is_new: false }
            }
        }
    }

    /// The step after the partition's leader has refused the batch, with what it tells since. Another leader can have lost
    /// what made it a repeat.
    pub fn refused(self, told: Told, remembered: Option<Known>, lives: Lives, refused: Refused) -> Step {
        match (told, refused.is_fenced) {
            (Told::Untold, true) => Step::Refuse(Refusal::Fenced(None)),
            (Told::Untold, false) => Step::Refuse(Refusal::OutOfOrder(None)),
            _ => match self.told(told, remembered, lives) {
                // An older batch than the last five.
                Step::Send { is_repeat: true, .. } if refused.is_repeat => Step::Duplicate,
                step => step,
            },
        }
    }

    /// The step after a look back. If the log has all records since the first try, an earlier try would be among them, and
    /// the account there.
    pub fn looked_back(self, has_all: bool, is_missing: bool) -> Step {
        match has_all {
            true if is_missing && self.first != 0 => self.not_written(),
            true => Step::Send { skip: 0, is_repeat: false, is_new: true },
            false => Step::Refuse(Refusal::Expired(None)),
        }
    }

    /// The refusal of records that are surely not there, and must begin an epoch.
    fn not_written(self) -> Step {
        Step::Refuse(Refusal::Expired(Some(ProducerState { epoch: self.epoch, sequence: 0 })))
    }
}

/// The times of accounts in a cluster, from the time after which its partitions forget a producer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lives {
    life: Duration,
    /// Whether the cluster has told the time.
    is_told: bool,
}

impl Lives {
    /// Partitions forget producers this long after their last record (`producer.id.expiration.ms`).
    pub fn of(life: Duration) -> Self {
        Self { life, is_told: true }
    }

    /// The times by Kafka's default, in a cluster that does not tell its own.
    pub fn assumed() -> Self {
        Self { life: DEFAULT_LIFE, is_told: false }
    }

    /// Whether the cluster has told the time after which its partitions forget a producer.
    pub fn is_told(self) -> bool {
        self.is_told
    }

    /// The time after a record's first try for which a repeat is recognized: less than the life by what its timestamp may
    /// be old, and by as much for clocks that differ.
    pub fn kept(self) -> Duration {
        self.part(6)
    }

    /// The greatest age of a record's timestamp when it is written first.
    pub fn oldest(self) -> Duration {
        self.part(1)
    }

    /// Until when the account is surely kept whose last batch has this timestamp, as long ago as that is.
    pub fn until(self, since: Duration) -> Instant {
        let left = self.part(7).saturating_sub(since);
        Instant::now().checked_add(left).unwrap_or_else(Instant::now)
    }

    fn part(self, eighths: u32) -> Duration {
        self.life.saturating_mul(eighths).checked_div(8).unwrap_or_default()
    }
}

/// Kafka's default.
const DEFAULT_LIFE: Duration = Duration::from_hours(24);
/// Accounts that are remembered: 16 MiB. Beyond that, all are forgotten that are not in use, and asked for once more.
const MAX_KEPT: usize = 1 << 16;
const CONTENDED: &str = "others write as this producer at the same time, nothing was written";

#[cfg(test)]
mod tests {
    use super::*;

    const KEPT: Duration = Duration::from_hours(18);
    const OLD: Duration = KEPT;
    const LIVES: Lives = Lives { life: DEFAULT_LIFE, is_told: true };

    fn claim(epoch: i16, first: i32, count: i32, age: Duration) -> Claim {
        Claim { epoch, first, last: first + count - 1, age, is_placed: false }
    }

    fn known(epoch: i16, last: i32) -> Known {
        Known { epoch, last, until: Instant::now() + KEPT }
    }

    const SEND: Step = Step::Send { skip: 0, is_repeat: false, is_new: false };
    const NEW: Step = Step::Send { skip: 0, is_repeat: false, is_new: true };
    const REPEAT: Step = Step::Send { skip: 0, is_repeat: true, is_new: false };
    const EXPIRED: Step = Step::Refuse(Refusal::Expired(None));
    const NOT_WRITTEN: Step = Step::Refuse(Refusal::Expired(Some(ProducerState { epoch: 0, sequence: 0 })));
    const LOOK_BACK: Step = Step::LookBack { is_missing: true };

    #[tokio::test(start_paused = true)]
    async fn batches_are_sent_to_partitions_that_know_their_producer() {
        let young = Duration::ZERO;
        let forgotten = Known { until: Instant::now(), ..known(0, 4) };
        for (claim, remembered, want) in [
            (claim(0, 0, 1, young), None, NEW),
            (claim(0, 0, 1, Duration::from_millis(1)), None, Step::Ask),
            (claim(1, 0, 1, young), None, Step::Ask),
            (claim(0, 5, 1, young), None, Step::Ask),
            (claim(0, 5, 1, young), Some(known(0, 4)), SEND),
            (claim(0, 5, 1, young), Some(forgotten), Step::Ask),
            (claim(0, 3, 1, OLD), Some(known(0, 4)), Step::Ask),
            (claim(0, 3, 1, young), Some(known(0, 4)), Step::Ask),
            (claim(0, 3, 3, young), Some(known(0, 4)), SEND),
            (claim(0, 9, 1, young), Some(known(0, 4)), SEND),
            (claim(0, 5, 1, OLD), Some(known(0, 4)), Step::Ask),
        ] {
            assert_eq!(claim.begin(remembered), want, "{claim:?} {remembered:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn step_follows_from_the_partitions_answer() {
        let state = |epoch, sequence| Some(ProducerState { epoch, sequence });
        let out_of_order = |epoch, sequence| Step::Refuse(Refusal::OutOfOrder(state(epoch, sequence)));
        let fenced = |epoch, sequence| Step::Refuse(Refusal::Fenced(state(epoch, sequence)));
        let skip = |skip| Step::Send { skip, is_repeat: false, is_new: false };
        let is = Told::Known;
        let ends_soon = Told::Known(Known { until: Instant::now(), ..known(1, 4) });
        let (young, again) = (Duration::ZERO, Duration::from_secs(1));
        for (claim, told, want) in [
            (claim(1, 5, 3, young), is(known(1, 4)), SEND),
            (claim(1, 5, 3, OLD), is(known(1, 4)), SEND),
            (claim(1, 3, 2, OLD), is(known(1, 4)), REPEAT),
            (claim(1, 0, 5, young), is(known(1, 4)), REPEAT),
            (claim(1, 3, 2, young), ends_soon, Step::Duplicate),
            (claim(1, 3, 3, young), is(known(1, 4)), skip(2)),
            (claim(1, 6, 1, young), is(known(1, 4)), out_of_order(1, 5)),
            (claim(1, 0, 1, young), is(known(1, -1)), SEND),
            (claim(1, 1, 1, young), is(known(1, -1)), out_of_order(1, 0)),
            (claim(0, 5, 1, young), is(known(1, 4)), fenced(1, 5)),
            (claim(2, 0, 1, again), is(known(1, 4)), SEND),
            (claim(2, 0, 1, OLD), is(known(1, 4)), EXPIRED),
            (claim(2, 1, 1, young), is(known(1, 4)), out_of_order(2, 0)),
            (claim(0, 0, 1, young), Told::Missing, NEW),
            (claim(0, 0, 1, again), Told::Missing, LOOK_BACK),
            (claim(0, 0, 1, OLD), Told::Missing, EXPIRED),
            (claim(0, 1, 1, young), Told::Missing, NOT_WRITTEN),
            (claim(0, 1, 1, again), Told::Missing, LOOK_BACK),
            (claim(0, 1, 1, OLD), Told::Missing, EXPIRED),
            (claim(0, 0, 1, young), Told::Untold, NEW),
            (claim(0, 1, 1, young), Told::Untold, NEW),
            (claim(0, 1, 1, again), Told::Untold, Step::LookBack { is_missing: false }),
            (claim(0, 1, 1, OLD), Told::Untold, EXPIRED),
        ] {
            assert_eq!(claim.told(told, None, LIVES), want, "{claim:?} {told:?}");
        }
        // Acknowledged records are there, even if the partition has forgotten by whom they were.
        for told in [Told::Missing, Told::Untold] {
            assert_eq!(claim(0, 0, 5, again).told(told, Some(known(0, 4)), LIVES), Step::Duplicate);
            assert_eq!(claim(0, 0, 6, OLD).told(told, Some(known(0, 4)), LIVES), EXPIRED);
        }
        for (first, is_missing, want) in [(0, true, NEW), (1, true, NOT_WRITTEN), (1, false, NEW)] {
            let again = claim(0, first, 1, again);
            let steps = [true, false].map(|has_all| again.looked_back(has_all, is_missing));
            assert_eq!(steps, [want, EXPIRED], "{first} {is_missing}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn repeat_of_an_unknown_producer_is_refused_if_its_life_or_place_is_unknown() {
        let (young, again) = (Duration::ZERO, Duration::from_millis(1));
        for (claim, told, want) in [
            (claim(0, 0, 1, young), Told::Missing, NEW),
            (claim(0, 0, 1, again), Told::Missing, EXPIRED),
            (claim(0, 3, 1, again), Told::Missing, EXPIRED),
            (claim(0, 0, 1, again), Told::Untold, EXPIRED),
            (claim(0, 0, 1, again), Told::Known(known(0, 0)), REPEAT),
            (claim(0, 1, 1, again), Told::Known(known(0, 0)), SEND),
            (claim(1, 0, 1, again), Told::Known(known(0, 0)), SEND),
        ] {
            assert_eq!(claim.told(told, None, Lives::assumed()), want, "{claim:?} {told:?}");
        }
        // The bridge chooses its partition.
        for (first, age, want) in
            [(0, young, NEW), (1, young, NOT_WRITTEN), (0, again, EXPIRED), (1, again, EXPIRED)]
        {
            let placed = Claim { is_placed: true, ..claim(0, first, 1, age) };
            assert_eq!(placed.told(Told::Missing, None, LIVES), want, "{first} {age:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn refused_repeat_is_a_duplicate_only_if_the_leader_still_has_it() {
        let again = claim(1, 3, 2, Duration::from_secs(1));
        let skip = Step::Send { skip: 1, is_repeat: false, is_new: false };
        for (told, is_repeat, want) in [
            (Told::Known(known(1, 4)), true, Step::Duplicate),
            (Told::Known(known(1, 4)), false, REPEAT),
            // A leader without the last record, or without any.
            (Told::Known(known(1, 3)), true, skip),
            (Told::Missing, true, LOOK_BACK),
        ] {
            for is_fenced in [true, false] {
                let step = again.refused(told, None, LIVES, Refused { is_repeat, is_fenced });
                assert_eq!(step, want, "{told:?} {is_repeat}");
            }
        }
        for (is_fenced, want) in [(true, Refusal::Fenced(None)), (false, Refusal::OutOfOrder(None))] {
            let step = again.refused(Told::Untold, None, LIVES, Refused { is_repeat: true, is_fenced });
            assert_eq!(step, Step::Refuse(want));
        }
    }

    #[test]
    fn duplicate_tells_the_last_sequence_of_its_epoch() {
        let again = claim(1, 3, 2, Duration::from_secs(1));
        let told = [None, Some(known(0, 9)), Some(known(1, 2)), Some(known(1, 9))];
        assert_eq!(told.map(|account| again.last_with(account)), [4, 4, 4, 9]);
    }

    /// A record that was written with the oldest timestamp is recognized for as long as it is said to be.
    #[test]
    fn accounts_outlive_what_clients_are_told() {
        assert_eq!(LIVES.kept(), KEPT);
        for life in [DEFAULT_LIFE, Duration::from_secs(1), Duration::MAX] {
            let lives = Lives::of(life);
            assert!(lives.oldest().saturating_add(lives.kept()) < life, "{life:?}");
        }
    }
}
