//! Chooses the media type of a response from the client's `Accept` (RFC 9110, section 12.5.1).

use sluicegate_backend::System;
use sluicegate_dialect as dialect;
use sluicegate_dialect::http::media_type::{
    EVENT_STREAM, EXACT, Format, JSON, Name, Offer, PROBLEM, second_version,
};

use super::cloudevents;
use super::headers::Headers;
use super::problem::{Problem, ProblemKind};

/// A client's `Accept` headers.
#[derive(Debug)]
pub(super) struct Accept {
    ranges: Vec<Range>,
}

/// The elements of a document with records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Elements {
    /// Records, whose keys and values have this format.
    Records(Format),
    /// The CloudEvents in records.
    CloudEvents,
}

#[derive(Debug)]
struct Range {
    /// `type/subtype`, `type/*` or `*/*`, in lower case, and of the REST proxies' types in the second version.
    range: String,
    /// In thousandths.
    quality: u16,
}

impl Accept {
    /// Parses the headers. Ignores invalid elements.
    pub(super) fn of(headers: Headers<'_>) -> Self {
        let lines = headers.all("accept").filter_map(|line| std::str::from_utf8(line).ok());
        Self { ranges: lines.flat_map(|line| line.split(',')).filter_map(range).collect() }
    }

    /// The media type for a document without keys and values. Clients of the REST proxies can name the type of their
    /// records in each request.
    ///
    /// # Errors
    /// The client accepts none of the types.
    pub(super) fn metadata(&self, system: System) -> Result<&'static str, Problem> {
        let types = &dialect::of(system).words().media_types;
        let is_named = |range: &Range| range.quality > 0 && types.errors.contains(&range.range.as_str());
        let any = types.errors.first().filter(|_| self.ranges.iter().any(is_named));
        self.best(types.documents).or_else(|problem| any.copied().ok_or(problem))
    }

    /// The format for records.
    ///
    /// # Errors
    /// The client accepts none of the formats.
    pub(super) fn records(&self, system: System) -> Result<Format, Problem> {
        self.best(dialect::of(system).words().media_types.records)
    }

    /// The same, or CloudEvents, on a route that gives them to clients that prefer them.
    ///
    /// # Errors
    /// The client accepts none of them.
    pub(super) fn elements(&self, system: System, cloudevents: bool) -> Result<Elements, Problem> {
        let records = dialect::of(system).words().media_types.records.iter();
        let records = records.map(|(names, format)| (*names, Elements::Records(*format)));
        let events = cloudevents.then_some((cloudevents::NAMES, Elements::CloudEvents));
        self.best(&records.chain(events).collect::<Vec<_>>())
    }

    /// Checks that the client accepts plain JSON.
    ///
    /// # Errors
    /// It does not.
    pub(super) fn json(&self) -> Result<(), Problem> {
        self.best(&[(&[(JSON, EXACT)], ())])
    }

    /// Checks that the client accepts a stream of events.
    ///
    /// # Errors
    /// It does not.
    pub(super) fn events(&self) -> Result<(), Problem> {
        self.best(&[(&[(EVENT_STREAM, EXACT)], ())])
    }

    /// Whether the client accepts an offer with these names.
    pub(super) fn takes(&self, names: &[Name]) -> bool {
        self.wanted(names).0 > 0
    }

    /// The media type for an error: the first of `types` if the client names one of them, or `by_default` if it names
    /// none at all.
    pub(super) fn errors(&self, types: &[&'static str], by_default: bool) -> &'static str {
        let is_named = |range: &Range| types.contains(&range.range.as_str());
        let takes_any = by_default && self.ranges.iter().all(|range| range.range.contains('*'));
        let first = types.first().filter(|_| takes_any || self.ranges.iter().any(is_named));
        first.copied().unwrap_or(PROBLEM)
    }

    /// The offer with the highest quality; among equals the one named most precisely, then the first.
    fn best<T: Copy>(&self, offers: &[Offer<T>]) -> Result<T, Problem> {
        let mut best: Option<((u16, u8), T)> = None;
        for (names, value) in offers {
            let wanted = self.wanted(names);
            if wanted.0 > 0 && best.is_none_or(|(most, _)| wanted > most) {
                best = Some((wanted, *value));
            }
        }
        best.map(|(_, value)| value).ok_or_else(|| {
            let offers: Vec<&str> =
                offers.iter().flat_map(|(names, _)| *names).map(|(name, _)| *name).collect();
            Problem::new(
                ProblemKind::NotAcceptable,
                format!("expected Accept to include one of {}", offers.join(", ")),
            )
        })
    }

    /// The quality and precision of the range that applies.
    ///
    /// "Media ranges can be overridden by more specific media ranges or specific media types. If more than one media
    /// range applies to a given type, the most specific reference has precedence."
    fn wanted(&self, names: &[Name]) -> (u16, u8) {
        if self.ranges.is_empty() {
            // "A request without any Accept header field implies that the user agent will accept any media type in
            // response."
            return (WHOLE, 0);
        }
        let is_text = names.iter().any(|(name, _)| *name == EVENT_STREAM);
        let any = if is_text { &[("text/*", 1), ("*/*", 0)] } else { &[("application/*", 1), ("*/*", 0)] };
        let ranges = names.iter().chain(any);
        let mut found = ranges.filter_map(|(name, precision)| {
            let range = self.ranges.iter().find(|range| range.range == *name)?;
            Some((range.quality, *precision))
        });
        found.next().unwrap_or_default()
    }
}

fn range(element: &str) -> Option<Range> {
    let mut parts = element.split(';').map(str::trim_ascii);
    let range = parts.next().filter(|range| !range.is_empty())?;
    let weight = parts.find_map(|part| part.strip_prefix("q=").or_else(|| part.strip_prefix("Q=")));
    // Java's `HttpURLConnection` writes `*` for `*/*`.
    let range = if range == "*" { "*/*".to_owned() } else { second_version(range) };
    Some(Range { range, quality: weight.map_or(Some(WHOLE), quality)? })
}

/// RFC 9110, section 12.4.2: `( "0" [ "." 0*3DIGIT ] ) / ( "1" [ "." 0*3("0") ] )`. Some programs write more digits, and
/// Java's `HttpURLConnection` writes `.2`.
fn quality(weight: &str) -> Option<u16> {
    let (whole, part) = weight.split_once('.').unwrap_or((weight, ""));
    if weight.len() < 2 && whole.is_empty() || !part.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let part: u16 = format!("{part:0<3}").get(..3)?.parse().ok()?;
    match whole {
        "" | "0" => Some(part),
        "1" if part == 0 => Some(WHOLE),
        _ => None,
    }
}

/// The highest quality, which is the default.
const WHOLE: u16 = 1000;

#[cfg(test)]
mod tests {
    use super::super::tests::{check_problem, headers as lines};
    use super::*;

    const V2: &str = "application/vnd.kafka.v2+json";
    const V2_JSON: &str = "application/vnd.kafka.json.v2+json";
    const V2_BINARY: &str = "application/vnd.kafka.binary.v2+json";
    const BINARY: &str = "application/vnd.sluicegate.binary+json";

    fn headers(accept: &[&str]) -> http::HeaderMap {
        lines(&accept.iter().map(|value| ("accept", *value)).collect::<Vec<_>>())
    }

    #[track_caller]
    fn check(accept: &[&str], records: Option<Format>, metadata: Option<&str>) {
        check_of(System::Kafka, accept, records, metadata);
    }

    #[track_caller]
    fn check_of(system: System, accept: &[&str], records: Option<Format>, metadata: Option<&str>) {
        let headers = headers(accept);
        let accepted = Accept::of(Headers(&headers));
        assert_eq!(accepted.records(system).ok(), records, "{accept:?}");
        assert_eq!(accepted.metadata(system).ok(), metadata, "{accept:?}");
    }

    #[test]
    fn client_gets_the_type_it_prefers() {
        let (json, binary) = (Some(Format::Json), Some(Format::Binary));
        for all in [&[][..], &["*/*"], &["application/*"], &["text/html, */*;q=0.1"], &[V2]] {
            check(all, binary, Some(V2));
        }
        check(&[JSON], json, Some(JSON));
        check(&["APPLICATION/JSON; charset=utf-8"], json, Some(JSON));
        check(&[V2_JSON], json, Some(V2));
        check(&[V2_BINARY], binary, Some(V2));
        check(&["application/vnd.kafka.text.v2+json"], Some(Format::Text), Some(V2));
        check(&["application/vnd.kafka.binary.v2+json;q=0.5", V2_JSON], json, Some(V2));
        check(&["application/vnd.kafka.binary.v2+json;q=0.5, application/json;q=0.4"], binary, Some(JSON));
        check(&["*/*;q=0.1, application/json;q=0.2"], json, Some(JSON));
        check(&["application/vnd.kafka.v2+json, application/json; q=0.9"], binary, Some(V2));
        let neither = "*/*, application/vnd.kafka.v2+json;q=0, application/vnd.kafka.binary.v2+json;q=0";
        check(&[neither], json, Some(JSON));
        check(&["application/vnd.kafka.binary.v2+json;q=0, */*"], json, Some(V2));
        check(&["application/vnd.kafka.json.v2+json;q=0, application/*"], binary, Some(V2));
        // Sent by existing clients.
        check(&["text/html, image/gif, image/jpeg, *; q=.2, */*; q=.2"], binary, Some(V2));
        check(&["application/json, text/plain, */*"], json, Some(JSON));
        check(&["application/vnd.kafka.json.v2+json, */*"], json, Some(V2));
        let test_suite =
            "application/vnd.kafka.json.v2+json, application/vnd.kafka.v2+json, application/json, */*";
        check(&[test_suite], json, Some(V2));
        check(&["application/vnd.kafka.binary.v2+json, application/json"], binary, Some(JSON));
        check(&["application/vnd.kafka.v2+json, */*"], binary, Some(V2));
    }

    /// Karapace takes all of these, and other proxies some.
    #[test]
    fn types_of_the_proxies_have_any_version_case_and_parameters() {
        let (json, binary) = (Some(Format::Json), Some(Format::Binary));
        for (accept, records) in [
            ("application/vnd.kafka+json", binary),
            ("application/vnd.kafka.v1+json", binary),
            ("application/vnd.kafka.binary+json", binary),
            ("application/vnd.kafka.json+json", json),
            ("application/vnd.kafka.json.v1+json", json),
            ("Application/Vnd.Kafka.JSON.v2+json; charset=utf-8", json),
            ("application/vnd.kafka.json.v2+json;q=0.9;charset=utf-8, text/html", json),
            (
                "application/vnd.kafka.v2+json; charset=UTF-8, application/vnd.kafka+json, text/html;q=1",
                binary,
            ),
            ("application/*;q=0.1", binary),
            ("*/*; q=0.5", binary),
        ] {
            check(&[accept], records, Some(V2));
        }
        for accept in
            ["application/vnd.kafka.v3+json", "application/vnd.kafka+foo", "application/vnd.kafka", "foo/*"]
        {
            check(&[accept], None, None);
        }
    }

    #[test]
    fn streams_have_their_own_types() {
        let (json, binary) = (Some(Format::Json), Some(Format::Binary));
        check_of(System::Nats, &[], binary, Some(JSON));
        check_of(System::Nats, &["*/*"], binary, Some(JSON));
        check_of(System::Nats, &[JSON], json, Some(JSON));
        check_of(System::Nats, &[BINARY], binary, None);
        let both = "application/json;q=0.5, application/vnd.sluicegate.binary+json;q=0.4";
        check_of(System::Nats, &[both], json, Some(JSON));
        check_of(System::Nats, &[V2_BINARY], None, None);
    }

    #[test]
    fn events_are_text() {
        for accept in ["text/event-stream", "*/*", "text/*", "application/json, text/event-stream;q=0.1"] {
            assert!(Accept::of(Headers(&headers(&[accept]))).events().is_ok(), "{accept}");
        }
        for accept in ["application/json", "application/*", "text/event-stream;q=0, */*"] {
            assert!(Accept::of(Headers(&headers(&[accept]))).events().is_err(), "{accept}");
        }
    }

    #[test]
    fn unacceptable_types_are_refused() {
        for none in ["text/html", "application/json;q=0", "text/*", "application/xml, text/html;q=0.5"] {
            check(&[none], None, None);
        }
        let headers = headers(&["text/html"]);
        check_problem(Accept::of(Headers(&headers)).metadata(System::Kafka).unwrap_err(), 406, "");
    }

    #[test]
    fn weights_are_in_thousandths() {
        for (weight, want) in
            [("1", 1000), ("1.000", 1000), ("0", 0), ("0.5", 500), ("0.1259", 125), ("0.", 0), (".2", 200)]
        {
            assert_eq!(quality(weight), Some(want), "{weight}");
        }
        for weight in ["", ".", "2", "1.1", "-1", "0.x", "0.+1"] {
            assert_eq!(quality(weight), None, "{weight}");
        }
    }

    #[test]
    fn errors_have_the_requested_version() {
        let errors = |system| dialect::of(system).words().media_types.errors;
        for (accept, want, by_default) in [
            (V2, V2, V2),
            (V2_BINARY, V2, V2),
            (JSON, PROBLEM, PROBLEM),
            ("*/*;q=0.5, application/*", PROBLEM, V2),
            ("", PROBLEM, V2),
        ] {
            let headers = headers(&[accept]);
            let errors = |by_default| Accept::of(Headers(&headers)).errors(errors(System::Kafka), by_default);
            assert_eq!((errors(false), errors(true)), (want, by_default), "{accept}");
        }
        let headers = headers(&[V2]);
        assert_eq!(Accept::of(Headers(&headers)).errors(errors(System::Nats), true), PROBLEM);
    }
}
