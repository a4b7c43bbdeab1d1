//! The URL of the route, as clients see it.

use super::Request;

/// The URL of the gateway's route, without a slash at its end: the scheme, host and prefix that the gateway forwards, or
/// the host that the client asked, and the route's path. It is only told to the client whose request it is of.
pub(super) fn base_url(request: &Request<'_>) -> String {
    let one = |name: &str| {
        let first = request.headers.all(name).next().and_then(|line| std::str::from_utf8(line).ok())?;
        Some(first.split(',').next().unwrap_or_default().trim_ascii()).filter(|value| !value.is_empty())
    };
    let forwarded = one("forwarded");
    let of_forwarded = |wanted: &str| {
        let mut pairs = forwarded?.split(';').filter_map(|pair| pair.split_once('='));
        let (_, value) = pairs.find(|(name, _)| name.trim_ascii().eq_ignore_ascii_case(wanted))?;
        Some(value.trim_ascii().trim_matches('"'))
    };
    let scheme = of_forwarded("proto").or_else(|| one("x-forwarded-proto"));
    let scheme = scheme.filter(|scheme| ["http", "https"].contains(scheme)).unwrap_or("http");
    let host = of_forwarded("host").or_else(|| one("x-forwarded-host")).filter(|host| is_authority(host));
    let host = host.or_else(|| one("host")).or(request.authority).unwrap_or("localhost");
    let prefix = one("x-forwarded-prefix").filter(|path| is_path(path)).unwrap_or_default();
    let path = request.grant.route_name().filter(|path| path.starts_with('/')).unwrap_or_default();
    format!("{scheme}://{host}{}{}", prefix.trim_end_matches('/'), path.trim_end_matches('/'))
}

fn is_authority(host: &str) -> bool {
    !host.contains('@') && host.parse::<http::uri::Authority>().is_ok()
}

fn is_path(path: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/-._~%".contains(&byte);
    path.starts_with('/') && !path.starts_with("//") && path.bytes().all(is_plain)
}
