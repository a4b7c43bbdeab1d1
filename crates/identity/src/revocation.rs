//! Identities that are over before they expire: one token, or all of a person up to a time.

use std::collections::HashMap;

use serde::Deserialize;
use serde_json::{Map, Value};

/// An identity that is revoked.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Revocation {
    /// The identity.
    pub of: Revoked,
    /// Seconds since 1970, until when it must be known: identities that it revokes have expired by then.
    pub until: i64,
}

/// The identities that an entry revokes.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Revoked {
    /// The token with this `jti`.
    Token {
        /// `iss`; None: of any issuer.
        issuer: Option<String>,
        /// `jti`
        id: String,
    },
    /// All identities of a person up to a time.
    Person {
        /// `iss`; None: of identities without one, such as certificates.
        issuer: Option<String>,
        /// `sub`
        subject: String,
        /// Identities with `iat` at this time or earlier, in seconds since 1970, and without `iat`.
        issued_until: i64,
    },
}

/// A list of revocations, one on each line.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RevocationList {
    /// The lines that are revocations.
    pub entries: Vec<Revocation>,
    /// The number of lines that are none. Empty ones do not count.
    pub invalid: usize,
    /// The number of the first of them, from 1 on, and the expected form.
    pub first_invalid: Option<(usize, &'static str)>,
}

/// An identity that can be revoked, by its claims.
#[derive(Debug, Clone, Copy, Default)]
pub struct Identified<'a> {
    /// `iss`
    pub issuer: Option<&'a str>,
    /// `sub`
    pub subject: Option<&'a str>,
    /// `jti`
    pub token_id: Option<&'a str>,
    /// `iat`, in seconds since 1970.
    pub issued_at: Option<i64>,
}

/// Revocations by what they revoke.
#[derive(Debug, Default)]
pub struct Revocations {
    /// The issuers of tokens by their `jti`.
    tokens: HashMap<String, Vec<Option<String>>>,
    /// The latest time of issue by `iss`, then by `sub`. Identities without `iss` are under an empty one.
    people: HashMap<String, HashMap<String, i64>>,
}

impl Revocation {
    /// Parses `{"jti": …, "until": …}`, with `iss` if it should count too, or
    /// `{"iss": …, "sub": …, "issued_until": …, "until": …}`, without `iss` for identities that have none.
    ///
    /// # Errors
    /// The expected form.
    pub fn parse(json: &[u8]) -> Result<Self, &'static str> {
        if json.len() > MAX_BYTES {
            return Err("expected at most 1280 bytes");
        }
        // A list is not an object without names, as serde would have it.
        let object: Map<String, Value> = serde_json::from_slice(json).map_err(|_| EXPECTED)?;
        match Members::deserialize(Value::Object(object)).map_err(|_| EXPECTED)? {
            Members { jti: Some(id), iss: issuer, sub: None, issued_until: None, until } => {
                Ok(Self { of: Revoked::Token { issuer, id }, until })
            }
            Members {
                jti: None,
                iss: issuer,
                sub: Some(subject),
                issued_until: Some(issued_until),
                until,
            } => Ok(Self { of: Revoked::Person { issuer, subject, issued_until }, until }),
            _ => Err(EXPECTED),
        }
    }
}

impl RevocationList {
    /// Parses a file. A line that is torn or invalid spoils no other.
    pub fn parse(file: &[u8]) -> Self {
        let mut list = Self::default();
        let lines = file.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii).zip(1..);
        for (line, number) in lines.filter(|(line, _)| !line.is_empty()) {
            match Revocation::parse(line) {
                Ok(entry) => list.entries.push(entry),
                Err(expected) => {
                    list.invalid = list.invalid.saturating_add(1);
                    list.first_invalid.get_or_insert((number, expected));
                }
            }
        }
        list
    }
}

impl Revocations {
    /// The revocations of `entries` that count at `now`, in seconds since 1970. Of more than [`MAX_ENTRIES`], those that
    /// count longest; the second value says how many are left out.
    pub fn of<'a>(entries: impl Iterator<Item = &'a Revocation>, now: i64) -> (Self, usize) {
        let mut counting: Vec<&Revocation> = entries.filter(|entry| entry.until > now).collect();
        counting.sort_unstable_by_key(|entry| std::cmp::Reverse(entry.until));
        let left_out = counting.len().saturating_sub(MAX_ENTRIES);
        counting.truncate(MAX_ENTRIES);
        let mut all = Self::default();
        for entry in counting {
            match entry.of.clone() {
                Revoked::Token { issuer, id } => all.tokens.entry(id).or_default().push(issuer),
                Revoked::Person { issuer, subject, issued_until } => {
                    let of_issuer = all.people.entry(issuer.unwrap_or_default()).or_default();
                    let latest = of_issuer.entry(subject).or_insert(issued_until);
                    *latest = issued_until.max(*latest);
                }
            }
        }
        (all, left_out)
    }

    /// Whether an identity is revoked.
    pub fn has(&self, identity: Identified<'_>) -> bool {
        let Identified { issuer, subject, token_id, issued_at } = identity;
        let issuers = token_id.and_then(|id| self.tokens.get(id)).into_iter().flatten();
        let by_token = issuers.map(Option::as_deref).any(|revoked| revoked.is_none() || revoked == issuer);
        let person = || self.people.get(issuer.unwrap_or_default())?.get(subject?);
        by_token || person().is_some_and(|until| issued_at.is_none_or(|issued| issued <= *until))
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Members {
    jti: Option<String>,
    iss: Option<String>,
    sub: Option<String>,
    issued_until: Option<i64>,
    until: i64,
}

const EXPECTED: &str = r#"expected {"jti": "…", "until": SECONDS}, with "iss" if it counts too, or {"iss": "…", "sub": "…", "issued_until": SECONDS, "until": SECONDS}, without "iss" for identities that have none"#;

/// Bytes of one entry: names of up to 512, or longer ones as lists show them.
const MAX_BYTES: usize = 1280;

/// Entries that count at the same time: about 30 MB, at most 130.
pub const MAX_ENTRIES: usize = 100_000;

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(json: &str) -> Result<Revocation, &'static str> {
        Revocation::parse(json.as_bytes())
    }

    fn alice(token_id: Option<&'static str>, issued_at: Option<i64>) -> Identified<'static> {
        Identified { issuer: Some("i"), subject: Some("alice"), token_id, issued_at }
    }

    #[test]
    fn entries_have_one_of_two_forms() {
        let token = |issuer: Option<&str>| Revocation {
            of: Revoked::Token { issuer: issuer.map(str::to_owned), id: "t".into() },
            until: 9,
        };
        assert_eq!(parse(r#"{"jti":"t","until":9}"#), Ok(token(None)));
        assert_eq!(parse(r#"{"jti":"t","iss":"i","until":9}"#), Ok(token(Some("i"))));
        let person = |issuer: Option<&str>| Revocation {
            of: Revoked::Person { issuer: issuer.map(str::to_owned), subject: "s".into(), issued_until: 5 },
            until: 9,
        };
        assert_eq!(parse(r#"{"iss":"i","sub":"s","issued_until":5,"until":9}"#), Ok(person(Some("i"))));
        assert_eq!(parse(r#"{"sub":"s","issued_until":5,"until":9}"#), Ok(person(None)));
        for text in [
            "",
            "[]",
            "null",
            "{}",
            r#"{"jti":"t"}"#,
            r#"{"until":9}"#,
            r#"{"jti":1,"until":9}"#,
            r#"{"jti":"t","until":"9"}"#,
            r#"{"jti":"t","until":9,"sub":"s"}"#,
            r#"{"jti":"t","until":9,"newer":1}"#,
            r#"{"iss":"i","sub":"s","until":9}"#,
            r#"["t",null,null,null,9]"#,
        ] {
            assert!(parse(text).is_err(), "{text}");
        }
        assert!(parse(&format!(r#"{{"jti":"{}","until":9}}"#, "x".repeat(1280))).is_err());
    }

    #[test]
    fn lines_that_are_no_entries_spoil_no_others() {
        let good = r#"{"jti":"t","until":9}"#;
        for (file, entries, invalid) in [
            (format!("{good}\r\n\n \t\n{good}\n"), 2, None),
            (format!("\n{good}\nx\n{good}\n[]"), 2, Some((2, 3))),
            (format!("{{\"jti\":\"t\",\"un{good}\n{good}"), 1, Some((1, 1))),
            (format!("{good}\n{}", "x".repeat(2000)), 1, Some((1, 2))),
            (String::new(), 0, None),
        ] {
            let list = RevocationList::parse(file.as_bytes());
            let told = list.first_invalid.map(|(line, _)| (list.invalid, line));
            assert_eq!((list.entries.len(), told), (entries, invalid), "{file}");
        }
        // A line that ends within a character.
        let torn = [&b"{\"jti\":\"\xC3\n"[..], good.as_bytes()].concat();
        assert_eq!(RevocationList::parse(&torn).entries.len(), 1);
    }

    #[test]
    fn token_is_revoked_by_its_id() {
        let entries = [parse(r#"{"jti":"t","until":9}"#), parse(r#"{"jti":"u","iss":"other","until":9}"#)];
        let entries = entries.map(Result::unwrap);
        let (all, _) = Revocations::of(entries.iter(), 8);
        assert!(all.has(alice(Some("t"), None)));
        assert!(!all.has(alice(Some("u"), None)) && !all.has(alice(None, None)));
        assert!(all.has(Identified { issuer: Some("other"), ..alice(Some("u"), None) }));
        // It counts until its time.
        assert!(!Revocations::of(entries.iter(), 9).0.has(alice(Some("t"), None)));
    }

    #[test]
    fn person_is_revoked_up_to_a_time() {
        let entry =
            |issued: i64| parse(&format!(r#"{{"iss":"i","sub":"alice","issued_until":{issued},"until":9}}"#));
        let entries = [5, 7, 6].map(|issued| entry(issued).unwrap());
        let (all, _) = Revocations::of(entries.iter(), 0);
        for (issued, revoked) in [(Some(6), true), (Some(7), true), (Some(8), false), (None, true)] {
            assert_eq!(all.has(alice(None, issued)), revoked, "{issued:?}");
        }
        assert!(!all.has(Identified { subject: Some("bob"), ..alice(None, None) }));
        assert!(!all.has(Identified { issuer: Some("j"), ..alice(None, None) }));
        assert!(!all.has(Identified { issuer: None, ..alice(None, None) }));
    }

    #[test]
    fn person_without_an_issuer_is_revoked_by_an_entry_without_one() {
        let entry = parse(r#"{"sub":"alice","issued_until":5,"until":9}"#).unwrap();
        let (all, _) = Revocations::of([entry].iter(), 0);
        assert!(all.has(Identified { issuer: None, ..alice(None, None) }));
        assert!(!all.has(alice(None, None)));
    }

    #[test]
    fn entries_that_count_longest_are_kept() {
        let entry = |number: usize| Revocation {
            of: Revoked::Token { issuer: None, id: number.to_string() },
            until: i64::try_from(number).unwrap(),
        };
        let entries: Vec<_> = (1..=MAX_ENTRIES + 2).map(entry).collect();
        let (all, left_out) = Revocations::of(entries.iter(), 0);
        assert_eq!(left_out, 2);
        assert!(!all.has(alice(Some("2"), None)) && all.has(alice(Some("3"), None)));
    }
}
