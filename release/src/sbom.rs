//! Bills of materials in CycloneDX: what a program was linked from.
//!
//! Not by `cargo-cyclonedx`: it lists procedural macros as linked, leaves out `openssl-src`, and knows no library in C.

use serde_json::{Value, json};

use crate::crates::{Crate, Library};
use crate::source::Source;

/// The bill of materials of the program `name`, which links these.
pub(crate) fn cyclonedx(name: &str, source: &Source, crates: &[Crate], libraries: &[Library]) -> String {
    let component = |name: &str, version: &str, licence: &str, purl: String| {
        json!({
            "type": "library",
            "bom-ref": purl,
            "name": name,
            "version": version,
            "licenses": [{"expression": licence}],
            "purl": purl,
        })
    };
    let crates = crates.iter().map(|one| {
        // A plus separates build metadata, which a package URL must encode.
        let purl = format!("pkg:cargo/{}@{}", one.name, one.version.replace('+', "%2B"));
        component(&one.name, &one.version, &one.licence, purl)
    });
    let libraries = libraries.iter().map(|library| {
        let purl = format!("pkg:generic/{}@{}", library.name, library.version);
        component(library.name, &library.version, library.licence, purl)
    });
    let bom = json!({
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {
            "timestamp": source.created,
            "component": {
                "type": "application",
                "bom-ref": name,
                "name": name,
                "version": source.version,
                "licenses": [{"expression": "Apache-2.0"}],
            },
        },
        "components": crates.chain(libraries).collect::<Vec<Value>>(),
    });
    format!("{bom:#}\n")
}
