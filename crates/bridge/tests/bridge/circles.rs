//! Imports between files, which never lead back to where they began.
//!
//! A module and its submodules are one thing: an import from one to the other does not count. Nor do imports of what a
//! crate exports at its root.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

/// The crates of the workspace that have several files.
const CRATES: [&str; 23] = [
    "crates/backend",
    "lab/bench",
    "crates/bridge",
    "crates/cli",
    "crates/client",
    "crates/delivery",
    "lab/demo",
    "crates/dialect",
    "crates/fair-share",
    "lab/harness",
    "crates/identity",
    "crates/kafka",
    "crates/nats",
    "crates/protocol",
    "crates/reader",
    "crates/records",
    "crates/rights",
    "crates/shared-log",
    "lab/soak",
    "lab/stack",
    "crates/telemetry",
    "crates/ws-session",
    "wasm",
];

/// A path of a module: its names from the crate's root on, which has none.
type Module = Vec<String>;

#[test]
fn imports_lead_back_to_no_file() {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    for name in CRATES {
        let mut sources = BTreeMap::new();
        read(&workspace.join(name).join("src"), &[], &mut sources);
        assert!(sources.len() > 2, "{name} has no modules");
        let imports: BTreeMap<Module, BTreeSet<Module>> = sources
            .iter()
            .map(|(module, source)| (module.clone(), imports(module, source, &sources)))
            .collect();
        assert_eq!(circle(&imports), None, "in {name}");
    }
}

#[test]
fn circle_of_three_files_is_found() {
    let source = |imports: &str| imports.to_owned();
    let module = |path: &str| path.split("::").map(str::to_owned).collect::<Module>();
    let sources = BTreeMap::from([
        (module("a"), source("mod part;\npub use self::part::B;\nuse crate::c::C;")),
        (module("a::part"), source("use super::A;\nuse crate::{\n    d::{self, D},\n};")),
        (module("c"), source("// use crate::d::D;\n#[cfg(test)]\nmod tests {\n    use crate::a::A;\n}")),
        (module("d"), source("use crate::a::B;")),
    ]);
    let of = |path| imports(&module(path), &sources[&module(path)], &sources);
    assert_eq!(of("a"), [module("c")].into());
    assert_eq!(of("a::part"), [module("d")].into());
    assert_eq!(of("c"), [].into());
    assert_eq!(of("d"), [module("a::part")].into(), "the file that has what another one exports");
    let imports = sources.keys().map(|module| (module.clone(), imports(module, &sources[module], &sources)));
    assert!(circle(&imports.collect()).is_some_and(|circle| circle.len() == 2));
}

/// Reads the files of a folder as modules, without those of tests.
pub(super) fn read(folder: &Path, module: &[String], sources: &mut BTreeMap<Module, String>) {
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
    let paths = used(source).into_iter().filter_map(|path| absolute(module, &path));
    let found = paths.filter_map(|path| file(&path, sources));
    found.filter(|other| !other.starts_with(module) && !module.starts_with(other)).collect()
}

/// The paths of a source's imports.
fn used(source: &str) -> Vec<Vec<String>> {
    let code: String =
        source.lines().filter(|line| !line.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n");
    let code = production(&code);
    let mut paths = Vec::new();
    for (at, _) in code.match_indices("use ") {
        let is_import = code[..at].rsplit('\n').next().is_some_and(|before| {
            before.is_empty() || before == "pub " || before.starts_with("pub(") && before.ends_with(") ")
        });
        if let (true, Some((tree, _))) = (is_import, code[at + 4..].split_once(';')) {
            expand(&[], tree, &mut paths);
        }
    }
    paths
}

/// A source without its modules of tests: those in other files, and one at its end.
pub(super) fn production(source: &str) -> &str {
    let ends = source.match_indices("#[cfg(test)]\n").map(|(at, _)| at).find(|at| {
        let module = source[*at..].lines().find(|line| !line.starts_with("#["));
        module.is_some_and(|line| line.contains("mod ") && line.ends_with('{'))
    });
    &source[..ends.unwrap_or(source.len())]
}

/// Adds the paths of an import, whose braces stand for many.
fn expand(before: &[String], tree: &str, paths: &mut Vec<Vec<String>>) {
    let tree = tree.trim();
    if let Some((head, rest)) = tree.split_once('{') {
        let head = head.split("::").map(str::trim).filter(|name| !name.is_empty()).map(str::to_owned);
        let before: Vec<String> = before.iter().cloned().chain(head).collect();
        let (mut depth, mut begin) = (0, 0);
        for (at, character) in rest.char_indices() {
            match character {
                '{' => depth += 1,
                '}' if depth > 0 => depth -= 1,
                '}' | ',' if depth == 0 => {
                    expand(&before, &rest[begin..at], paths);
                    begin = at + 1;
                }
                _ => {}
            }
        }
    } else if !tree.is_empty() {
        let name = tree.split(" as ").next().unwrap_or_default();
        let names = name.split("::").map(str::trim).filter(|name| *name != "self" || before.is_empty());
        paths.push(before.iter().cloned().chain(names.map(str::to_owned)).collect());
    }
}

/// The path from the crate's root on. None: of another crate.
fn absolute(module: &Module, path: &[String]) -> Option<Vec<String>> {
    let (first, rest) = path.split_first()?;
    let mut from = module.clone();
    match first.as_str() {
        "crate" => from.clear(),
        "self" => {}
        "super" => drop(from.pop()),
        _ => return None,
    }
    let ups = rest.iter().take_while(|name| *name == "super").count();
    from.truncate(from.len().saturating_sub(ups));
    Some([&from, &rest[ups..]].concat())
}

/// The file that has an item, behind the exports of others.
fn file(path: &[String], sources: &BTreeMap<Module, String>) -> Option<Module> {
    let len = (1..=path.len()).rev().find(|len| sources.contains_key(&path[..*len]))?;
    let (module, item) = (path[..len].to_vec(), path.get(len));
    let exports = used(&sources[&module]).into_iter().filter_map(|path| absolute(&module, &path));
    let of_parts = exports.filter(|export| export.len() > len + 1 && export.starts_with(&module));
    let found = of_parts.into_iter().find(|export| item.is_some() && export.last() == item);
    found.and_then(|export| file(&export, sources)).or(Some(module))
}

/// The files of a circle, if there is one: each imports from the next, and the last from the first.
fn circle(imports: &BTreeMap<Module, BTreeSet<Module>>) -> Option<Vec<Module>> {
    let mut done = BTreeSet::new();
    imports.keys().find_map(|module| walk(module, imports, &mut Vec::new(), &mut done))
}

fn walk(
    module: &Module,
    imports: &BTreeMap<Module, BTreeSet<Module>>,
    way: &mut Vec<Module>,
    done: &mut BTreeSet<Module>,
) -> Option<Vec<Module>> {
    if let Some(begin) = way.iter().position(|passed| passed == module) {
        return Some(way[begin..].to_vec());
    }
    if !done.contains(module) {
        way.push(module.clone());
        for next in imports.get(module).into_iter().flatten() {
            let found = walk(next, imports, way, done);
            if found.is_some() {
                return found;
            }
        }
        way.pop();
        done.insert(module.clone());
    }
    None
}
