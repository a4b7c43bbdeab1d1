//! `check-routes`: checks the configuration of the gateway's filter with the filter's own code.

use sluicegate_filter::config::Config;

use crate::args::CheckRoutes;
use crate::failure::Failure;
use crate::routes::{self, Routes};
use crate::stderr::{printable, say};
use crate::stdout::Stdout;

pub(crate) async fn run(args: &CheckRoutes, quiet: bool, stdout: &mut Stdout) -> Result<(), Failure> {
    let mut routes = String::new();
    for Routes { place, config } in routes::load(&args.routes)? {
        for warning in config.warnings().filter(|_| !quiet) {
            say(printable(&format!("% {place}: {warning}")));
        }
        routes.push_str(&format!("{}\n", printable(&format!("{place}: {}", summary(&config)))));
    }
    stdout.write(routes.as_bytes()).await
}

fn summary(config: &Config) -> String {
    let paths = routes::paths(config);
    let unit = if paths.len() == 1 { "route" } else { "routes" };
    format!("{} valid {unit}: {}", paths.len(), paths.join(", "))
}
