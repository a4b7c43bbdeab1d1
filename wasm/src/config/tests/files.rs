//! The configurations in `apisix/` and the documents that users copy are valid.

use serde_json::Value;

use super::*;

const ROUTES: &str = include_str!("../../../../apisix/apisix.yaml");
const CONFIG: &str = include_str!("../../../../apisix/config.yaml");
const HOW_TO: &str = include_str!("../../../../docs/how-to/apisix.md");
const MOVING: &str = include_str!("../../../../docs/how-to/move-from-apisix-native.md");

/// Each `conf` of the YAML.
fn confs(yaml: &str) -> Vec<String> {
    fn collect(value: &Value, confs: &mut Vec<String>) {
        match value {
            Value::Array(items) => items.iter().for_each(|item| collect(item, confs)),
            Value::Object(members) => {
                confs.extend(members.get("conf").map(Value::to_string));
                members.values().for_each(|member| collect(member, confs));
            }
            _ => {}
        }
    }
    let mut confs = Vec::new();
    collect(&serde_saphyr::from_str(yaml).expect("YAML"), &mut confs);
    confs
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
