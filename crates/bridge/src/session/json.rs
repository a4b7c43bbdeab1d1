//! The codec of sessions in JSON.
//!
//! 1. [`request`]: a client's text becomes a request; [`command`], [`record`] and [`subscribe`] parse what it contains
//! 2. [`records`]: what was read becomes the text of an answer
//! 3. [`item`]: what a subscription tells becomes text, with and without records
//! 4. [`answer`]: all other answers become text; [`error`] bounds their errors
//!
//! [`nats`] has the commands and answers of streams.
//!
//! Commands become the protocol's, so that they run as those of other sessions do. A new one has an arm in [`request`], and its answer
//! one in [`answer`], or in [`records`] if it has records.

mod answer;
mod command;
mod error;
mod int64;
mod item;
mod list;
mod nats;
mod object;
mod record;
mod records;
mod request;
mod subscribe;

pub(super) use self::answer::{encode, metadata, topic};
pub(super) use self::error::MAX_RESULT_BYTES;
pub(super) use self::item::{MAX_BATCH_BYTES, MAX_BATCH_RECORDS, delivered, max_delivery_bytes};
pub(super) use self::records::{fetched, multi_fetched};
pub(super) use self::request::parse;
