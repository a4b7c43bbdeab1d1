//! Checks under outages that take a minute as a test, and as long as asked in `./dev soak`.

#![expect(missing_docs, reason = "a tool of tests: a sentence only where a name does not say it")]

pub mod live;
