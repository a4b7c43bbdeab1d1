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

/// A byte for the kind, then a target, NUL and the configuration in JSON; or a map of headers in the ABI's form; or Envoy's
/// metadata.
///
/// A map is the same once it is written and read again.
pub(super) fn of_filter(input: &[u8]) {
    let Some((kind, rest)) = input.split_first() else { return };
    match kind % 3 {
        0 => filter_config(rest),
        1 => {
            let headers = pairs::read(rest);
            assert_eq!(pairs::read(&pairs::write(&headers)), headers);
            let places = Places { query: Some("token".to_owned()), cookie: Some("token".to_owned()) };
            drop(token::find(&headers, &places));
        }
        _ => {
            drop(dynamic_metadata::claims(rest, "jwt", None));
            drop(dynamic_metadata::claims(rest, "jwt", Some("payload")));
        }
    }
}

fn filter_config(input: &[u8]) {
    let [target, json] = parts(input);
    let encoded = url::encoded(target);
    assert!(encoded.is_none_or(|encoded| url::encoded(encoded.as_bytes()).is_none()));
    match Config::parse(json, || Ok(Host::Envoy)) {
        Err(mistakes) => assert!(!mistakes.is_empty(), "a refusal without a mistake"),
        Ok(config) => {
            if let Some(route) = config.route(target) {
                assert!(config.metadata(route).count() > 0, "a route without a header");
            }
        }
    }
}
