//! The images: the bridge on an empty base, and the filter as Istio and Envoy Gateway read it.

use std::collections::BTreeMap;
use std::error::Error;
use std::fmt::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;

use crate::archive::Entry;
use crate::oci::{Common, Image, Layout};
use crate::source::Source;

pub(crate) struct Program {
    /// In Go's words: `amd64`, `arm64`.
    pub(crate) architecture: &'static str,
    pub(crate) executable: Vec<u8>,
    /// Its bill of materials, in CycloneDX.
    pub(crate) sbom: Vec<u8>,
}

/// The bridge's image. Its only files are the program, its default configuration, CA certificates and notices.
pub(crate) fn bridge(
    source: &Source,
    notices: &[Entry],
    programs: Vec<Program>,
) -> Result<Layout, Box<dyn Error>> {
    let images = programs.into_iter().map(|program| {
        let mut files = vec![
            Entry::program("sluicegate-bridge", program.executable),
            Entry::file("etc/sluicegate/bridge.toml", DEFAULTS),
            Entry::file("etc/ssl/certs/ca-certificates.crt", roots()),
            Entry::file(format!("{DOCUMENTS}sbom.cdx.json"), program.sbom),
        ];
        files.extend(
            notices
                .iter()
                .map(|notice| Entry::file(format!("{DOCUMENTS}{}", notice.path), notice.bytes.clone())),
        );
        let config = json!({
            "User": "65532:65532",
            "Entrypoint": ["/sluicegate-bridge"],
            "Cmd": ["--config", "/etc/sluicegate/bridge.toml"],
            "WorkingDir": "/",
            "ExposedPorts": {"7400/tcp": {}, "7401/tcp": {}},
        });
        Image { platform: ("linux", program.architecture), files, config }
    });
    let common = common(source, "Sluicegate bridge", "Serves Kafka and NATS to Sluicegate's gateways");
    Layout::new(&format!("{BRIDGE}:{}", source.version), &common, images.collect())
}

/// The filter's image, in the compatible variant of the wasm image specification: one layer with `plugin.wasm`.
pub(crate) fn filter(source: &Source, notices: &[Entry], wasm: &[u8]) -> Result<Layout, Box<dyn Error>> {
    let mut files = vec![Entry::file("plugin.wasm", wasm)];
    files.extend(notices.iter().map(|notice| Entry::file(notice.path.clone(), notice.bytes.clone())));
    let mut common = common(source, "Sluicegate filter", "Sluicegate's filter for Envoy and APISIX");
    // "must add the annotation module.wasm.image/variant=compat in the manifest"
    common.annotations.insert("module.wasm.image/variant".to_owned(), "compat".to_owned());
    let image = Image { platform: ("wasip1", "wasm"), files, config: json!({}) };
    Layout::new(&format!("{FILTER}:{}", source.version), &common, vec![image])
}

fn common(source: &Source, title: &str, description: &str) -> Common {
    let labels = [
        ("title", title),
        ("description", description),
        ("version", &source.version),
        ("revision", &source.revision),
        ("source", SOURCE),
        ("licenses", "Apache-2.0"),
        ("created", &source.created),
    ];
    let labels = labels.map(|(name, value)| (format!("org.opencontainers.image.{name}"), value.to_owned()));
    Common {
        labels: BTreeMap::from(labels),
        annotations: BTreeMap::new(),
        created: source.created.clone(),
        time: source.time,
    }
}

/// The CA certificates that Mozilla trusts in PEM, as the crate `webpki-root-certs` has them.
pub(crate) fn roots() -> String {
    let mut pem = String::new();
    for certificate in webpki_root_certs::TLS_SERVER_ROOT_CERTS {
        pem.push_str("-----BEGIN CERTIFICATE-----\n");
        let mut text = STANDARD.encode(certificate);
        while !text.is_empty() {
            let rest = text.split_off(text.len().min(64));
            // Writing into a text does not fail.
            let _ = writeln!(pem, "{text}");
            text = rest;
        }
        pem.push_str("-----END CERTIFICATE-----\n");
    }
    pem
}

/// The names in a registry.
pub(crate) const BRIDGE: &str = "ghcr.io/sluicegate/bridge";
pub(crate) const FILTER: &str = "ghcr.io/sluicegate/filter";
const SOURCE: &str = "https://github.com/sluicegate/sluicegate";
/// The configuration of an image to which none is mounted.
const DEFAULTS: &str = include_str!("../image/bridge.toml");
const DOCUMENTS: &str = "usr/share/doc/sluicegate/";

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::io::Read;

    use flate2::read::GzDecoder;
    use oci_spec::image::{Arch, ImageConfiguration, ImageIndex, ImageManifest, MediaType, Os};

    use super::*;
    use crate::sha256;

    fn source() -> Source {
        Source {
            version: "1.2.3".to_owned(),
            revision: "abc".to_owned(),
            created: "2026-01-02T03:04:05Z".to_owned(),
            time: 1_767_323_045,
        }
    }

    fn files(tar: &[u8]) -> BTreeMap<String, Vec<u8>> {
        let mut archive = tar::Archive::new(tar);
        let files = archive.entries().unwrap().map(|entry| {
            let mut entry = entry.unwrap();
            let mut bytes = Vec::new();
            entry.read_to_end(&mut bytes).unwrap();
            (entry.path().unwrap().display().to_string(), bytes)
        });
        files.collect()
    }

    fn blob<'a>(layout: &'a BTreeMap<String, Vec<u8>>, digest: &str) -> &'a [u8] {
        let sum = digest.strip_prefix("sha256:").unwrap();
        let bytes = &layout[&format!("blobs/sha256/{sum}")];
        assert_eq!(sha256(bytes), sum);
        bytes
    }

    #[test]
    fn bridge_runs_as_nobody_on_each_platform() {
        let program = |architecture, executable: &[u8]| Program {
            architecture,
            executable: executable.to_vec(),
            sbom: b"{}".to_vec(),
        };
        let programs = vec![program("amd64", b"one"), program("arm64", b"other")];
        let layout = bridge(&source(), &[Entry::file("LICENSE", "free")], programs).unwrap();
        let blobs = files(&layout.tar);
        let named = ImageIndex::from_reader(blobs["index.json"].as_slice()).unwrap();
        assert_eq!(named.manifests()[0].digest().as_ref(), layout.digest);
        let index = ImageIndex::from_reader(blob(&blobs, &layout.digest)).unwrap();
        for (descriptor, (architecture, text)) in
            index.manifests().iter().zip([(Arch::Amd64, "one"), (Arch::ARM64, "other")])
        {
            let platform = descriptor.platform().as_ref().unwrap();
            assert_eq!((platform.os(), platform.architecture()), (&Os::Linux, &architecture));
            let manifest = ImageManifest::from_reader(blob(&blobs, descriptor.digest().as_ref())).unwrap();
            let config = blob(&blobs, manifest.config().digest().as_ref());
            let config = ImageConfiguration::from_reader(config).unwrap();
            assert_eq!(config.architecture(), &architecture);
            let run = config.config().as_ref().unwrap();
            assert_eq!(run.user().as_deref(), Some("65532:65532"));
            let labels = run.labels().as_ref().unwrap();
            assert_eq!(labels["org.opencontainers.image.version"], "1.2.3");
            let mut layer = Vec::new();
            let compressed = blob(&blobs, manifest.layers()[0].digest().as_ref());
            GzDecoder::new(compressed).read_to_end(&mut layer).unwrap();
            assert_eq!(config.rootfs().diff_ids(), &[format!("sha256:{}", sha256(&layer))]);
            let files = files(&layer);
            assert_eq!(files["sluicegate-bridge"], text.as_bytes());
            assert_eq!(files["usr/share/doc/sluicegate/LICENSE"], b"free");
            let roots = String::from_utf8_lossy(&files["etc/ssl/certs/ca-certificates.crt"]);
            assert!(roots.matches("BEGIN CERTIFICATE").count() > 100);
        }
    }

    /// Istio's `pkg/wasm/imagefetcher.go` and Envoy Gateway's `internal/wasm/imagefetcher.go` read an image whose
    /// manifest is not Docker's like this: they take the last layer, which must be of this type, and from its files the
    /// first with this name.
    #[test]
    fn filter_is_where_istio_and_envoy_gateway_look_for_it() {
        let layout = filter(&source(), &[Entry::file("LICENSE", "free")], b"\0asm").unwrap();
        let blobs = files(&layout.tar);
        let manifest = ImageManifest::from_reader(blob(&blobs, &layout.digest)).unwrap();
        assert_eq!(manifest.media_type(), &Some(MediaType::ImageManifest));
        assert_eq!(manifest.annotations().as_ref().unwrap()["module.wasm.image/variant"], "compat");
        let layer = manifest.layers().last().unwrap();
        assert_eq!(layer.media_type(), &MediaType::ImageLayerGzip);
        let mut tar = Vec::new();
        GzDecoder::new(blob(&blobs, layer.digest().as_ref())).read_to_end(&mut tar).unwrap();
        assert_eq!(files(&tar)["plugin.wasm"], b"\0asm");
    }

    #[test]
    fn same_input_makes_the_same_bytes() {
        let make = || filter(&source(), &[], b"\0asm").unwrap().tar;
        assert_eq!(make(), make());
    }
}
