//! Holds the committed Rust code against `proto/pubsub.proto`; `just gen` writes it anew.

use std::path::Path;

#[test]
fn committed_code_is_what_the_contract_generates() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let proto = root.join("../../proto");
    let committed = root.join("src/generated/sluicegate.v1.rs");

    let descriptors = protox::compile([proto.join("pubsub.proto")], [&proto]).unwrap();
    let out = tempfile::tempdir().unwrap();
    let mut config = prost_build::Config::new();
    config.bytes(["."]).skip_debug(SECRETS).out_dir(out.path()).compile_fds(descriptors).unwrap();
    let fresh = std::fs::read_to_string(out.path().join("sluicegate.v1.rs")).unwrap();

    if std::env::var_os("SLUICEGATE_GEN").is_some() {
        std::fs::write(&committed, &fresh).unwrap();
    }
    let current = std::fs::read_to_string(&committed).unwrap();
    assert!(
        current == fresh,
        "{} is not what proto/pubsub.proto generates: run `just gen`",
        committed.display()
    );
}

/// Messages that hold secrets: `src/definition.rs` has what is shown of them.
const SECRETS: [&str; 1] = [".sluicegate.v1.ClusterDefinition.Sasl"];
