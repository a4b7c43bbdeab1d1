//! Sessions: a client's messages become requests, and results become answers, in protobuf and JSON.
//!
//! 1. `request`: a message becomes a request, if the lists of its command are within `bounds`
//! 2. the system's dialect parses its own commands, of `members` that all systems have: `value`, `filter`, `subscribe`
//! 3. `message_bound`: a client takes no larger messages
//! 4. `answer`: an answer, its encoding and its size; `records` are shared instead of copied, `text` is JSON
//!
//! A command's own words are in the file of its name, below its system.

pub(crate) mod answer;
pub(crate) mod bounds;
pub(crate) mod error;
pub(crate) mod filter;
pub(crate) mod members;
mod message_bound;
pub(crate) mod producer;
pub(crate) mod records;
mod request;
pub(crate) mod subscribe;
pub(crate) mod text;
pub(crate) mod value;

pub use self::answer::{Answer, ENVELOPE_BYTES, Encoding, MAX_RESULT_BYTES};
pub use self::error::MAX_ERROR_BYTES;
pub use self::filter::check_values;
pub use self::message_bound::{MessageBound, too_large};
pub use self::records::max_delivery_bytes;
pub use self::request::Request;
pub use self::subscribe::{MAX_BATCH_BYTES, MAX_BATCH_RECORDS};
