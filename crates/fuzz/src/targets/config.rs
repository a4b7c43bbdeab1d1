//! The configurations of bridge and filter, and what the filter decodes of a request.

use sluicegate_bridge::config::Config as BridgeConfig;
use sluicegate_filter::config::{Config, Host};
use sluicegate_filter::token::{self, Places};
use sluicegate_filter::{dynamic_metadata, pairs, url};

use super::parts;

/// TOML. It can name files, which are read up to a limit.
pub(super) fn of_bridge(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    if let Err(problems) = BridgeConfig::load(text, std::iter::empty()) {
        assert!(!problems.is_empty(), "a refusal without a problem");
    }
}

/// A target, NUL, the configuration in JSON. Without NUL: a map of headers in the ABI's form, or Envoy's metadata.
pub(super) fn of_filter(input: &[u8]) {
    if !input.contains(&0) || input.first() == Some(&0) {
        let headers = pairs::read(input);
        assert!(headers.len() <= input.len(), "{} headers", headers.len());
        let places = Places { query: Some("token".to_owned()), cookie: Some("token".to_owned()) };
        drop(token::find(&headers, &places));
        drop(dynamic_metadata::claims(input, "jwt", Some("payload")));
        return;
    }
    let [target, json] = parts(input);
    let _ = url::text(target);
    match Config::parse(json, || Ok(Host::Envoy)) {
        Err(mistakes) => assert!(!mistakes.is_empty(), "a refusal without a mistake"),
        Ok(config) => {
            if let Some(route) = config.route(target) {
                assert!(config.metadata(route).count() > 0, "a route without a header");
            }
        }
    }
}
