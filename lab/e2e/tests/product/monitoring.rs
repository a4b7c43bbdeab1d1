//! The dashboard and the alerts name metrics and sections that exist. `./dev alerts` runs the rules themselves.

use std::collections::BTreeSet;
use std::fs;

use serde_json::Value;
use sluicegate_stack::tools;

fn read(path: &str) -> String {
    fs::read_to_string(tools::workspace().join(path)).unwrap()
}

/// The names in the generated tables of the reference, as Prometheus sees them.
fn metrics() -> BTreeSet<String> {
    let page = read("docs/reference/metrics.md");
    let (bridge, filter) = page.split_once("<!-- generated: filter metrics -->").unwrap();
    let rows = |text: &str| -> Vec<(String, String)> {
        let cells = text.lines().filter_map(|line| line.strip_prefix("| `")?.split_once("` | "));
        cells.map(|(name, rest)| (name.to_owned(), rest.split(' ').next().unwrap().to_owned())).collect()
    };
    let mut names = BTreeSet::new();
    for (name, kind) in rows(bridge) {
        match kind.as_str() {
            "histogram" => names.extend(["bucket", "sum", "count"].map(|part| format!("{name}_{part}"))),
            _ => drop(names.insert(name)),
        }
    }
    names.extend(rows(filter).into_iter().map(|(name, _)| format!("sluicegate_{}", name.replace('.', "_"))));
    names
}

/// The metrics that an expression names.
fn named(expression: &str) -> impl Iterator<Item = &str> {
    let words = expression.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    words.filter(|word| word.starts_with("sluicegate_"))
}

#[track_caller]
fn check(expressions: &[String]) {
    let metrics = metrics();
    assert!(metrics.len() > 50, "{metrics:?}");
    for expression in expressions {
        for name in named(expression) {
            assert!(metrics.contains(name), "{name} of {expression} is not in docs/reference/metrics.md");
        }
    }
    assert!(expressions.iter().flat_map(|expression| named(expression)).count() > 5, "{expressions:?}");
}

#[test]
fn dashboard_names_metrics_that_exist() {
    let dashboard: Value = serde_json::from_str(&read("deploy/grafana/sluicegate.json")).unwrap();
    let panels = dashboard["panels"].as_array().unwrap();
    let targets = panels.iter().flat_map(|panel| panel["targets"].as_array().unwrap());
    let mut expressions: Vec<String> =
        targets.map(|target| target["expr"].as_str().unwrap().to_owned()).collect();
    assert!(expressions.iter().all(|expression| named(expression).count() > 0), "{expressions:?}");
    let variables = dashboard["templating"]["list"].as_array().unwrap();
    expressions.extend(
        variables.iter().filter_map(|variable| variable["query"]["query"].as_str().map(str::to_owned)),
    );
    check(&expressions);
}

#[test]
fn each_alert_is_tested_and_links_its_section() {
    let rules: Value = serde_saphyr::from_str(&read("deploy/prometheus/alerts.yaml")).unwrap();
    let tests = read("deploy/prometheus/alerts.test.yaml");
    let page = read("docs/how-to/troubleshoot.md");
    let rules = rules["groups"][0]["rules"].as_array().unwrap();
    assert!(rules.len() > 8, "{rules:?}");
    for rule in rules {
        let name = rule["alert"].as_str().unwrap();
        assert!(page.contains(&format!("\n### {name}\n")), "troubleshoot.md has no section {name}");
        let (annotations, anchor) = (&rule["annotations"], name.to_lowercase());
        assert_eq!(annotations["runbook_url"], format!("docs/how-to/troubleshoot.md#{anchor}"));
        assert!(annotations["summary"].is_string() && annotations["description"].is_string(), "{name}");
        let fires = format!("    alertname: {name}\n    exp_alerts:\n    - ");
        let is_silent = format!("alertname: {name}, exp_alerts: []");
        assert!(tests.contains(&fires) && tests.contains(&is_silent), "{name} has no test");
    }
    check(&rules.iter().map(|rule| rule["expr"].as_str().unwrap().to_owned()).collect::<Vec<_>>());
}
