//! Records with schemas of a scripted registry.

use std::collections::HashMap;

use sluicegate_backend::refuse_schemas;
use sluicegate_fair_share::ClientKey;
use sluicegate_protocol::error_code::{INVALID_RECORD, INVALID_REQUEST};

use super::*;
use crate::testing::FakeRegistry;

/// The answer with a schema.
fn answer(id: u32, kind: &str, schema: &str) -> String {
    let schema = schema.replace('"', "\\\"");
    format!(r#"{{"id":{id},"version":1,"schemaType":"{kind}","schema":"{schema}"}}"#)
}

const ORDER: &str = r#"{"type":"record","name":"Order","fields":[{"name":"amount","type":"int"}]}"#;

fn registry() -> FakeRegistry {
    let large = format!(
        r#"{{"type":"record","name":"R","fields":[{{"name":"a","type":"string","default":"{}"}}]}}"#,
        "x".repeat(900 * 1024)
    );
    let json = r#"{"type":"object","properties":{"a":{"type":"integer"}}}"#;
    let answers = HashMap::from([
        ("/subjects/t-value/versions/latest", answer(7, "AVRO", ORDER)),
        ("/subjects/other/versions/latest", answer(8, "AVRO", r#""string""#)),
        ("/subjects/large/versions/latest", answer(12, "AVRO", &large)),
        ("/schemas/ids/8", answer(8, "AVRO", r#""string""#)),
        ("/schemas/ids/9", answer(9, "PROTOBUF", "syntax = 'proto3'; message A { int32 a = 1; }")),
        ("/schemas/ids/10", answer(10, "JSON", json)),
        ("/subjects/known-value", r#"{"id":11}"#.to_owned()),
        ("/subjects/t-value/versions", r#"{"id":13}"#.to_owned()),
    ]);
    FakeRegistry { answers, ..FakeRegistry::default() }
}

fn record(value: &'static str, value_schema: SchemaChoice) -> Record {
    Record {
        topic: "t".into(),
        value: Some(value.into()),
        value_schema: Some(value_schema),
        ..Record::default()
    }
}

fn subject(name: &str) -> SchemaChoice {
    SchemaChoice::Subject(name.into())
}

fn text(registers: bool) -> SchemaChoice {
    SchemaChoice::Text { kind: SchemaType::Avro, text: r#""long""#.into(), registers }
}

/// The records as they are written, or their errors, and the requests that the registry got.
async fn encoded(
    fake: FakeRegistry,
    mut records: Vec<Record>,
) -> (Vec<Result<Record, CommandError>>, Vec<String>) {
    let fake = Arc::new(fake);
    let mut errors = vec![None; records.len()];
    let scans = ClusterRate::unlimited();
    encode(&fake.schemas(false), ClientKey::default().into(), &mut records, &mut errors, &scans).await;
    let results = records.into_iter().zip(errors).map(|(record, error)| error.map_or(Ok(record), Err));
    (results.collect(), fake.asked.lock().clone())
}

#[tokio::test]
async fn json_becomes_bytes_with_a_schema() {
    for (topic, value, choice, want) in [
        ("t", r#"{"amount":5}"#, SchemaChoice::Topic, Ok(&b"\0\0\0\0\x07\x0A"[..])),
        ("t", r#""a""#, subject("other"), Ok(b"\0\0\0\0\x08\x02a")),
        ("t", r#""a""#, SchemaChoice::Id(8), Ok(b"\0\0\0\0\x08\x02a")),
        // With the short form of the path to a schema's first message.
        ("t", r#"{"a":5}"#, SchemaChoice::Id(9), Ok(b"\0\0\0\0\x09\0\x08\x05")),
        ("t", r#"{"a":5}"#, SchemaChoice::Id(10), Ok(b"\0\0\0\0\x0A{\"a\":5}")),
        ("known", "5", text(false), Ok(b"\0\0\0\0\x0B\x0A")),
        ("t", "5", text(true), Ok(b"\0\0\0\0\x0D\x0A")),
        ("t", r#"{"amount":"x"}"#, SchemaChoice::Topic, Err((INVALID_RECORD, "value: /amount: expected "))),
        ("t", "5", SchemaChoice::Topic, Err((INVALID_RECORD, "value: expected "))),
        ("t", "{", SchemaChoice::Topic, Err((INVALID_RECORD, "value: "))),
        (
            "new",
            "5",
            SchemaChoice::Topic,
            Err((
                INVALID_REQUEST,
                "value: the latest schema of subject \"new-value\" is not in the registry",
            )),
        ),
        (
            "new",
            "5",
            text(false),
            Err((
                INVALID_REQUEST,
                "value: the schema of subject \"new-value\" is not in the registry, and this route registers none \
                 (`register_schemas`)",
            )),
        ),
        ("t", "5", SchemaChoice::Id(6), Err((INVALID_REQUEST, "value: schema 6 is not in the registry"))),
        (
            "avro",
            "{}",
            SchemaChoice::Id(9),
            Err((INVALID_RECORD, "value: expected a schema of type AVRO, schema 9 is of type PROTOBUF")),
        ),
    ] {
        let schema_type = (topic == "avro").then_some(SchemaType::Avro);
        let record = Record { topic: topic.into(), schema_type, ..record(value, choice) };
        let (mut results, _) = encoded(registry(), vec![record]).await;
        match (results.remove(0), want) {
            (Ok(record), Ok(want)) => {
                assert_eq!(record.value.as_deref(), Some(want), "{topic} {value}");
                assert_eq!(record.schema_ids(), [None, Some(want[4].into())]);
            }
            (Err(error), Err((code, message))) => {
                assert!(error.message.starts_with(message), "{error:?}");
                assert_eq!((error.code, error.fault.is_retriable()), (code, false), "{error:?}");
            }
            (result, want) => panic!("{topic} {value}: {result:?} instead of {want:?}"),
        }
    }
}

#[tokio::test]
async fn records_beside_one_with_an_error_are_encoded() {
    let of_key = Record {
        key: Some(r#""k""#.into()),
        key_schema: Some(subject("other")),
        headers: ["__value_schema_id", "h"]
            .map(|key| sluicegate_backend::command::Header { key: key.into(), value: None })
            .to_vec(),
        ..record(r#"{"amount":1}"#, SchemaChoice::Topic)
    };
    let null = Record { value: None, ..record("", SchemaChoice::Id(1)) };
    let plain = Record { value_schema: None, ..record("plain", SchemaChoice::Topic) };
    let unfit = record("[]", SchemaChoice::Topic);
    let again = record(r#"{"amount":2}"#, SchemaChoice::Topic);
    let (results, asked) = encoded(registry(), vec![of_key, unfit, null.clone(), plain.clone(), again]).await;
    let [Ok(of_key), Err(_), Ok(same), Ok(bytes), Ok(again)] = &results[..] else { panic!("{results:?}") };
    assert_eq!(of_key.key.as_deref(), Some(&b"\0\0\0\0\x08\x02k"[..]));
    assert_eq!(of_key.value.as_deref(), Some(&b"\0\0\0\0\x07\x02"[..]));
    // Readers would take the schema of a header.
    assert_eq!(of_key.headers.iter().map(|header| &*header.key).collect::<Vec<_>>(), ["h"]);
    assert_eq!((&same.value, &bytes.value), (&null.value, &plain.value));
    assert_eq!(again.value.as_deref(), Some(&b"\0\0\0\0\x07\x04"[..]));
    let mut asked = asked;
    asked.sort();
    assert_eq!(asked, ["/subjects/other/versions/latest", "/subjects/t-value/versions/latest"]);
}

#[tokio::test]
async fn registry_that_is_down_fails_only_what_needs_it() {
    let plain = Record { value_schema: None, ..record("plain", SchemaChoice::Topic) };
    let down = FakeRegistry { is_down: true.into(), ..registry() };
    let (results, _) = encoded(down, vec![record("5", SchemaChoice::Topic), plain]).await;
    let [Err(error), Ok(_)] = &results[..] else { panic!("{results:?}") };
    assert_eq!(error.message, "value: the schema registry does not answer, the record was not written");
    assert!(error.fault == Fault::Transient && !error.retry_after.is_zero(), "{error:?}");
}

#[tokio::test]
async fn look_ups_and_bytes_of_a_command_are_bounded() {
    let many = (0..60).map(|id| record("5", SchemaChoice::Id(100 + id))).collect();
    let (results, asked) = encoded(registry(), many).await;
    assert_eq!(asked.len(), MAX_SCHEMAS);
    let last = results.last().unwrap().as_ref().unwrap_err();
    assert_eq!((last.code, &*last.message), (INVALID_REQUEST, "more than 50 schemas in one command"));
    let (results, _) = encoded(registry(), vec![record("{}", subject("large")); 10]).await;
    let faults: Vec<_> =
        results.iter().map(|result| result.as_ref().err().map(|error| error.fault)).collect();
    assert_eq!(faults, [vec![None; 4], vec![Some(Fault::TooLarge); 6]].concat());
}

#[test]
fn cluster_without_schemas_refuses_them() {
    let key_schema = Some(SchemaChoice::Id(1));
    let records = [
        record("5", SchemaChoice::Topic),
        Record { key: Some("5".into()), key_schema, ..Record::default() },
        Record { value: None, ..record("", SchemaChoice::Topic) },
        Record { value_schema: None, ..record("5", SchemaChoice::Topic) },
    ];
    let mut errors = [const { None }; 4];
    refuse_schemas(&records, &mut errors);
    assert_eq!(errors.map(|error| error.is_some()), [true, true, false, false]);
}
