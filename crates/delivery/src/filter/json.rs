//! Finds a part of a JSON text by its pointer, without building the document.
//!
//! One pass over all of the text: of members with the same name the last counts, as in `JSON.parse`, so the end has to be
//! seen anyway, and a record that matches is JSON in the client, too.

use std::borrow::Cow;

/// A JSON Pointer (RFC 6901).
#[derive(Debug, Clone, Default)]
pub(super) struct Pointer(Vec<Token>);

#[derive(Debug, Clone)]
struct Token {
    /// Without escapes.
    name: String,
    /// None: of no item.
    index: Option<usize>,
}

/// The text is no JSON (RFC 8259), or deeper than [`MAX_JSON_DEPTH`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct NotJson;

impl Pointer {
    /// # Errors
    /// Says what was expected.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        if text.len() > MAX_POINTER_BYTES {
            return Err(format!("pointer of {} bytes: expected at most {MAX_POINTER_BYTES}", text.len()));
        }
        let expected = || format!("pointer {text:?}: expected a JSON Pointer such as \"/order/status\"");
        if text.is_empty() {
            return Ok(Self::default());
        }
        let tokens = text.strip_prefix('/').ok_or_else(expected)?.split('/');
        let tokens = tokens.map(Token::parse).collect::<Option<Vec<Token>>>().ok_or_else(expected)?;
        match tokens.len() {
            ..=MAX_TOKENS => Ok(Self(tokens)),
            len => Err(format!("pointer of {len} parts: expected at most {MAX_TOKENS}")),
        }
    }

    /// The text of the part of `json` at this place. None: there is none.
    pub(super) fn find<'a>(&self, json: &'a [u8]) -> Result<Option<&'a [u8]>, NotJson> {
        std::str::from_utf8(json).map_err(|_| NotJson)?;
        let mut scanner = Scanner { rest: json };
        let found = scanner.find(&self.0, 0)?;
        scanner.skip_space();
        scanner.rest.is_empty().then_some(found).ok_or(NotJson)
    }
}

impl Token {
    fn parse(escaped: &str) -> Option<Self> {
        // Section 3: "escaped = "~" ( "0" / "1" )"
        let is_escape = |rest: &str| rest.starts_with(['0', '1']);
        if !escaped.split('~').skip(1).all(is_escape) {
            return None;
        }
        let name = escaped.replace("~1", "/").replace("~0", "~");
        // Section 4: "without leading zeros"
        let is_index =
            name == "0" || !name.starts_with('0') && name.bytes().all(|byte| byte.is_ascii_digit());
        let index = name.parse().ok().filter(|_| is_index);
        Some(Self { name, index })
    }
}

struct Scanner<'a> {
    rest: &'a [u8],
}

impl<'a> Scanner<'a> {
    /// The part at `path` of the value that begins here, which is so deep. Its depth is bounded by the path.
    fn find(&mut self, path: &[Token], depth: usize) -> Result<Option<&'a [u8]>, NotJson> {
        self.skip_space();
        let before = self.rest;
        let (is_object, close) = match before.first() {
            Some(b'{') => (true, b'}'),
            _ => (false, b']'),
        };
        let (Some((token, behind)), Some(b'{' | b'[')) = (path.split_first(), before.first()) else {
            self.skip(depth)?;
            let len = before.len().saturating_sub(self.rest.len());
            return Ok(before.get(..len).filter(|_| path.is_empty()));
        };
        self.next()?;
        self.skip_space();
        if self.take(close) {
            return Ok(None);
        }
        let (mut found, mut index, depth) = (None, 0_usize, depth.saturating_add(1));
        loop {
            let is_on_path = match is_object {
                true => is_equal(self.name()?, token.name.as_bytes()),
                false => token.index == Some(index),
            };
            match is_on_path {
                true => found = self.find(behind, depth)?,
                false => self.skip(depth)?,
            }
            index = index.saturating_add(1);
            self.skip_space();
            match self.next()? {
                b',' => {}
                byte if byte == close => return Ok(found),
                _ => return Err(NotJson),
            }
        }
    }

    /// Skips the value that begins here, which is so deep.
    fn skip(&mut self, depth: usize) -> Result<(), NotJson> {
        // Whether each open container is an object; the innermost is the lowest bit.
        let (mut objects, mut open) = (0_u64, 0_usize);
        loop {
            self.skip_space();
            match self.next()? {
                b'"' => drop(self.string()?),
                byte @ (b'{' | b'[') => {
                    if depth.saturating_add(open) >= MAX_JSON_DEPTH {
                        return Err(NotJson);
                    }
                    let is_object = byte == b'{';
                    self.skip_space();
                    if !self.take(if is_object { b'}' } else { b']' }) {
                        objects = objects << 1 | u64::from(is_object);
                        open = open.saturating_add(1);
                        if is_object {
                            self.name()?;
                        }
                        continue;
                    }
                }
                b't' => self.literal(b"rue")?,
                b'f' => self.literal(b"alse")?,
                b'n' => self.literal(b"ull")?,
                byte => self.number(byte)?,
            }
            loop {
                if open == 0 {
                    return Ok(());
                }
                self.skip_space();
                match (self.next()?, objects & 1 == 1) {
                    (b',', false) => break,
                    (b',', true) => {
                        self.name()?;
                        break;
                    }
                    (b'}', true) | (b']', false) => {
                        objects >>= 1;
                        open = open.saturating_sub(1);
                    }
                    _ => return Err(NotJson),
                }
            }
        }
    }

    /// The name of a member, with its escapes. Skips its colon.
    fn name(&mut self) -> Result<&'a [u8], NotJson> {
        self.skip_space();
        self.expect(b'"')?;
        let name = self.string()?;
        self.skip_space();
        self.expect(b':')?;
        Ok(name)
    }

    /// The content of a string that begins behind its quote, with its escapes.
    fn string(&mut self) -> Result<&'a [u8], NotJson> {
        let content = self.rest;
        loop {
            let special = |byte: &u8| matches!(byte, b'"' | b'\\' | ..0x20);
            let at = self.rest.iter().position(special).ok_or(NotJson)?;
            let len = content.len().saturating_sub(self.rest.len()).saturating_add(at);
            self.rest = self.rest.get(at..).unwrap_or_default();
            match self.next()? {
                b'"' => return content.get(..len).ok_or(NotJson),
                b'\\' => self.escape()?,
                _ => return Err(NotJson),
            }
        }
    }

    fn escape(&mut self) -> Result<(), NotJson> {
        match self.next()? {
            b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => Ok(()),
            b'u' => match self.rest.split_first_chunk::<4>() {
                Some((digits, rest)) if digits.iter().all(u8::is_ascii_hexdigit) => {
                    self.rest = rest;
                    Ok(())
                }
                _ => Err(NotJson),
            },
            _ => Err(NotJson),
        }
    }

    fn number(&mut self, first: u8) -> Result<(), NotJson> {
        match if first == b'-' { self.next()? } else { first } {
            b'0' => {}
            b'1'..=b'9' => drop(self.digits()),
            _ => return Err(NotJson),
        }
        if self.take(b'.') {
            self.digits().ok_or(NotJson)?;
        }
        if self.take(b'e') || self.take(b'E') {
            let _ = self.take(b'+') || self.take(b'-');
            self.digits().ok_or(NotJson)?;
        }
        Ok(())
    }

    /// None: there is not one.
    fn digits(&mut self) -> Option<()> {
        let count = self.rest.iter().position(|byte| !byte.is_ascii_digit()).unwrap_or(self.rest.len());
        self.rest = self.rest.get(count..)?;
        (count > 0).then_some(())
    }

    fn literal(&mut self, rest: &[u8]) -> Result<(), NotJson> {
        self.rest = self.rest.strip_prefix(rest).ok_or(NotJson)?;
        Ok(())
    }

    fn skip_space(&mut self) {
        while let Some((b' ' | b'\t' | b'\n' | b'\r', rest)) = self.rest.split_first() {
            self.rest = rest;
        }
    }

    fn next(&mut self) -> Result<u8, NotJson> {
        let (first, rest) = self.rest.split_first().ok_or(NotJson)?;
        self.rest = rest;
        Ok(*first)
    }

    fn take(&mut self, byte: u8) -> bool {
        let rest = self.rest.strip_prefix(&[byte]);
        self.rest = rest.unwrap_or(self.rest);
        rest.is_some()
    }

    fn expect(&mut self, byte: u8) -> Result<(), NotJson> {
        self.take(byte).then_some(()).ok_or(NotJson)
    }
}

fn is_equal(content: &[u8], text: &[u8]) -> bool {
    unescaped(content, text.len()) == text
}

/// The content of a valid string without its escapes; of a string with escapes, a few bytes more than `enough` at most. A
/// surrogate without its pair has the bytes that UTF-8 would have for it.
pub(super) fn unescaped(content: &[u8], enough: usize) -> Cow<'_, [u8]> {
    let mut parts = content.split(|byte| *byte == b'\\');
    let first = parts.next().unwrap_or_default();
    if first.len() == content.len() || first.len() > enough {
        return Cow::Borrowed(first);
    }
    let mut text = Vec::new();
    let mut rest = content;
    while text.len() <= enough
        && let Some((byte, behind)) = rest.split_first()
    {
        rest = behind;
        match byte {
            b'\\' => rest = put_escape(rest, &mut text),
            _ => text.push(*byte),
        }
    }
    Cow::Owned(text)
}

/// The rest after the escape that begins behind its backslash.
fn put_escape<'a>(escape: &'a [u8], text: &mut Vec<u8>) -> &'a [u8] {
    let Some((escaped, rest)) = escape.split_first() else { return escape };
    let (byte, rest) = match escaped {
        b'b' => (0x08, rest),
        b'f' => (0x0c, rest),
        b'n' => (b'\n', rest),
        b'r' => (b'\r', rest),
        b't' => (b'\t', rest),
        b'u' => {
            let (Some(first), behind) = code_unit(rest) else { return rest };
            let (second, behind_second) = behind.strip_prefix(b"\\u").map_or((None, behind), code_unit);
            let (char, rest) = match char::decode_utf16([first].into_iter().chain(second)).next() {
                Some(Ok(char)) if char.len_utf16() == 2 => (Some(char), behind_second),
                Some(Ok(char)) => (Some(char), behind),
                _ => (None, behind),
            };
            match char {
                Some(char) => text.extend_from_slice(char.encode_utf8(&mut [0; 4]).as_bytes()),
                None => {
                    let [high, low] = first.to_be_bytes();
                    text.extend([0xe0 | high >> 4, 0x80 | (high & 0x0f) << 2 | low >> 6, 0x80 | low & 0x3f]);
                }
            }
            return rest;
        }
        other => (*other, rest),
    };
    text.push(byte);
    rest
}

fn code_unit(escaped: &[u8]) -> (Option<u16>, &[u8]) {
    let Some((digits, rest)) = escaped.split_first_chunk::<4>() else { return (None, escaped) };
    (std::str::from_utf8(digits).ok().and_then(|digits| u16::from_str_radix(digits, 16).ok()), rest)
}

/// The most levels of arrays and objects: deeper values are no JSON in answers, either.
pub const MAX_JSON_DEPTH: usize = 64 - 5;
/// The longest pointer.
const MAX_POINTER_BYTES: usize = 256;
/// The most parts of a pointer, which bound the stack.
const MAX_TOKENS: usize = 32;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Value;

    use super::*;

    fn find<'a>(json: &'a str, pointer: &str) -> Result<Option<&'a str>, NotJson> {
        let found = Pointer::parse(pointer).unwrap().find(json.as_bytes())?;
        Ok(found.map(|found| std::str::from_utf8(found).unwrap()))
    }

    #[test]
    fn pointer_finds_a_part() {
        let json = r#" {"a" : [1, {"b/c": "x\"]"}, [ ] ], "m~n":-0.5e+3 ,"": {"": true}, "\u0061b":null, "0":2,"-":3} "#;
        for (pointer, want) in [
            ("", Some(json.trim())),
            ("/a/0", Some("1")),
            ("/a/1/b~1c", Some(r#""x\"]""#)),
            ("/a/2", Some("[ ]")),
            ("/m~0n", Some("-0.5e+3")),
            ("/", Some(r#"{"": true}"#)),
            ("//", Some("true")),
            ("/ab", Some("null")),
            ("/0", Some("2")),
            ("/-", Some("3")),
            ("/a/3", None),
            ("/a/-", None),
            ("/a/00", None),
            ("/a/01", None),
            ("/a/+1", None),
            ("/a/0/b", None),
            ("/a/2/0", None),
            ("/b", None),
            ("/ab/c", None),
        ] {
            assert_eq!(find(json, pointer), Ok(want), "{pointer}");
        }
        // The last one counts, as in JSON.parse.
        assert_eq!(find(r#"{"a":{"b":1},"a":2}"#, "/a/b"), Ok(None));
        assert_eq!(find(r#"{"a":{"b":1},"a":{"b":2}}"#, "/a/b"), Ok(Some("2")));
    }

    #[test]
    fn malformed_and_deep_texts_have_no_parts() {
        let nested =
            |depth: usize| format!(r#"{{"a":1,"b":{}1{}}}"#, "[".repeat(depth - 1), "]".repeat(depth - 1));
        assert_eq!(find(&nested(MAX_JSON_DEPTH), "/a"), Ok(Some("1")));
        let literals =
            r#"x nul - {"a":1,"b":01} {"a":1,"b":1.} {"a":1,"b":"\x"} {"a":1,"b":"\u12g4"} {'a':1}"#;
        let brackets = r#"{"a":1 {"a":1}} {"a":1,} {"a":1,"b"} {"a":1,"b":[1,]} {"a":1,"b":[1}]"#;
        let (deep, deepest) = (nested(MAX_JSON_DEPTH + 1), "[".repeat(10 << 20));
        let others = ["", " ", "{\"a\":1,\"b\":\"\n\"}", "\u{feff}1", &deep, &deepest];
        for json in literals.split(' ').chain(brackets.split(' ')).chain(others) {
            assert_eq!(find(json, "/a"), Err(NotJson), "{}", &json[..json.len().min(100)]);
        }
        assert_eq!(Pointer::default().find(b"\"\xff\""), Err(NotJson));
        for pointer in ["a", "/a~", "/~2", &"/".repeat(33), &format!("/{}", "a".repeat(256))] {
            assert!(Pointer::parse(pointer).is_err(), "{pointer}");
        }
    }

    #[test]
    fn escapes_are_characters() {
        for (content, want) in [
            (r"a\/\b\f\n\r\t\\\u00e9\ud83d\uDE00z", "a/\u{8}\u{c}\n\r\t\\é😀z".as_bytes()),
            (r"\ud83dz", b"\xed\xa0\xbdz"),
            (r"\ude00\ud83d\u0041", b"\xed\xb8\x80\xed\xa0\xbdA"),
        ] {
            assert_eq!(unescaped(content.as_bytes(), 100), want);
        }
        assert!(unescaped(r"aaaa\u0041".repeat(1000).as_bytes(), 10).len() < 20);
    }

    /// JSON with few names, so that pointers find something.
    fn json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<f64>().prop_map(Value::from),
            r#"[a-c"\\/~é😀\n]{0,4}"#.prop_map(Value::from),
        ];
        leaf.prop_recursive(5, 40, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                prop::collection::hash_map(r#"[ab0~/"]{0,2}"#, inner, 0..4)
                    .prop_map(|members| Value::Object(members.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2_000))]

        #[test]
        fn parts_are_those_of_serde_json(
            value in json(),
            tokens in prop::collection::vec("([ab01-]|~0|~1|\"){0,2}", 0..4),
            is_pretty: bool,
        ) {
            let pointer: String = tokens.iter().map(|token| format!("/{token}")).collect();
            let text = if is_pretty { serde_json::to_string_pretty(&value) } else { serde_json::to_string(&value) }.unwrap();
            let found = find(&text, &pointer).unwrap().map(|found| serde_json::from_str::<Value>(found).unwrap());
            // Numbers can be other ones when they are read.
            let read: Value = serde_json::from_str(&text).unwrap();
            prop_assert_eq!(found.as_ref(), read.pointer(&pointer), "{} {}", text, pointer);
        }

        /// As strict as serde_json, and no bytes are too much for it.
        #[test]
        fn any_bytes_are_json_or_not(
            json in prop_oneof![
                prop::collection::vec(any::<u8>(), 0..40),
                r#"([\[\]{}:, "\\u0-9eE.+-]|true|null|"a"|"a":){0,12}"#.prop_map(String::into_bytes),
            ],
        ) {
            let is_json = serde_json::from_slice::<&serde_json::value::RawValue>(&json).is_ok();
            for pointer in ["", "/a", "/0/a"] {
                let found = Pointer::parse(pointer).unwrap().find(&json);
                prop_assert_eq!(found.is_ok(), is_json, "{}", json.escape_ascii());
            }
        }
    }
}
