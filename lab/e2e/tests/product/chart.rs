//! The committed renderings of the Helm chart, without Helm: they are of the chart's files, and the bridge accepts
//! their configurations. `./dev chart` renders them, and validates the objects. The examples beside the chart agree
//! with each other.

use std::collections::BTreeSet;
use std::fs;
use std::net::SocketAddr;
use std::path::Path;

use ring::digest::{Context, SHA256};
use serde_json::Value;
use sluicegate_stack::bridge;
use sluicegate_stack::certificates::Authority;
use sluicegate_stack::folder::Folder;
use sluicegate_stack::tools;
use toml::Table;

use crate::product::collect;

const CHART: &str = "deploy/helm/sluicegate";
const RENDERINGS: &str = "deploy/helm/renderings";
/// Where the chart mounts Secrets.
const SECRETS: &str = "/run/secrets";

#[test]
fn renderings_are_of_the_committed_chart() {
    let digest = digest(&tools::workspace().join(CHART));
    let values: BTreeSet<_> = names(&tools::workspace().join(CHART).join("ci"));
    assert_eq!(values, names(&tools::workspace().join(RENDERINGS)), "run `./dev chart --update`");
    assert!(values.len() >= 6, "{values:?}");
    for name in values {
        let text = fs::read_to_string(tools::workspace().join(RENDERINGS).join(&name)).unwrap();
        let first = text.lines().next().unwrap();
        assert!(first.contains(&digest), "{name} is stale: run `./dev chart --update`\n{first}\n{digest}");
    }
}

/// As the container would start it, in a folder instead of its file system.
#[tokio::test]
async fn bridge_accepts_every_rendered_configuration() {
    for name in names(&tools::workspace().join(RENDERINGS)) {
        let folder = Folder::new("chart").unwrap();
        let objects = objects(&name);
        let pods = &kind(&objects, "Deployment")["spec"]["template"]["spec"];
        let bridge = &pods["containers"][0];
        let config = kind(&objects, "ConfigMap")["data"]["bridge.toml"].as_str().unwrap();
        let table: Table = config.parse().unwrap();
        for key in ["listen", "admin_listen"] {
            let address: SocketAddr = table[key].as_str().unwrap().parse().unwrap();
            assert!(address.ip().is_unspecified(), "{name}: {key}");
        }
        let mounts = bridge["volumeMounts"].as_array().unwrap();
        let mounts: Vec<&str> = mounts.iter().map(|mount| mount["mountPath"].as_str().unwrap()).collect();
        for file in files(config) {
            let (mount, _) = file.rsplit_once('/').unwrap();
            assert!(mounts.contains(&mount), "{name}: nothing is mounted for {file}");
            write(&folder.path().join(file.trim_start_matches('/')));
        }
        let root = folder.path().display();
        let local =
            folder.write("bridge.toml", &config.replace("\"/run/", &format!("\"{root}/run/"))).unwrap();
        let variables = bridge["env"].as_array().unwrap().iter();
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        let variables: Vec<_> = variables.map(|one| (text(&one["name"]), text(&one["value"]))).collect();
        let checked = bridge::check(&local, &variables).await;
        checked.unwrap_or_else(|error| panic!("{name}: {error}\n{config}"));

        let sleeps = bridge["lifecycle"]["preStop"]["sleep"]["seconds"].as_i64().unwrap();
        let drain = table.get("session").and_then(|session| session.get("drain_timeout_ms"));
        let drain = drain.map_or(10_000, |drain| drain.as_integer().unwrap());
        let grace = pods["terminationGracePeriodSeconds"].as_i64().unwrap();
        assert!(grace * 1000 > sleeps * 1000 + drain, "{name}: {grace} s for {sleeps} s and {drain} ms");
    }
}

#[test]
fn chart_installs_this_version() {
    let objects = objects("minimal.yaml");
    let pods = &kind(&objects, "Deployment")["spec"]["template"]["spec"];
    assert_eq!(
        pods["containers"][0]["image"],
        concat!("ghcr.io/sluicegate/bridge:", env!("CARGO_PKG_VERSION"))
    );
}

#[test]
fn nothing_but_the_node_reaches_the_admin_port() {
    let objects = objects("minimal.yaml");
    let services: Vec<_> = objects.iter().filter(|object| object["kind"] == "Service").collect();
    let [service] = services[..] else { panic!("{services:?}") };
    let ports = service["spec"]["ports"].as_array().unwrap();
    assert_eq!(ports.iter().map(|port| &port["targetPort"]).collect::<Vec<_>>(), ["listen"]);

    let policy = &kind(&objects, "NetworkPolicy")["spec"];
    assert_eq!(policy["podSelector"]["matchLabels"], service["spec"]["selector"]);
    assert_eq!(policy["policyTypes"][0], "Ingress");
    let config: Table = kind(&objects, "ConfigMap")["data"]["bridge.toml"].as_str().unwrap().parse().unwrap();
    let port = |key: &str| config[key].as_str().unwrap().parse::<SocketAddr>().unwrap().port().into();
    // A rule without ports would be one for all.
    let rules = policy["ingress"].as_array().unwrap().iter();
    let allowed: Vec<_> = rules.flat_map(|rule| rule["ports"].as_array().unwrap()).collect();
    let allows = |port: u64| {
        let is_it = |rule: &Value| match (rule["port"].as_u64(), rule["endPort"].as_u64()) {
            (Some(from), to) => (from..=to.unwrap_or(from)).contains(&port),
            (None, _) => false,
        };
        allowed.iter().any(|rule| is_it(rule))
    };
    assert_eq!(["listen", "admin_listen"].map(|key| allows(port(key))), [true, false], "{allowed:?}");
    assert!(allowed.iter().all(|rule| rule["port"].is_u64() || rule["port"] == "listen"), "{allowed:?}");
}

/// `./dev envoy-gateway` runs it in one of them.
#[test]
fn examples_configure_the_filter_alike() {
    let objects = |file: &str| -> Vec<Value> {
        serde_saphyr::from_multiple(&fs::read_to_string(tools::workspace().join(file)).unwrap()).unwrap()
    };
    let envoy_gateway = objects("deploy/envoy-gateway/sluicegate.yaml");
    let (istio, older) = (objects("deploy/istio/sluicegate.yaml"), objects("deploy/istio/wasm-plugin.yaml"));
    let policy = &kind(&envoy_gateway, "EnvoyExtensionPolicy")["spec"]["wasm"][0];
    assert!(policy["config"]["routes"].is_array());
    let image = concat!("ghcr.io/sluicegate/filter:", env!("CARGO_PKG_VERSION"));
    assert_eq!(policy["code"]["image"]["url"], image);
    for plugin in [&kind(&istio, "TrafficExtension")["spec"]["wasm"], &kind(&older, "WasmPlugin")["spec"]] {
        assert_eq!(policy["config"], plugin["pluginConfig"]);
        assert_eq!(plugin["url"], format!("oci://{image}"));
    }
}

#[test]
fn schema_describes_every_value() {
    let schema = fs::read_to_string(tools::workspace().join(CHART).join("values.schema.json")).unwrap();
    let schema: Value = serde_json::from_str(&schema).unwrap();
    let mut described = 0;
    described_in(&schema, "", &mut described);
    assert!(described > 60, "{described}");
}

fn described_in(schema: &Value, path: &str, described: &mut usize) {
    let properties = schema["properties"].as_object();
    for (name, value) in properties.into_iter().flatten() {
        let path = format!("{path}.{name}");
        assert!(
            value["description"].as_str().is_some_and(|text| text.len() > 8),
            "{path} has no description"
        );
        *described += 1;
        described_in(value, &path, described);
    }
}

/// Of all files below, each with its path and its length, as `lab/e2e/kubernetes/chart.py` makes it.
fn digest(chart: &Path) -> String {
    let mut files = Vec::new();
    collect(chart, &mut files);
    let mut files: Vec<_> = files.into_iter().map(|path| (relative(&path, chart), path)).collect();
    files.sort();
    let mut whole = Context::new(&SHA256);
    for (name, path) in files {
        let content = fs::read(path).unwrap();
        whole.update(format!("{name}\n{}\n", content.len()).as_bytes());
        whole.update(&content);
    }
    whole.finish().as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

fn relative(path: &Path, folder: &Path) -> String {
    path.strip_prefix(folder).unwrap().to_str().unwrap().to_owned()
}

fn names(folder: &Path) -> BTreeSet<String> {
    let paths = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    paths.map(|path| relative(&path, folder)).collect()
}

fn objects(name: &str) -> Vec<Value> {
    let text = fs::read_to_string(tools::workspace().join(RENDERINGS).join(name)).unwrap();
    serde_saphyr::from_multiple(&text).unwrap()
}

#[track_caller]
fn kind<'a>(objects: &'a [Value], kind: &str) -> &'a Value {
    objects.iter().find(|object| object["kind"] == kind).expect(kind)
}

/// The files that a configuration refers to.
fn files(config: &str) -> BTreeSet<&str> {
    config.split('"').filter(|text| text.starts_with(SECRETS)).collect()
}

/// Puts a value of the expected kind into a file that a Secret would provide.
fn write(file: &Path) {
    let name = file.file_name().unwrap().to_str().unwrap();
    let (folder, authority) = (file.parent().unwrap(), Authority::new("chart").unwrap());
    fs::create_dir_all(folder).unwrap();
    let pair = authority.server("bridge").unwrap();
    match name {
        "tls.crt" | "user.crt" => {
            fs::write(file, &pair.certificate).unwrap();
            fs::write(file.with_extension("key"), &pair.key).unwrap();
        }
        // Beside its certificate.
        "tls.key" | "user.key" => {}
        "ca.crt" | "gateways.pem" => fs::write(file, authority.pem()).unwrap(),
        "password" | "secret" | "gateway-secret" => fs::write(file, "0123456789abcdef\n").unwrap(),
        other => panic!("no value for {other}"),
    }
}
