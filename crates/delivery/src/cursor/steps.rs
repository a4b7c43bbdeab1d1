//! The events of a cursor, and the steps to which they lead.

use sluicegate_backend::{Chunk, CommandError, Fetch, Version};
use sluicegate_shared_log::SeenEnds;
use tokio::time::Instant;

use crate::staleness::Life;
use crate::subscribe::Later;

/// An event of one cursor.
#[derive(Debug)]
pub(crate) enum Event {
    /// It can read. `recent` is known without a question, from the log of this version.
    Turn { fetch: Fetch, version: Version, recent: Option<Chunk> },
    /// Its question is answered. The version is the one that is known after that.
    Answered(Answer, Version),
    /// Its question is not answered in [`SLOW`](super::SLOW).
    Unanswered,
    /// Its log may have records, or has failed. The end is known from other reads; None: it need not be known.
    Woken { end: Option<i64> },
    /// Its log still has no records to read. The ends of the log.
    StillAtEnd { start: i64, end: i64 },
    /// Its pause is over.
    Due,
}

/// A question to the messaging system.
#[derive(Debug)]
pub(crate) enum Question {
    Records(Fetch),
    /// The offset at which it begins.
    Begin(Later),
    /// The end of an epoch in the log of its present leader.
    EndOfEpoch {
        epoch: i32,
        leader: i32,
    },
    /// The id of the topic, which may have been created again.
    TopicId,
    /// The time for which the topic keeps a record that removes its key.
    TombstoneLife,
    /// The ends of the log, as a part of this error.
    Ends(CommandError),
}

/// An answer of the messaging system.
#[derive(Debug)]
pub(crate) enum Answer {
    /// The records that were read.
    Records(Result<Chunk, CommandError>),
    /// There are records, which are kept for all clients.
    Kept,
    Begin(Result<i64, CommandError>),
    /// None: the leader does not know the epoch.
    EndOfEpoch(Result<Option<i64>, CommandError>),
    TopicId(Result<Option<u128>, CommandError>),
    /// `Ok(None)`: as long as any other.
    TombstoneLife(Result<Life, CommandError>),
    /// The error with the ends of the log, if they can be read.
    Ends(CommandError),
    /// The task that asked has failed.
    Nothing,
}

/// The next step of a cursor. Each but the last schedules its next event.
///
/// The cursors take turns, and keep records, by themselves. Their owner performs the others.
#[derive(Debug)]
pub(crate) enum Step {
    /// It has its turn after the others.
    Turn,
    /// It has its turn before the others.
    FirstTurn,
    /// It has its turn after the others: there are records, which are kept for all clients.
    TurnForKept,
    /// It has its turn after the others, for these records, which are not kept for all clients.
    TurnFor(Chunk),
    /// These records wait for the client.
    Hold(Chunk),
    /// [`Event::Answered`] follows. If that takes [`SLOW`](super::SLOW), [`Event::Unanswered`] comes before.
    Ask(Question),
    /// [`Event::Woken`] follows, or [`Event::StillAtEnd`] after `until` or with later ends than `seen`.
    WaitAtEnd {
        until: Option<Instant>,
        seen: SeenEnds,
    },
    /// [`Event::Due`] follows.
    Sleep {
        until: Instant,
    },
    End,
}
