//! The schemas that a reference can mean.

use std::borrow::Cow;
use std::collections::HashMap;
use std::ptr;

use percent_encoding::percent_decode_str;
use serde_json::Value;

use super::Documents;
use crate::json::push_step;

/// Finds the schemas that a `$ref` or `$dynamicRef` can mean: of those with similar addresses, all of them.
///
/// A validator resolves addresses to one schema, by rules that differ between drafts. Work that is bounded for all of
/// them is bounded for that one.
#[derive(Default)]
pub(super) struct Targets {
    /// Documents, and schemas with an address of their own, by the last segment of the address.
    resources: HashMap<String, Vec<Place>>,
    /// The last segments of the addresses of each, by where it is in memory.
    segments: HashMap<usize, Vec<String>>,
    /// Schemas by `$anchor`, `$dynamicAnchor` and, in older drafts, `$id`.
    anchors: HashMap<String, Vec<Place>>,
    is_draft4: bool,
    /// Of all JSON Pointers.
    bytes: usize,
}

struct Place {
    document: usize,
    /// A JSON Pointer in the document.
    pointer: String,
}

/// A schema, and the one with an address around it, to which its own references are relative.
#[derive(Clone, Copy)]
pub(super) struct Target<'a> {
    pub(super) resource: &'a Value,
    pub(super) schema: &'a Value,
}

impl Targets {
    /// The targets of documents, which must stay where they are.
    pub(super) fn of(documents: &Documents, is_draft4: bool) -> Self {
        let mut targets = Self { is_draft4, ..Self::default() };
        for (document, (name, schema)) in documents.0.iter().enumerate() {
            targets.add_resource(name, schema, Place { document, pointer: String::new() });
            targets.add(schema, document, &mut String::new());
        }
        targets
    }

    /// Whether there are more places than are kept: each has its whole JSON Pointer, which long names make large.
    pub(super) fn are_too_many(&self) -> bool {
        self.bytes > MAX_PLACES
    }

    /// Adds the addresses and anchors in a schema, whose depth is that of `serde_json`: 128.
    fn add(&mut self, schema: &Value, document: usize, pointer: &mut String) {
        if self.are_too_many() {
            return;
        }
        let place = |pointer: &String| Place { document, pointer: pointer.clone() };
        let (address, anchor) = self.address(schema);
        if !address.is_empty() {
            self.bytes = self.bytes.saturating_add(pointer.len());
            self.add_resource(address, schema, place(pointer));
        }
        let others = ["$anchor", "$dynamicAnchor"].map(|key| schema.get(key).and_then(Value::as_str));
        let recursive = schema.get("$recursiveAnchor").map(|_| RECURSIVE);
        let anchors = others.into_iter().flatten().chain([anchor]).filter(|anchor| !anchor.is_empty());
        for anchor in anchors.chain(recursive) {
            self.bytes = self.bytes.saturating_add(pointer.len());
            self.anchors.entry(anchor.to_owned()).or_default().push(place(pointer));
        }
        let elements = schema.as_array().into_iter().flatten().enumerate();
        let elements = elements.map(|(index, element)| (Cow::Owned(index.to_string()), element));
        let members = schema.as_object().into_iter().flatten();
        let members = members.map(|(name, member)| (Cow::Borrowed(name.as_str()), member));
        for (step, part) in elements.chain(members) {
            let length = pointer.len();
            push_step(pointer, &step);
            self.add(part, document, pointer);
            pointer.truncate(length);
        }
    }

    fn add_resource(&mut self, address: &str, schema: &Value, place: Place) {
        let segment = last_segment(address);
        self.segments.entry(ptr::from_ref(schema).addr()).or_default().push(segment.to_string());
        self.resources.entry(segment.into_owned()).or_default().push(place);
    }

    /// The address of a schema and its anchor, as `$id` has them: empty if it has none.
    fn address<'a>(&self, schema: &'a Value) -> (&'a str, &'a str) {
        let id = schema.get(if self.is_draft4 { "id" } else { "$id" }).and_then(Value::as_str);
        id.map_or(("", ""), |id| id.split_once('#').unwrap_or((id, "")))
    }

    /// The schema to which references in `schema` are relative, if those around it are to `outer`.
    pub(super) fn resource<'a>(&self, outer: &'a Value, schema: &'a Value) -> &'a Value {
        if self.address(schema).0.is_empty() { outer } else { schema }
    }

    /// All that a reference can mean in a schema with these addresses; None for each that was looked at in vain.
    pub(super) fn find<'a>(
        &self,
        documents: &'a Documents,
        resource: &'a Value,
        reference: &str,
    ) -> Vec<Option<Target<'a>>> {
        if reference.len() > MAX_REFERENCE {
            return Vec::new();
        }
        let (address, fragment) = reference.split_once('#').unwrap_or((reference, ""));
        let fragment = percent_decode_str(fragment).decode_utf8_lossy();
        if !fragment.is_empty() && !fragment.starts_with('/') {
            return self.anchored(documents, &fragment);
        }
        let named = [last_segment(address).into_owned()];
        let own = || self.segments.get(&ptr::from_ref(resource).addr()).map_or(&[][..], Vec::as_slice);
        let segments = if address.is_empty() { own() } else { &named };
        let places = segments.iter().filter_map(|segment| self.resources.get(segment)).flatten();
        places.map(|place| self.at(place.of(documents)?, &fragment)).collect()
    }

    /// All that a `$recursiveRef` can mean beside what a `$ref` does.
    pub(super) fn recursive<'a>(&self, documents: &'a Documents) -> Vec<Option<Target<'a>>> {
        self.anchored(documents, RECURSIVE)
    }

    fn anchored<'a>(&self, documents: &'a Documents, name: &str) -> Vec<Option<Target<'a>>> {
        let places = self.anchors.get(name).into_iter().flatten();
        places.map(|place| self.at(documents.at(place.document)?, &place.pointer)).collect()
    }

    /// The part of a schema at a JSON Pointer.
    fn at<'a>(&self, schema: &'a Value, pointer: &str) -> Option<Target<'a>> {
        let root = Target { resource: schema, schema };
        pointer.split('/').skip(1).try_fold(root, |Target { resource, schema }, step| {
            let schema = schema.pointer(&format!("/{step}"))?;
            Some(Target { resource: self.resource(resource, schema), schema })
        })
    }
}

impl Place {
    fn of<'a>(&self, documents: &'a Documents) -> Option<&'a Value> {
        documents.at(self.document)?.pointer(&self.pointer)
    }
}

/// The last segment of an address, which stays when a relative one is made absolute.
fn last_segment(address: &str) -> Cow<'_, str> {
    let address = address.split('#').next().unwrap_or_default();
    percent_decode_str(address.rsplit(['/', ':']).next().unwrap_or_default()).decode_utf8_lossy()
}

/// The name of schemas with `$recursiveAnchor`, which no anchor can have.
const RECURSIVE: &str = "#";
/// Bytes of a reference that is looked up.
const MAX_REFERENCE: usize = 1024;
/// Bytes of the JSON Pointers of addresses and anchors, at most.
const MAX_PLACES: usize = 16 * 1024 * 1024;
