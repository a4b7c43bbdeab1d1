//! A verified identity: the claims of a token (RFC 7519, section 4).

use serde_json::{Map, Number, Value};

/// The claims of an identity, as a token's payload has them.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Claims(Map<String, Value>);

/// The names of a claim from the payload's root on, one for each object on the way: real names contain dots.
pub type Path = Vec<String>;

impl Claims {
    /// Parses a payload. None if it is not a JSON object.
    pub fn parse(json: &[u8]) -> Option<Self> {
        serde_json::from_slice(json).ok().map(Self)
    }

    /// The claims of `object`.
    pub fn of(object: Map<String, Value>) -> Self {
        Self(object)
    }

    /// These claims as JSON.
    pub fn to_json(&self) -> String {
        Value::Object(self.0.clone()).to_string()
    }

    /// The value at `path`. An empty path has none.
    pub fn at(&self, path: &[String]) -> Option<&Value> {
        let (first, rest) = path.split_first()?;
        rest.iter().try_fold(self.0.get(first)?, |value, name| value.as_object()?.get(name))
    }

    /// These claims without all that is neither registered nor at one of `paths`. Their shape stays.
    #[must_use]
    pub fn only<'a>(&self, paths: impl IntoIterator<Item = &'a Path>) -> Self {
        let mut kept = Map::new();
        for name in REGISTERED {
            if let Some(value) = self.0.get(name) {
                kept.insert(name.to_owned(), value.clone());
            }
        }
        for path in paths {
            if let Some(value) = self.at(path) {
                put(&mut kept, path, value.clone());
            }
        }
        Self(kept)
    }

    /// Claims at the root with one of these names, of at most 1 KiB each.
    #[must_use]
    pub fn named<'a>(&self, names: impl IntoIterator<Item = &'a String>) -> Self {
        let short = |name: &String| {
            let value = self.0.get(name).filter(|value| value.to_string().len() <= MAX_NAMED_BYTES)?;
            Some((name.clone(), value.clone()))
        };
        Self(names.into_iter().filter_map(short).collect())
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// `iss`: who issued it.
    pub fn issuer(&self) -> Option<&str> {
        self.text("iss")
    }

    /// `sub`: the person.
    pub fn subject(&self) -> Option<&str> {
        self.text("sub")
    }

    /// `jti`: the token.
    pub fn token_id(&self) -> Option<&str> {
        self.text("jti")
    }

    /// `iat`, in seconds since 1970.
    ///
    /// # Errors
    /// It is not a time.
    pub fn issued_at(&self) -> Result<Option<i64>, NotATime> {
        self.time("iat")
    }

    /// `exp`, in seconds since 1970: the identity is valid before that time (RFC 7519, section 4.1.4).
    ///
    /// # Errors
    /// It is not a time.
    pub fn expires_at(&self) -> Result<Option<i64>, NotATime> {
        self.time("exp")
    }

    /// `nbf`, in seconds since 1970: the identity is not valid before that time.
    ///
    /// # Errors
    /// It is not a time.
    pub fn not_before(&self) -> Result<Option<i64>, NotATime> {
        self.time("nbf")
    }

    /// Whether `iss`, `sub` and `jti` are text if they are there, as RFC 7519, section 4.1, demands: others would be part
    /// of topics, and could not be revoked.
    pub fn are_named_by_text(&self) -> bool {
        ["iss", "sub", "jti"].iter().all(|name| self.0.get(*name).is_none_or(Value::is_string))
    }

    fn text(&self, name: &str) -> Option<&str> {
        self.0.get(name)?.as_str()
    }

    /// RFC 7519, section 2: "A JSON numeric value representing the number of seconds from 1970-01-01T00:00:00Z UTC
    /// until the specified UTC date/time, ignoring leap seconds. [...] non-integer values can be represented." Parts of
    /// seconds are dropped.
    fn time(&self, name: &str) -> Result<Option<i64>, NotATime> {
        let Some(value) = self.0.get(name) else { return Ok(None) };
        let seconds = value.as_f64().filter(|seconds| (0.0..MAX_SECONDS).contains(seconds));
        #[expect(clippy::cast_possible_truncation, reason = "within the bounds")]
        seconds.map(|seconds| Some(seconds as i64)).ok_or(NotATime)
    }
}

/// A claim that should be a time is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NotATime;

/// An integer of less than 2^53, which every JSON parser reads alike (RFC 8259, section 6). Gateways keep numbers as
/// doubles.
pub(crate) fn integer(number: &Number) -> Option<i64> {
    let value = number.as_f64().filter(|value| value.fract() == 0.0 && value.abs() < EXACT)?;
    #[expect(clippy::cast_possible_truncation, reason = "within the bounds")]
    Some(value as i64)
}

/// Puts `value` at `path`, into the objects on the way.
fn put(into: &mut Map<String, Value>, path: &[String], value: Value) {
    match path {
        [] => {}
        [name] => {
            into.insert(name.clone(), value);
        }
        [name, rest @ ..] => {
            let object = into.entry(name.clone()).or_insert_with(|| Value::Object(Map::new()));
            if let Value::Object(object) = object {
                put(object, rest, value);
            }
        }
    }
}

/// The claims that every identity has beside those of a policy, if its issuer gives them.
pub const REGISTERED: [&str; 5] = ["iss", "sub", "exp", "iat", "jti"];

/// The year 9999, and so far below 2^53 that all seconds are exact.
const MAX_SECONDS: f64 = 253_402_300_800.0;

/// The longest claim for a log.
const MAX_NAMED_BYTES: usize = 1024;

/// 2^53.
const EXACT: f64 = 9_007_199_254_740_992.0;

#[cfg(test)]
mod tests {
    use serde_json::json;
    #[cfg(target_family = "wasm")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;

    fn claims(value: Value) -> Claims {
        Claims::parse(value.to_string().as_bytes()).unwrap()
    }

    fn path(names: &[&str]) -> Path {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn named_claims_are_short_ones_at_the_root() {
        let all = claims(json!({"email": "a@b.c", "big": "x".repeat(1023), "team": {"id": 1}, "other": 1}));
        let names = ["email", "big", "team", "id", "absent"].map(str::to_owned);
        assert_eq!(all.named(&names), claims(json!({"email": "a@b.c", "team": {"id": 1}})));
    }

    #[test]
    fn path_leads_through_objects_only() {
        let claims =
            claims(json!({"https://app.example/roles": ["a"], "realm": {"team": "x"}, "realm.team": 1}));
        let at = |names: &[&str]| claims.at(&path(names)).cloned();
        assert_eq!(at(&["https://app.example/roles"]), Some(json!(["a"])));
        assert_eq!(at(&["realm", "team"]), Some(json!("x")));
        assert_eq!(at(&["realm.team"]), Some(json!(1)));
        for none in [&[][..], &["realm", "x"], &["realm", "team", "x"], &["https://app.example/roles", "0"]] {
            assert_eq!(at(none), None, "{none:?}");
        }
    }

    #[test]
    fn names_of_a_token_are_text() {
        let all = claims(json!({"iss": "i", "sub": "u", "jti": "t", "aud": 1}));
        assert!(all.are_named_by_text());
        assert_eq!([all.issuer(), all.subject(), all.token_id()], [Some("i"), Some("u"), Some("t")]);
        for name in ["iss", "sub", "jti"] {
            assert!(!claims(json!({name: 1})).are_named_by_text(), "{name}");
        }
    }

    #[test]
    fn other_claims_are_left_out() {
        let all = claims(
            json!({"sub": "u", "exp": 5, "email": "secret", "realm": {"team": "x", "other": 1}, "a": 1}),
        );
        let want = claims(json!({"sub": "u", "exp": 5, "realm": {"team": "x"}}));
        assert_eq!(all.only(&[path(&["realm", "team"]), path(&["a", "b"]), path(&["gone"])]), want);
        assert_eq!((want.subject(), want.issuer()), (Some("u"), None));
        let whole = claims(json!({"sub": "u", "exp": 5, "realm": {"team": "x", "other": 1}}));
        for paths in
            [[path(&["realm"]), path(&["realm", "team"])], [path(&["realm", "team"]), path(&["realm"])]]
        {
            assert_eq!(all.only(&paths), whole);
        }
    }

    #[test]
    fn times_are_seconds() {
        for (value, want) in [
            (json!(1_700_000_000), Ok(Some(1_700_000_000))),
            (json!(1_700_000_000.9), Ok(Some(1_700_000_000))),
            (json!(0), Ok(Some(0))),
            (json!(-1), Err(NotATime)),
            (json!(1e300), Err(NotATime)),
            (json!("1700000000"), Err(NotATime)),
            (json!(null), Err(NotATime)),
            (json!([1]), Err(NotATime)),
        ] {
            assert_eq!(claims(json!({"exp": value})).expires_at(), want, "{value}");
        }
        assert_eq!(Claims::default().issued_at(), Ok(None));
    }

    #[test]
    fn payload_is_an_object() {
        for text in ["", "[]", "1", "null", "\"a\"", "{", "{}x"] {
            assert_eq!(Claims::parse(text.as_bytes()), None, "{text}");
        }
    }
}
