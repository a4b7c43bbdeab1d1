//! The web pages that can use a route of plain HTTP (the Fetch standard, section 3.3).

use std::convert::Infallible;
use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, header, request};
use sluicegate_dialect as dialect;
use sluicegate_protocol::HttpCors;
use tower::{Layer, ServiceExt, service_fn};
use tower_http::cors::{AllowOrigin, CorsLayer};

use super::problem::{Problem, ProblemKind};
use super::{producer, streams};

/// Checks a request by its headers.
///
/// # Errors
/// The page's origin is not listed, or the requested headers are not a list that a browser sends.
pub(super) fn check(cors: &HttpCors, headers: &HeaderMap) -> Result<(), Problem> {
    let mut origins = headers.get_all(header::ORIGIN).iter();
    // Without Origin, it is not a CORS request.
    let Some(origin) = origins.next() else { return Ok(()) };
    if origins.next().is_some() || !allows(cors, origin) {
        return Err(Problem::new(ProblemKind::Forbidden, "this Origin is not allowed on this route"));
    }
    if requested(headers).is_none() {
        let detail = format!(
            "header Access-Control-Request-Headers: expected a list of header names in at most {MAX_NAMES_BYTES} bytes"
        );
        return Err(Problem::new(ProblemKind::Malformed, detail));
    }
    Ok(())
}

/// Whether a request is a CORS preflight.
pub(super) fn is_preflight(parts: &request::Parts) -> bool {
    parts.method == Method::OPTIONS
        && parts.headers.contains_key(header::ORIGIN)
        && parts.headers.contains_key(header::ACCESS_CONTROL_REQUEST_METHOD)
}

/// The headers for the response to a request that passed [`check`], on a route with these methods. If answers are `shared`, pages
/// of any origin get from caches what others have asked for without one.
pub(super) async fn headers(
    cors: &HttpCors,
    methods: &[Method],
    parts: &request::Parts,
    shared: bool,
) -> HeaderMap {
    let is_any = is_any(cors);
    let origins = match is_any {
        true => AllowOrigin::any(),
        // `check` has allowed the request's origin.
        false => AllowOrigin::mirror_request(),
    };
    let vary: &[HeaderName] = if is_any { &[] } else { &[header::ORIGIN] };
    let layer = CorsLayer::new()
        .allow_origin(origins)
        .allow_credentials(cors.credentials && !is_any)
        .allow_methods(methods.to_vec())
        .allow_headers(requested(&parts.headers).unwrap_or_default())
        .expose_headers(exposed())
        .max_age(MAX_AGE)
        .vary(vary.to_vec());
    let mut page = Request::new(());
    // The layer treats every OPTIONS as a preflight.
    *page.method_mut() = if is_preflight(parts) { Method::OPTIONS } else { Method::GET };
    let any = HeaderValue::from_static("*");
    let origin = parts.headers.get(header::ORIGIN).or((shared && is_any).then_some(&any));
    let Some(origin) = origin else {
        return vary.iter().map(|name| (header::VARY, name.clone().into())).collect();
    };
    page.headers_mut().insert(header::ORIGIN, origin.clone());
    let empty = service_fn(async |_| Ok::<_, Infallible>(Response::new(())));
    let Ok(response) = layer.layer(empty).oneshot(page).await;
    response.into_parts().0.headers
}

fn allows(cors: &HttpCors, origin: &HeaderValue) -> bool {
    let is = |listed: &String| listed.as_bytes().eq_ignore_ascii_case(origin.as_bytes().trim_ascii());
    is_any(cors) || cors.origins.iter().any(is)
}

fn is_any(cors: &HttpCors) -> bool {
    cors.origins.iter().any(|origin| origin == "*")
}

/// The headers that a page can read, of all systems.
fn exposed() -> Vec<HeaderName> {
    let own = [header::RETRY_AFTER, header::ALLOW, HeaderName::from_static("preference-applied")];
    let positions = dialect::ALL.iter().flat_map(|dialect| dialect.words().positions);
    let positions = positions.map(|position| position.header.clone());
    own.into_iter().chain(positions).chain(producer::TOLD).chain(streams::TOLD).collect()
}

/// The headers that a page wants to send. None if the list is invalid.
fn requested(headers: &HeaderMap) -> Option<Vec<HeaderName>> {
    let lines = || headers.get_all(header::ACCESS_CONTROL_REQUEST_HEADERS).iter().map(HeaderValue::as_bytes);
    if lines().map(<[u8]>::len).fold(0, usize::saturating_add) > MAX_NAMES_BYTES {
        return None;
    }
    // In a response, `*` would allow every header, and with credentials it makes the layer panic.
    let name = |name: &[u8]| HeaderName::from_bytes(name).ok().filter(|name| name != "*");
    // RFC 9110, section 5.6.1.2: "A recipient MUST parse and ignore a reasonable number of empty list elements".
    let names = lines().flat_map(|line| line.split(|byte| *byte == b',')).map(<[u8]>::trim_ascii);
    names.filter(|name| !name.is_empty()).map(name).collect()
}

/// The time for which a browser can cache a preflight.
const MAX_AGE: Duration = Duration::from_secs(600);
/// Bytes of header names that a preflight's response repeats.
const MAX_NAMES_BYTES: usize = 1024;

#[cfg(test)]
mod tests;
