//! JSON web tokens (RFC 7519) for Kafka's OAUTHBEARER.

mod claims;
mod endpoint;
mod signer;

pub use claims::Claims;
pub use endpoint::{Endpoint, Setup, TokenResponse};
pub use signer::Signer;
