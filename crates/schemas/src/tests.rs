//! Any schema, any bytes and any JSON: an answer or an error, within bounds.

mod invariants;

use self::invariants::{check_json_schema, check_protobuf};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use proptest::prelude::*;

proptest! {
    #[test]
    fn protobuf_messages_keep_the_promises(index in 0..3_usize, bytes: Vec<u8>, json in PROTOBUF_JSON) {
        check_protobuf("", index, &bytes);
        check_protobuf("", index, json.as_bytes());
    }

    #[test]
    fn protobuf_schemas_keep_the_promises(text in PROTOBUF, file: Vec<u8>, bytes: Vec<u8>) {
        check_protobuf(&text, 0, &bytes);
        check_protobuf(&STANDARD.encode(file), 0, &bytes);
    }

    #[test]
    fn json_schemas_keep_the_promises(schema in JSON_SCHEMA, bytes: Vec<u8>, json in r#"[\[\]{}",:0-9a ]{0,40}"#) {
        for schema in [&schema, "true"] {
            check_json_schema(schema, &bytes);
            check_json_schema(schema, json.as_bytes());
        }
    }
}

const PROTOBUF_JSON: &str =
    r#"\{("[a-qN]":(\{("a":[0-9],?)?\}|\[[0-9]?\]|"[0-9a]{0,6}"|[0-9]{1,3}),?){0,3}\}"#;

const PROTOBUF: &str = r#"(syntax = "proto[23]";)?(message [AB] \{|\}|enum E \{|oneof o \{|(repeated |optional )?(int32|A|B|E|map<int32,A>|group) [a-cG] = [0-4];|option map_entry = true;|[A-Z] = 0;|extend A \{|extensions 3 to max;|import "google/protobuf/any.proto";){0,12}"#;

const JSON_SCHEMA: &str = r##"\{("(\$ref|pattern|items|type|\$id|not|format|multipleOf|enum|minLength)":("#?[a-z/*(+]{0,4}"|\{\}|\[\]|[0-9]|true),?){0,4}\}"##;
