//! The schemas that a schema refers to.

use std::vec;

use super::answer::{Fault, SchemaText, Version, ask};
use super::path::{shown, subject_path};
use super::transport::{Request, Transport};
use crate::{MAX_REFERENCES, MAX_SCHEMA_BYTES, Reference};

/// A schema whose references are being fetched.
struct Open {
    name: String,
    schema: String,
    rest: vec::IntoIter<Version>,
}

/// A schema, and all that it refers to, directly or not, dependencies first. Of two with one name, the first counts, as
/// with Confluent's own clients.
///
/// # Errors
/// One of them is missing, they form a circle, or there are too many, or too many bytes.
pub(super) async fn resolve(
    transport: &dyn Transport,
    text: SchemaText,
) -> Result<(String, Vec<Reference>), Fault> {
    let mut bytes = 0;
    let (mut done, mut path) = (Vec::<Reference>::new(), Vec::<Open>::new());
    let mut open = open(String::new(), text, &mut bytes)?;
    loop {
        let Some(next) = open.rest.next() else {
            let Some(outer) = path.pop() else { return Ok((open.schema, done)) };
            done.push(Reference { name: open.name, schema: open.schema });
            open = outer;
            continue;
        };
        // The outermost schema has no name.
        let has_name = |open: &Open| !open.name.is_empty() && open.name == next.name;
        if path.iter().chain([&open]).any(has_name) {
            return Err(Fault::Unusable(format!("its references form a circle at {}", shown(&next.name))));
        }
        if done.iter().any(|done| done.name == next.name) {
            continue;
        }
        if done.len().saturating_add(path.len()) >= MAX_REFERENCES {
            return Err(too_many());
        }
        let text = fetch(transport, &next).await?;
        let inner = self::open(next.name, text, &mut bytes)?;
        path.push(std::mem::replace(&mut open, inner));
    }
}

/// Counts the bytes of a schema.
fn open(name: String, text: SchemaText, bytes: &mut usize) -> Result<Open, Fault> {
    let SchemaText { schema, references, .. } = text;
    *bytes = bytes.saturating_add(schema.len());
    if *bytes > MAX_SCHEMA_BYTES {
        let what = "it has, with the schemas that it refers to, more than";
        return Err(Fault::Unusable(format!("{what} {MAX_SCHEMA_BYTES} bytes")));
    }
    if references.len() > MAX_REFERENCES {
        return Err(too_many());
    }
    Ok(Open { name, schema, rest: references.into_iter() })
}

fn too_many() -> Fault {
    Fault::Unusable(format!("it refers to more than {MAX_REFERENCES} schemas"))
}

/// One of the schemas that another refers to.
async fn fetch(transport: &dyn Transport, next: &Version) -> Result<SchemaText, Fault> {
    let Version { subject, version, .. } = next;
    let what = || format!("version {version} of subject {}", shown(subject));
    let number = if *version == LATEST { "latest".to_owned() } else { version.to_string() };
    let Some(path) = subject_path(subject) else {
        return Err(Fault::Unusable(format!("{} is not in the registry", what())));
    };
    let request = Request { path: format!("{path}/versions/{number}"), body: None };
    let answer = ask(transport, request).await.and_then(|answer| match answer.version {
        Some(other) if other != *version && *version != LATEST => {
            Err(Fault::Unusable("the registry answers with another version".to_owned()))
        }
        _ => answer.text(),
    });
    answer.map_err(|fault| match fault {
        Fault::NotFound | Fault::Rejected | Fault::Incompatible => {
            Fault::Unusable(format!("{} is not in the registry", what()))
        }
        Fault::Denied => Fault::Unusable(format!("the registry denies the bridge {}", what())),
        Fault::Unusable(why) => Fault::Unusable(format!("{}: {why}", what())),
        Fault::Unanswered(..) => fault,
    })
}

/// The number of a version that stands for the latest.
const LATEST: i32 = -1;
