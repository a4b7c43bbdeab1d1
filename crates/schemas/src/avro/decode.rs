//! Bytes of a value, as JSON text (Avro 1.12, "Binary Encoding").

use super::output::Output;
use super::{Field, Id, Kind, MAX_SAFE_INTEGER, Nodes, Schema, Union, decimal};
use crate::{DecodeError, MAX_DEPTH};

pub(super) fn decode(
    schema: &Schema,
    bytes: &[u8],
    max_json: usize,
    out: &mut Vec<u8>,
) -> Result<(), DecodeError> {
    let input = Input { rest: bytes, len: bytes.len() };
    let mut decoder = Decoder { nodes: &schema.nodes, input, output: Output::new(out, max_json), depth: 0 };
    decoder.value(schema.root)?;
    match decoder.input.rest.len() {
        0 => Ok(()),
        left => Err(decoder.input.error(&format!("the value ends, and {left} bytes are left"))),
    }
}

struct Decoder<'a> {
    nodes: &'a Nodes,
    input: Input<'a>,
    output: Output<'a>,
    /// Arrays and objects around the value, at most `MAX_DEPTH`.
    depth: usize,
}

impl Decoder<'_> {
    fn value(&mut self, id: Id) -> Result<(), DecodeError> {
        match &self.nodes.at(id).kind {
            Kind::Null => self.output.raw(b"null"),
            Kind::Boolean => match self.input.take::<1>()? {
                [0] => self.output.raw(b"false"),
                [1] => self.output.raw(b"true"),
                [byte] => Err(self.input.error(&format!("a boolean is {byte}, not 0 or 1"))),
            },
            Kind::Int => {
                let int = self.input.int()?;
                self.output.json(&int)
            }
            Kind::Long => {
                let long = self.input.long()?;
                self.long(long)
            }
            Kind::Float => {
                let float = f32::from_le_bytes(self.input.take()?);
                if float.is_finite() { self.output.json(&float) } else { self.not_finite(float.into()) }
            }
            Kind::Double => {
                let double = f64::from_le_bytes(self.input.take()?);
                if double.is_finite() { self.output.json(&double) } else { self.not_finite(double) }
            }
            Kind::Bytes => {
                let bytes = self.input.bytes()?;
                self.output.base64(bytes)
            }
            Kind::String | Kind::UuidText => {
                let text = self.input.text()?;
                self.output.json(text)
            }
            Kind::Fixed(size) => {
                let bytes = self.input.slice(*size)?;
                self.output.base64(bytes)
            }
            Kind::Uuid => {
                let bytes = u128::from_be_bytes(self.input.take()?);
                self.output.quoted(uuid(&format!("{bytes:032x}")).as_bytes())
            }
            Kind::Decimal(decimal) => {
                let bytes = match decimal.size {
                    Some(size) => self.input.slice(size)?,
                    None => self.input.bytes()?,
                };
                let scale = i64::try_from(decimal.scale).unwrap_or(i64::MAX);
                decimal::write(bytes, scale, &mut self.output)
            }
            Kind::BigDecimal => self.big_decimal(),
            Kind::Time(kind) => {
                let value = if kind.is_int() { self.input.int()?.into() } else { self.input.long()? };
                if kind.write(value, &mut self.output)? { Ok(()) } else { self.long(value) }
            }
            Kind::Duration => self.duration(),
            Kind::Enum(symbols) => {
                let at = self.input.int()?;
                let symbol = usize::try_from(at).ok().and_then(|at| symbols.json.get(at));
                let Some(symbol) = symbol else {
                    let count = symbols.json.len();
                    return Err(self.input.error(&format!("an enum of {count} symbols has position {at}")));
                };
                self.output.raw(symbol.as_bytes())
            }
            Kind::Array(items) => self.array(*items),
            Kind::Map(values) => self.map(*values),
            Kind::Record(fields) => self.record(fields),
            Kind::Union(union) => self.union(union),
        }
    }

    fn long(&mut self, long: i64) -> Result<(), DecodeError> {
        if (-MAX_SAFE_INTEGER..=MAX_SAFE_INTEGER).contains(&long) {
            return self.output.json(&long);
        }
        self.output.raw(b"\"")?;
        self.output.json(&long)?;
        self.output.raw(b"\"")
    }

    fn not_finite(&mut self, value: f64) -> Result<(), DecodeError> {
        self.output.quoted(match value {
            f64::INFINITY => b"Infinity",
            f64::NEG_INFINITY => b"-Infinity",
            _ => b"NaN",
        })
    }

    /// Avro 1.12, "Alternative Decimal": the unscaled value as bytes, and the scale as an int, both within bytes.
    fn big_decimal(&mut self) -> Result<(), DecodeError> {
        let bytes = self.input.bytes()?;
        let mut parts = Input { rest: bytes, len: self.input.len - self.input.rest.len() };
        let (unscaled, scale) = (parts.bytes()?, parts.int()?);
        if !parts.rest.is_empty() {
            return Err(parts.error("bytes of a big-decimal are left behind its scale"));
        }
        decimal::write(unscaled, scale.into(), &mut self.output)
    }

    /// Avro 1.12, "Duration": "three little-endian unsigned integers".
    fn duration(&mut self) -> Result<(), DecodeError> {
        self.open()?;
        for key in [&b"{\"months\":"[..], b",\"days\":", b",\"millis\":"] {
            self.output.raw(key)?;
            let part = u32::from_le_bytes(self.input.take()?);
            self.output.json(&part)?;
        }
        self.close(b"}")
    }

    fn array(&mut self, items: Id) -> Result<(), DecodeError> {
        self.open()?;
        let mut before = &b"["[..];
        self.blocks(|decoder| {
            decoder.output.raw(before)?;
            before = b",";
            decoder.value(items)
        })?;
        self.close(if before == b"[" { b"[]" } else { b"]" })
    }

    fn map(&mut self, values: Id) -> Result<(), DecodeError> {
        self.open()?;
        let mut before = &b"{"[..];
        self.blocks(|decoder| {
            decoder.output.raw(before)?;
            before = b",";
            let key = decoder.input.text()?;
            decoder.output.json(key)?;
            decoder.output.raw(b":")?;
            decoder.value(values)
        })?;
        self.close(if before == b"{" { b"{}" } else { b"}" })
    }

    /// Items in blocks. Each writes a byte at least, so items without bytes are bounded, too.
    fn blocks(
        &mut self,
        mut item: impl FnMut(&mut Self) -> Result<(), DecodeError>,
    ) -> Result<(), DecodeError> {
        loop {
            let count = self.input.long()?;
            if count == 0 {
                return Ok(());
            }
            if count < 0 {
                // The size of the block, for readers that skip it.
                self.input.long()?;
            }
            for _ in 0..count.unsigned_abs() {
                item(self)?;
            }
        }
    }

    fn record(&mut self, fields: &[Field]) -> Result<(), DecodeError> {
        self.open()?;
        for field in fields {
            self.output.raw(field.key.as_bytes())?;
            self.value(field.node)?;
        }
        self.close(if fields.is_empty() { b"{}" } else { b"}" })
    }

    fn union(&mut self, union: &Union) -> Result<(), DecodeError> {
        let at = self.input.long()?;
        let branch = usize::try_from(at).ok().and_then(|at| union.branches.get(at));
        let Some(branch) = branch else {
            let count = union.branches.len();
            return Err(self.input.error(&format!("a union of {count} branches has position {at}")));
        };
        let node = self.nodes.at(*branch);
        if union.is_plain || matches!(node.kind, Kind::Null) {
            return self.value(*branch);
        }
        self.open()?;
        self.output.raw(b"{")?;
        self.output.json(&*node.name)?;
        self.output.raw(b":")?;
        self.value(*branch)?;
        self.close(b"}")
    }

    fn open(&mut self) -> Result<(), DecodeError> {
        if self.depth == MAX_DEPTH {
            return Err(DecodeError(format!("the JSON has more than {MAX_DEPTH} levels")));
        }
        self.depth += 1;
        Ok(())
    }

    fn close(&mut self, end: &[u8]) -> Result<(), DecodeError> {
        self.depth -= 1;
        self.output.raw(end)
    }
}

/// A UUID of its 32 digits (RFC 9562, section 4).
fn uuid(digits: &str) -> String {
    let mut text = String::with_capacity(36);
    for (at, digit) in digits.chars().enumerate() {
        if matches!(at, 8 | 12 | 16 | 20) {
            text.push('-');
        }
        text.push(digit);
    }
    text
}

struct Input<'a> {
    rest: &'a [u8],
    /// The bytes of the whole value, for errors.
    len: usize,
}

impl<'a> Input<'a> {
    #[cold]
    fn error(&self, what: &str) -> DecodeError {
        DecodeError(format!("at byte {}: {what}", self.len - self.rest.len()))
    }

    #[cold]
    fn ends(&self, need: impl std::fmt::Display) -> DecodeError {
        self.error(&format!("{need} bytes are needed, and {} are left", self.rest.len()))
    }

    fn take<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        let (taken, rest) = self.rest.split_first_chunk().ok_or_else(|| self.ends(N))?;
        self.rest = rest;
        Ok(*taken)
    }

    fn slice(&mut self, len: usize) -> Result<&'a [u8], DecodeError> {
        let (taken, rest) = self.rest.split_at_checked(len).ok_or_else(|| self.ends(len))?;
        self.rest = rest;
        Ok(taken)
    }

    /// Bytes, behind their length.
    fn bytes(&mut self) -> Result<&'a [u8], DecodeError> {
        let len = self.long()?;
        self.slice(usize::try_from(len).map_err(|_| self.ends(len))?)
    }

    fn text(&mut self) -> Result<&'a str, DecodeError> {
        let bytes = self.bytes()?;
        std::str::from_utf8(bytes).map_err(|_| self.error("a string before here is not UTF-8"))
    }

    fn int(&mut self) -> Result<i32, DecodeError> {
        let long = self.long()?;
        i32::try_from(long).map_err(|_| self.error(&format!("an int is {long}, beyond 32 bits")))
    }

    /// Avro 1.12, "Primitive Types": "int and long values are written using variable-length zig-zag coding".
    fn long(&mut self) -> Result<i64, DecodeError> {
        if let Some((&byte, rest)) = self.rest.split_first()
            && byte < 0x80
        {
            self.rest = rest;
            return Ok(zigzag(byte.into()));
        }
        let mut value = 0;
        for (at, &byte) in self.rest.iter().enumerate().take(10) {
            // The tenth byte has the last of 64 bits.
            if at == 9 && byte > 1 {
                break;
            }
            value |= u64::from(byte & 0x7f) << (7 * at);
            if byte < 0x80 {
                self.slice(at + 1)?;
                return Ok(zigzag(value));
            }
        }
        Err(self.error(if self.rest.len() < 10 { "a number is cut off" } else { "a number exceeds 64 bits" }))
    }
}

fn zigzag(value: u64) -> i64 {
    (value >> 1).cast_signed() ^ -(value & 1).cast_signed()
}
