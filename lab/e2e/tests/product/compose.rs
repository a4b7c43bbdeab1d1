//! `deploy/compose`, without Docker: its files, in the programs that would read them.

use std::collections::BTreeMap;
use std::env;
use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use serde_json::Value;
use sluicegate_stack::bridge;
use sluicegate_stack::envoy::{DEMO_ROUTES, LIVE_PAGE, Profile, guarded, instead, page};
use sluicegate_stack::http;
use sluicegate_stack::kafka::{Kafka, Setup as KafkaSetup};
use sluicegate_stack::port::Port;
use sluicegate_stack::process::Process;
use sluicegate_stack::stack::{BridgeConfig, Setup, Stack};
use sluicegate_stack::tools;

use crate::product::demo::serves_local_pages_and_hosts_only;

fn folder() -> PathBuf {
    tools::workspace().join("deploy/compose")
}

fn read(name: &str) -> String {
    fs::read_to_string(folder().join(name)).unwrap()
}

fn compose() -> Value {
    serde_saphyr::from_str(&read("compose.yaml")).unwrap()
}

/// Kafka's properties, as its image makes them from the variables `KAFKA_…`.
fn kafka() -> BTreeMap<String, String> {
    let variables = compose()["services"]["kafka"]["environment"].as_object().unwrap().clone();
    let property = |(name, value): (String, Value)| {
        let name = name.strip_prefix("KAFKA_").unwrap().to_lowercase().replace('_', ".");
        (name, value.as_str().unwrap().to_owned())
    };
    variables.into_iter().map(property).collect()
}

/// Edits that turn Envoy's committed configuration into the gateway: the demo's page and routes, and the secret of the
/// bridge.
fn edits(port: u16) -> Vec<(String, String)> {
    let secret = "\"gateway_secret\": \"only-for-trying-it-out\",";
    let mut edits = page(LIVE_PAGE, port).unwrap().to_vec();
    let routes = guarded(&DEMO_ROUTES, port, &[]);
    edits.push(instead(secret, &routes.iter().map(String::as_str).collect::<Vec<_>>()));
    edits
}

/// `SLUICEGATE_GEN=1` writes the file.
#[test]
fn envoy_runs_the_committed_configuration_with_the_live_page() {
    let mut text = fs::read_to_string(tools::workspace().join("envoy/tunnel.yaml")).unwrap();
    let own = [
        ("address: 127.0.0.1, port_value: 8080", "address: 0.0.0.0, port_value: 8080"),
        ("address: 127.0.0.1, port_value: 7400", "address: bridge, port_value: 7400"),
        ("address: 127.0.0.1, port_value: 7401", "address: bridge, port_value: 7401"),
    ];
    let own = own.map(|(old, new)| (old.to_owned(), new.to_owned()));
    for (old, new) in edits(8080).iter().chain(&own) {
        assert!(text.contains(old.as_str()), "{old}");
        text = text.replace(old.as_str(), new);
    }
    let text = text.replace(tools::workspace().to_str().unwrap(), "/srv");
    let (first, rest) = text.split_once('\n').unwrap();
    let text = format!(
        "# Made from envoy/tunnel.yaml by `./dev gen`, with the demo's page and routes.\n{first}\n{rest}"
    );
    if env::var_os("SLUICEGATE_GEN").is_some() {
        fs::write(folder().join("envoy.yaml"), &text).unwrap();
    }
    assert_eq!(read("envoy.yaml"), text, "`./dev gen` writes it");
}

#[test]
fn images_have_the_tested_versions() {
    let dev = fs::read_to_string(tools::workspace().join("dev")).unwrap();
    let pom = fs::read_to_string(tools::workspace().join("lab/stack/kafka/pom.xml")).unwrap();
    let dockerfile = fs::read_to_string(tools::workspace().join("Dockerfile")).unwrap();
    let services = compose()["services"].clone();
    for service in ["kafka", "gates"] {
        let image = services[service]["image"].as_str().unwrap();
        let version = image.strip_prefix("apache/kafka:").unwrap().split('@').next().unwrap();
        let (minor, _) = version.rsplit_once('.').unwrap();
        // Until the digest of the tests' own version is known, the image is of an older one that is tested.
        let is_tested =
            pom.contains(&format!(">{version}<")) || dev.contains(&format!("older_kafkas=\"{minor}."));
        assert!(is_tested, "{service}: {image}");
    }
    let envoy = dockerfile.split("FROM envoyproxy/envoy:v").nth(1).unwrap().split(' ').next().unwrap();
    assert!(dev.contains(&format!(" envoy={envoy} ")), "{envoy}");
    let version = |image: &str| dockerfile.split(image).nth(1).unwrap().split("-alpine").next().unwrap();
    let toolchain = fs::read_to_string(tools::workspace().join("rust-toolchain.toml")).unwrap();
    assert!(dev.contains(&format!(" node={} ", version("FROM node:"))), "{dockerfile}");
    assert!(toolchain.contains(&format!("channel = \"{}\"\n", version("FROM rust:"))), "{dockerfile}");
    let bridge = services["bridge"]["image"].as_str().unwrap();
    assert_eq!(bridge, format!("ghcr.io/sluicegate/bridge:{}", env!("CARGO_PKG_VERSION")));
    for target in ["bridge", "envoy"].map(|service| services[service]["build"]["target"].as_str().unwrap()) {
        assert!(dockerfile.contains(&format!(" AS {target}\n")), "{target}");
    }
}

#[tokio::test]
async fn files_of_compose_make_a_page_with_live_records() {
    let config = folder().join("bridge.toml");
    bridge::check(&config, &[]).await.unwrap();
    let mut properties = kafka();
    // The addresses of this test are others.
    let bootstrap = properties.remove("advertised.listeners").unwrap();
    let bootstrap = bootstrap.strip_prefix("PLAINTEXT://").unwrap();
    let elsewhere = ["listeners", "controller.quorum.voters"];
    properties.retain(|name, _| !elsewhere.contains(&name.as_str()));
    let properties = properties.iter().map(|(name, value)| format!("{name}={value}\n")).collect();
    let kafka = Kafka::start_with(KafkaSetup { properties, ..KafkaSetup::default() }).await.unwrap();

    let text = read("bridge.toml");
    assert!(text.contains(&format!("bootstrap.servers = \"{bootstrap}\"")), "{bootstrap}");
    let bridge = BridgeConfig::Text(text.replace(bootstrap, &kafka.bootstrap()));
    let gateway = Port::pick().unwrap();
    let envoy_edits = edits(gateway.number());
    let setup =
        Setup { bridge, envoy_edits, gateway: Some(gateway), ..Setup::new(Profile::Tunnel, String::new()) };
    let mut stack = Stack::start(setup).await.unwrap();
    stack.ready_within(STEP).await.unwrap();

    // The writer, with Kafka's program in another folder.
    let command = compose()["services"]["gates"]["command"][2].as_str().unwrap().to_owned();
    let classes = format!(
        "java -cp '{}/*' org.apache.kafka.tools.ConsoleProducer",
        tools::kafka_lib().unwrap().display()
    );
    let gates = folder().join("gates.sh");
    let command = command
        .replace("/gates.sh", gates.to_str().unwrap())
        .replace("/opt/kafka/bin/kafka-console-producer.sh", &classes)
        .replace(bootstrap, &kafka.bootstrap());
    let mut shell = Command::new("bash");
    shell.args(["-c", &command]);
    let mut gates = Process::spawn("the gates", shell, &kafka.folder().path().join("gates.log")).unwrap();

    let page = http::get(stack.gateway(), "/").await.unwrap();
    assert!(page.status == 200 && page.text().contains("page.js"), "{}", page.text());
    let records = async || {
        let path = "/kafka/topics/demo/records?offsets=0:0,1:0,2:0";
        let answer = http::get(stack.gateway(), path).await?;
        if answer.text().contains(r#""topic":"demo""#) { Ok(()) } else { Err(answer.text().to_owned()) }
    };
    gates.until("write a reading", STEP, records).await.unwrap();
    // The first reading made the topic that this writes to.
    serves_local_pages_and_hosts_only(stack.gateway(), ["/pubsub", "/produce", "/kafka/topics"]).await;
}

const STEP: Duration = Duration::from_secs(30);
