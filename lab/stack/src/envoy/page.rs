//! The live page and the examples, which Envoy serves itself.

use std::ffi::OsStr;

use super::local_hosts;
use crate::{Error, tools};

/// Adds Envoy routes for the page `home`, [`LIVE_PAGE`] or [`NATS_PAGE`], at `/`, and for the examples. The gateway
/// answers under the names of this machine and its `port` only.
pub fn page(home: &'static str, port: u16) -> Result<[(String, String); 2], Error> {
    let routes = [("/", home)].into_iter().chain(FILES).map(|(path, file)| {
        let policy = if file == LIVE_PAGE { PAGE_POLICY } else { EXAMPLE_POLICY };
        served(path, file, policy)
    });
    Ok(edits(port, &routes.collect::<Result<String, Error>>()?))
}

/// Adds Envoy routes for the page at `/` on which users log in at `issuer`, as [`page`].
pub fn login_page(port: u16, issuer: &str) -> Result<[(String, String); 2], Error> {
    let policy = format!("{EXAMPLE_POLICY}; img-src data:; connect-src 'self' {issuer}");
    let files = LOGIN_FILES.into_iter().map(|(path, file)| served(path, file, &policy));
    let files = files.collect::<Result<String, Error>>()?;
    let settings = format!(
        "- {{match: {{path: /login.json}}, direct_response: \
         {{status: 200, body: {{inline_string: '{{\"issuer\": \"{issuer}\"}}'}}}}}}\n{INDENT}"
    );
    Ok(edits(port, &(files + &settings)))
}

/// A route for a file, and the indentation of the next one.
fn served(path: &str, file: &str, policy: &str) -> Result<String, Error> {
    let file = tools::built(file)?;
    let kind = match file.extension().and_then(OsStr::to_str) {
        Some("js") => "text/javascript",
        Some("css") => "text/css",
        _ => "text/html",
    };
    let headers =
        [("content-type", kind), ("content-security-policy", policy), ("cache-control", "no-cache")];
    let headers = headers
        .map(|(key, value)| format!("{{header: {{key: {key}, value: {value:?}}}, append_action: {SET}}}"));
    Ok(format!(
        "- {{match: {{path: {path}}}, direct_response: {{status: 200, body: {{filename: {file:?}}}}}, \
         response_headers_to_add: [{}]}}\n{INDENT}",
        headers.join(", ")
    ))
}

/// The edits that add `routes`, for the names of this machine only.
fn edits(port: u16, routes: &str) -> [(String, String); 2] {
    let hosts = |domains: &str| {
        format!("virtual_hosts:\n            - name: sluicegate\n              domains: [{domains}]\n")
    };
    let domains = local_hosts(port).map(|host| format!("'{host}'")).join(", ");
    // The default is 4 KiB.
    let limit = format!("max_direct_response_body_size_bytes: 1048576\n            {}", hosts(&domains));
    [(hosts("'*'"), limit), (NEXT.to_owned(), format!("{routes}{NEXT}"))]
}

/// The page that shows a topic of Kafka.
pub const LIVE_PAGE: &str = "examples/live-page/dist/index.html";
/// The page that shows a stream of NATS.
pub const NATS_PAGE: &str = "examples/nats.html";
/// Paths, and files in the workspace.
const FILES: [(&str, &str); 7] = [
    ("/page.js", "examples/live-page/dist/page.js"),
    ("/page.css", "examples/live-page/dist/page.css"),
    ("/eventsource.html", "examples/eventsource.html"),
    ("/json-session.html", "examples/json-session.html"),
    ("/client.html", "examples/client.html"),
    ("/nats.html", NATS_PAGE),
    ("/sluicegate.min.js", CLIENT),
];
/// The same of the page of users who log in.
const LOGIN_FILES: [(&str, &str); 3] = [
    ("/", "examples/login/index.html"),
    ("/oidc-client-ts.min.js", "node_modules/oidc-client-ts/dist/browser/oidc-client-ts.min.js"),
    ("/sluicegate.min.js", CLIENT),
];
const CLIENT: &str = "clients/typescript/dist/sluicegate.min.js";
/// Scripts and connections of this origin alone. The empty icon is a `data:` URL.
const PAGE_POLICY: &str = "default-src 'self'; img-src 'self' data:";
/// The examples' scripts are inline, too.
const EXAMPLE_POLICY: &str = "default-src 'self' 'unsafe-inline'";
/// The route before which these are put.
const NEXT: &str = "- match: {path: /readyz}";
const SET: &str = "OVERWRITE_IF_EXISTS_OR_ADD";
const INDENT: &str = "              ";
