//! Prints messages in the user's format: JSON lines, or kcat's output format, literal text with `%` fields and `\` escapes.

use std::io::Write as _;
use std::sync::Arc;

use sluicegate_client::{Header, KafkaMessage};

use crate::args::Output;
use crate::json;
use crate::log::Log;

/// Format of one message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Template {
    parts: Vec<Part>,
    /// Printed for a key or value that is null.
    null: &'static [u8],
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Literal(Vec<u8>),
    Field(Field),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Field {
    Value,
    ValueLen,
    Key,
    KeyLen,
    Headers,
    Name,
    Partition,
    Offset,
    Timestamp,
}

impl Template {
    /// # Errors
    /// The first unknown `%` field or `\` escape.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let mut template = Self { parts: Vec::new(), null: b"" };
        let mut rest = text.chars();
        while let Some(char) = rest.next() {
            match char {
                '%' => match rest.next() {
                    Some('%') => template.literal(b"%"),
                    name => template.parts.push(Part::Field(field(name)?)),
                },
                '\\' => template.literal(&[escape(&mut rest)?]),
                char => template.literal(char.encode_utf8(&mut [0; 4]).as_bytes()),
            }
        }
        Ok(template)
    }

    /// Key and `key_delimiter` if that is given, then the value and `delimiter`.
    pub(crate) fn delimited(key_delimiter: Option<&[u8]>, delimiter: &[u8]) -> Self {
        let mut template = Self { parts: Vec::new(), null: b"" };
        if let Some(between) = key_delimiter {
            template.parts.push(Part::Field(Field::Key));
            template.literal(between);
        }
        template.parts.push(Part::Field(Field::Value));
        template.literal(delimiter);
        template
    }

    /// Prints `NULL` for null keys and values, which are empty otherwise.
    pub(crate) fn with_null(self) -> Self {
        Self { null: NULL, ..self }
    }

    /// Whether it prints something that streams do not have.
    pub(crate) fn has_partition(&self) -> bool {
        self.parts.contains(&Part::Field(Field::Partition))
    }

    /// Appends `message` to `out`.
    pub(crate) fn render(&self, log: &Log, message: &KafkaMessage, out: &mut Vec<u8>) {
        for part in &self.parts {
            // Writing to a `Vec` does not fail.
            let _ = match part {
                Part::Literal(bytes) => out.write_all(bytes),
                Part::Field(Field::Value) => out.write_all(message.value.as_deref().unwrap_or(self.null)),
                Part::Field(Field::ValueLen) => write!(out, "{}", len(message.value.as_deref())),
                Part::Field(Field::Key) => out.write_all(key(message).unwrap_or(self.null)),
                Part::Field(Field::KeyLen) => write!(out, "{}", len(key(message))),
                Part::Field(Field::Headers) => render_headers(&message.headers, out),
                Part::Field(Field::Name) => out.write_all(log.name().as_bytes()),
                Part::Field(Field::Partition) => match log {
                    Log::Partition { number, .. } => write!(out, "{number}"),
                    Log::Stream(_) => Ok(()),
                },
                Part::Field(Field::Offset) => write!(out, "{}", message.offset),
                Part::Field(Field::Timestamp) => write!(out, "{}", message.timestamp),
            };
        }
    }

    fn literal(&mut self, bytes: &[u8]) {
        match self.parts.last_mut() {
            Some(Part::Literal(before)) => before.extend_from_slice(bytes),
            _ => self.parts.push(Part::Literal(bytes.to_vec())),
        }
    }
}

/// A delimiter: text with the same escapes, where `%` is literal.
pub(crate) fn delimiter(text: &str) -> Result<Arc<[u8]>, String> {
    let mut bytes = Vec::new();
    let mut rest = text.chars();
    while let Some(char) = rest.next() {
        match char {
            '\\' => bytes.push(escape(&mut rest)?),
            char => bytes.extend_from_slice(char.encode_utf8(&mut [0; 4]).as_bytes()),
        }
    }
    Ok(bytes.into())
}

/// `KEY=VALUE` pairs, separated by commas, with `NULL` for null values.
fn render_headers(headers: &[Header], out: &mut Vec<u8>) -> std::io::Result<()> {
    for (at, Header { key, value }) in headers.iter().enumerate() {
        let comma = if at > 0 { "," } else { "" };
        write!(out, "{comma}{key}=")?;
        out.write_all(value.as_deref().unwrap_or(NULL))?;
    }
    Ok(())
}

/// In bytes; -1 for null.
fn len(field: Option<&[u8]>) -> i64 {
    field.map_or(-1, |bytes| i64::try_from(bytes.len()).unwrap_or(i64::MAX))
}

/// The key, or its JSON if it was decoded.
fn key(message: &KafkaMessage) -> Option<&[u8]> {
    if message.key_schema.is_some() { Some(&message.key_json) } else { message.key.as_deref() }
}

fn field(name: Option<char>) -> Result<Field, String> {
    match name {
        Some('s') => Ok(Field::Value),
        Some('S') => Ok(Field::ValueLen),
        Some('k') => Ok(Field::Key),
        Some('K') => Ok(Field::KeyLen),
        Some('h') => Ok(Field::Headers),
        Some('t') => Ok(Field::Name),
        Some('p') => Ok(Field::Partition),
        Some('o') => Ok(Field::Offset),
        Some('T') => Ok(Field::Timestamp),
        Some(other) => Err(format!("unknown field %{other}: expected one of %s %S %k %K %h %t %p %o %T %%")),
        None => Err("incomplete field at the end: write %% for a percent sign".into()),
    }
}

/// The byte of the escape after a backslash.
fn escape(rest: &mut std::str::Chars<'_>) -> Result<u8, String> {
    match rest.next() {
        Some('n') => Ok(b'\n'),
        Some('r') => Ok(b'\r'),
        Some('t') => Ok(b'\t'),
        Some('\\') => Ok(b'\\'),
        Some('x') => {
            let mut digit = || rest.next().and_then(|char| char.to_digit(16));
            let (high, low) = (digit(), digit());
            let byte = high.zip(low).map(|(high, low)| high << 4 | low);
            byte.and_then(|byte| u8::try_from(byte).ok())
                .ok_or_else(|| r"expected two hex digits after \x".to_owned())
        }
        Some(other) => Err(format!(r"unknown escape \{other}: expected one of \n \r \t \\ \xHH")),
        None => Err(r"incomplete escape at the end: write \\ for a backslash".into()),
    }
}

/// The text for null.
const NULL: &[u8] = b"NULL";

pub(crate) enum Printer {
    Json,
    Template(Template),
}

impl Printer {
    pub(crate) fn new(output: &Output) -> Self {
        if output.json {
            return Self::Json;
        }
        let delimited = || Template::delimited(output.key_delimiter.as_deref(), &output.delimiter);
        let template = output.format.clone().unwrap_or_else(delimited);
        Self::Template(if output.null { template.with_null() } else { template })
    }

    /// The text of one answer's messages: at most a few times the client's limit for an answer.
    pub(crate) fn print(&self, log: &Log, batch: &[KafkaMessage]) -> Vec<u8> {
        let mut out = Vec::new();
        for message in batch {
            match self {
                Self::Json => json::message(log, message, &mut out),
                Self::Template(template) => template.render(log, message, &mut out),
            }
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use proptest::prelude::*;

    use super::*;

    fn headers() -> Vec<Header> {
        let value = |text: &'static str| Some(Bytes::from(text));
        [("a", value("1")), ("b", value("")), ("a", None)]
            .map(|(key, value)| Header { key: key.into(), value })
            .into()
    }

    fn render(template: &Template) -> Vec<u8> {
        render_with(template, Some("k1"), Some("v\0é"))
    }

    fn render_with(template: &Template, key: Option<&'static str>, value: Option<&'static str>) -> Vec<u8> {
        let [key, value] = [key, value].map(|text| text.map(Bytes::from));
        let message = KafkaMessage {
            offset: 7,
            timestamp: 1_700_000_000_000,
            key,
            value,
            headers: headers(),
            ..Default::default()
        };
        let mut out = Vec::new();
        template.render(&Log::partition("orders", 3), &message, &mut out);
        out
    }

    #[test]
    fn fields_and_escapes_are_printed() {
        for (text, want) in [
            ("", &b""[..]),
            ("%s", "v\0é".as_bytes()),
            ("%S", b"4"),
            ("%k=%K", b"k1=2"),
            ("[%h]", b"[a=1,b=,a=NULL]"),
            ("%t [%p] %o @%T", b"orders [3] 7 @1700000000000"),
            (r"100%%\n\r\t\\\x00\xFf", b"100%\n\r\t\\\x00\xff"),
            ("é%oé", "é7é".as_bytes()),
        ] {
            assert_eq!(render(&Template::parse(text).unwrap()), want, "{text}");
        }
    }

    #[test]
    fn null_has_length_minus_1_and_an_optional_name() {
        let plain = Template::parse("%k %K %s %S").unwrap();
        let named = plain.clone().with_null();
        assert_eq!(render_with(&plain, None, Some("")), b" -1  0");
        assert_eq!(render_with(&plain, Some(""), None), b" 0  -1");
        assert_eq!(render_with(&named, None, Some("")), b"NULL -1  0");
        assert_eq!(render_with(&named, Some(""), None), b" 0 NULL -1");
    }

    #[test]
    fn unknown_fields_and_escapes_are_rejected() {
        for text in ["%", "%x", "%é", r"\", r"\q", r"\x", r"\x1", r"\xg0", r"\x+1"] {
            assert!(Template::parse(text).is_err(), "{text}");
        }
        for text in [r"\", r"\q", r"\x1"] {
            assert!(delimiter(text).is_err(), "{text}");
        }
    }

    #[test]
    fn delimiters_replace_a_format() {
        assert_eq!(render(&Template::delimited(None, b"\n")), "v\0é\n".as_bytes());
        assert_eq!(render(&Template::delimited(Some(b"%:"), b"")), "k1%:v\0é".as_bytes());
        assert_eq!(*delimiter(r"%\x00é").unwrap(), *"%\0é".as_bytes());
    }

    proptest! {
        #[test]
        fn parser_never_panics_and_plain_text_prints_itself(text in any::<String>()) {
            let parsed = Template::parse(&text);
            if !text.contains(['%', '\\']) {
                prop_assert_eq!(render(&parsed.unwrap()), text.as_bytes());
            }
        }
    }
}
