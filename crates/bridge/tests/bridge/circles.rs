//! The structure of the crates: imports between files, which never lead back to where they began, and the files that
//! choose by messaging system, besides its own crate and its dialect.
//!
//! A module and its submodules are one thing: an import from one to the other does not count. Nor do imports of what a
//! crate exports at its root.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

/// A path of a module: its names from the crate's root on, which has none.
type Module = Vec<String>;

#[test]
fn imports_lead_back_to_no_file() {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let crates = fs::read_dir(workspace.join("crates")).expect("crates");
    let others = ["lab/bench", "lab/demo", "lab/harness", "lab/soak", "lab/stack", "wasm"];
    let crates = crates.map(|entry| entry.expect("an entry").path());
    let mut found = Vec::new();
    for folder in crates.chain(others.map(|name| workspace.join(name))) {
        let mut sources = BTreeMap::new();
        read(&folder.join("src"), &[], &mut sources);
        let imports: BTreeMap<Module, BTreeSet<Module>> = sources
            .iter()
            .map(|(module, source)| (module.clone(), imports(module, source, &sources)))
            .collect();
        found.extend(circles(imports).into_iter().map(|circle| (folder.clone(), circle)));
    }
    assert_eq!(found, []);
}

#[test]
fn what_ships_depends_on_no_tool_of_tests() {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let tools = names(&workspace.join("lab"));
    for (name, manifest) in names(&workspace.join("crates")) {
        let dependencies = manifest["dependencies"].as_table().expect("a table");
        let found: Vec<_> = dependencies.keys().filter(|other| tools.contains_key(*other)).collect();
        assert!(found.is_empty(), "{name} depends on {found:?}");
    }
}

/// The packages below a folder, each with its manifest.
fn names(folder: &Path) -> BTreeMap<String, toml::Table> {
    let read = |entry: std::io::Result<fs::DirEntry>| {
        let text = fs::read_to_string(entry.expect("an entry").path().join("Cargo.toml"));
        let manifest: toml::Table = toml::from_str(&text.expect("a manifest")).expect("TOML");
        (manifest["package"]["name"].as_str().expect("a name").to_owned(), manifest)
    };
    fs::read_dir(folder).expect("packages").map(read).collect()
}

/// Reads the files of a folder as modules, without those of tests.
fn read(folder: &Path, module: &[String], sources: &mut BTreeMap<Module, String>) {
    for entry in fs::read_dir(folder).expect("a folder of sources") {
        let path = entry.expect("an entry").path();
        let name = path.file_stem().expect("a name").to_string_lossy().into_owned();
        let inner = [module, std::slice::from_ref(&name)].concat();
        match path.extension() {
            _ if name == "tests" => {}
            None => read(&path, &inner, sources),
            Some(_) if matches!(&*name, "lib" | "main") => {}
            Some(extension) if extension == "rs" => {
                sources.insert(inner, fs::read_to_string(&path).expect("a source"));
            }
            Some(_) => {}
        }
    }
}

/// The modules from which a file imports.
fn imports(module: &Module, source: &str, sources: &BTreeMap<Module, String>) -> BTreeSet<Module> {
    let paths = used(source).into_iter().map(|path| absolute(module, &path));
    let found = paths.filter_map(|path| file(&path, sources));
    found.filter(|other| !other.starts_with(module) && !module.starts_with(other)).collect()
}

/// The paths of a source's imports from its own crate.
fn used(source: &str) -> Vec<Vec<String>> {
    let lines = source.lines().filter(|line| !line.trim_start().starts_with("//"));
    let code = lines.collect::<Vec<_>>().join("\n");
    let code = production(&code);
    let mut paths = Vec::new();
    for (at, _) in code.match_indices("use ") {
        let before = code[..at].rsplit('\n').next().unwrap_or_default();
        let is_import = matches!(before, "" | "pub ") || before.starts_with("pub(") && before.ends_with(") ");
        let (tree, _) = code[at + 4..].split_once(';').unwrap_or_default();
        if is_import && ["crate::", "self::", "super::"].iter().any(|root| tree.starts_with(root)) {
            expand(tree, &mut paths);
        }
    }
    paths
}

/// A source without its modules of tests: those in other files, and one at its end.
fn production(source: &str) -> &str {
    let ends = source.match_indices("#[cfg(test)]\n").map(|(at, _)| at).find(|at| {
        let module = source[*at..].lines().find(|line| !line.starts_with("#["));
        module.is_some_and(|line| line.contains("mod ") && line.ends_with('{'))
    });
    &source[..ends.unwrap_or(source.len())]
}

/// Adds the paths of an import, whose braces stand for many.
fn expand(tree: &str, paths: &mut Vec<Vec<String>>) {
    let braces = tree.strip_suffix('}').and_then(|tree| tree.split_once('{'));
    let (before, names) = braces.unwrap_or(("", tree));
    assert!(!names.contains('{'), "braces within braces: {tree}");
    for name in names.split(',').map(str::trim).filter(|name| !name.is_empty()) {
        let names = name.split(" as ").next().unwrap_or_default().split("::");
        let names = names.filter(|name| *name != "self" || before.is_empty());
        let path = before.split("::").chain(names).filter(|name| !name.is_empty());
        paths.push(path.map(str::to_owned).collect());
    }
}

/// The path from the crate's root on.
fn absolute(module: &Module, path: &[String]) -> Vec<String> {
    let ups = path.iter().take_while(|name| *name == "super").count();
    let from = if path[0] == "crate" { 0 } else { module.len().saturating_sub(ups) };
    let names = path.iter().skip_while(|name| matches!(name.as_str(), "crate" | "self" | "super"));
    module[..from].iter().chain(names).cloned().collect()
}

/// The file that has an item, behind the exports of others.
fn file(path: &[String], sources: &BTreeMap<Module, String>) -> Option<Module> {
    let len = (1..=path.len()).rev().find(|len| sources.contains_key(&path[..*len]))?;
    let (module, item) = (path[..len].to_vec(), path.get(len));
    let exports = used(&sources[&module]).into_iter().map(|path| absolute(&module, &path));
    let of_parts = exports.filter(|export| export.len() > len + 1 && export.starts_with(&module));
    let found = of_parts.into_iter().find(|export| item.is_some() && export.last() == item);
    found.and_then(|export| file(&export, sources)).or(Some(module))
}

/// The files in circles, or between two: those that are left if files that none imports, or that import none, are removed
/// again and again.
fn circles(mut imports: BTreeMap<Module, BTreeSet<Module>>) -> BTreeSet<Module> {
    loop {
        let left: BTreeSet<Module> = imports.keys().cloned().collect();
        imports.retain(|_, imported| !imported.is_disjoint(&left));
        let imported: BTreeSet<Module> = imports.values().flatten().cloned().collect();
        imports.retain(|module, _| imported.contains(module));
        if imports.len() == left.len() {
            return left;
        }
    }
}

#[test]
fn only_the_configuration_chooses_by_system() {
    let crates = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut choosing = Vec::new();
    for name in ["backend", "bridge", "delivery", "reader", "shared-log", "telemetry"] {
        let mut sources = BTreeMap::new();
        read(&crates.join(name).join("src"), &[], &mut sources);
        for (module, source) in &sources {
            let path = format!("{name}::{}", module.join("::"));
            // A variant follows, not a function.
            let mut uses = production(source).split("System::").skip(1);
            let names_variant = uses.any(|rest| rest.starts_with(|c: char| c.is_ascii_uppercase()));
            if names_variant && !TESTS.contains(&path.as_str()) {
                choosing.push(path);
            }
        }
    }
    let config = ["cluster", "kind", "route_clusters", "unnamed_cluster"];
    assert_eq!(choosing, config.map(|file| format!("bridge::config::{file}")));
}

/// Files of tests with names of their own.
const TESTS: [&str; 3] = ["bridge::testing", "delivery::testing::logs", "delivery::testing::script"];

#[test]
fn imports_and_their_circle_are_found() {
    let module = |name: &str| vec![name.to_owned()];
    let sources = BTreeMap::from([
        (module("a"), "use crate::c::C;".to_owned()),
        (module("c"), "use crate::d::{\n    self, D,\n};".to_owned()),
        (module("d"), "pub(crate) use super::a::A;".to_owned()),
    ]);
    let found: BTreeMap<_, _> =
        sources.iter().map(|(name, source)| (name.clone(), imports(name, source, &sources))).collect();
    assert_eq!(found[&module("c")], [module("d")].into());
    assert_eq!(circles(found).len(), 3);
}
