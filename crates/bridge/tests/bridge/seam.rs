//! Each messaging system is one module: no other code of the bridge names it, its crates or the other system's module.

use std::fs;
use std::path::{Path, PathBuf};

/// The module of a system, and the crates that only it uses.
const SYSTEMS: [(&str, &[&str]); 2] =
    [("kafka", &["rdkafka::", "sluicegate_reader::"]), ("nats", &["async_nats::", "nkeys::"])];

/// Constructs the systems, and parses their configurations.
const CHOOSERS: [&str; 2] = ["bridge.rs", "config"];

#[test]
fn systems_are_named_in_their_own_modules_only() {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    find(&source, &mut files);
    let mut named = 0;
    for file in &files {
        let text = fs::read_to_string(file).unwrap();
        let code: String = text.lines().filter(|line| !line.trim_start().starts_with("//")).collect();
        let path = file.strip_prefix(&source).unwrap();
        let is_in = |module: &str| path.starts_with(module) || path == Path::new(&format!("{module}.rs"));
        for (module, crates) in SYSTEMS {
            let chooses = CHOOSERS.iter().any(|chooser| path == Path::new(chooser) || is_in(chooser));
            let module_path = format!("crate::{module}");
            let foreign = crates.iter().copied().chain((!chooses).then_some(&module_path[..]));
            for name in foreign.filter(|name| code.contains(name)) {
                assert!(is_in(module), "{} names {name}", path.display());
                named += 1;
            }
        }
    }
    assert!(named > 10, "only {named} names were found in {} files", files.len());
}

/// All files but those of tests.
fn find(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let is_of_tests = path.file_stem().is_some_and(|stem| stem == "tests");
        match path.is_dir() {
            _ if is_of_tests => {}
            true => find(&path, files),
            false => files.push(path),
        }
    }
}
