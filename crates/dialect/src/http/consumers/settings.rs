//! The settings with which clients of the proxies create consumers.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use sluicegate_backend::WAITING_BYTES;
use sluicegate_delivery::consumers::{ConsumerSettings, NewConsumer, Reset};
use sluicegate_protocol::SchemaType;

use super::bodies::{or_object, scalar};
use crate::http::body::{BodyError, object, wrong};
use crate::http::media_type::Format;

/// The settings of a consumer that belong to the REST resources. They are kept in the group with the others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// The form of keys and values.
    pub format: Format,
    /// The bytes of records to wait for. 0: one record.
    pub min_bytes: usize,
    /// The wait of reads that name none.
    pub wait: Duration,
}

/// The text of [`Settings`].
#[derive(Serialize, Deserialize)]
struct Stored<'a> {
    format: &'a str,
    min_bytes: usize,
    wait_ms: u64,
}

impl Default for Settings {
    fn default() -> Self {
        Self { format: Format::Binary, min_bytes: 0, wait: DEFAULT_WAIT }
    }
}

impl Settings {
    /// The settings of a consumer; the defaults if it was made by another way in.
    pub fn of(extra: &str) -> Self {
        let stored: Option<Stored<'_>> = serde_json::from_str(extra).ok();
        let of = |Stored { format, min_bytes, wait_ms }: Stored<'_>| {
            Some(Self { format: named(format)?, min_bytes, wait: Duration::from_millis(wait_ms) })
        };
        stored.and_then(of).unwrap_or_default()
    }

    fn to_extra(&self) -> String {
        let format = FORMATS.iter().find(|(_, format)| *format == self.format).map_or("", |(name, _)| name);
        let wait_ms = u64::try_from(self.wait.as_millis()).unwrap_or_default();
        // Cannot fail: it has no maps.
        serde_json::to_string(&Stored { format, min_bytes: self.min_bytes, wait_ms }).unwrap_or_default()
    }

    /// Parses the body of a request to create a consumer. An empty one is `{}`.
    ///
    /// # Errors
    /// A setting is unknown or has an invalid value.
    pub fn parse(json: &str) -> Result<NewConsumer, BodyError> {
        let body: Body<'_> = object(or_object(json), "body")?;
        let defaults = Self::default();
        let format = match text(body.format, "format")? {
            None => defaults.format,
            Some(name) => named(&name.to_ascii_lowercase()).ok_or_else(|| {
                let names: Vec<&str> = FORMATS.iter().map(|(name, _)| *name).collect();
                wrong("format", &format!("expected one of {}", names.join(", ")))
            })?,
        };
        let min_bytes = number(body.min_bytes, "fetch.min.bytes", -1, 10_000_000)?;
        let wait = millis(body.wait, "consumer.request.timeout.ms")?;
        let settings = Self {
            format,
            // A read waits for no more than is kept while it waits.
            min_bytes: min_bytes
                .and_then(|bytes| usize::try_from(bytes).ok())
                .unwrap_or_default()
                .min(WAITING_BYTES),
            wait: wait.unwrap_or(defaults.wait).min(LONGEST_DEFAULT_WAIT),
        };
        let reset =
            match text(body.reset, "auto.offset.reset")?.map(|text| text.to_ascii_lowercase()).as_deref() {
                None | Some("latest" | "largest") => Reset::Latest,
                Some("earliest" | "smallest") => Reset::Earliest,
                Some("none") => Reset::Error,
                Some(_) => return Err(wrong("auto.offset.reset", "expected earliest, latest or none")),
            };
        let commits = match (flag(body.auto_commit, COMMIT)?, flag(body.enable_auto_commit, ENABLE)?) {
            (Some(one), Some(other)) if one != other => {
                return Err(wrong(COMMIT, &format!("expected the same as {ENABLE}")));
            }
            (one, other) => one.or(other).unwrap_or(true),
        };
        let interval = millis(body.interval, "auto.commit.interval.ms")?;
        let committed = match text(body.isolation, "isolation.level")?.as_deref() {
            None | Some("read_uncommitted") => false,
            Some("read_committed") => true,
            Some(_) => return Err(wrong("isolation.level", "expected read_committed or read_uncommitted")),
        };
        let name = text(body.name, "name")?.or(text(body.id, "id")?).filter(|name| !name.is_empty());
        let auto_commit = commits.then_some(interval.unwrap_or(COMMIT_INTERVAL));
        let extra = settings.to_extra();
        Ok(NewConsumer {
            instance: name,
            settings: ConsumerSettings { reset, auto_commit, committed, extra },
        })
    }
}

/// A body. The members without a name of their own change no answer, and are ignored.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Body<'a> {
    #[serde(borrow)]
    name: Option<&'a RawValue>,
    #[serde(borrow)]
    id: Option<&'a RawValue>,
    #[serde(borrow)]
    format: Option<&'a RawValue>,
    #[serde(borrow, rename = "auto.offset.reset")]
    reset: Option<&'a RawValue>,
    #[serde(borrow, rename = "auto.commit.enable")]
    auto_commit: Option<&'a RawValue>,
    #[serde(borrow, rename = "enable.auto.commit")]
    enable_auto_commit: Option<&'a RawValue>,
    #[serde(borrow, rename = "auto.commit.interval.ms")]
    interval: Option<&'a RawValue>,
    #[serde(borrow, rename = "fetch.min.bytes", alias = "responseMinBytes")]
    min_bytes: Option<&'a RawValue>,
    #[serde(borrow, rename = "consumer.request.timeout.ms", alias = "requestWaitMs")]
    wait: Option<&'a RawValue>,
    #[serde(borrow, rename = "isolation.level")]
    isolation: Option<&'a RawValue>,
    #[serde(borrow, rename = "topic.metadata.refresh.interval.ms")]
    _refresh: Option<&'a RawValue>,
    #[serde(borrow, rename = "max.poll.records")]
    _max_records: Option<&'a RawValue>,
    #[serde(borrow, rename = "session.timeout.ms")]
    _session: Option<&'a RawValue>,
    #[serde(borrow, rename = "heartbeat.interval.ms")]
    _heartbeat: Option<&'a RawValue>,
}

fn text(value: Option<&RawValue>, name: &str) -> Result<Option<String>, BodyError> {
    value
        .map(|value| scalar(value).ok_or_else(|| wrong(name, "expected a string")))
        .transpose()
        .map(Option::flatten)
}

fn number(value: Option<&RawValue>, name: &str, least: i64, most: i64) -> Result<Option<i64>, BodyError> {
    let Some(text) = text(value, name)? else { return Ok(None) };
    let number: Option<i64> = text.parse().ok().filter(|number| (least..=most).contains(number));
    let expected = || wrong(name, &format!("expected a whole number from {least} to {most}"));
    number.map(Some).ok_or_else(expected)
}

fn millis(value: Option<&RawValue>, name: &str) -> Result<Option<Duration>, BodyError> {
    let number = number(value, name, 0, i64::from(i32::MAX))?;
    Ok(number.and_then(|millis| u64::try_from(millis).ok()).map(Duration::from_millis))
}

fn flag(value: Option<&RawValue>, name: &str) -> Result<Option<bool>, BodyError> {
    match text(value, name)?.map(|text| text.to_ascii_lowercase()).as_deref() {
        None => Ok(None),
        Some("true") => Ok(Some(true)),
        Some("false") => Ok(Some(false)),
        Some(_) => Err(wrong(name, "expected true or false")),
    }
}

fn named(name: &str) -> Option<Format> {
    FORMATS.iter().find(|(known, _)| *known == name).map(|(_, format)| *format)
}

const FORMATS: [(&str, Format); 6] = [
    ("binary", Format::Binary),
    ("json", Format::Json),
    ("text", Format::Text),
    ("avro", Format::Schema(SchemaType::Avro)),
    ("jsonschema", Format::Schema(SchemaType::JsonSchema)),
    ("protobuf", Format::Schema(SchemaType::Protobuf)),
];

const COMMIT: &str = "auto.commit.enable";
const ENABLE: &str = "enable.auto.commit";

/// Confluent's default.
const DEFAULT_WAIT: Duration = Duration::from_secs(1);
/// Clients of Strimzi set it for requests to Kafka, and expect answers at once.
const LONGEST_DEFAULT_WAIT: Duration = Duration::from_secs(5);
/// Kafka's default.
const COMMIT_INTERVAL: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn parsed(json: &str) -> (NewConsumer, Settings) {
        let new = Settings::parse(json).unwrap();
        let settings = Settings::of(&new.settings.extra);
        (new, settings)
    }

    #[test]
    fn settings_of_all_proxies_are_taken() {
        let (confluent, settings) = parsed(
            r#"{"name":"my_consumer","format":"JSON","auto.offset.reset":"earliest","auto.commit.enable":"false"}"#,
        );
        assert_eq!(confluent.instance.as_deref(), Some("my_consumer"));
        assert_eq!((confluent.settings.reset, confluent.settings.auto_commit), (Reset::Earliest, None));
        assert_eq!(settings, Settings { format: Format::Json, ..Settings::default() });
        let (strimzi, settings) = parsed(
            r#"{"format":"text","enable.auto.commit":false,"fetch.min.bytes":512,"consumer.request.timeout.ms":30000,"isolation.level":"read_committed"}"#,
        );
        assert_eq!((strimzi.settings.committed, strimzi.settings.auto_commit), (true, None));
        let wait = Duration::from_secs(5);
        assert_eq!(settings, Settings { format: Format::Text, min_bytes: 512, wait });
        let (redpanda, settings) = parsed(r#"{"fetch.min.bytes":"1","consumer.request.timeout.ms":"100"}"#);
        assert_eq!((settings.min_bytes, settings.wait), (1, Duration::from_millis(100)));
        assert_eq!((redpanda.settings.reset, redpanda.instance), (Reset::Latest, None));
        let (karapace, settings) = parsed(
            r#"{"name":"","format":"avro","fetch.min.bytes":100000,"auto.commit.enable":"TRUE","topic.metadata.refresh.interval.ms":100}"#,
        );
        assert_eq!((karapace.settings.auto_commit, karapace.instance), (Some(wait), None));
        assert_eq!((settings.format, settings.min_bytes), (Format::Schema(SchemaType::Avro), WAITING_BYTES));
        let (old, _) =
            parsed(r#"{"id":"i","name":null,"auto.offset.reset":"smallest","auto.commit.interval.ms":0}"#);
        assert_eq!((old.instance.as_deref(), old.settings.reset), (Some("i"), Reset::Earliest));
        assert_eq!(old.settings.auto_commit, Some(Duration::ZERO));
        assert_eq!((parsed("").1, Settings::of("of a session")), (Settings::default(), Settings::default()));
        assert_eq!(parsed("{}").0, parsed("").0);
    }

    #[test]
    fn invalid_settings_are_named() {
        let same = "expected the same as enable.auto.commit";
        for (json, want) in [
            (r#"{"format":"xml"}"#, "format: expected one of binary, json, text"),
            (r#"{"auto.offset.reset":"bad-config"}"#, "auto.offset.reset: expected earliest, latest or none"),
            (r#"{"auto.commit.enable":"foo"}"#, "auto.commit.enable: expected true or false"),
            (r#"{"auto.commit.enable":true,"enable.auto.commit":false}"#, same),
            (r#"{"fetch.min.bytes":-2}"#, "fetch.min.bytes: expected a whole number from -1 to 10000000"),
            (r#"{"consumer.request.timeout.ms":"x"}"#, "consumer.request.timeout.ms: expected"),
            (r#"{"isolation.level":"foo"}"#, "isolation.level: expected"),
            (r#"{"name":["a"]}"#, "name: expected a string"),
            (r#"{"auto.ofset.reset":"earliest"}"#, "unknown member auto.ofset.reset"),
            ("[]", "body: expected an object"),
        ] {
            let Err(BodyError::Unfit(text)) = Settings::parse(json) else { panic!("{json}") };
            assert!(text.contains(want), "{text}");
        }
    }
}
