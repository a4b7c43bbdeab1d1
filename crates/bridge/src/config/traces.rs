//! `[traces]`: the collector and what is sampled.

use http::Uri;

use super::keys;
use super::problem::Problems;
use super::section::Section;

/// `[traces]`.
#[derive(Debug, Clone, PartialEq)]
pub struct Traces {
    /// `http://host:port` of an OpenTelemetry collector that takes OTLP over gRPC. Default: none, and nothing is
    /// traced.
    pub endpoint: Option<String>,
    /// The share of requests to trace about which their gateway does not say anything, from 0 to 1. A `traceparent`
    /// decides otherwise. Default 0.01.
    pub sample_ratio: f64,
    /// Spans that begin in one second: 1,000; further ones are dropped. One client can take half of them. The key is
    /// deprecated.
    pub max_spans_per_second: usize,
}

pub(super) fn parse(mut table: Section, problems: &mut Problems) -> Traces {
    let traces = Traces {
        endpoint: table.url(keys::TRACES_ENDPOINT.short(), is_endpoint, EXPECTED, problems),
        sample_ratio: table.ratio(keys::TRACES_SAMPLE_RATIO.short(), problems).unwrap_or(DEFAULT_RATIO),
        max_spans_per_second: table.size(&keys::TRACES_MAX_SPANS, problems),
    };
    table.end(problems);
    traces
}

/// TLS and credentials are the collector's: it runs beside the bridge, as an agent.
fn is_endpoint(text: &str) -> bool {
    let Ok(uri) = text.parse::<Uri>() else { return false };
    let has_host = uri.authority().is_some_and(|authority| {
        !authority.as_str().contains('@') && !authority.host().is_empty() && authority.port_u16().is_some()
    });
    uri.scheme_str() == Some("http") && has_host && matches!(uri.path(), "" | "/") && uri.query().is_none()
}

const EXPECTED: &str = "expected http://HOST:PORT of a collector";
const DEFAULT_RATIO: f64 = 0.01;

#[cfg(test)]
mod tests {
    use super::is_endpoint;

    #[test]
    fn endpoint_is_a_host_and_a_port() {
        for (text, is_valid) in [
            ("http://127.0.0.1:4317", true),
            ("http://collector:4317/", true),
            ("http://[::1]:4317", true),
            ("http://collector", false),
            ("https://collector:4317", false),
            ("http://user:password@collector:4317", false),
            ("http://collector:4317/v1/traces", false),
            ("http://collector:4317?x", false),
            ("collector:4317", false),
            ("", false),
        ] {
            assert_eq!(is_endpoint(text), is_valid, "{text}");
        }
    }
}
