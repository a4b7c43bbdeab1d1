//! Bills of materials in CycloneDX: what a program was linked from.
//!
//! Not by `cargo-cyclonedx`: it lists procedural macros as linked, leaves out `openssl-src`, and knows no library in C.

use ring::digest::{SHA256, digest};
use serde_json::{Value, json};
use uuid::{Builder, Uuid};

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
    let metadata = json!({
        "timestamp": source.created,
        "component": {
            "type": "application",
            "bom-ref": name,
            "name": name,
            "version": source.version,
            "licenses": [{"expression": "Apache-2.0"}],
        },
    });
    let components: Vec<Value> = crates.chain(libraries).collect();
    let bom = json!({
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": serial(&json!([metadata, components])).urn().to_string(),
        "version": 1,
        "metadata": metadata,
        "components": components,
    });
    format!("{bom:#}\n")
}

/// The number by which others refer to a bill, and without which GitHub does not sign it. It depends on the contents
/// alone: another build of the version gives the same bytes.
fn serial(contents: &Value) -> Uuid {
    let sum = digest(&SHA256, contents.to_string().as_bytes());
    let bytes = sum.as_ref().first_chunk().copied().unwrap_or_default();
    Builder::from_custom_bytes(bytes).into_uuid()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bom(name: &str) -> Value {
        let (version, revision, created) = ("1.2.3".to_owned(), "abc".to_owned(), "2026-01-01".to_owned());
        let source = Source { version, revision, created, time: 0 };
        serde_json::from_str(&cyclonedx(name, &source, &[], &[])).unwrap()
    }

    /// The action that signs bills refuses those without these fields.
    #[test]
    fn bill_says_its_format_and_has_a_serial_number() {
        let bill = bom("bridge");
        assert_eq!((&bill["bomFormat"], &bill["specVersion"]), (&json!("CycloneDX"), &json!("1.6")));
        let serial = bill["serialNumber"].as_str().unwrap();
        assert_eq!(serial.strip_prefix("urn:uuid:").unwrap().parse::<Uuid>().unwrap().get_version_num(), 8);
        assert_eq!(bom("bridge")["serialNumber"], serial, "a build is repeated exactly");
        assert_ne!(bom("cli")["serialNumber"], serial);
    }
}
