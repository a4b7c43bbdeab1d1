//! A module written with the public proxy-wasm SDK, in both hosts: the effect of its host calls on a request.
//!
//! `lab/harness/guest` is the module; a request's path says which calls it makes.

mod apisix;
mod envoy;

use std::path::{Path, PathBuf};

use sluicegate_harness::{Headers, LogLine};

/// Where `just sdk-guest` puts the module.
#[track_caller]
fn module() -> PathBuf {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).unwrap();
    let path = workspace.join("target/wasm32-wasip1/wasm/sluicegate_sdk_guest.wasm");
    assert!(path.exists(), "there is no SDK guest at {}: run `just sdk-guest` first", path.display());
    path
}

fn get(path: &str) -> Headers {
    Headers::from([(":method", "GET"), (":path", path), (":scheme", "http"), (":authority", "a")])
}

fn texts(lines: Vec<LogLine>) -> Vec<String> {
    lines.into_iter().map(|line| line.text).collect()
}
