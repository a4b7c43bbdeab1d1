//! Clusters, the rights of clients to use them, and the delivery of records as they are written.
//!
//! 1. [`grant`]: the rights of one client, and the only door to a cluster: a method for each command checks topics,
//!    read and write, and counts what is refused
//! 2. [`cluster`]: a cluster of any system, with the bounds and metrics of its commands; a new configuration replaces
//!    its parts. Its commands are private to this crate
//! 3. `subscribe`: a client's request, with filters on records; it finds where each partition begins
//! 4. [`Subscription`] has a position in each log, and gives its client [`Item`]s: a runtime around `cursors`
//! 5. `cursors` decides: events lead to items, and to steps that the runtime performs, without I/O or a clock;
//!    `cursor` is one position and its states, `client` the request and the messages that all of them share
//! 6. [`consumers`]: members of groups, which poll; other bridges take them over. `membership`: subscriptions that are members
//! 7. [`quota`]: what one person uses of a route's quota, counted by the door
//! 8. `open_clients` and `activity` say who is here and does what; `lag` samples how far subscriptions are behind; [`drain`] spreads the end of sessions
//!
//! A table's subscription begins with a `snapshot` of the newest record of each key, from the cluster's tables;
//! `held_keys` are those that its client has; `staleness` says whether client or table can miss removals. `failures` says when to read a log again that could not be read.
//!
//! `command` and `filter` check what a client asks for; `selections` shares what rows and filters leave out among clients with the same ones.
//!
//! While its client has no room, a subscription holds no records. It reads a batch when there is room for one, from
//! records that were read for others if it can, so a slow client costs a few hundred bytes for each partition.

mod activity;
mod client;
pub mod cluster;
mod command;
pub mod consumers;
mod cursor;
mod cursors;
pub mod drain;
mod failures;
mod filter;
pub mod grant;
mod held_keys;
mod item;
mod lag;
mod membership;
mod open_clients;
pub mod quota;
mod selections;
mod snapshot;
mod staleness;
mod subscribe;
mod subscription;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
mod view;

pub use self::activity::{Activity, Counts};
pub use self::command::DEFAULT_BATCH_BYTES;
pub(crate) use self::consumers::{ConsumerLimits, Consumers};
pub use self::filter::{MAX_FILTERS, MAX_JSON_DEPTH, MAX_VALUES};
pub use self::item::{Item, Place, SkipCause};
pub(crate) use self::lag::OpenSubscriptions;
pub use self::lag::{ListedSubscription, Tally};
pub use self::membership::GroupMember;
pub(crate) use self::open_clients::OpenClients;
pub use self::open_clients::{ClientKind, Listed, OpenClient};
pub(crate) use self::subscribe::Subscribe;
pub use self::subscribe::{MAX_PARTITIONS, NOT_BEGUN, SubscribedTopic, too_many_partitions};
pub use self::subscription::Subscription;

#[cfg(test)]
mod tests;
