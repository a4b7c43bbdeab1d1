//! OCI image layouts: blobs under their SHA-256, and an index that names the image.

use std::collections::BTreeMap;
use std::error::Error;

use serde_json::{Value, json};

use crate::archive::{Entry, gzip, tar};
use crate::sha256;

/// An image of one platform, with one layer.
pub(crate) struct Image {
    /// The operating system and architecture, in Go's words.
    pub(crate) platform: (&'static str, &'static str),
    pub(crate) files: Vec<Entry>,
    /// Settings for a runtime: user, entry point and so on, in the words of the configuration's `config`.
    pub(crate) config: Value,
}

/// Metadata that all images of a release share.
pub(crate) struct Common {
    /// `org.opencontainers.image.…`: the labels of the configuration, and the annotations of manifest and index.
    pub(crate) labels: BTreeMap<String, String>,
    /// Further annotations of the manifests.
    pub(crate) annotations: BTreeMap<String, String>,
    /// When the image was made, as RFC 3339 says it.
    pub(crate) created: String,
    /// The same in seconds since 1970.
    pub(crate) time: u64,
}

/// A layout of images for several platforms, or for one, as a tar archive.
pub(crate) struct Layout {
    pub(crate) tar: Vec<u8>,
    /// The digest by which a registry knows the image.
    pub(crate) digest: String,
}

impl Layout {
    /// A layout with one name, such as `ghcr.io/sluicegate/bridge:0.1.0`.
    pub(crate) fn new(name: &str, common: &Common, images: Vec<Image>) -> Result<Self, Box<dyn Error>> {
        let mut blobs = Vec::new();
        let manifests = images.into_iter().map(|image| manifest(&mut blobs, common, image));
        let mut manifests = manifests.collect::<Result<Vec<_>, _>>()?;
        let mut named = match manifests.as_mut_slice() {
            // A single image needs no index of platforms, which not every reader of wasm images follows.
            [single] => single.take(),
            _ => {
                let index = json!({
                    "schemaVersion": 2,
                    "mediaType": INDEX,
                    "manifests": manifests,
                    "annotations": common.labels,
                });
                blob(&mut blobs, INDEX, index.to_string().into_bytes())
            }
        };
        let digest = named.get("digest").and_then(Value::as_str).unwrap_or_default().to_owned();
        if let Some(named) = named.as_object_mut() {
            let tag = name.rsplit_once(':').map_or(name, |(_, tag)| tag);
            // The first is what `skopeo` and `podman` select by, the second what containerd imports it as.
            let names = json!({"org.opencontainers.image.ref.name": tag, "io.containerd.image.name": name});
            named.insert("annotations".to_owned(), names);
        }
        let index = json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": [named]});
        let mut entries = vec![
            Entry::file("oci-layout", json!({"imageLayoutVersion": "1.0.0"}).to_string()),
            Entry::file("index.json", index.to_string()),
        ];
        entries.extend(blobs);
        Ok(Self { tar: tar(&entries, common.time)?, digest })
    }
}

/// Adds an image's blobs, and returns the descriptor of its manifest.
fn manifest(blobs: &mut Vec<Entry>, common: &Common, image: Image) -> Result<Value, Box<dyn Error>> {
    let (os, architecture) = image.platform;
    let layer = tar(&image.files, common.time)?;
    let mut config = image.config;
    if let Some(config) = config.as_object_mut() {
        config.insert("Labels".to_owned(), json!(common.labels));
    }
    let config = json!({
        "architecture": architecture,
        "os": os,
        "created": common.created,
        "config": config,
        "rootfs": {"type": "layers", "diff_ids": [format!("sha256:{}", sha256(&layer))]},
        "history": [{"created": common.created, "created_by": "./dev image"}],
    });
    let mut annotations = common.labels.clone();
    annotations.extend(common.annotations.clone());
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": blob(blobs, CONFIG, config.to_string().into_bytes()),
        "layers": [blob(blobs, LAYER, gzip(&layer)?)],
        "annotations": annotations,
    });
    let mut manifest = blob(blobs, MANIFEST, manifest.to_string().into_bytes());
    if let Some(manifest) = manifest.as_object_mut() {
        manifest.insert("platform".to_owned(), json!({"os": os, "architecture": architecture}));
    }
    Ok(manifest)
}

/// Adds a blob, and returns its descriptor.
fn blob(blobs: &mut Vec<Entry>, media_type: &str, bytes: Vec<u8>) -> Value {
    let (sum, size) = (sha256(&bytes), bytes.len());
    let path = format!("blobs/sha256/{sum}");
    if blobs.iter().all(|blob| blob.path != path) {
        blobs.push(Entry::file(path, bytes));
    }
    json!({"mediaType": media_type, "digest": format!("sha256:{sum}"), "size": size})
}

const INDEX: &str = "application/vnd.oci.image.index.v1+json";
const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
const LAYER: &str = "application/vnd.oci.image.layer.v1.tar+gzip";
