//! A claim that narrows what a route grants, for links and embedded widgets.

use serde::Deserialize;
use serde_json::Value;

use crate::rights::Rights;
use crate::topics::{Pattern, Topics};

/// One capability, such as `{"topics": ["orders.*"], "allow": ["read"]}`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Capability {
    topics: Vec<String>,
    allow: Vec<Action>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Action {
    Read,
    Write,
}

/// The rights that the capabilities in `claim` leave at most: everything if there is no such claim, nothing if it is malformed.
pub(crate) fn rights(claim: Option<&Value>) -> Rights {
    let Some(claim) = claim else { return Rights::all() };
    // A list is not an object without names, as serde would have it.
    let listed = claim.as_array().filter(|listed| listed.iter().all(Value::is_object));
    let capabilities = listed.and_then(|_| Vec::<Capability>::deserialize(claim).ok());
    let of = |action: Action| -> Option<Topics> {
        let allowed = capabilities.iter().flatten().filter(|capability| capability.allow.contains(&action));
        let topics = allowed.flat_map(|capability| &capability.topics);
        topics.map(|topic| Pattern::parse(topic)).collect()
    };
    // A single malformed topic spoils both.
    match (of(Action::Read), of(Action::Write)) {
        (Some(read), Some(write)) if capabilities.is_some() => {
            // They narrow topics, and with them what a group gives.
            Rights { read: Some(read), write: Some(write), ..Rights::all() }
        }
        _ => {
            let [read, write, consume] = [(); 3].map(|()| Some(Topics::none()));
            Rights { read, write, consume }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    #[cfg(target_family = "wasm")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;

    #[track_caller]
    fn check(claim: Option<Value>, topic: &str, want: (bool, bool)) {
        let rights = rights(claim.as_ref());
        assert_eq!((rights.reads(topic), rights.writes(topic)), want, "{topic} by {claim:?}");
    }

    #[test]
    fn capabilities_add_up() {
        let claim = json!([
            {"topics": ["a", "b.*"], "allow": ["read"]},
            {"topics": ["b.1"], "allow": ["write", "read"]},
        ]);
        let check = |topic, want| check(Some(claim.clone()), topic, want);
        check("a", (true, false));
        check("b.1", (true, true));
        check("b.2", (true, false));
        check("c", (false, false));
    }

    #[test]
    fn without_capabilities_nothing_is_narrowed() {
        check(None, "a", (true, true));
        check(Some(json!([])), "a", (false, false));
        check(Some(json!([{"topics": ["*"], "allow": []}])), "a", (false, false));
        check(Some(json!([{"topics": [], "allow": ["read"]}])), "a", (false, false));
    }

    #[test]
    fn malformed_capabilities_grant_nothing() {
        let good = json!({"topics": ["a"], "allow": ["read", "write"]});
        check(Some(json!([good])), "a", (true, true));
        for other in [
            json!(null),
            json!("a"),
            json!({"topics": ["a"], "allow": ["read"]}),
            json!([good, null]),
            json!([good, {"topics": ["a"]}]),
            json!([good, {"topics": ["a"], "allow": ["READ"]}]),
            json!([good, {"topics": ["a"], "allow": ["all"]}]),
            json!([good, {"topics": ["a"], "allow": ["read"], "until": 5}]),
            json!([good, {"topics": "a", "allow": ["read"]}]),
            json!([good, {"topics": ["a b"], "allow": ["read"]}]),
            json!([good, {"topics": ["a*b"], "allow": ["write"]}]),
            json!([good, {"topics": ["${sub}"], "allow": ["read"]}]),
            json!([good, [["a"], ["read"]]]),
            json!([good, {"topics": [7], "allow": ["read"]}]),
        ] {
            check(Some(other), "a", (false, false));
        }
    }
}
