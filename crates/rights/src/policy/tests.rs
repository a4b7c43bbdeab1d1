//! Policies from their JSON to the topics of a person.

use serde_json::{Value, json};
#[cfg(target_family = "wasm")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use super::*;

fn policy(json: &Value) -> Policy {
    Policy::parse(json.to_string().as_bytes()).unwrap()
}

fn claims(json: &Value) -> Claims {
    Claims::parse(json.to_string().as_bytes()).unwrap()
}

#[test]
fn entries_add_up_for_reading_and_writing() {
    let policy = policy(&json!({
        "identity": {"from_gateway": true},
        "claims": {"roles": ["https://app.example/roles"], "team": ["realm", "team"]},
        "read": [{"topic": "public.*"}, {"topic": "teams.${team}.*"}, {"topic": "*", "when": {"roles": ["admin"]}}],
        "write": [{"topic": "orders.${sub}"}, {"topic": "ops", "when": {"roles": ["ops", "admin"]}}],
    }));
    let check = |person: &Value, reads: &[&str], writes: &[&str]| {
        let rights = policy.rights(Some(&claims(person)));
        for topic in ["public.a", "teams.x.a", "teams.y.a", "orders.alice", "ops", "other"] {
            assert_eq!(rights.reads(topic), reads.contains(&topic), "{person} reads {topic}");
            assert_eq!(rights.writes(topic), writes.contains(&topic), "{person} writes {topic}");
        }
    };
    let all = ["public.a", "teams.x.a", "teams.y.a", "orders.alice", "ops", "other"];
    check(&json!({"sub": "alice"}), &["public.a"], &["orders.alice"]);
    let alice = json!({"sub": "alice", "realm": {"team": "x"}, "https://app.example/roles": ["ops"]});
    check(&alice, &["public.a", "teams.x.a"], &["orders.alice", "ops"]);
    check(&json!({"sub": "bob", "https://app.example/roles": "admin"}), &all, &["ops"]);
    check(&json!({"sub": ["alice"], "team": "x", "roles": ["admin"]}), &["public.a"], &["orders.alice"]);
    let nobody = policy.rights(None);
    assert!(nobody.reads("public.a") && !nobody.reads("teams..a") && !nobody.writes("orders."));
}

#[test]
fn absent_right_differs_from_one_without_topics() {
    let policy = policy(&json!({"identity": {"anonymous": true}, "read": [{"topic": "orders.${sub}"}]}));
    assert_eq!(policy.rights(None), Rights { read: Some(Topics::none()), write: None });
    assert_eq!(policy.rights(None).and(Rights::all()).write, None);
}

#[test]
fn capabilities_narrow_and_never_widen() {
    let policy = policy(&json!({
        "identity": {"token": "main"}, "capabilities": ["app", "cap"],
        "read": [{"topic": "a.*"}], "write": [{"topic": "a.*"}],
    }));
    let check = |person: &Value, topic: &str, want: (bool, bool)| {
        let rights = policy.rights(Some(&claims(person)));
        assert_eq!((rights.reads(topic), rights.writes(topic)), want, "{person} {topic}");
    };
    check(&json!({}), "a.1", (true, true));
    let of = |capabilities: Value| json!({"app": {"cap": capabilities}});
    let read = of(json!([{"topics": ["a.1", "b"], "allow": ["read"]}]));
    check(&read, "a.1", (true, false));
    check(&read, "a.2", (false, false));
    check(&read, "b", (false, false));
    check(&of(json!("x")), "a.1", (false, false));
}

#[test]
fn topics_of_a_person_are_bounded() {
    let policy = policy(&json!({
        "identity": {"from_gateway": true}, "claims": {"a": ["a"], "b": ["b"]},
        "read": [{"topic": "long.${a}"}, {"topic": "short.${b}"}, {"topic": "fixed"}],
    }));
    let long: Vec<String> = (0..200).map(|number| format!("{number}{}", "x".repeat(200))).collect();
    let rights = policy.rights(Some(&claims(&json!({"a": long, "b": ["1"]}))));
    assert!(!rights.reads(&format!("long.{}", long[0])));
    assert!(rights.reads("short.1") && rights.reads("fixed"));
}

#[test]
fn parsed_policy_is_written_as_it_was() {
    let text = json!({
        "identity": {"from_gateway": true, "token": "main", "anonymous": true},
        "claims": {"roles": ["r"]},
        "read": [{"topic": "a.${sub}.*", "when": {"roles": ["x", 1, true]}}],
        "write": [],
        "capabilities": ["c"],
    });
    let parsed = policy(&text);
    assert_eq!(serde_json::from_str::<Value>(&parsed.to_json()).unwrap(), text);
    assert_eq!(Policy::parse(parsed.to_json().as_bytes()), Ok(parsed));
    assert_eq!(Policy::default().to_json(), "{}");
}

#[test]
fn policies_whose_parts_do_not_fit_are_refused() {
    let refused = |json: Value, reason: &str| {
        let error = Policy::parse(json.to_string().as_bytes()).unwrap_err();
        assert!(error.contains(reason), "{json}: {error}");
    };
    let entries =
        |entries: Value| json!({"identity": {"from_gateway": true}, "claims": {"r": ["r"]}, "read": entries});
    refused(json!({"read": [{"topic": "a.${sub}"}]}), "identity: is missing, and entries use the claim sub");
    refused(json!({"read": [{"topic": "a", "when": {"sub": ["x"]}}]}), "use the claim sub");
    refused(json!({"capabilities": ["c"]}), "capabilities need it");
    refused(entries(json!([{"topic": "a.${team}"}])), "claims: has no team, which an entry uses");
    refused(
        entries(json!([{"topic": "a", "when": {"team": ["x"]}}])),
        "claims: has no team, which an entry uses",
    );
    refused(entries(json!([{"topic": "a.${r}*"}])), "between a placeholder and *");
    refused(entries(json!([{"topic": "a", "when": {}}])), "a condition names claims");
    refused(entries(json!([{"topic": "a", "unless": {}}])), "unknown field `unless`");
    refused(entries(json!(["a"])), "invalid type");
    refused(entries(json!(vec![json!({"topic": "a"}); 201])), "at most 200 entries");
    refused(json!({"claims": {"sub": ["user"]}}), "sub is the identity's own claim");
    refused(json!({"claims": {"a.b": ["user"]}}), "must have names of letters");
    refused(json!({"claims": {"a": []}}), "paths of 1 to 8 names");
    refused(json!({"identity": {"from": "jwt"}}), "unknown field `from`");
    refused(json!({"topics": []}), "unknown field `topics`");
    refused(json!([]), "invalid type: sequence");
}

/// One invariant: a person gets exactly the topics that a naive reading of policy and claims gives.
#[cfg(not(target_family = "wasm"))]
mod property {
    use proptest::prelude::*;
    use proptest::sample::select;

    use super::*;

    /// Values that could make two people's topics the same, or break a name.
    fn text() -> impl Strategy<Value = String> {
        prop::collection::vec(select(vec!["a", "b", ".", "-", "*", "é"]), 0..4)
            .prop_map(|parts| parts.concat())
    }

    fn value() -> impl Strategy<Value = Value> {
        let scalar = || {
            prop_oneof![
                text().prop_map(Value::from),
                select(vec![
                    json!(0),
                    json!(7),
                    json!(7.5),
                    json!(-1),
                    json!(null),
                    json!(true),
                    json!({"a": 1})
                ]),
            ]
        };
        prop_oneof![scalar(), prop::collection::vec(scalar(), 0..4).prop_map(Value::from)]
    }

    fn template() -> impl Strategy<Value = String> {
        let part = select(vec!["${x}", "${y}", "${sub}", ".", "-", "a", "b."]);
        (prop::collection::vec(part, 1..5), any::<bool>())
            .prop_map(|(parts, star)| parts.concat() + if star { "*" } else { "" })
            .prop_filter("invalid", |text| Template::parse(text).is_ok())
    }

    fn entry() -> impl Strategy<Value = Value> {
        let when = prop::option::of(prop::collection::vec(select(vec!["a", "b", "ops"]), 1..3));
        (template(), when).prop_map(|(topic, when)| match when {
            None => json!({"topic": topic}),
            Some(values) => json!({"topic": topic, "when": {"x": values}}),
        })
    }

    fn items(value: Option<&Value>) -> Vec<Value> {
        match value {
            None => Vec::new(),
            Some(Value::Array(items)) => items.clone(),
            Some(value) => vec![value.clone()],
        }
    }

    /// Whether an entry grants `topic`, by replacing its placeholders with one value after the other.
    fn grants(entry: &Value, person: &Value, topic: &str) -> bool {
        let value = |name: &str| items(person.get(name));
        if let Some(when) = entry.get("when") {
            let wanted = items(when.get("x"));
            if !value("x").iter().any(|value| wanted.contains(value)) {
                return false;
            }
        }
        let mut texts = vec![entry["topic"].as_str().unwrap().to_owned()];
        for name in ["x", "y", "sub"] {
            let placeholder = format!("${{{name}}}");
            let mut next = Vec::new();
            for text in &texts {
                if !text.contains(&placeholder) {
                    next.push(text.clone());
                    continue;
                }
                for value in value(name) {
                    let value = match &value {
                        Value::String(text) => text.clone(),
                        Value::Number(number) if number.as_u64().is_some() => number.to_string(),
                        _ => continue,
                    };
                    let template = entry["topic"].as_str().unwrap();
                    let reaches = template.match_indices(&placeholder).any(|(at, _)| {
                        let end = template[at + placeholder.len()..].chars().next();
                        end.is_some_and(|end| value.contains(end))
                    });
                    if !value.is_empty() && !value.contains(['*', 'é']) && !reaches {
                        next.push(text.replace(&placeholder, &value));
                    }
                }
            }
            texts = next;
        }
        texts.iter().any(|text| match text.strip_suffix('*') {
            Some(prefix) => topic.starts_with(prefix),
            None => text == topic && text != "." && text != "..",
        })
    }

    proptest! {
        #[test]
        fn person_gets_what_entries_say(
            read in prop::option::of(prop::collection::vec(entry(), 0..4)),
            write in prop::option::of(prop::collection::vec(entry(), 0..4)),
            (x, y, sub) in (prop::option::of(value()), prop::option::of(value()), prop::option::of(value())),
            topics in prop::collection::vec("[ab.-]{1,5}", 16),
        ) {
            let mut person = serde_json::Map::new();
            for (name, value) in [("x", x), ("y", y), ("sub", sub)] {
                person.extend(value.map(|value| (name.to_owned(), value)));
            }
            let person = Value::Object(person);
            let mut json = json!({"identity": {"from_gateway": true}, "claims": {"x": ["x"], "y": ["y"]}});
            for (name, entries) in [("read", &read), ("write", &write)] {
                if let Some(entries) = entries {
                    json[name] = json!(entries);
                }
            }
            let rights = policy(&json).rights(Some(&claims(&person)));
            for topic in &topics {
                let want = |entries: &Option<Vec<Value>>| {
                    entries.iter().flatten().any(|entry| grants(entry, &person, topic))
                };
                prop_assert_eq!(rights.reads(topic), want(&read), "{} reads {}: {}", person, topic, json);
                prop_assert_eq!(rights.writes(topic), want(&write), "{} writes {}: {}", person, topic, json);
            }
        }
    }
}
