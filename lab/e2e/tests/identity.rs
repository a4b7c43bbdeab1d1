//! Rights of people: real Envoy with its own filters for authentication, real bridge, real Kafka.
//!
//! 1. [`stacks`]: a gateway that verifies tokens, and people who have some
//! 2. [`people`]: each sees and writes only what is theirs, through every way in
//! 3. [`rows`]: tenants who share a topic
//! 4. [`quotas`]: how much one person can have and do
//! 5. [`strangers`]: clients without an identity, or with a forged one
//! 6. [`certificates`], [`authorizer`], [`consumers`]: people whom the gateway knows by other means than a token
//! 7. [`tokens`]: tokens that the bridge verifies, and each way to forge one
//! 8. [`hostile`]: claims that try to reach more
//! 9. [`ending`]: what ends with an identity
//! 10. [`renewing`]: another token on the open socket
//! 11. [`revoking`]: identities that are over before they expire
//! 12. [`operators`]: who lists sessions, and ends them
//! 13. [`auditing`]: the log that names people
//! 14. [`browsers`]: users who log in at an OpenID provider in a real browser

mod auditing;
mod authorizer;
mod browsers;
mod certificates;
mod consumers;
mod ending;
mod hostile;
mod operators;
mod people;
mod quotas;
mod renewing;
mod revoking;
mod rows;
mod stacks;
mod strangers;
mod tokens;
