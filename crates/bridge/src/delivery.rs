//! Delivers records to clients as they are written.
//!
//! 1. [`Subscribe`] is a client's wish, with filters on records; it finds where each partition begins
//! 2. [`Subscription`] has a position in each log, and gives its client [`Item`]s: a runtime around `cursors`
//! 3. `cursors` decides: events lead to items, and to effects that the runtime performs, without I/O or a clock;
//!    `cursor` is one position and its states, `client` the wish and the messages that all of them share
//! 4. [`OpenSubscriptions`] samples the lag
//!
//! While its client has no room, a subscription holds no records. It reads a batch when there is room for one, from
//! records that were read for others if it can, so a slow client costs a few hundred bytes for each partition.

mod client;
mod command;
mod cursor;
mod cursors;
mod filter;
mod item;
mod lag;
mod subscribe;
mod subscription;

pub(crate) use self::filter::{MAX_FILTERS, MAX_VALUES};
pub(crate) use self::item::{Item, Place, SkipCause};
pub(crate) use self::lag::OpenSubscriptions;
pub(crate) use self::subscribe::{MAX_PARTITIONS, Subscribe, SubscribedTopic, too_many_partitions};
pub(crate) use self::subscription::Subscription;

#[cfg(test)]
pub(crate) mod tests;
