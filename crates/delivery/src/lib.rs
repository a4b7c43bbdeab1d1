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
pub mod cluster;
mod command;
mod cursor;
mod cursors;
pub mod drain;
mod filter;
pub mod grant;
mod item;
mod lag;
mod subscribe;
mod subscription;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
pub mod topics;

pub use self::filter::{MAX_FILTERS, MAX_VALUES};
pub use self::item::{Item, Place, SkipCause};
pub(crate) use self::lag::OpenSubscriptions;
pub(crate) use self::subscribe::Subscribe;
pub use self::subscribe::{MAX_PARTITIONS, SubscribedTopic, too_many_partitions};
pub use self::subscription::Subscription;

#[cfg(test)]
mod tests;
