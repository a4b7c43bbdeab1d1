//! Rights of people: real Envoy with its own filters for authentication, real bridge, real Kafka.
//!
//! 1. [`stacks`]: a gateway that verifies tokens, and people who have some
//! 2. [`people`]: each sees and writes only what is theirs, through every way in
//! 3. [`quotas`]: how much one person can have and do
//! 4. [`producers`]: the same of producers
//! 5. [`strangers`]: clients without an identity, or with a forged one
//! 6. [`certificates`], [`authorizer`]: people whom the gateway knows by other means than a token
//! 7. [`tokens`]: tokens that the bridge verifies
//! 8. [`ending`], [`renewing`], [`revoking`]: the end of an identity, on the open socket and before its time
//! 9. [`operators`], [`auditing`]: lists and logs that name people
//! 10. [`browsers`]: users who log in at an OpenID provider in a real browser

mod auditing;
mod authorizer;
mod browsers;
mod certificates;
mod ending;
mod operators;
mod people;
mod producers;
mod quotas;
mod renewing;
mod revoking;
pub(crate) mod stacks;
mod strangers;
mod tokens;
