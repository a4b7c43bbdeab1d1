//! The host calls that the filter imports: written down, and each of them refused in some test.

use std::fs;

use sluicegate_harness::{HostCall, imports};

use crate::faults::CALLS;
use crate::socket::{module, workspace};

#[test]
fn the_filter_imports_what_the_committed_list_names() {
    let imports = imports(module()).unwrap_or_else(|error| panic!("failed to {error}"));
    let path = workspace().join("wasm/imports.txt");
    let list = fs::read_to_string(&path).unwrap_or_default();
    let listed: Vec<_> = list.lines().map(|line| line.split(' ').next().unwrap_or_default()).collect();
    let new: Vec<_> = imports.iter().filter(|import| !listed.contains(&import.as_str())).collect();
    let gone: Vec<_> = listed.iter().filter(|line| !imports.iter().any(|import| import == *line)).collect();
    for line in list.lines() {
        let columns: Vec<_> = line.split(' ').skip(1).collect();
        assert!(columns.len() == 2 && columns.iter().all(|column| EFFECTS.contains(column)), "{line}");
    }
    assert!(
        imports == listed,
        "wasm/imports.txt is not the sorted list of the filter's imports: new are {new:?}, gone are {gone:?}. \
         If every host has the new ones, write this to the file, with what each is in Envoy and in APISIX, one of {EFFECTS:?}:\n{}",
        imports.join("\n")
    );
}

#[test]
fn every_imported_host_call_is_refused_in_some_test() {
    for import in imports(module()).unwrap_or_else(|error| panic!("failed to {error}")) {
        let Some(name) = import.strip_prefix("env.proxy_") else { continue };
        assert!(CALLS.iter().any(|call| snake_case(*call) == name), "{name} is to be refused in the tests");
    }
}

/// What a host makes of a call: it does what it is for, says that it does not, or says that it did and does nothing.
const EFFECTS: [&str; 3] = ["works", "unimplemented", "ignored"];

/// `HostCall::GetBufferBytes` is `get_buffer_bytes`.
fn snake_case(call: HostCall) -> String {
    let mut name = String::new();
    for letter in format!("{call:?}").chars() {
        if letter.is_ascii_uppercase() && !name.is_empty() {
            name.push('_');
        }
        name.push(letter.to_ascii_lowercase());
    }
    name
}
