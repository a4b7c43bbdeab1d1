//! Messages of streams, with the field names of the gateway's own JSON.

use std::borrow::Cow;

use serde::Deserialize;
use serde::de::IgnoredAny;
use sluicegate_client::nats::PublishMessage;
use sluicegate_client::{Header, KafkaMessage};

use super::{Given, Payload, line};

/// Appends `message`, the record of a message of `stream`, as one line to `out`.
pub(super) fn message(stream: &str, message: &KafkaMessage, out: &mut Vec<u8>) {
    #[derive(serde::Serialize)]
    struct Line<'a> {
        stream: &'a str,
        sequence: i64,
        timestamp: i64,
        subject: Cow<'a, str>,
        data: Payload<'a>,
        #[serde(skip_serializing_if = "Vec::is_empty")]
        headers: Vec<HeaderObject<'a>>,
    }
    #[derive(serde::Serialize)]
    struct HeaderObject<'a> {
        key: &'a str,
        value: Option<Payload<'a>>,
    }
    let KafkaMessage { offset: sequence, timestamp, key, value, headers, .. } = message;
    let headers = headers
        .iter()
        .map(|Header { key, value }| HeaderObject { key, value: value.as_deref().map(Payload) });
    let message = Line {
        stream,
        sequence: *sequence,
        timestamp: *timestamp,
        subject: String::from_utf8_lossy(key.as_deref().unwrap_or_default()),
        data: Payload(value.as_deref().unwrap_or_default()),
        headers: headers.collect(),
    };
    line(&message, out);
}

/// Reads a line as [`message`] writes it, or with a `message_id`. The message has no stream yet.
pub(crate) fn publish_message(line: &[u8]) -> Result<PublishMessage, String> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Line<'a> {
        #[serde(default, rename = "stream")]
        _stream: IgnoredAny,
        #[serde(default, rename = "sequence")]
        _sequence: IgnoredAny,
        #[serde(default, rename = "timestamp")]
        _timestamp: IgnoredAny,
        #[serde(default)]
        subject: String,
        #[serde(borrow)]
        data: Option<Given<'a>>,
        #[serde(borrow, default)]
        headers: Vec<HeaderObject<'a>>,
        #[serde(default)]
        message_id: String,
    }
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct HeaderObject<'a> {
        key: Option<String>,
        name: Option<String>,
        #[serde(borrow)]
        value: Option<Given<'a>>,
    }
    let header = |(index, HeaderObject { key, name, value }): (usize, HeaderObject<'_>)| {
        if key.is_some() && name.is_some() {
            return Err(format!("headers[{index}]: has key and name, expected one of them"));
        }
        let key = key.or(name).ok_or_else(|| format!("headers[{index}].key: missing, expected a string"))?;
        Ok(Header { key, value: value.as_ref().map(Given::bytes).transpose()? })
    };
    let Line { subject, data, headers, message_id, .. } =
        serde_json::from_slice(line).map_err(|why| why.to_string())?;
    Ok(PublishMessage {
        subject,
        data: data.as_ref().map(Given::bytes).transpose()?.unwrap_or_default(),
        headers: headers.into_iter().enumerate().map(header).collect::<Result<_, _>>()?,
        message_id,
        ..PublishMessage::default()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::record;
    use sluicegate_client::nats::NatsMessage;

    fn header(key: &str, value: Option<&'static [u8]>) -> Header {
        Header { key: key.to_owned(), value: value.map(Into::into) }
    }

    #[test]
    fn message_is_one_line_that_can_be_published() {
        let headers = vec![header("a", Some(b"1")), header("a", Some(b"\xFF"))];
        for (data, headers, want) in [
            (&b"v\n"[..], vec![], r#""data":"v\n"}"#),
            (
                b"\xFF",
                headers,
                concat!(
                    r#""data":{"base64":"/w=="},"headers":[{"key":"a","value":"1"},{"key":"a","#,
                    r#""value":{"base64":"/w=="}}]}"#,
                ),
            ),
        ] {
            let (subject, data) = ("a.b".into(), data.into());
            let sent = NatsMessage { sequence: 7, timestamp: 9, subject, data, headers, error: None };
            let mut out = Vec::new();
            message("ORDERS", &record(sent.clone()), &mut out);
            let want = format!(r#"{{"stream":"ORDERS","sequence":7,"timestamp":9,"subject":"a.b",{want}"#);
            assert_eq!(String::from_utf8(out.clone()).unwrap(), want + "\n");
            let NatsMessage { subject, data, headers, .. } = sent;
            let want = PublishMessage { subject, data, headers, ..Default::default() };
            assert_eq!(publish_message(&out).unwrap(), want);
        }
    }

    #[test]
    fn missing_fields_are_empty_and_headers_have_a_key_or_a_name() {
        assert_eq!(publish_message(b"{}").unwrap(), PublishMessage::default());
        let line = br#"{"subject":"a","data":null,"message_id":"7","headers":[{"name":"h"}]}"#;
        let want = PublishMessage {
            subject: "a".into(),
            message_id: "7".into(),
            headers: vec![header("h", None)],
            ..Default::default()
        };
        assert_eq!(publish_message(line).unwrap(), want);
    }

    #[test]
    fn other_lines_are_errors() {
        for (line, says) in [
            (&br#"{"payload":"v"}"#[..], "unknown field `payload`"),
            (br#"{"headers":["k","v"]}"#, "invalid type"),
            (br#"{"headers":[{"value":"v"}]}"#, "headers[0].key: missing, expected a string"),
            (
                br#"{"headers":[{"key":"k","name":"n"}]}"#,
                "headers[0]: has key and name, expected one of them",
            ),
            (br#"{"data":{"base64":"?"}}"#, "invalid base64"),
            (br#"{"data":1}"#, "expected a string"),
            (br#"{"subject":1}"#, "invalid type"),
            (b"value", "expected value"),
        ] {
            let error = publish_message(line).unwrap_err();
            assert!(error.contains(says), "{error}");
        }
    }
}
