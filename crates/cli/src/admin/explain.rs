//! `admin explain`: what a client may do on a route, and why not. The bridge gets the headers that the gateway would send,
//! and answers by its own checks.

mod answer;

use std::path::Path;

use hyper::http::Method;
use sluicegate_filter::config::{Config, Kind, Route, Source};
use sluicegate_filter::token;
use sluicegate_protocol::http_route::Resource;
use sluicegate_protocol::metadata;
use sluicegate_rights::Claims;

use super::port::Port;
use super::{invalid, line, query};
use crate::args::{Explain, Gateway};
use crate::failure::Failure;
use crate::routes::{self, Routes};
use crate::settings::Settings;
use crate::stderr::{printable, say};
use crate::stdout::Stdout;
use answer::Answer;

pub(crate) async fn run(
    args: &Explain,
    settings: &Settings,
    gateway: &Gateway,
    stdout: &mut Stdout,
) -> Result<(), Failure> {
    let port = Port::new(settings, gateway.timeout)?;
    let routes = routes::load(&args.routes)?;
    let (config, route) = route(&routes, &args.path).map_err(|why| Failure::InvalidRoutes(vec![why]))?;
    let identity = identity(args, route, gateway.quiet)?;
    // The operator's token stands for the gateway's secret.
    let of_gateway = config.metadata(route).filter(|(name, _)| *name != metadata::GATEWAY_SECRET);
    let of_client = identity.iter().map(|(name, value)| (*name, value.as_str()));
    let headers: Vec<(&str, &str)> = of_gateway.chain(of_client).collect();
    let topics: Vec<(&str, String)> = args.topic.iter().map(|topic| ("topic", topic.clone())).collect();
    let body = port.call(Method::POST, &format!("/explain?{}", query(&topics)), &headers).await?;
    let answer: Answer = serde_json::from_slice(&body).map_err(invalid)?;
    let text = match args.json {
        true => line(serde_json::from_slice(&body).map_err(invalid)?),
        false => {
            let lines = std::iter::once(summary(route)).chain(answer.lines(args.right));
            lines.map(|line| format!("{}\n", printable(&line))).collect()
        }
    };
    stdout.write(text.as_bytes()).await?;
    if answer.allows(args.right) { Ok(()) } else { Err(Failure::Denied) }
}

/// The route of a request for `path`, as the filter finds it: gateways normalise paths before.
fn route<'a>(all: &'a [Routes], path: &str) -> Result<(&'a Config, &'a Route), String> {
    let path = &normalised(path);
    let found = all
        .iter()
        .filter_map(|Routes { place, config }| Some((place, config, config.route(path.as_bytes())?)));
    match &found.collect::<Vec<_>>()[..] {
        [(_, config, route)] => Ok((config, route)),
        [] => {
            let paths: Vec<&str> = all.iter().flat_map(|routes| routes::paths(&routes.config)).collect();
            Err(format!("no route for {path}: expected one of {}", paths.join(", ")))
        }
        several => {
            let places: Vec<&str> = several.iter().map(|(place, ..)| place.as_str()).collect();
            Err(format!("several routes for {path}: {}; use a file with one of them", places.join(", ")))
        }
    }
}

/// A path without its query, repeated slashes, `.` and `..` (RFC 3986, section 5.2.4).
fn normalised(path: &str) -> String {
    let path = path.split(['?', '#']).next().unwrap_or_default();
    let mut segments = Vec::new();
    for segment in path.split('/') {
        match segment {
            "" | "." => {}
            ".." => drop(segments.pop()),
            segment => segments.push(segment),
        }
    }
    let is_directory = matches!(path.rsplit('/').next(), Some("" | "." | ".."));
    let slash = if is_directory && !segments.is_empty() { "/" } else { "" };
    format!("/{}{slash}", segments.join("/"))
}

/// The header with the client's identity; None: the gateway sends none.
fn identity(args: &Explain, route: &Route, quiet: bool) -> Result<Option<(&'static str, String)>, Failure> {
    let personal = route.grant.policy.as_ref();
    let Some((personal, source)) = personal.and_then(|personal| Some((personal, personal.source.as_ref()?)))
    else {
        if (args.client_token_file.is_some() || args.claims.is_some()) && !quiet {
            say(
                "% the route has no `identity`: its clients are nobody in particular, with and without a token",
            );
        }
        return Ok(None);
    };
    match (source, &args.claims) {
        (Source::Token(_), Some(_)) => Err(Failure::Settings(
            "this route takes a token: use --client-token-file instead of --claims".into(),
        )),
        (Source::Token(_), None) => {
            let Some(token) = client_token(args)? else { return Ok(None) };
            match token::can_be_one(token.as_bytes()) {
                true => Ok(Some((metadata::TOKEN, token))),
                false => Err(Failure::Settings(token::EXPECTED.into())),
            }
        }
        (_, None) if args.client_token_file.is_some() => Err(Failure::Settings(
            "the gateway of this route verifies tokens: use --claims with what it tells the bridge".into(),
        )),
        (_, None) => Ok(None),
        (_, Some(file)) => {
            let claims = Claims::parse(read(file)?.as_bytes());
            let claims = claims.ok_or_else(|| unreadable(file, "expected claims as a JSON object"))?;
            let told = personal.told(&claims).map_err(|why| Failure::Settings(why.into()))?;
            Ok(Some((metadata::IDENTITY, told)))
        }
    }
}

fn client_token(args: &Explain) -> Result<Option<String>, Failure> {
    let Some(file) = &args.client_token_file else {
        return Ok(std::env::var("SLUICEGATE_CLIENT_TOKEN").ok().filter(|token| !token.is_empty()));
    };
    match read(file)?.trim() {
        "" => Err(unreadable(file, "expected a JSON Web Token, the file is empty")),
        token => Ok(Some(token.to_owned())),
    }
}

fn read(file: &Path) -> Result<String, Failure> {
    routes::read(file).map_err(|why| unreadable(file, &why.to_string()))
}

fn unreadable(file: &Path, why: &str) -> Failure {
    Failure::Input(format!("{}: {why}", file.display()))
}

/// The route, and its topics if they are the same for everybody: otherwise, the answer has its entries.
fn summary(route: &Route) -> String {
    let kind = match &route.kind {
        Kind::Pubsub { .. } => "pubsub",
        Kind::Http(http) => match &http.resource {
            Some(Resource::Produce(_)) => "produce",
            Some(Resource::Streams(_)) => "streams",
            _ => "rest",
        },
    };
    let grant = &route.grant;
    let topics = match &grant.policy {
        Some(_) => String::new(),
        None => {
            let rights = [(grant.read, "read"), (grant.write, "write")];
            let rights: Vec<&str> = rights.iter().filter(|(has, _)| *has).map(|(_, right)| *right).collect();
            let topics = grant.topics.as_deref().unwrap_or("every topic");
            format!(": everybody may {} {topics}", rights.join(" and "))
        }
    };
    format!("route {} ({kind}){topics}", route.name())
}
