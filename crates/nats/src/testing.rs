//! Decoders of servers' messages, and settings, for tests and the simulation.

use std::time::Duration;

use async_nats::header::{HeaderMap, HeaderName, HeaderValue};
use async_nats::{Message, StatusCode, Subject};
use bytes::Bytes;

use crate::api::reply::{self, StreamInfo};
use crate::cluster_config::{ClusterConfig, Credentials};
use crate::message;
use crate::subject;
use crate::writer::answer;

/// Decodes a message in each way in which one can come: as a stored one, a consumer's, an acknowledgement, or an answer
/// of the API. `headers` has a line `name: value` for each; async-nats has parsed real ones.
pub fn message(subject: &str, reply_to: &str, status: u16, headers: &str, payload: &Bytes) {
    let message = || Message {
        subject: Subject::from(subject),
        reply: Some(Subject::from(reply_to)),
        payload: payload.clone(),
        headers: Some(header_map(headers)),
        status: StatusCode::from_u16(status).ok(),
        description: Some(reply_to.to_owned()),
        length: payload.len(),
    };
    drop(message::direct(message()));
    drop(message::delivery(message()));
    let _ = answer::parse(&message(), "orders", None);
    drop(message::parse_headers(payload));
    drop(StreamInfo::parse(API, payload));
    drop(reply::check(API, payload));
    drop(reply::stream_names(API, payload));
    drop(reply::message(API, payload));
}

/// Decodes a subject to write to, and matches it with the subjects of a stream.
pub fn subject(subject: &Bytes, filter: &str) {
    if let Ok(subject) = subject::parse(Some(subject.clone()), "_INBOX") {
        let _ = subject::matches(filter, &subject);
    }
}

fn header_map(text: &str) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for line in text.lines() {
        let (name, value) = line.split_once(": ").unwrap_or((line, ""));
        if let (Ok(name), Ok(value)) = (name.parse::<HeaderName>(), value.parse::<HeaderValue>()) {
            headers.append(name, value);
        }
    }
    headers
}

/// Settings of a cluster without servers.
pub fn config() -> ClusterConfig {
    ClusterConfig {
        servers: Vec::new(),
        discover: false,
        credentials: Credentials::None,
        tls: None,
        domain: None,
        inbox: "_INBOX".to_owned(),
        request_timeout: Duration::from_secs(5),
        queue_bytes: 64 << 20,
        queue_records: 10_000,
        version: 0,
    }
}

/// The subject of a request, for errors.
const API: &str = "$JS.API.STREAM.INFO.orders";
