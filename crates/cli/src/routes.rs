//! The configurations of the gateway's filter in a file, read by the filter's own code.

mod yaml;

use std::fs;
use std::io;
use std::path::Path;

use sluicegate_filter::config::{Config, Host};

use crate::args::{self, RoutesFile};
use crate::failure::Failure;

/// The configuration of one filter.
pub(crate) struct Routes {
    /// The file, and the line at which the configuration begins if it is a part of it.
    pub(crate) place: String,
    pub(crate) config: Config,
}

/// A configuration before it is checked.
struct Found {
    /// None: it is the whole file.
    line: Option<u64>,
    json: String,
}

/// The configurations in a file, `-` for standard input: it is one, or the routes of one, or a gateway's YAML with any
/// number of them.
///
/// # Errors
/// The file cannot be read, has none, or has mistakes: all of them.
pub(crate) fn load(args: &RoutesFile) -> Result<Vec<Routes>, Failure> {
    let shown = args.file.display();
    let text = read(&args.file).map_err(|why| Failure::Input(format!("{shown}: {why}")))?;
    let host = match args.host {
        args::Host::Envoy => Host::Envoy,
        args::Host::Apisix => Host::Apisix,
    };
    let found = find(&text).map_err(|why| Failure::InvalidRoutes(vec![format!("{shown}: {why}")]))?;
    let (mut routes, mut mistakes) = (Vec::new(), Vec::new());
    for Found { line, json } in found {
        let place = line.map_or_else(|| shown.to_string(), |line| format!("{shown}:{line}"));
        match Config::parse(json.as_bytes(), || Ok(host)) {
            Ok(config) => routes.push(Routes { place, config }),
            Err(found) => mistakes.extend(found.iter().map(|mistake| format!("{place}: {mistake}"))),
        }
    }
    if mistakes.is_empty() { Ok(routes) } else { Err(Failure::InvalidRoutes(mistakes)) }
}

fn find(text: &str) -> Result<Vec<Found>, String> {
    // The filter's own parser says more about mistakes in JSON.
    let whole = |json: String| vec![Found { line: None, json }];
    match (text.trim_start().chars().next(), yaml::find(text)) {
        (Some('['), _) => Ok(whole(format!("{{\"routes\":{text}}}"))),
        (Some('{'), found) => {
            Ok(found.ok().filter(|found| !found.is_empty()).unwrap_or_else(|| whole(text.to_owned())))
        }
        (_, Ok(found)) if found.is_empty() => Err(NOTHING.to_owned()),
        (_, found) => found,
    }
}

/// The paths of a configuration's routes.
pub(crate) fn paths(config: &Config) -> Vec<&str> {
    let paths =
        config.routes.iter().map(|route| if route.path.is_empty() { "every path" } else { &route.path });
    paths.collect()
}

/// The text of a file, or of standard input for `-`.
pub(crate) fn read(file: &Path) -> io::Result<String> {
    if file == Path::new("-") { io::read_to_string(io::stdin()) } else { fs::read_to_string(file) }
}

const NOTHING: &str = "expected the filter's JSON, an array of its routes, or a gateway's YAML with the filter's configuration, which \
     Envoy takes as JSON in the `value` of a google.protobuf.StringValue";
