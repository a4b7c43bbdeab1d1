//! What `apisix/` offers to copy is what the filter takes.

use serde_json::{Map, Value};

use super::*;

const ROUTES: &str = include_str!("../../../../apisix/apisix.yaml");
const CONFIG: &str = include_str!("../../../../apisix/config.yaml");
const README: &str = include_str!("../../../../apisix/README.md");

/// Each `conf` of the file, of whose YAML this reads what stands there: settings of one line each.
fn confs(yaml: &str) -> Vec<String> {
    let mut confs = Vec::new();
    let mut lines = yaml.lines();
    while let Some(line) = lines.by_ref().find(|line| line.trim() == "conf:") {
        let depth = line.len() - line.trim_start().len();
        let settings = lines.by_ref().take_while(|line| line.len() - line.trim_start().len() > depth);
        let settings = settings.filter(|line| !line.trim_start().starts_with('#')).map(|line| {
            let (key, value) = line.trim().split_once(": ").unwrap_or_else(|| panic!("no setting: {line}"));
            (key.to_owned(), scalar(value))
        });
        confs.push(Value::Object(settings.collect::<Map<_, _>>()).to_string());
    }
    confs
}

fn scalar(value: &str) -> Value {
    let list = value.strip_prefix('[').and_then(|list| list.strip_suffix(']'));
    match list {
        Some(list) => list.split(',').map(|item| scalar(item.trim())).collect(),
        None => serde_json::from_str(value).unwrap_or_else(|_| value.into()),
    }
}

#[test]
fn the_routes_to_copy_are_taken() {
    let confs = confs(ROUTES);
    assert_eq!(confs.len(), ROUTES.matches("conf:").count());
    let paths = confs.iter().map(|conf| {
        let config = parse_in_apisix(conf).unwrap_or_else(|mistakes| panic!("{conf}: {mistakes:?}"));
        config.routes[0].path.clone()
    });
    assert_eq!(paths.collect::<Vec<_>>(), ["", "", "/kafka"]);
}

/// Whoever copies them gives no client a key that is printed here.
#[test]
fn secrets_to_copy_are_variables_that_the_workers_get() {
    let values = ROUTES.lines().map(str::trim).filter_map(|line| line.split_once(": "));
    let secrets = values.filter(|(key, _)| ["key", "gateway_secret"].contains(key));
    let secrets: Vec<_> = secrets.filter(|(_, value)| *value != "consumer_name").collect();
    assert_eq!(secrets.len(), 4);
    for (key, value) in secrets {
        let variable = value.strip_prefix("\"${{").and_then(|value| value.strip_suffix("}}\""));
        let variable = variable.unwrap_or_else(|| panic!("{key}: {value}"));
        assert!(
            CONFIG.contains(&format!("    - {variable}\n")) && README.contains(&format!("{variable}=\"$("))
        );
    }
}

#[test]
fn the_examples_for_the_admin_api_are_taken() {
    let examples: Vec<_> = README.split(r#""conf": "#).skip(1).collect();
    assert_eq!(examples.len(), 2);
    for example in examples {
        let mut values = serde_json::Deserializer::from_str(example).into_iter::<Value>();
        let conf = values.next().unwrap().unwrap().to_string();
        parse_in_apisix(&conf).unwrap_or_else(|mistakes| panic!("{conf}: {mistakes:?}"));
    }
}
