//! `check-routes`: checks the configuration of the gateway's filter with the filter's own code.

use std::borrow::Cow;
use std::fs;
use std::io;
use std::path::Path;

use sluicegate_filter::config::{Config, Host};

use crate::args::{self, CheckRoutes};
use crate::failure::Failure;
use crate::stderr::{printable, say};
use crate::stdout::Stdout;

pub(crate) async fn run(args: &CheckRoutes, quiet: bool, stdout: &mut Stdout) -> Result<(), Failure> {
    let file = args.file.display();
    let text = read(&args.file).map_err(|why| Failure::Input(format!("{file}: {why}")))?;
    let host = match args.host {
        args::Host::Envoy => Host::Envoy,
        args::Host::Apisix => Host::Apisix,
    };
    let configurations = configurations(&text);
    if configurations.is_empty() {
        return Err(Failure::InvalidRoutes(vec![format!("{file}: {NOTHING}")]));
    }
    let (mut mistakes, mut warnings, mut routes) = (Vec::new(), Vec::new(), String::new());
    for Configuration { line, json } in configurations {
        let place = line.map_or_else(|| file.to_string(), |line| format!("{file}:{line}"));
        match Config::parse(json.as_bytes(), || Ok(host)) {
            Ok(config) => {
                warnings.extend(config.warnings().map(|warning| format!("% {place}: {warning}")));
                routes.push_str(&format!("{}\n", printable(&format!("{place}: {}", summary(&config)))));
            }
            Err(found) => mistakes.extend(found.iter().map(|mistake| format!("{place}: {mistake}"))),
        }
    }
    if !mistakes.is_empty() {
        return Err(Failure::InvalidRoutes(mistakes));
    }
    if !quiet {
        warnings.iter().for_each(|warning| say(printable(warning)));
    }
    stdout.write(routes.as_bytes()).await
}

/// The configuration of one filter.
struct Configuration<'a> {
    /// The line of the file after which it begins, if it is a part of it.
    line: Option<usize>,
    json: Cow<'a, str>,
}

/// The configurations in a file: it is one, or the routes of one, or YAML with any number of them.
fn configurations(text: &str) -> Vec<Configuration<'_>> {
    match text.trim_start().chars().next() {
        Some('{') => vec![Configuration { line: None, json: text.into() }],
        Some('[') => vec![Configuration { line: None, json: format!("{{\"routes\":{text}}}").into() }],
        _ => of_yaml(text),
    }
}

/// The objects in block scalars such as `value: |`, as all of Envoy's examples have them. Anything else in the YAML is
/// Envoy's to check.
fn of_yaml(text: &str) -> Vec<Configuration<'_>> {
    let mut found = Vec::new();
    let mut lines = (1..).zip(text.lines()).peekable();
    while let Some((number, line)) = lines.next() {
        if !line.trim_end().ends_with("value: |") {
            continue;
        }
        let indentation = indentation(line);
        let mut json = String::new();
        while let Some((_, line)) =
            lines.next_if(|(_, next)| next.trim().is_empty() || self::indentation(next) > indentation)
        {
            json.push_str(line);
            json.push('\n');
        }
        if json.trim_start().starts_with('{') {
            found.push(Configuration { line: Some(number), json: json.into() });
        }
    }
    found
}

fn indentation(line: &str) -> usize {
    line.len().saturating_sub(line.trim_start().len())
}

fn summary(config: &Config) -> String {
    let paths =
        config.routes.iter().map(|route| if route.path.is_empty() { "every path" } else { &route.path });
    let paths: Vec<&str> = paths.collect();
    let unit = if paths.len() == 1 { "route" } else { "routes" };
    format!("{} valid {unit}: {}", paths.len(), paths.join(", "))
}

fn read(file: &Path) -> io::Result<String> {
    if file == Path::new("-") { io::read_to_string(io::stdin()) } else { fs::read_to_string(file) }
}

const NOTHING: &str =
    "expected the filter's JSON, an array of its routes, or Envoy's YAML with the JSON under `value: |`";
