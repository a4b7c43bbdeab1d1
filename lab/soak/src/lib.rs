//! Checks under outages that take a minute as a test, and as long as asked in `./dev soak`.

pub mod live;
