//! Promises of `proto/`, and the code that is generated from it.

#![cfg(test)] // so that helpers, too, may fail as tests do

mod generated;
mod twins;
