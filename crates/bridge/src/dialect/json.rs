//! Members of JSON that commands and answers of all systems have.

pub(crate) mod answer;
pub(crate) mod error;
pub(super) mod filter;
pub(super) mod int64;
pub(super) mod list;
pub(crate) mod object;
pub(crate) mod subscribe;
pub(super) mod value;
