//! The configurations in `apisix/` and the documents that users copy are valid.

use serde_json::{Map, Value};

use super::*;

const ROUTES: &str = include_str!("../../../../apisix/apisix.yaml");
const CONFIG: &str = include_str!("../../../../apisix/config.yaml");
const HOW_TO: &str = include_str!("../../../../docs/how-to/apisix.md");
const MOVING: &str = include_str!("../../../../docs/how-to/move-from-apisix-native.md");

/// Each `conf` of the YAML, of which this reads what stands there: blocks of settings, and values of one line each.
fn confs(yaml: &str) -> Vec<String> {
    let lines: Vec<_> = yaml.lines().filter(|line| !line.trim_start().starts_with('#')).collect();
    let begins = lines.iter().enumerate().filter(|(_, line)| line.trim() == "conf:");
    begins.map(|(at, line)| block(inside(line, &lines[at + 1..])).to_string()).collect()
}

fn block(mut lines: &[&str]) -> Value {
    let mut settings = Map::new();
    while let [line, after @ ..] = lines {
        let (key, value) = line.trim().split_once(':').unwrap_or_else(|| panic!("no setting: {line}"));
        let inner = inside(line, after);
        let value = if value.is_empty() { block(inner) } else { scalar(value.trim()) };
        settings.insert(key.to_owned(), value);
        lines = &after[inner.len()..];
    }
    Value::Object(settings)
}

/// Lines that are indented further.
fn inside<'a, 'b>(line: &str, after: &'a [&'b str]) -> &'a [&'b str] {
    let depth = |line: &str| line.len() - line.trim_start().len();
    &after[..after.iter().take_while(|inner| depth(inner) > depth(line)).count()]
}

fn scalar(value: &str) -> Value {
    let between = |begin, end| value.strip_prefix(begin).and_then(|list| list.strip_suffix(end));
    if let Some(list) = between('[', ']') {
        return list.split(',').map(|item| scalar(item.trim())).collect();
    }
    if let Some(list) = between('{', '}') {
        let pairs =
            list.split(',').map(|pair| pair.split_once(": ").unwrap_or_else(|| panic!("no pair: {pair}")));
        return pairs.map(|(key, value)| (key.trim().trim_matches('"').to_owned(), scalar(value))).collect();
    }
    serde_json::from_str(value).unwrap_or_else(|_| value.into())
}

#[test]
fn documented_routes_are_valid() {
    let confs = confs(ROUTES);
    assert_eq!(confs.len(), ROUTES.matches("conf:").count());
    let paths = confs.iter().map(|conf| {
        let config = parse_in_apisix(conf).unwrap_or_else(|mistakes| panic!("{conf}: {mistakes:?}"));
        config.routes[0].path.clone()
    });
    assert_eq!(paths.collect::<Vec<_>>(), ["", "", "/kafka"]);
}

/// Copies of the files must not contain a published key.
#[test]
fn documented_secrets_are_variables_that_the_workers_get() {
    let values = ROUTES.lines().map(str::trim).filter_map(|line| line.split_once(": "));
    let secrets = values.filter(|(key, _)| ["key", "gateway_secret"].contains(key));
    let secrets: Vec<_> = secrets.filter(|(_, value)| *value != "consumer_name").collect();
    assert_eq!(secrets.len(), 4);
    for (key, value) in secrets {
        let variable = value.strip_prefix("\"${{").and_then(|value| value.strip_suffix("}}\""));
        let variable = variable.unwrap_or_else(|| panic!("{key}: {value}"));
        assert!(
            CONFIG.contains(&format!("    - {variable}\n")) && HOW_TO.contains(&format!("{variable}=\"$("))
        );
    }
}

#[test]
fn examples_for_the_admin_api_are_valid() {
    let examples: Vec<_> = HOW_TO.split(r#""conf": "#).skip(1).collect();
    assert_eq!(examples.len(), 3);
    for example in examples {
        let mut values = serde_json::Deserializer::from_str(example).into_iter::<Value>();
        let conf = values.next().unwrap().unwrap().to_string();
        parse_in_apisix(&conf).unwrap_or_else(|mistakes| panic!("{conf}: {mistakes:?}"));
    }
}

#[test]
fn secret_alone_is_refused_as_documented() {
    let mistakes = parse_in_apisix(r#"{"gateway_secret": "a-secret-of-16-or-more"}"#).unwrap_err();
    let (_, refusal) = HOW_TO.split_once("alone is refused (`").unwrap();
    let (refusal, _) = refusal.split_once('`').unwrap();
    assert!(mistakes.iter().any(|mistake| mistake.contains(refusal)), "{refusal}: {mistakes:?}");
}

/// The right column of what stands side by side.
#[test]
fn migrated_native_route_is_valid() {
    let lines: Vec<_> = MOVING.lines().skip_while(|line| !line.starts_with("# before")).collect();
    let column = lines[0].find("# here").unwrap();
    let here = lines.iter().take_while(|line| **line != "```").filter_map(|line| line.get(column..));
    let confs = confs(&here.map(|line| format!("{line}\n")).collect::<String>());
    let [conf] = &confs[..] else { panic!("{confs:?}") };
    let config = parse_in_apisix(conf).unwrap_or_else(|mistakes| panic!("{conf}: {mistakes:?}"));
    assert!(conf.contains("kafka-1:9093") && conf.contains("username"), "{conf}");
    assert_eq!(config.routes.len(), 1);
}
