//! The codec of sessions in JSON.
//!
//! 1. [`request`]: a client's text becomes a request, in the words of its system's [`dialect`](crate::dialect)
//! 2. [`value`], [`subscribe`], [`filter`], [`list`], [`object`], [`int64`]: members that commands of all systems have
//! 3. [`records`]: records that were read become the text of an answer
//! 4. [`answer`]: all other answers become text; [`error`] bounds their errors

pub(crate) mod answer;
pub(crate) mod error;
pub(crate) mod filter;
pub(crate) mod int64;
pub(crate) mod list;
pub(crate) mod object;
mod records;
mod request;
pub(crate) mod subscribe;
pub(crate) mod value;

pub(super) use self::answer::{encode, metadata, topic};
pub(super) use self::error::MAX_RESULT_BYTES;
pub(super) use self::records::{delivered, fetched, max_delivery_bytes, multi_fetched};
pub(crate) use self::request::parse;
pub(super) use self::subscribe::{MAX_BATCH_BYTES, MAX_BATCH_RECORDS};
