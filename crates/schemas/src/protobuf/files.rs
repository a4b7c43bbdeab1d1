//! Files of schemas: their texts become descriptors, of which only what values depend on is kept.

use std::collections::HashMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use prost::Message as _;
use prost_reflect::FileDescriptor;
use prost_types::field_descriptor_proto::{Label, Type};
use prost_types::{
    DescriptorProto, EnumDescriptorProto, EnumOptions, FieldDescriptorProto, FieldOptions,
    FileDescriptorProto, MessageOptions, UninterpretedOption,
};
use protox::file::{File, FileResolver, GoogleFileResolver};
use protox::{Compiler, Error};

use crate::json::shortened;
use crate::{MAX_REFERENCES, MAX_SCHEMA_BYTES, Reference, SchemaError};

pub(super) fn compile(text: &str, references: &[Reference]) -> Result<FileDescriptor, SchemaError> {
    if references.len() > MAX_REFERENCES {
        return Err(SchemaError(format!("more than {MAX_REFERENCES} references")));
    }
    let names = references.iter().map(|reference| (reference.name.as_str(), reference.schema.as_str()));
    for (name, text) in names.clone().chain([("the schema", text)]) {
        if text.len() > MAX_SCHEMA_BYTES {
            return Err(SchemaError(format!("{name} has more than {MAX_SCHEMA_BYTES} bytes")));
        }
    }
    let mut texts: HashMap<_, _> = names.map(|(name, text)| (name.to_owned(), text.to_owned())).collect();
    texts.insert(MAIN.to_owned(), text.to_owned());
    let mut compiler = Compiler::with_file_resolver(Files { texts, google: GoogleFileResolver::new() });
    compiler.open_file(MAIN).map_err(|error| {
        // Only the other form has line and column.
        let text = if error.is_parse() { format!("{error:?}") } else { error.to_string() };
        SchemaError(shortened(format!("invalid Protobuf schema: {text}")))
    })?;
    compiler
        .descriptor_pool()
        .get_file_by_name(MAIN)
        .ok_or_else(|| SchemaError("no Protobuf schema".to_owned()))
}

struct Files {
    texts: HashMap<String, String>,
    google: GoogleFileResolver,
}

impl FileResolver for Files {
    fn open_file(&self, name: &str) -> Result<File, Error> {
        if let Ok(file) = self.google.open_file(name) {
            return Ok(file);
        }
        let text = self.texts.get(name).map(String::as_str);
        let text = text.or_else(|| BUILT_IN.iter().find(|(known, _)| *known == name).map(|(_, text)| *text));
        let mut file = descriptor(name, text.ok_or_else(|| Error::file_not_found(name))?)?;
        reduce(&mut file).map_err(Error::new)?;
        Ok(file.into())
    }
}

/// A file of its text, or of its serialized descriptor: no text of a file is Base64 alone.
fn descriptor(name: &str, text: &str) -> Result<FileDescriptorProto, Error> {
    match STANDARD.decode(text.trim()) {
        Ok(bytes) if !bytes.is_empty() => {
            let mut file = FileDescriptorProto::decode(bytes.as_slice()).map_err(Error::new)?;
            file.name = Some(name.to_owned());
            Ok(file)
        }
        _ => File::from_source(name, text).map(Into::into),
    }
}

/// Drops services, comments and options that no value depends on. Custom options are the larger part of what could be
/// wrong with a schema, and their definitions are often no reference of it.
fn reduce(file: &mut FileDescriptorProto) -> Result<(), String> {
    // Others panic in prost-reflect, which looks for the file that it could not add.
    if !matches!(file.syntax.as_deref(), None | Some("proto2" | "proto3")) {
        return Err(format!("syntax {:?} is not proto2 or proto3", file.syntax()));
    }
    file.service.clear();
    file.source_code_info = None;
    file.options = None;
    file.weak_dependency.clear();
    let imports = file.dependency.len();
    file.public_dependency.retain(|index| usize::try_from(*index).is_ok_and(|index| index < imports));
    file.enum_type.iter_mut().for_each(reduce_enum);
    file.extension.iter_mut().for_each(reduce_field);
    file.message_type.iter_mut().try_for_each(reduce_message)
}

/// Recurses as deep as messages are nested, which parsers bound: 31 levels of text, 100 of a descriptor.
fn reduce_message(message: &mut DescriptorProto) -> Result<(), String> {
    // Protobuf's own compiler refuses this option in texts, but Confluent's registry writes it.
    let options = message.options.take();
    let map_entry = options
        .is_some_and(|options| options.map_entry() || is_on(&options.uninterpreted_option, "map_entry"));
    if map_entry {
        check_map_entry(message)?;
        message.options = Some(MessageOptions { map_entry: Some(true), ..MessageOptions::default() });
    }
    message.reserved_range.clear();
    message.reserved_name.clear();
    message.extension_range.iter_mut().for_each(|range| range.options = None);
    message.oneof_decl.iter_mut().for_each(|oneof| oneof.options = None);
    message.enum_type.iter_mut().for_each(reduce_enum);
    message.field.iter_mut().chain(&mut message.extension).for_each(reduce_field);
    message.nested_type.iter_mut().try_for_each(reduce_message)
}

fn reduce_field(field: &mut FieldDescriptorProto) {
    let packed = field.options.take().and_then(|options| {
        options.packed.or_else(|| {
            let option = option(&options.uninterpreted_option, "packed")?;
            Some(option.identifier_value() == "true")
        })
    });
    field.options = packed.map(|packed| FieldOptions { packed: Some(packed), ..FieldOptions::default() });
}

fn reduce_enum(enumeration: &mut EnumDescriptorProto) {
    let aliases = enumeration
        .options
        .take()
        .is_some_and(|options| options.allow_alias() || is_on(&options.uninterpreted_option, "allow_alias"));
    enumeration.options = aliases.then(|| EnumOptions { allow_alias: Some(true), ..EnumOptions::default() });
    enumeration.reserved_range.clear();
    enumeration.reserved_name.clear();
    enumeration.value.iter_mut().for_each(|value| value.options = None);
}

/// Map entries of another form than a key and a value would panic where they are used.
fn check_map_entry(message: &DescriptorProto) -> Result<(), String> {
    let single =
        |field: &FieldDescriptorProto| field.label() != Label::Repeated && field.oneof_index.is_none();
    match message.field.as_slice() {
        [key, value]
            if key.number() == 1 && value.number() == 2 && single(key) && single(value) && is_key(key) =>
        {
            Ok(())
        }
        _ => Err(format!("{}: a map entry has a key = 1 and a value = 2", message.name())),
    }
}

fn is_key(field: &FieldDescriptorProto) -> bool {
    let other = [Type::Double, Type::Float, Type::Group, Type::Message, Type::Bytes, Type::Enum];
    field.type_name.is_none() && field.r#type.is_some() && !other.contains(&field.r#type())
}

fn is_on(options: &[UninterpretedOption], name: &str) -> bool {
    option(options, name).is_some_and(|option| option.identifier_value() == "true")
}

fn option<'a>(options: &'a [UninterpretedOption], name: &str) -> Option<&'a UninterpretedOption> {
    let is = |option: &&UninterpretedOption| matches!(option.name.as_slice(), [part] if part.name_part == name && !part.is_extension);
    options.iter().find(is)
}

/// The schema's name among its references, which has no place in a file's name.
const MAIN: &str = "the schema";

/// Files that Confluent's serializers have built in besides Google's `google/protobuf`: no schema refers to them, because
/// no registry stores them. Only their types matter here.
const BUILT_IN: [(&str, &str); 17] = [
    (
        "confluent/meta.proto",
        r#"syntax = "proto3"; package confluent;
        message Meta { string doc = 1; map<string, string> params = 2; repeated string tags = 3; }"#,
    ),
    (
        "confluent/type/decimal.proto",
        r#"syntax = "proto3"; package confluent.type;
        message Decimal { bytes value = 1; uint32 precision = 2; int32 scale = 3; }"#,
    ),
    (
        "confluent/type/variant.proto",
        r#"syntax = "proto3"; package confluent.type; message Variant { bytes metadata = 1; bytes value = 2; }"#,
    ),
    ("confluent/types/decimal.proto", r#"syntax = "proto3"; import public "confluent/type/decimal.proto";"#),
    (
        "google/type/calendar_period.proto",
        r#"syntax = "proto3"; package google.type;
        enum CalendarPeriod {
            CALENDAR_PERIOD_UNSPECIFIED = 0; DAY = 1; WEEK = 2; FORTNIGHT = 3; MONTH = 4; QUARTER = 5; HALF = 6; YEAR = 7;
        }"#,
    ),
    (
        "google/type/color.proto",
        r#"syntax = "proto3"; package google.type; import "google/protobuf/wrappers.proto";
        message Color { float red = 1; float green = 2; float blue = 3; google.protobuf.FloatValue alpha = 4; }"#,
    ),
    (
        "google/type/date.proto",
        r#"syntax = "proto3"; package google.type; message Date { int32 year = 1; int32 month = 2; int32 day = 3; }"#,
    ),
    (
        "google/type/datetime.proto",
        r#"syntax = "proto3"; package google.type; import "google/protobuf/duration.proto";
        message DateTime {
            int32 year = 1; int32 month = 2; int32 day = 3; int32 hours = 4; int32 minutes = 5; int32 seconds = 6;
            int32 nanos = 7;
            oneof time_offset { google.protobuf.Duration utc_offset = 8; TimeZone time_zone = 9; }
        }
        message TimeZone { string id = 1; string version = 2; }"#,
    ),
    (
        "google/type/dayofweek.proto",
        r#"syntax = "proto3"; package google.type;
        enum DayOfWeek {
            DAY_OF_WEEK_UNSPECIFIED = 0; MONDAY = 1; TUESDAY = 2; WEDNESDAY = 3; THURSDAY = 4; FRIDAY = 5; SATURDAY = 6;
            SUNDAY = 7;
        }"#,
    ),
    (
        "google/type/expr.proto",
        r#"syntax = "proto3"; package google.type;
        message Expr { string expression = 1; string title = 2; string description = 3; string location = 4; }"#,
    ),
    (
        "google/type/fraction.proto",
        r#"syntax = "proto3"; package google.type; message Fraction { int64 numerator = 1; int64 denominator = 2; }"#,
    ),
    (
        "google/type/latlng.proto",
        r#"syntax = "proto3"; package google.type; message LatLng { double latitude = 1; double longitude = 2; }"#,
    ),
    (
        "google/type/money.proto",
        r#"syntax = "proto3"; package google.type;
        message Money { string currency_code = 1; int64 units = 2; int32 nanos = 3; }"#,
    ),
    (
        "google/type/month.proto",
        r#"syntax = "proto3"; package google.type;
        enum Month {
            MONTH_UNSPECIFIED = 0; JANUARY = 1; FEBRUARY = 2; MARCH = 3; APRIL = 4; MAY = 5; JUNE = 6; JULY = 7; AUGUST = 8;
            SEPTEMBER = 9; OCTOBER = 10; NOVEMBER = 11; DECEMBER = 12;
        }"#,
    ),
    (
        "google/type/postal_address.proto",
        r#"syntax = "proto3"; package google.type;
        message PostalAddress {
            int32 revision = 1; string region_code = 2; string language_code = 3; string postal_code = 4;
            string sorting_code = 5; string administrative_area = 6; string locality = 7; string sublocality = 8;
            repeated string address_lines = 9; repeated string recipients = 10; string organization = 11;
        }"#,
    ),
    (
        "google/type/quaternion.proto",
        r#"syntax = "proto3"; package google.type;
        message Quaternion { double x = 1; double y = 2; double z = 3; double w = 4; }"#,
    ),
    (
        "google/type/timeofday.proto",
        r#"syntax = "proto3"; package google.type;
        message TimeOfDay { int32 hours = 1; int32 minutes = 2; int32 seconds = 3; int32 nanos = 4; }"#,
    ),
];
