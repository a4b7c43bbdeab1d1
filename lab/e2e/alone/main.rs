//! Tests that need the machine alone: greedy crowds, and bystanders who must not notice them.

#![cfg(test)] // so that helpers, too, may fail as tests do

mod load;
