//! Names of topics with placeholders, such as `teams.${team}.*`.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use crate::name::{is_of_names, is_prefix, is_topic};
use crate::placeholders::{Placeholders, did_you_mean, meant};
use crate::topics::Pattern;

/// A topic's name, or a prefix of names, with placeholders for claims. A literal character stands before a `*`, so that
/// no value reaches into what follows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Template {
    name: Placeholders,
    /// Whether it ends with `*`.
    is_prefix: bool,
}

impl Template {
    /// Parses a topic's name, or a prefix followed by `*`, with placeholders such as `${sub}`.
    ///
    /// # Errors
    /// No topic can have such a name, or values of its claims would be ambiguous: what was expected.
    pub fn parse(text: &str) -> Result<Self, Cow<'static, str>> {
        let (name, is_prefix) = match text.strip_suffix('*') {
            Some(prefix) => (prefix, true),
            None => (text, false),
        };
        let name = Placeholders::parse(name)?;
        if let Some(claim) = name.literals().find_map(|literal| meant(literal, |_| true)) {
            return Err(did_you_mean(claim).into());
        }
        let longest = name.literals().map(str::len).sum::<usize>();
        if !name.literals().all(is_of_names) || longest > crate::name::MAX_BYTES {
            return Err(
                "a topic's name has at most 249 letters, digits, '.', '_' and '-', and a prefix ends with *"
                    .into(),
            );
        }
        if is_prefix && name.ends_with_claim() {
            return Err("a character stands between a placeholder and *, such as a dot".into());
        }
        if name.claims().next().is_none() && Pattern::parse(text).is_none() {
            return Err("a topic's name is neither empty, nor '.', nor '..'".into());
        }
        Ok(Self { name, is_prefix })
    }

    /// The names of its claims.
    pub(crate) fn claims(&self) -> impl Iterator<Item = &str> {
        self.name.claims()
    }

    /// Whether the value of a claim can stand in a name at all of its placeholders.
    pub(crate) fn admits(&self, claim: &str, value: &str) -> bool {
        !self.claims().any(|name| name == claim) || is_of_names(value) && self.name.admits(claim, value)
    }

    /// The topics with a value for each claim. None if no topic can have such a name.
    pub(crate) fn bind<'a>(&self, value: impl Fn(&str) -> Option<&'a str>) -> Option<Pattern> {
        let name = self.name.bind(value)?;
        match self.is_prefix {
            true => is_prefix(&name).then(|| Pattern::Prefix(name.into())),
            false => is_topic(&name).then(|| Pattern::Name(name.into())),
        }
    }
}

impl TryFrom<String> for Template {
    type Error = Cow<'static, str>;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        Self::parse(&text)
    }
}

impl From<Template> for String {
    fn from(Template { name, is_prefix }: Template) -> Self {
        name.to_string() + if is_prefix { "*" } else { "" }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};
    #[cfg(target_family = "wasm")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;
    use crate::entry::Entry;

    fn expand(template: &str, claims: &Value) -> Vec<Pattern> {
        let entry = Entry::from(Template::parse(template).unwrap());
        entry.expand(|name| claims.get(name)).into_iter().map(|(pattern, _)| pattern).collect()
    }

    /// The topics of a template for the claim `c`, or for several of them.
    #[track_caller]
    fn check(template: &str, claims: &Value, want: &[&str]) {
        let parsed = Template::parse(template).unwrap();
        let expanded = expand(template, claims);
        let want: Vec<_> = want.iter().map(|text| Pattern::parse(text).unwrap()).collect();
        assert_eq!(expanded, want, "{template} of {claims}");
        assert_eq!(String::from(parsed), template);
    }

    #[test]
    fn values_stand_for_placeholders() {
        check("orders", &json!({}), &["orders"]);
        check("*", &json!({}), &["*"]);
        check("orders.${c}", &json!({"c": "alice"}), &["orders.alice"]);
        check("${c}", &json!({"c": "alice"}), &["alice"]);
        check("teams.${c}.*", &json!({"c": "x"}), &["teams.x.*"]);
        check("${a}-${b}.${a}", &json!({"a": "x", "b": "y"}), &["x-y.x"]);
        check("t.${c}", &json!({"c": ["x", "y", "x"]}), &["t.x", "t.y", "t.x"]);
        check("${a}.${b}", &json!({"a": ["x", "y"], "b": [1, 2]}), &["x.1", "x.2", "y.1", "y.2"]);
        check("${a}.${a}", &json!({"a": ["x", "y"]}), &["x.x", "y.y"]);
    }

    #[test]
    fn integers_are_decimal() {
        check("t.${c}", &json!({"c": 0}), &["t.0"]);
        check("t.${c}", &json!({"c": 42.0}), &["t.42"]);
        check("t.${c}", &json!({"c": (1_u64 << 53) - 1}), &["t.9007199254740991"]);
        for other in [json!(1_u64 << 53), json!(u64::MAX), json!(1e300), json!(1.5), json!(-1)] {
            check("t.${c}", &json!({"c": other}), &[]);
        }
    }

    #[test]
    fn unusable_values_grant_nothing() {
        check("t.${c}", &json!({}), &[]);
        for value in
            [json!(""), json!(null), json!(true), json!({}), json!([]), json!([["x"]]), json!({"c": "x"})]
        {
            check("t.${c}", &json!({"c": value}), &[]);
        }
        // Among them look-alikes: a Cyrillic letter, a full-width dot and a full-width digit.
        for value in [
            "*", "x*", ">", "a b", "auth0|x", "é", "\u{430}", "\u{ff0e}", "\u{ff11}", "a\0", "${c}", "a,b",
            "/",
        ] {
            check("t.${c}", &json!({"c": value}), &[]);
        }
        check("t.${c}", &json!({"c": ["x", "*", null, 7]}), &["t.x", "t.7"]);
        check("t.${c}", &json!({"c": "a".repeat(248)}), &[]);
        check("${c}", &json!({"c": [".", "..", "..."]}), &["..."]);
    }

    #[test]
    fn values_do_not_reach_into_what_follows() {
        check("teams.${c}.*", &json!({"c": ["x", "x.y", "x.", ".", "x-y"]}), &["teams.x.*", "teams.x-y.*"]);
        check("${c}-log", &json!({"c": ["a-b", "a.b"]}), &["a.b-log"]);
        check("${a}.${b}", &json!({"a": "x.y", "b": "z"}), &[]);
        check("${a}.${b}", &json!({"a": "x", "b": "y.z"}), &["x.y.z"]);
        check("${c}.1.${c}_2", &json!({"c": ["a.b", "a_b", "ab"]}), &["ab.1.ab_2"]);
        check("t.${c}", &json!({"c": ".."}), &["t..."]);
    }

    #[test]
    fn too_many_topics_are_none() {
        let list = |count: usize| (0..count).collect::<Vec<_>>();
        let expanded = |a: usize, b: usize| {
            let claims = json!({"a": list(a), "b": list(b)});
            expand("${a}.${b}", &claims).len()
        };
        assert_eq!((expanded(16, 16), expanded(16, 17), expanded(0, 1000)), (256, 0, 0));
    }

    #[test]
    fn placeholders_of_other_languages_suggest_ours() {
        for template in [
            "orders.{sub}",
            "orders.$sub",
            "orders.{{sub}}.*",
            "%{sub}.orders",
            "$(sub)",
            "<sub>-x",
            "%sub%",
            "#{sub}*",
            "${team}.{sub}",
            "$sub.${team}",
        ] {
            let want = "unknown placeholder, did you mean `${sub}`?";
            assert_eq!(Template::parse(template).unwrap_err(), want, "{template}");
        }
        for template in ["{", "{}", "{a b}", "$", "a%b", "<x"] {
            let error = Template::parse(template).unwrap_err();
            assert!(error.contains("letters, digits"), "{template}: {error}");
        }
    }

    #[test]
    fn invalid_templates_are_refused() {
        for template in [
            "", ".", "..", "a b", "a*b", "**", "${", "${}", "${a", "a}", "$a", "${a.b}", "${a b}", "${é}",
            "a,b", "é", "{a}",
        ]
        .into_iter()
        .chain(["${a}${b}", "${a}*", "t.${a}*", "orders.$", "${a}.${b}${c}", "${${a}}"])
        {
            assert!(Template::parse(template).is_err(), "{template}");
        }
        assert!(Template::parse(&format!("${{a}}{}", "x".repeat(250))).is_err());
        assert!(Template::parse(&format!("${{{}}}", "a".repeat(65))).is_err());
    }
}
