//! `HttpProduce.jsonkey`, the path of the key in a JSON document: the part of gjson's path syntax that names one value.
//!
//! Member names are separated by dots, and `\` escapes the next character. A number is also an array's index. The
//! meaning is gjson's; what else gjson has is an error.

/// A valid path.
#[derive(Debug, PartialEq, Eq)]
pub struct Path(Vec<Step>);

/// A step from a value to one within it: a member, or the element with this index.
#[derive(Debug, PartialEq, Eq)]
pub struct Step {
    /// The member's name.
    pub name: String,
    /// The index, if the name is a number.
    pub index: Option<usize>,
}

impl Path {
    /// Parses a path of at most [`MAX_PATH`] bytes.
    ///
    /// # Errors
    /// Why the path is invalid or not supported.
    pub fn parse(path: &str) -> Result<Self, String> {
        if path.is_empty() || path.len() > MAX_PATH {
            return Err(format!("it has {} bytes, expected 1 to {MAX_PATH}", path.len()));
        }
        if path.starts_with("..") {
            return Err("`..` is for JSON lines, which are not supported".to_owned());
        }
        let mut steps = Vec::new();
        let mut rest = path;
        loop {
            let (step, behind) = Step::parse(rest)?;
            steps.push(step);
            match behind {
                Some(behind) => rest = behind,
                None => return Ok(Self(steps)),
            }
        }
    }

    /// The steps; at least one.
    pub fn steps(&self) -> &[Step] {
        &self.0
    }
}

impl Step {
    /// The first step, and the path after its dot.
    fn parse(path: &str) -> Result<(Self, Option<&str>), String> {
        let mut name = String::new();
        let mut characters = path.char_indices();
        while let Some((at, character)) = characters.next() {
            let other = match character {
                '.' => return Ok((Self::of(path, at, name), path.get(at.saturating_add(1)..))),
                '|' => Some("a pipe"),
                '*' | '?' => Some("a wildcard"),
                '#' if at == 0 => Some("a query"),
                '@' if at == 0 => Some("a modifier"),
                '!' if at == 0 => Some("a literal"),
                '[' | '{' if at == 0 => Some("a set of paths"),
                _ => None,
            };
            if let Some(other) = other {
                let escape = format!("write `\\{character}` where it is part of a name");
                return Err(format!("`{character}` is {other}, which is not supported: {escape}"));
            }
            if character != '\\' {
                name.push(character);
            } else if let Some((_, escaped)) = characters.next() {
                name.push(escaped);
            } else {
                return Err("it ends in `\\`: expected a character behind it".to_owned());
            }
        }
        Ok((Self::of(path, path.len(), name), None))
    }

    /// The step of the text before `end`, which names this member. An escaped number is no index.
    fn of(path: &str, end: usize, name: String) -> Self {
        let text = path.get(..end).unwrap_or_default();
        let index = text.parse().ok().filter(|_| text.bytes().all(|byte| byte.is_ascii_digit()));
        Self { name, index }
    }
}

/// Longest path, in bytes.
pub const MAX_PATH: usize = 256;

#[cfg(test)]
mod tests {
    use super::*;
    #[cfg(target_family = "wasm")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    #[test]
    fn unsupported_syntax_is_reported() {
        for (path, want) in [
            ("", "it has 0 bytes, expected 1 to 256"),
            ("a|b", "`|` is a pipe"),
            ("a*.b", "`*` is a wildcard"),
            ("a.b?", "`?` is a wildcard"),
            ("@reverse", "`@` is a modifier"),
            ("a.@this", "`@` is a modifier"),
            ("friends.#(last==\"x\").first", "`#` is a query"),
            ("friends.#", "`#` is a query, which is not supported: write `\\#` where it is part of a name"),
            ("{a,b}", "`{` is a set of paths"),
            ("a.[0,1]", "`[` is a set of paths"),
            ("!true", "`!` is a literal"),
            ("a\\", "it ends in `\\`"),
            ("..0.a", "`..` is for JSON lines"),
        ] {
            let told = Path::parse(path).unwrap_err();
            assert!(told.contains(want), "{path}: {told}");
        }
        assert!(Path::parse(&"a".repeat(257)).unwrap_err().contains("it has 257 bytes"));
    }

    #[test]
    fn steps_are_names_and_indices() {
        for (path, want) in [
            ("größe", &[("größe", None)][..]),
            ("a@b.a!.a[0].a#b", &[("a@b", None), ("a!", None), ("a[0]", None), ("a#b", None)]),
            ("\\@this.a\\|b.a\\*.\\\\", &[("@this", None), ("a|b", None), ("a*", None), ("\\", None)]),
            ("fav\\.movie.7", &[("fav.movie", None), ("7", Some(7))]),
            ("\\7.01.-1", &[("7", None), ("01", Some(1)), ("-1", None)]),
            (".", &[("", None), ("", None)]),
        ] {
            let parsed = Path::parse(path).unwrap();
            let steps: Vec<_> = parsed.steps().iter().map(|step| (&*step.name, step.index)).collect();
            assert_eq!(steps, want, "{path}");
        }
    }

    #[cfg(not(target_family = "wasm"))]
    mod property {
        use proptest::prelude::*;

        use super::*;

        proptest! {
            #[test]
            fn no_path_does_harm(path in any::<String>()) {
                if let Ok(path) = Path::parse(&path) {
                    prop_assert!(!path.steps().is_empty());
                }
            }
        }
    }
}
