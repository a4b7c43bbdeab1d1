//! Compares the committed Rust code with `proto/`; `just gen` regenerates it.

use std::fs;
use std::path::Path;

use prost_build::Config;

#[test]
fn committed_code_is_what_the_contract_generates() {
    let descriptors = compile(&["pubsub.proto", "gateway.proto"]);
    check("src/generated/sluicegate.v1.rs", |out| {
        let mut config = Config::new();
        // Members that few of many messages have must not take the memory of theirs.
        config
            .bytes(["."])
            .boxed(".sluicegate.v1.KafkaMessage.error")
            .boxed(".sluicegate.v1.KafkaMessage.key_schema")
            .boxed(".sluicegate.v1.KafkaMessage.value_schema")
            .boxed(".sluicegate.v1.NatsMessage.error")
            // It holds secrets: `src/definition.rs` has what is shown of it.
            .skip_debug([".sluicegate.v1.ClusterDefinition.Sasl"])
            .out_dir(out)
            .compile_fds(descriptors)
    });
}

/// A gRPC client that knows nothing of this project's own code, for the end-to-end tests.
#[test]
fn committed_grpc_client_is_what_the_contract_generates() {
    let descriptors = compile(&["pubsub.proto"]);
    check("../../lab/e2e/tests/sessions/grpc/generated.rs", |out| {
        let client = tonic_prost_build::configure().build_server(false);
        client.extern_path(".sluicegate.v1", "::sluicegate_protocol").out_dir(out).compile_fds(descriptors)
    });
}

/// Clients in other languages generate code of this file alone, into packages that it names.
#[test]
fn clients_need_one_file_of_the_contract() {
    let files = compile(&["pubsub.proto"]).file;
    let [file] = &files[..] else { panic!("{} files", files.len()) };
    let options = file.options.as_ref().unwrap();
    for package in [&options.go_package, &options.java_package, &options.csharp_namespace] {
        assert!(package.as_ref().is_some_and(|package| !package.is_empty()), "{options:?}");
    }
}

fn compile(files: &[&str]) -> protox::prost_reflect::prost_types::FileDescriptorSet {
    let proto = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../proto");
    protox::compile(files.iter().map(|file| proto.join(file)), [&proto]).unwrap()
}

#[track_caller]
fn check(committed: &str, generate: impl FnOnce(&Path) -> std::io::Result<()>) {
    let committed = Path::new(env!("CARGO_MANIFEST_DIR")).join(committed);
    let out = tempfile::tempdir().unwrap();
    generate(out.path()).unwrap();
    let fresh = fs::read_to_string(out.path().join("sluicegate.v1.rs")).unwrap();
    if std::env::var_os("SLUICEGATE_GEN").is_some() {
        fs::write(&committed, &fresh).unwrap();
    }
    let current = fs::read_to_string(&committed).unwrap();
    assert!(current == fresh, "{} is not what proto/ generates: run `just gen`", committed.display());
}
