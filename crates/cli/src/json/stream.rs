//! Messages of streams, with the field names of the gateway's own JSON.

use std::borrow::Cow;

use sluicegate_client::{Header, KafkaMessage};

use super::{Payload, line};

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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::record;
    use sluicegate_client::nats::NatsMessage;

    fn header(key: &str, value: Option<&'static [u8]>) -> Header {
        Header { key: key.to_owned(), value: value.map(Into::into) }
    }

    #[test]
    fn message_is_one_line() {
        let headers = vec![header("a", Some(b"1")), header("a", Some(b"\xFF"))];
        for (data, headers, want) in [
            (&b"v\n"[..], vec![], r#""data":"v\n"}"#),
            (
                b"\xFF",
                headers,
                r#""data":{"base64":"/w=="},"headers":[{"key":"a","value":"1"},{"key":"a","value":{"base64":"/w=="}}]}"#,
            ),
        ] {
            let sent =
                NatsMessage { sequence: 7, timestamp: 9, subject: "a.b".into(), data: data.into(), headers };
            let mut out = Vec::new();
            message("ORDERS", &record(sent), &mut out);
            let want = format!(r#"{{"stream":"ORDERS","sequence":7,"timestamp":9,"subject":"a.b",{want}"#);
            assert_eq!(String::from_utf8(out).unwrap(), want + "\n");
        }
    }
}
