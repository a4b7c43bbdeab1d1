//! The topics that a route grants to a person, as a function of the claims of the person's identity.
//!
//! 1. [`claims`]: a verified identity, as the claims of a token
//! 2. [`policy`]: the [entries](entry) of a route, and the claims that they use; [`condition`]: to whom an entry applies
//! 3. [`template`] and [`only`]: an entry with placeholders becomes the topics of one person, and the records of them
//! 4. [`capabilities`]: a claim that narrows what the route grants
//! 5. [`quota`]: how much of it each person can have and do
//! 6. [`Rights`] to [`topics`] and their [rows](row): the result, asked by every command; [`name`]: the names of topics
//!
//! Whatever is missing, malformed or ambiguous grants nothing. Nothing here knows a gateway, a token's signature or a
//! clock, so the filter and the bridge read the same policy by the same code.

pub mod capabilities;
pub mod claims;
pub mod condition;
pub mod entry;
pub mod name;
pub mod only;
mod placeholders;
pub mod policy;
pub mod quota;
mod rights;
pub mod row;
pub mod template;
pub mod topics;

pub use self::claims::Claims;
pub use self::policy::Policy;
pub use self::quota::Quota;
pub use self::rights::Rights;
pub use self::row::{Row, Rows};
pub use self::topics::{Pattern, Topics};
