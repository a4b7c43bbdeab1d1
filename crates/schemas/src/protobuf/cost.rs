//! Memory of messages, known from their bytes before any of it is taken.
//!
//! A message in memory is far larger than its bytes: a tree's node for its fields, a slot of a list for each of two
//! bytes. So large messages are read twice, the first time to add up what the second would take.

use prost_reflect::{Kind, MessageDescriptor};

use super::MAX_MEMORY;

/// Bytes of memory for each byte of a message, at most: one list's elements of four bytes, each a message of one field.
pub(super) const WORST: usize = 512;

/// Bytes of memory for a part of a JSON text, at most: an array's element that is a message of one field. A `Struct` is
/// in memory twice.
pub(super) const PART: usize = 300;
pub(super) const PART_OF_STRUCT: usize = 1_100;

/// A sum of memory while a message is read.
pub(super) struct Cost {
    left: usize,
    /// Bytes in `Any`, which count as the worst if a message has parts that are merged with others: then their type may
    /// stand elsewhere.
    in_any: usize,
    merged: bool,
}

impl Cost {
    /// Fails where `bytes` as a message would take more than [`MAX_MEMORY`], or are no message.
    pub(super) fn check(descriptor: &MessageDescriptor, bytes: &[u8]) -> Result<(), &'static str> {
        let mut cost = Self { left: MAX_MEMORY, in_any: 0, merged: false };
        let mut rest = bytes;
        cost.message(Some(descriptor), &mut rest, None, 0)?;
        if cost.merged {
            cost.take(cost.in_any.saturating_mul(WORST))?;
        }
        Ok(())
    }

    fn take(&mut self, bytes: usize) -> Result<(), &'static str> {
        self.left = self.left.checked_sub(bytes).ok_or("message takes more memory than 64 MiB")?;
        Ok(())
    }

    /// A message up to its end, or the end of its `group`. Without a descriptor, its fields are unknown.
    fn message(
        &mut self,
        descriptor: Option<&MessageDescriptor>,
        bytes: &mut &[u8],
        group: Option<u32>,
        depth: usize,
    ) -> Result<(), &'static str> {
        if depth > MAX_NESTING {
            return Err("more than 100 levels of messages");
        }
        // Well-known types are converted once more.
        let name = descriptor.map_or("", MessageDescriptor::full_name);
        let times = if name.starts_with("google.protobuf.") { 3 } else { 1 };
        let entry = descriptor.is_some_and(MessageDescriptor::is_map_entry);
        let declared = descriptor.map_or(0, |descriptor| descriptor.fields().len());
        self.take(
            if entry { ENTRY } else { MESSAGE }
                .saturating_mul(times)
                .saturating_add(declared.saturating_mul(DECLARED)),
        )?;
        let (mut any_type, mut any_value) = (None, None);
        let mut seen = 0_u128;
        loop {
            if bytes.is_empty() {
                return match group {
                    Some(_) => Err("a group has no end"),
                    None if name == "google.protobuf.Any" => self.any(descriptor, any_type, any_value, depth),
                    None => Ok(()),
                };
            }
            let key = u32::try_from(varint(bytes)?).map_err(|_| BAD_KEY)?;
            let number = key >> 3;
            let field = descriptor.and_then(|descriptor| Field::of(descriptor, number));
            let single = field.as_ref().is_some_and(|field| !field.repeated);
            self.take(if single { SINGLE } else { VALUE }.saturating_mul(times))?;
            let nested = field.as_ref().and_then(|field| field.message.as_ref());
            if let Some(Field { repeated: false, message: Some(_), .. }) = field {
                // Numbers that share a bit only make it stricter.
                let bit = 1_u128 << (number % u128::BITS);
                self.merged |= seen & bit != 0;
                seen |= bit;
            }
            self.take(field.as_ref().map_or(0, |field| field.oneof.saturating_mul(DECLARED)))?;
            match key & 7 {
                0 => drop(varint(bytes)?),
                1 => drop(take(bytes, 8)?),
                5 => drop(take(bytes, 4)?),
                2 => {
                    let length = usize::try_from(varint(bytes)?).map_err(|_| SHORT)?;
                    let mut value = take(bytes, length)?;
                    match (name, number) {
                        ("google.protobuf.Any", 1) => any_type = Some(value),
                        ("google.protobuf.Any", 2) => any_value = Some(value),
                        _ => {}
                    }
                    match nested {
                        Some(_) => self.message(nested, &mut value, None, depth.saturating_add(1))?,
                        None => {
                            let elements = field.map_or(0, |field| field.packed(value));
                            self.take(
                                elements.saturating_mul(VALUE).saturating_add(length.saturating_mul(times)),
                            )?;
                        }
                    }
                }
                3 => self.message(nested, bytes, Some(number), depth.saturating_add(1))?,
                4 if group == Some(number) => return Ok(()),
                _ => return Err(BAD_KEY),
            }
        }
    }

    /// The message in an `Any` is decoded while its JSON is written; those that it is in keep copies of it.
    fn any(
        &mut self,
        descriptor: Option<&MessageDescriptor>,
        name: Option<&[u8]>,
        value: Option<&[u8]>,
        depth: usize,
    ) -> Result<(), &'static str> {
        let mut value = value.unwrap_or_default();
        self.in_any = self.in_any.saturating_add(value.len());
        let name = name.and_then(|name| str::from_utf8(name).ok()).and_then(|name| name.rsplit_once('/'));
        let pool = descriptor.map(MessageDescriptor::parent_pool);
        match pool.zip(name).and_then(|(pool, (_, name))| pool.get_message_by_name(name)) {
            Some(nested) => self.message(Some(&nested), &mut value, None, depth.saturating_add(1)),
            None => Ok(()), // an error later, or of a part that is merged
        }
    }
}

/// A field or extension, as far as memory depends on it.
struct Field {
    repeated: bool,
    message: Option<MessageDescriptor>,
    /// Elements of a packed list: bytes of each, or 0 for varints.
    width: Option<usize>,
    /// Members of its oneof: each is looked at when the field is set.
    oneof: usize,
}

impl Field {
    fn of(message: &MessageDescriptor, number: u32) -> Option<Self> {
        let (kind, list, map, oneof) = if let Some(field) = message.get_field(number) {
            let oneof = field.containing_oneof().map_or(0, |oneof| oneof.fields().len());
            (field.kind(), field.is_list(), field.is_map(), oneof)
        } else {
            let field = message.get_extension(number)?;
            (field.kind(), field.is_list(), field.is_map(), 0)
        };
        let width = match kind {
            Kind::String | Kind::Bytes | Kind::Message(_) => None,
            Kind::Double | Kind::Fixed64 | Kind::Sfixed64 => Some(8),
            Kind::Float | Kind::Fixed32 | Kind::Sfixed32 => Some(4),
            _ => Some(0),
        };
        let message = match kind {
            Kind::Message(message) => Some(message),
            _ => None,
        };
        Some(Self { repeated: list || map, message, width: width.filter(|_| list), oneof })
    }

    fn packed(&self, bytes: &[u8]) -> usize {
        match self.width {
            None => 0,
            Some(0) => bytes.iter().filter(|byte| **byte < 0x80).count(),
            Some(width) => bytes.len().checked_div(width).unwrap_or_default(),
        }
    }
}

fn varint(bytes: &mut &[u8]) -> Result<u64, &'static str> {
    prost::encoding::decode_varint(bytes).map_err(|_| "a number has no end")
}

fn take<'a>(bytes: &mut &'a [u8], length: usize) -> Result<&'a [u8], &'static str> {
    let (head, rest) = bytes.split_at_checked(length).ok_or(SHORT)?;
    *bytes = rest;
    Ok(head)
}

const SHORT: &str = "a field is longer than its message";
const BAD_KEY: &str = "a field has an invalid number or type";

/// Levels of messages, those in `Any` too, at most.
const MAX_NESTING: usize = 100;

/// Bytes of a message in memory: the first node of the tree of its fields, which holds five at least.
const MESSAGE: usize = 700;

/// Bytes of a map's entry besides its key and value: slots of a table that grows.
const ENTRY: usize = 200;

/// Bytes of a list's element or an unknown field: slots of a list that grows.
const VALUE: usize = 170;

/// Bytes of another field: its part of the further nodes.
const SINGLE: usize = 110;

/// Bytes that stand for the time that a declared field takes in each message.
const DECLARED: usize = 16;
