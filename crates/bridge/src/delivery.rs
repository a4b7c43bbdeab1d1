//! Delivers records to clients as they are written.
//!
//! - [`Subscribe`]: what a client wants, and where each partition begins
//! - `filter`: which records it wants
//! - [`OpenSubscriptions`]: how far subscriptions are behind
//! - [`Subscription`]: a position in each log; what is read there goes to the client as [`Item`]s
//!
//! While its client has no room, a subscription holds no records. It reads a batch when there is room for one, from what was read for
//! others if it can, so a slow client costs a few hundred bytes for each partition.

mod command;
mod cursor;
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
