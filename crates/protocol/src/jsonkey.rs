//! `HttpProduce.jsonkey`, the path of the key in a JSON document: the part of gjson's path syntax that finds one value.
//!
//! Member names are separated by dots. `\` escapes the next character, and `*` and `?` in names are wildcards. A number
//! is also an array's index. `#` is all elements of an array or, at the end, their number. The meaning is gjson's, with
//! one exception: an escaped `*` or `?` is literal even beside wildcards, where gjson takes it for one.

/// A valid path.
#[derive(Debug, PartialEq, Eq)]
pub struct Path(Vec<Step>);

/// A step from a value to one within it.
#[derive(Debug, PartialEq, Eq)]
pub enum Step {
    /// `#`: all elements of an array, or their number. In an object, the member of that name.
    Each,
    /// A member, or the element with this index.
    Name {
        /// The pattern of the member's name.
        name: Pattern,
        /// The index, if the name is a number.
        index: Option<usize>,
    },
}

/// The pattern of a member's name.
#[derive(Debug, PartialEq, Eq)]
pub struct Pattern(Vec<Part>);

/// A part of a pattern.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    Byte(u8),
    /// Any character.
    One,
    /// Any number of characters.
    Any,
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
        let mut steps = Vec::new();
        let mut rest = path;
        loop {
            if rest.starts_with("..") && matches!(steps.last(), None | Some(Step::Each)) {
                return Err("`..` is for JSON lines, which are not supported".to_owned());
            }
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
        let mut parts = Vec::new();
        let mut characters = path.char_indices();
        let refused = |what: char, is: &str| {
            Err(format!("`{what}` is {is}: write `\\{what}` where it is part of a name"))
        };
        while let Some((at, character)) = characters.next() {
            match character {
                '.' => return Ok((Self::of(path, at, parts), path.get(at.saturating_add(1)..))),
                '|' => return refused(character, "a pipe, which is not supported"),
                '@' if at == 0 => return refused(character, "a modifier, which is not supported"),
                '!' if at == 0 => return refused(character, "a literal, which is not supported"),
                '[' | '{' if at == 0 => return refused(character, "several paths, which are not supported"),
                '#' if at == 0 && !matches!(path.as_bytes().get(1), None | Some(b'.')) => {
                    return refused(character, "a query, which is not supported");
                }
                '*' => parts.push(Part::Any),
                '?' => parts.push(Part::One),
                '\\' => match characters.next() {
                    Some((_, escaped)) => push(&mut parts, escaped),
                    None => return Err("it ends in `\\`: expected a character behind it".to_owned()),
                },
                character => push(&mut parts, character),
            }
        }
        Ok((Self::of(path, path.len(), parts), None))
    }

    /// The step of the text before `end`, which consists of `parts`.
    fn of(path: &str, end: usize, parts: Vec<Part>) -> Self {
        let text = path.get(..end).unwrap_or_default();
        if text == "#" {
            return Self::Each;
        }
        let index = text.parse().ok().filter(|_| text.bytes().all(|byte| byte.is_ascii_digit()));
        Self::Name { name: Pattern(parts), index }
    }

    /// Whether it leads to the member of this name. Takes time proportional to the lengths of name and pattern,
    /// multiplied.
    pub fn is(&self, name: &[u8]) -> bool {
        match self {
            Self::Each => name == b"#",
            Self::Name { name: pattern, .. } => matches(&pattern.0, name),
        }
    }
}

fn push(parts: &mut Vec<Part>, character: char) {
    parts.extend(character.encode_utf8(&mut [0; 4]).bytes().map(Part::Byte));
}

/// Whether a name matches a pattern. The match of a `*` only ever grows: there is at most one try for each byte of the
/// name and part of the pattern.
fn matches(pattern: &[Part], name: &[u8]) -> bool {
    let (mut parts, mut rest) = (pattern, name);
    // The parts after the last `*`, and the rest after its match.
    let mut star: Option<(&[Part], &[u8])> = None;
    loop {
        let step = match (parts, rest) {
            ([], []) => return true,
            ([Part::Any, behind @ ..], _) => {
                star = Some((behind, rest));
                Some((behind, rest))
            }
            ([Part::One, behind @ ..], [_, ..]) => Some((behind, without_first_character(rest))),
            ([Part::Byte(wanted), behind @ ..], [byte, others @ ..]) if wanted == byte => {
                Some((behind, others))
            }
            _ => None,
        };
        (parts, rest) = match (step, star) {
            (Some(step), _) => step,
            (None, Some((behind, [_, longer @ ..]))) => {
                star = Some((behind, longer));
                (behind, longer)
            }
            (None, _) => return false,
        };
    }
}

fn without_first_character(name: &[u8]) -> &[u8] {
    let is_continuation = |byte: &u8| byte & 0b1100_0000 == 0b1000_0000;
    let rest = name.get(1..).unwrap_or_default();
    let len = rest.iter().take_while(|byte| is_continuation(byte)).count();
    rest.get(len..).unwrap_or_default()
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
            ("@reverse", "`@` is a modifier"),
            ("a.@this", "`@` is a modifier"),
            ("friends.#(last==\"x\").first", "`#` is a query"),
            ("friends.##", "`#` is a query"),
            ("{a,b}", "`{` is several paths"),
            ("a.[0,1]", "`[` is several paths"),
            ("!true", "`!` is a literal"),
            ("a\\", "it ends in `\\`"),
            ("..0.a", "`..` is for JSON lines"),
            ("a.#...b", "`..` is for JSON lines"),
        ] {
            let told = Path::parse(path).unwrap_err();
            assert!(told.contains(want), "{path}: {told}");
        }
        assert!(Path::parse(&"a".repeat(257)).unwrap_err().contains("it has 257 bytes"));
        for path in ["a@b", "a!", "a[0]", "a#b", "größe.?", "\\@this", "a\\|b"] {
            assert!(Path::parse(path).is_ok(), "{path}");
        }
    }

    #[test]
    fn names_are_compared_as_patterns() {
        for (path, name, want) in [
            ("abc", "abc", true),
            ("abc", "ab", false),
            ("a*", "a", true),
            ("*b*d", "abcd", true),
            ("*b*d", "abc", false),
            ("a?c", "a\u{e9}c", true),
            ("a?c", "ac", false),
            ("a\\*c", "abc", false),
            ("a\\*c", "a*c", true),
            ("#", "#", true),
            ("7", "7", true),
        ] {
            let parsed = Path::parse(path).unwrap();
            assert_eq!(parsed.steps()[0].is(name.as_bytes()), want, "{path} {name}");
        }
    }

    #[cfg(not(target_family = "wasm"))]
    mod property {
        use proptest::prelude::*;

        use super::*;

        proptest! {
            #[test]
            fn no_path_does_harm(path in any::<String>(), name in prop::collection::vec(any::<u8>(), 0..32)) {
                if let Ok(path) = Path::parse(&path) {
                    prop_assert!(!path.steps().is_empty());
                    for step in path.steps() {
                        step.is(&name);
                    }
                }
            }
        }
    }
}
