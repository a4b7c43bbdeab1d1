//! The list of host calls that the filter imports; a test refuses each of them.

use std::fs;

use sluicegate_harness::{HostCall, apisix, envoy, imports};

use crate::socket::{module, workspace};

/// A line per import: what it is in Envoy, where all of them work, and in APISIX.
#[test]
fn imports_match_the_committed_list() {
    let imports = imports(module()).unwrap_or_else(|error| panic!("failed to {error}"));
    let path = workspace().join("wasm/imports.txt");
    let list = fs::read_to_string(&path).unwrap_or_default();
    let line = |import: &String| {
        assert!(envoy::supports(import), "Envoy's host lacks {import}");
        let in_apisix = apisix::support(import).unwrap_or_else(|| panic!("APISIX's host lacks {import}"));
        format!("{import} works {in_apisix:?}\n").to_lowercase()
    };
    let want = format!("# import envoy apisix\n{}", imports.iter().map(line).collect::<String>());
    assert!(
        list == want,
        "wasm/imports.txt is not what the filter imports. If every host does what it is needed for with the new ones, \
         write this to the file:\n{want}"
    );
}

#[test]
fn every_imported_host_call_is_refused_in_some_test() {
    for import in imports(module()).unwrap_or_else(|error| panic!("failed to {error}")) {
        let Some(name) = import.strip_prefix("env.proxy_") else { continue };
        assert!(
            HostCall::ALL.iter().any(|call| snake_case(*call) == name),
            "{name} is to be refused in the tests"
        );
    }
}

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
