//! Splits concatenated JSON (`{…}{…}`) into objects, in whatever parts it arrives. Each byte is looked at once.

use bytes::{Buf, Bytes, BytesMut};

/// Objects that have not been taken, and the beginning of the next one.
#[derive(Debug)]
pub(super) struct Objects {
    buffer: BytesMut,
    /// The bytes of the buffer that belong to the next object.
    scanned: usize,
    /// Open braces and brackets.
    depth: usize,
    in_string: bool,
    is_escaped: bool,
    /// The largest object, in bytes.
    max_bytes: usize,
}

/// Why there is no next object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NoObject {
    /// Something else begins in its place.
    Other,
    /// It is larger than the limit.
    TooLarge,
}

impl Objects {
    pub(super) fn new(max_bytes: usize) -> Self {
        let buffer = BytesMut::new();
        Self { buffer, scanned: 0, depth: 0, in_string: false, is_escaped: false, max_bytes }
    }

    pub(super) fn push(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// The bytes that have not been taken.
    pub(super) fn len(&self) -> usize {
        self.buffer.len()
    }

    /// The next object, from its brace to the one that closes it; it can still be invalid JSON. None: its end has not
    /// arrived.
    pub(super) fn next(&mut self) -> Result<Option<Bytes>, NoObject> {
        if self.scanned == 0 {
            self.trim();
            if self.buffer.first().is_some_and(|first| *first != b'{') {
                return Err(NoObject::Other);
            }
        }
        while let Some(byte) = self.buffer.get(self.scanned) {
            let is_end = self.step(*byte);
            self.scanned = self.scanned.saturating_add(1);
            if self.scanned > self.max_bytes {
                return Err(NoObject::TooLarge);
            }
            if is_end {
                let object = self.buffer.split_to(self.scanned).freeze();
                self.scanned = 0;
                self.trim();
                return Ok(Some(object));
            }
        }
        Ok(None)
    }

    /// Drops whitespace before the next object.
    fn trim(&mut self) {
        let spaces = self.buffer.iter().take_while(|byte| b" \t\r\n".contains(byte)).count();
        self.buffer.advance(spaces);
    }

    /// Whether the object ends with this byte.
    fn step(&mut self, byte: u8) -> bool {
        if self.in_string {
            self.in_string = self.is_escaped || byte != b'"';
            self.is_escaped = byte == b'\\' && !self.is_escaped;
            return false;
        }
        match byte {
            b'"' => self.in_string = true,
            b'{' | b'[' => self.depth = self.depth.saturating_add(1),
            b'}' | b']' => {
                self.depth = self.depth.saturating_sub(1);
                return self.depth == 0;
            }
            _ => {}
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// All objects of a text in two parts, and why there are no more.
    fn split(text: &str, cut: usize, max_bytes: usize) -> (Vec<String>, Option<NoObject>) {
        let (mut objects, mut found) = (Objects::new(max_bytes), Vec::new());
        let (head, tail) = text.as_bytes().split_at(cut);
        for part in [head, tail] {
            objects.push(part);
            loop {
                match objects.next() {
                    Ok(Some(object)) => found.push(String::from_utf8(object.to_vec()).unwrap()),
                    Ok(None) => break,
                    Err(reason) => return (found, Some(reason)),
                }
            }
        }
        (found, None)
    }

    #[test]
    fn objects_are_split_wherever_they_are_cut() {
        let nested = r#"{"a":[{"b":"}]"},[]]}"#;
        let strings = r#"{"\\":"\"{","é":"\\\"}"}"#;
        for (text, want, reason) in [
            ("", &[][..], None),
            (" \r\n\t", &[], None),
            ("{}{}\n{} ", &["{}", "{}", "{}"], None),
            (&format!("{nested}{strings}\r\n{nested}"), &[nested, strings, nested], None),
            (r#"{"a":1}{"a""#, &[r#"{"a":1}"#], None),
            ("{} [] {}", &["{}"], Some(NoObject::Other)),
            ("x", &[], Some(NoObject::Other)),
            // Told by the parser.
            ("{]{}", &["{]", "{}"], None),
        ] {
            for cut in (0..=text.len()).filter(|cut| text.is_char_boundary(*cut)) {
                let want = want.iter().map(|one| (*one).to_owned()).collect();
                assert_eq!(split(text, cut, 100), (want, reason), "{text} cut at {cut}");
            }
        }
    }

    #[test]
    fn each_object_is_bounded_but_not_all_together() {
        let text = r#"{"a":1}"#.repeat(100);
        assert_eq!(split(&text, 300, 7).0.len(), 100);
        assert_eq!(split(&text, 300, 6), (Vec::new(), Some(NoObject::TooLarge)));
    }
}
