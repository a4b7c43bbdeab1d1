//! The licences of what a program contains: they must go with it.
//!
//! Ours: `cargo-about` takes minutes to build, and reads licences of crates, where a program here also contains musl and
//! libraries in C.

use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};

use crate::crates::{Crate, Library};

/// One text with all licences, each once, above the names of what is under it.
pub(crate) fn text(
    crates: &[Crate],
    libraries: &[Library],
    others: &[(String, PathBuf)],
) -> Result<String, Box<dyn Error>> {
    let mut found: Vec<(String, Vec<String>)> = Vec::new();
    let mut add = |name: String, file: &Path| -> Result<(), Box<dyn Error>> {
        let text = fs::read_to_string(file).map_err(|error| format!("{}: {error}", file.display()))?;
        let text = text.replace("\r\n", "\n").trim().to_owned();
        match found.iter_mut().find(|(known, _)| *known == text) {
            Some((_, names)) => names.push(name),
            None => found.push((text, vec![name])),
        }
        Ok(())
    };
    for one in crates {
        let name = format!("{} {} ({})", one.name, one.version, one.licence);
        for file in files(one, crates)? {
            add(name.clone(), &file)?;
        }
    }
    for library in libraries {
        add(format!("{} {} ({})", library.name, library.version, library.licence), &library.notice)?;
    }
    for (name, file) in others {
        add(name.clone(), file)?;
    }
    let rule = "=".repeat(80);
    let sections =
        found.iter().map(|(text, names)| format!("{rule}\n{}\n{rule}\n\n{text}\n", names.join("\n")));
    Ok(format!("{HEAD}\n\n{}", sections.collect::<Vec<_>>().join("\n")))
}

/// The crate's licence files, sorted.
fn files(one: &Crate, crates: &[Crate]) -> Result<Vec<PathBuf>, Box<dyn Error>> {
    // These crates have none of their own; it is that of another of the same project or author, or of the library inside.
    let of = |name: &str| crates.iter().find(|other| other.name == name).unwrap_or(one).folder.clone();
    let folder = match one.name.as_str() {
        "rdkafka-sys" => one.folder.join("librdkafka"),
        "tonic-prost" => of("tonic"),
        "jsonschema-regex" | "jsonschema-value" => of("jsonschema"),
        "uuid-simd" | "vsimd" => of("outref"),
        _ => one.folder.clone(),
    };
    let mut files = Vec::new();
    let is_licence = |path: &Path| {
        let name = path.file_name().unwrap_or_default().to_string_lossy().to_uppercase();
        NAMES.iter().any(|start| name.starts_with(start))
    };
    for path in list(&folder)?.into_iter().filter(|path| is_licence(path)) {
        // Some projects have a folder of them.
        files.extend(if path.is_dir() { list(&path)? } else { vec![path] });
    }
    files.sort();
    if !files.is_empty() {
        return Ok(files);
    }
    if one.licence.split(" OR ").any(|licence| licence == "Apache-2.0") {
        // The same text for every work.
        return Ok(vec![workspace().join("LICENSE")]);
    }
    Err(format!("{} {} has no licence file", one.name, one.version).into())
}

fn workspace() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."))
}

fn list(folder: &Path) -> Result<Vec<PathBuf>, Box<dyn Error>> {
    let entries = fs::read_dir(folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    entries.map(|entry| Ok(entry?.path())).collect()
}

const NAMES: [&str; 6] = ["LICENSE", "LICENCE", "COPYING", "COPYRIGHT", "NOTICE", "UNLICENSE"];
const HEAD: &str = "This program contains the following works. Sluicegate itself is under the Apache License 2.0, \
                    in LICENSE.";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crates;

    fn one(name: &str, folder: &Path) -> Crate {
        Crate {
            name: name.to_owned(),
            version: "1.0.0".to_owned(),
            licence: "MIT".to_owned(),
            folder: folder.to_owned(),
        }
    }

    #[test]
    fn equal_texts_are_there_once() {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in [("a", "free"), ("b", "free\r\n")] {
            fs::create_dir(folder.path().join(name)).unwrap();
            fs::write(folder.path().join(name).join("license-mit"), text).unwrap();
        }
        let crates = ["a", "b"].map(|name| one(name, &folder.path().join(name)));
        let text = text(&crates, &[], &[]).unwrap();
        assert!(text.contains("a 1.0.0 (MIT)\nb 1.0.0 (MIT)\n"), "{text}");
        assert_eq!(text.matches("free").count(), 1, "{text}");
    }

    #[test]
    fn every_linked_crate_has_a_licence() {
        for (package, target) in [
            ("sluicegate-bridge", "x86_64-unknown-linux-musl"),
            ("sluicegate-cli", "x86_64-unknown-linux-musl"),
            ("sluicegate-filter", "wasm32-wasip1"),
        ] {
            let crates = crates::linked(package, target).unwrap();
            let text = text(&crates, &crates::libraries(&crates).unwrap(), &[]).unwrap();
            assert!(text.contains("Apache License"), "{package}");
        }
    }

    #[test]
    fn crate_without_a_licence_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let error = text(&[one("a", folder.path())], &[], &[]).unwrap_err().to_string();
        assert_eq!(error, "a 1.0.0 has no licence file");
    }
}
