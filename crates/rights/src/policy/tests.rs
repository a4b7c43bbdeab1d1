//! Policies from their JSON to the topics of a person.

use serde_json::{Value, json};
#[cfg(target_family = "wasm")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use super::*;
use crate::topics::Topics;

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
fn entries_that_grant_nothing_say_why() {
    let policy = policy(&json!({
        "identity": {"from_gateway": true}, "claims": {"roles": ["roles"], "many": ["many"]},
        "read": [
            {"topic": "a.${sub}", "only": {"key_prefix": "${sub}:"}}, {"topic": "*", "when": {"roles": ["admin"]}},
            {"topic": "x.${roles}"}, {"topic": "${many}"}, {"topic": "fixed"},
        ],
    }));
    let many: Vec<_> = (0..200).map(|number| format!("{number:0>200}")).collect();
    let alice = claims(&json!({"sub": "alice", "many": many}));
    let outcomes = policy.outcomes(policy.read.as_deref().unwrap(), &alice);
    let row = Row::KeyPrefix("alice:".into());
    let granted = Ok(vec![(Pattern::Name("a.alice".into()), Some(row))]);
    // An entry that does not fit takes no room from others.
    let fixed = Ok(vec![(Pattern::Name("fixed".into()), None)]);
    let [when, missing, many] = [NotGranted::Condition, NotGranted::Claims, NotGranted::Room].map(Err);
    let want = [granted, when, missing, many, fixed];
    assert_eq!(outcomes.into_iter().map(|(_, outcome)| outcome).collect::<Vec<_>>(), want);
}

#[test]
fn absent_right_differs_from_one_without_topics() {
    let policy = policy(&json!({"identity": {"anonymous": true}, "read": [{"topic": "orders.${sub}"}]}));
    assert_eq!(policy.rights(None), Rights { read: Some(Topics::none()), ..Rights::default() });
    assert_eq!(policy.rights(None).and(Rights::all()).write, None);
}

#[test]
fn groups_are_granted_as_topics_are() {
    let policy = policy(&json!({
        "identity": {"from_gateway": true}, "claims": {"roles": ["roles"]}, "capabilities": ["cap"],
        "read": [{"topic": "*"}],
        "consume": [{"topic": "of-${sub}-*"}, {"topic": "reports", "when": {"roles": ["auditor"]}}],
    }));
    let check = |person: Value, want: &[&str]| {
        let groups = policy.rights(Some(&claims(&person))).consume.unwrap();
        for group in ["of-alice-1", "of-bob-1", "of-", "reports"] {
            assert_eq!(groups.contains(group), want.contains(&group), "{person} {group}");
        }
    };
    check(json!({"sub": "alice"}), &["of-alice-1"]);
    check(json!({"sub": "bob", "roles": "auditor"}), &["of-bob-1", "reports"]);
    check(json!({"roles": "other"}), &[]);
    check(json!({"sub": "bob", "cap": [{"topics": ["a"], "allow": ["read"]}]}), &["of-bob-1"]);
    check(json!({"sub": "bob", "cap": "malformed"}), &[]);
    let only = r#"{"read": [{"topic": "a"}], "consume": [{"topic": "g", "only": {"key_prefix": "k"}}]}"#;
    let refused = Policy::parse(only.as_bytes()).unwrap_err();
    assert_eq!(refused, "consume: must have no `only`: groups have no records");
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

/// A record is visible by any entry of its topic; all that narrow the route hold for it, too.
#[test]
fn rows_of_entries_add_up() {
    let policy = policy(&json!({
        "identity": {"from_gateway": true}, "claims": {"roles": ["roles"], "team": ["team"]},
        "read": [
            {"topic": "all", "only": {"key_prefix": "${sub}:"}},
            {"topic": "a*", "only": {"header": "tenant", "is": "${team}"}},
            {"topic": "all", "when": {"roles": ["auditor"]}},
            {"topic": "t.${team}", "only": {"key_prefix": "${team}/"}},
        ],
    }));
    let rows = |person: Value, topic: &str| {
        let rows = policy.rights(Some(&claims(&person))).read.unwrap().rows(topic);
        rows.map(|rows| rows.groups().map(|rows| rows.iter().map(|row| (**row).clone()).collect()).collect())
    };
    let key = |prefix: &str| Row::KeyPrefix(prefix.into());
    let tenant = |value: &str| Row::Header { name: "tenant".into(), value: value.into() };
    let mine: Vec<Vec<Row>> = vec![vec![key("u:"), tenant("x:"), tenant("y")]];
    assert_eq!(rows(json!({"sub": "u", "team": ["x:", "y"]}), "all"), Some(mine));
    assert_eq!(rows(json!({"sub": "u:"}), "all"), None);
    assert_eq!(rows(json!({"sub": "u", "roles": "auditor"}), "all"), Some(vec![]));
    assert_eq!(rows(json!({"sub": "u", "team": "x"}), "a1"), Some(vec![vec![tenant("x")]]));
    let teams = json!({"sub": "u", "team": ["x", "y"]});
    assert_eq!(rows(teams.clone(), "t.x"), Some(vec![vec![key("x/")]]));
    let narrowed = policy.rights(Some(&claims(&teams))).and(Rights::all()).read.unwrap();
    assert!(!narrowed.rows("t.y").unwrap().is_all() && narrowed.rows("t.z").is_none());
}

#[test]
fn parsed_policy_is_written_as_it_was() {
    let text = json!({
        "identity": {"from_gateway": true, "token": "main", "anonymous": true},
        "claims": {"roles": ["r"]},
        "read": [{"topic": "a.${sub}.*", "when": {"roles": ["x", 1, true]}}],
        "write": [{"topic": "all", "only": {"header": "tenant", "is": "${sub}"}}],
        "capabilities": ["c"],
    });
    let parsed = policy(&text);
    assert_eq!(serde_json::from_str::<Value>(&parsed.to_json()).unwrap(), text);
    assert_eq!(Policy::parse(parsed.to_json().as_bytes()), Ok(parsed));
    assert_eq!(Policy::default().to_json(), "{}");
}

#[test]
fn route_without_a_quota_has_that_of_the_reference() {
    let page = include_str!("../../../../docs/reference/filter-configuration.md");
    let quota = serde_json::to_value(policy(&json!({"identity": {}})).quota).unwrap();
    for (key, most) in quota.as_object().unwrap() {
        let row = format!("| `{key}` in `quota` | {most} |");
        assert!(page.contains(&row), "{row}");
    }
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
    refused(json!({"quota": {"sessions": 1}}), "a quota needs it");
    refused(json!({"identity": {}, "quota": {"sessions": 0}}), "nonzero");
    refused(json!({"identity": {}, "quota": {"session": 1}}), "unknown field `session`");
    for entry in [
        json!({"topic": "a.${team}"}),
        json!({"topic": "a", "when": {"team": ["x"]}}),
        json!({"topic": "a", "only": {"key_prefix": "${team}:"}}),
    ] {
        refused(entries(json!([entry])), "claims: has no team, which an entry uses");
    }
    refused(entries(json!([{"topic": "a.${r}*"}])), "between a placeholder and *");
    refused(entries(json!([{"topic": "a", "when": {}}])), "a condition names claims");
    refused(entries(json!([{"topic": "a", "unless": {}}])), "unknown field `unless`");
    refused(entries(json!([{"topic": "a", "only": null}])), "invalid type: null");
    refused(entries(json!([{"topic": "a", "when": null}])), "invalid type: null");
    let open = json!([{"topic": "a", "only": {"key_prefix": "${r}"}}]);
    refused(entries(open), "ends with a literal character");
    for only in [
        json!({"key_prefix": "{sub}:"}),
        json!({"header": "tenant", "is": "$r"}),
        json!({"subjects": ["orders.a", "orders.{r}.>"]}),
    ] {
        let meant = "only: unknown placeholder, did you mean `${";
        refused(entries(json!([{"topic": "a", "only": only}])), meant);
    }
    // Not the name of a claim; and as many as there can be.
    let literal = json!({"topic": "a", "only": {"subjects": ["$KV.prices.>", "orders.{x}"]}});
    assert!(Policy::parse(entries(json!(vec![literal; 200])).to_string().as_bytes()).is_ok());
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
    use crate::row::Marks;
    use crate::template::Template;

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
        let prefix = prop::option::of(select(vec!["a", "${x}.", "${y}-${x}:", "a${sub}a", "-${sub}-é"]));
        (template(), when, prefix).prop_map(|(topic, when, prefix)| {
            let mut entry = json!({"topic": topic});
            if let Some(values) = when {
                entry["when"] = json!({"x": values});
            }
            if let Some(prefix) = prefix {
                entry["only"] = json!({"key_prefix": prefix});
            }
            entry
        })
    }

    /// A record with this key.
    struct Keyed<'a>(&'a str);

    impl Marks for Keyed<'_> {
        fn key(&self) -> Option<&[u8]> {
            Some(self.0.as_bytes())
        }

        fn headers(&self) -> impl Iterator<Item = (&[u8], Option<&[u8]>)> {
            std::iter::empty()
        }
    }

    fn items(value: Option<&Value>) -> Vec<Value> {
        match value {
            None => Vec::new(),
            Some(Value::Array(items)) => items.clone(),
            Some(value) => vec![value.clone()],
        }
    }

    /// Whether an entry grants records of `topic` with this key, by replacing its placeholders with one value after the
    /// other. None: some records.
    fn grants(entry: &Value, person: &Value, topic: &str, key: Option<&str>) -> bool {
        let value = |name: &str| items(person.get(name));
        if let Some(when) = entry.get("when") {
            let wanted = items(when.get("x"));
            if !value("x").iter().any(|value| wanted.contains(value)) {
                return false;
            }
        }
        let template = entry["topic"].as_str().unwrap();
        let prefix = entry["only"]["key_prefix"].as_str().unwrap_or_default();
        let mut texts = vec![(template.to_owned(), prefix.to_owned())];
        for name in ["x", "y", "sub"] {
            let placeholder = format!("${{{name}}}");
            let mut next = Vec::new();
            for (text, begin) in &texts {
                if !text.contains(&placeholder) && !begin.contains(&placeholder) {
                    next.push((text.clone(), begin.clone()));
                    continue;
                }
                for value in value(name) {
                    let value = match &value {
                        Value::String(text) => text.clone(),
                        Value::Number(number) if number.as_u64().is_some() => number.to_string(),
                        _ => continue,
                    };
                    let reaches = |template: &str| {
                        template.match_indices(&placeholder).any(|(at, _)| {
                            let end = template[at + placeholder.len()..].chars().next();
                            end.is_some_and(|end| value.contains(end))
                        })
                    };
                    let fits = !template.contains(&placeholder) || !value.contains(['*', 'é']);
                    if !value.is_empty() && fits && !reaches(template) && !reaches(prefix) {
                        next.push((text.replace(&placeholder, &value), begin.replace(&placeholder, &value)));
                    }
                }
            }
            texts = next;
        }
        texts.iter().any(|(text, begin)| {
            key.is_none_or(|key| key.starts_with(begin))
                && match text.strip_suffix('*') {
                    Some(prefix) => topic.starts_with(prefix),
                    None => text == topic && text != "." && text != "..",
                }
        })
    }

    proptest! {
        #[test]
        fn person_gets_what_entries_say(
            read in prop::option::of(prop::collection::vec(entry(), 0..4)),
            write in prop::option::of(prop::collection::vec(entry(), 0..4)),
            (x, y, sub) in (prop::option::of(value()), prop::option::of(value()), prop::option::of(value())),
            topics in prop::collection::vec("[ab.-]{1,5}", 16),
            keys in prop::collection::vec("[ab.:é*-]{0,6}", 4),
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
                for (name, entries, topics) in [("reads", &read, &rights.read), ("writes", &write, &rights.write)] {
                    let want = |key| {
                        entries.iter().flatten().any(|entry| grants(entry, &person, topic, key))
                    };
                    let rows = topics.as_ref().and_then(|topics| topics.rows(topic));
                    prop_assert_eq!(rows.is_some(), want(None), "{} {} {}: {}", person, name, topic, json);
                    for key in &keys {
                        let has = rows.as_ref().is_some_and(|rows| rows.have(&Keyed(key)));
                        prop_assert_eq!(has, want(Some(key)), "{} {} {} of {}: {}", person, name, key, topic, json);
                    }
                }
                prop_assert_eq!(rights.reads(topic), rights.read.as_ref().is_some_and(|read| read.rows(topic).is_some()));
            }
        }
    }
}
