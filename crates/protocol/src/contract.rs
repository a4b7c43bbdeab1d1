//! Promises of `proto/`, and the code that is generated from it.

mod generated;
mod twins;
