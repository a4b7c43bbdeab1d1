//! JSON text from the outside: its depth and its parts, before anything is built of it.

use crate::MAX_DEPTH;

/// Counts of a JSON text. Text that is not JSON has counts too: they bound what a parser can make of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Shape {
    /// Arrays and objects within each other, at most.
    pub(crate) depth: usize,
    /// Arrays, objects, their members and elements, at most.
    pub(crate) parts: usize,
}

impl Shape {
    pub(crate) fn of(json: &[u8]) -> Self {
        let (mut depth, mut deepest, mut parts) = (0_usize, 0, 1_usize);
        let (mut string, mut escaped) = (false, false);
        for byte in json {
            match byte {
                _ if escaped => escaped = false,
                b'\\' => escaped = string,
                b'"' => string = !string,
                _ if string => {}
                b'[' | b'{' => {
                    depth = depth.saturating_add(1);
                    parts = parts.saturating_add(2);
                    deepest = deepest.max(depth);
                }
                b']' | b'}' => depth = depth.saturating_sub(1),
                b',' => parts = parts.saturating_add(1),
                _ => {}
            }
        }
        Self { depth: deepest, parts }
    }

    pub(crate) fn too_deep(self) -> Option<String> {
        (self.depth > MAX_DEPTH).then(too_deep)
    }
}

pub(crate) fn too_deep() -> String {
    format!("JSON of more than {MAX_DEPTH} levels")
}

pub(crate) fn too_large(max_json: usize) -> String {
    format!("JSON of more than {max_json} bytes")
}

/// The beginning of a text for people, which may quote a value or a schema.
pub(crate) fn shortened(mut text: String) -> String {
    if let Some((end, _)) = text.char_indices().nth(MAX_TEXT) {
        text.truncate(end);
        text.push('…');
    }
    text
}

/// Appends a step to a JSON Pointer (RFC 6901, section 3).
pub(crate) fn push_step(pointer: &mut String, step: &str) {
    pointer.push('/');
    for character in step.chars() {
        match character {
            '~' => pointer.push_str("~0"),
            '/' => pointer.push_str("~1"),
            other => pointer.push(other),
        }
    }
}

/// Characters of an error's text, at most.
const MAX_TEXT: usize = 200;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shape_counts_brackets_outside_of_strings() {
        for (json, depth, parts) in [
            ("1", 0, 1),
            ("[]", 1, 3),
            (r#"[[1],{"[":"\"["}]"#, 2, 8),
            (r#""[[[\\""#, 0, 1),
            ("[[[", 3, 7),
            ("]]]", 0, 1),
        ] {
            assert_eq!(Shape::of(json.as_bytes()), Shape { depth, parts }, "{json}");
        }
    }

    #[test]
    fn pointers_escape_their_steps() {
        let mut pointer = String::new();
        push_step(&mut pointer, "a/b");
        push_step(&mut pointer, "~");
        assert_eq!(pointer, "/a~1b/~0");
    }
}
