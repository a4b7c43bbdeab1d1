//! The targets. An input with several parts has them one after the other, with NUL between them.

mod bridge;
mod config;
mod filter;
mod identity;
mod schemas;

/// A decoder, and a check of what it decodes.
pub type Target = fn(&[u8]);

/// The targets by their names, which are also the folders of their corpora.
pub const TARGETS: [(&str, Target); 21] = [
    ("session", bridge::session),
    ("grpc_messages", bridge::grpc_messages),
    ("requests", bridge::requests),
    ("json_commands", bridge::json_commands),
    ("http_targets", bridge::targets),
    ("http_writes", bridge::writes),
    ("event_ids", bridge::event_ids),
    ("records", crate::records_invariants::check_input),
    ("avro", crate::avro_invariants::check_input),
    ("kafka_answers", bridge::kafka_answers),
    ("nats_messages", bridge::nats_messages),
    ("protobuf", schemas::protobuf),
    ("json_schema", schemas::json_schema),
    ("tokens", identity::tokens),
    ("key_sets", identity::key_sets),
    ("rights", identity::rights),
    ("cluster_definitions", bridge::cluster_definitions),
    ("bridge_config", config::of_bridge),
    ("filter_config", config::of_filter),
    ("filter", filter::filter),
    ("filter_apisix", filter::apisix::filter_apisix),
];

/// The parts of an input. Parts that are missing are empty; the last one has the rest.
fn parts<const N: usize>(input: &[u8]) -> [&[u8]; N] {
    let mut parts = input.splitn(N, |byte| *byte == 0);
    std::array::from_fn(|_| parts.next().unwrap_or_default())
}

/// Headers of HTTP, from lines `name: value`. Lines that HTTP refuses are left out.
fn headers(lines: &[u8]) -> http::HeaderMap {
    let mut headers = http::HeaderMap::new();
    for line in lines.split(|byte| *byte == b'\n').take(100) {
        let at = line.iter().position(|byte| *byte == b':').unwrap_or(line.len());
        let (name, value) = line.split_at(at);
        let value = value.strip_prefix(b": ").unwrap_or_default();
        let name = http::HeaderName::from_bytes(name);
        if let (Ok(name), Ok(value)) = (name, http::HeaderValue::from_bytes(value)) {
            headers.append(name, value);
        }
    }
    headers
}
