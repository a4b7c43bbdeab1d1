//! Members of JSON that commands and answers of all systems have.

pub mod answer;
pub mod error;
pub(super) mod filter;
pub(super) mod int64;
pub(super) mod list;
pub mod object;
pub mod subscribe;
pub(super) mod value;
