//! An answer's body as it comes.

use std::error::Error as StdError;

use bytes::Bytes;
use http_body_util::combinators::UnsyncBoxBody;

pub(super) type Body = UnsyncBoxBody<Bytes, Gone>;
pub(super) type Gone = Box<dyn StdError + Send + Sync>;
