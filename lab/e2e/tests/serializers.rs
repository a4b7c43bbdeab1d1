//! Confluent's serializers, as judges: random values that they write are read here as JSON, and what is made of that JSON
//! is the same to their deserializers.

use std::fs::File;
use std::process::{self, Stdio};
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Number, Value, json};
use sluicegate_fair_share::Holder;
use sluicegate_schemas::registry::{Http, Observer, Outcome, Registry};
use sluicegate_schemas::wire::{self, Part, SchemaId};
use sluicegate_stack::folder::Folder;
use sluicegate_stack::{registry, tools};
use sluicegate_tls_faults::Settings;
use tokio::process::Command;

#[tokio::test]
async fn avro() {
    agrees("avro", &[]).await;
}

#[tokio::test]
async fn protobuf_in_text() {
    agrees("protobuf", &[]).await;
}

#[tokio::test]
async fn protobuf_as_registered() {
    agrees("protobuf", &["-as-registered".to_owned()]).await;
}

#[tokio::test]
async fn json_schema() {
    agrees("json", &[]).await;
}

/// Tries 30 schemas with ten values each, or a thousand.
async fn agrees(format: &str, options: &[String]) {
    // Apicurio's registry takes seconds to start, and a registry of srfake compares each new schema with all others.
    let seeds = if tools::apicurio().is_some() { 1 } else { tools::scale(1, 10) };
    let schemas = tools::scale(30, 100);
    for seed in 1..=seeds {
        let registry = registry::Registry::start_with(options, "").await.unwrap();
        let ours = client(&registry.url());
        let [seed, count] = [seed, schemas].map(|number| number.to_string());
        let write = ["write", &registry.url(), format, "--seed", &seed, "--schemas", &count];
        let written = python(&write, "").await;
        let mut read = String::new();
        for line in written.lines() {
            let mut record: Value = serde_json::from_str(line).unwrap();
            record["other"] = again(&ours, &record).await.unwrap_or_else(|error| panic!("{error}: {line}"));
            read += &format!("{record}\n");
        }
        let count = written.lines().count();
        assert!(count > 5 * schemas, "{count} records");
        // Confluent's deserializer asks for descriptors, which Apicurio's registry does not give.
        if tools::apicurio().is_some() && format == "protobuf" {
            return;
        }
        let verdicts = python(&["read", &registry.url()], &read).await;
        assert_eq!(verdicts.lines().count(), count, "{verdicts}");
        for (verdict, line) in verdicts.lines().zip(read.lines()) {
            assert_eq!(verdict, "null", "{line}");
        }
    }
}

/// Reads a record as JSON, and writes it again.
async fn again(registry: &Registry, record: &Value) -> Result<Value, String> {
    let part = if record["field"] == "key" { Part::Key } else { Part::Value };
    let bytes = decoded(&record["data"]);
    let header = record["headers"].get(part.header()).map(decoded);
    let framed = wire::find(&bytes, header.as_deref()).ok_or("no schema id")?;
    let known = registry.schema(Holder::default(), framed.id).await.map_err(|error| error.to_string())?;
    let mut read = Vec::new();
    known.schema.decode(&framed, MAX_JSON, &mut read).map_err(|error| error.to_string())?;
    let read = String::from_utf8(read).map_err(|error| error.to_string())?;
    let value: Value = serde_json::from_str(&read).map_err(|error| format!("{error} in {read}"))?;
    if !is_same(&value, &record["expected"]) {
        return Err(format!("read as {read}"));
    }
    let is_protobuf = record["format"] == "protobuf";
    let indexes =
        if is_protobuf { framed.message().map_err(|error| error.to_string())?.0 } else { Vec::new() };
    let (mut data, mut headers) = (Vec::new(), Map::new());
    let indexed = is_protobuf.then_some(indexes.as_slice());
    match (framed.id, &header) {
        (SchemaId::Number(id), None) => wire::prefix(id, indexed, &mut data),
        (id, _) => {
            let mut header = Vec::new();
            wire::header(id, indexed, &mut header);
            headers.insert(part.header().to_owned(), STANDARD.encode(header).into());
        }
    }
    known
        .schema
        .encode(&indexes, read.as_bytes(), &mut data)
        .map_err(|error| format!("{error} in {read}"))?;
    Ok(json!({"data": STANDARD.encode(data), "headers": headers}))
}

/// Whether two values are equal, numbers as numbers: 5.0 is 5.
fn is_same(one: &Value, other: &Value) -> bool {
    match (one, other) {
        (Value::Number(one), Value::Number(other)) => {
            one == other || !is_whole(one, other) && one.as_f64() == other.as_f64()
        }
        (Value::Array(one), Value::Array(other)) => {
            one.len() == other.len() && one.iter().zip(other).all(|(one, other)| is_same(one, other))
        }
        (Value::Object(one), Value::Object(other)) => {
            let same = |(name, one)| other.get(name).is_some_and(|other| is_same(one, other));
            one.len() == other.len() && one.iter().all(same)
        }
        _ => one == other,
    }
}

fn is_whole(one: &Number, other: &Number) -> bool {
    !one.is_f64() && !other.is_f64()
}

fn decoded(text: &Value) -> Vec<u8> {
    STANDARD.decode(text.as_str().unwrap()).unwrap()
}

/// The output of Confluent's side for this input.
async fn python(arguments: &[&str], input: &str) -> String {
    let mut command = tools::python("lab/e2e/serializers/serializers.py").unwrap();
    command.args(arguments);
    if tools::apicurio().is_some() && arguments[0] == "write" {
        command.arg("--apicurio");
    }
    output(command, input).await
}

/// The output of a program for this input.
pub(crate) async fn output(command: process::Command, input: &str) -> String {
    let folder = Folder::new("input").unwrap();
    let input = folder.write("input", input).unwrap();
    let mut command = Command::from(command);
    command.stdin(File::open(input).unwrap()).stderr(Stdio::piped()).kill_on_drop(true);
    let done = command.output().await.unwrap();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    String::from_utf8(done.stdout).unwrap()
}

/// The bridge's client of a registry.
fn client(url: &str) -> Registry {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let tls =
        rustls::ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let tls = tls.with_root_certificates(rustls::RootCertStore::empty()).with_no_client_auth();
    let settings = Settings { ca: "ca", certificate: None, names: None, revoked: None };
    let http = Http::new(&url.parse().unwrap(), None, tls, settings).unwrap();
    Registry::new(Arc::new(http), Arc::new(Unwatched))
}

#[derive(Debug)]
struct Unwatched;

impl Observer for Unwatched {
    fn looked_up(&self, _: Outcome, _: Duration) {}
}

const MAX_JSON: usize = 1024 * 1024;
