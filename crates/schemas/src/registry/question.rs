//! Questions to a registry.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::answer::{Answer, Fault, SchemaText, Version};
use super::path::{schema_path, shown, subject_path};
use super::transport::Request;
use super::{Missing, Silence};
use crate::wire::SchemaId;

/// A question that a schema answers.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(super) enum Question {
    /// The schema with this id.
    Id(SchemaId),
    /// The latest one of this subject.
    Latest(Arc<str>),
    /// The one of this subject with this text.
    Find(Arc<(String, SchemaText)>),
    /// The same, which is registered if there is none.
    Register(Arc<(String, SchemaText)>),
}

impl Question {
    pub(super) fn request(&self) -> Result<Request, Fault> {
        let path = |subject: &str| subject_path(subject).ok_or(Fault::NotFound);
        let (path, text) = match self {
            Self::Id(id) => (schema_path(*id), None),
            Self::Latest(subject) => (format!("{}/versions/latest", path(subject)?), None),
            Self::Find(asked) => (path(&asked.0)?, Some(&asked.1)),
            Self::Register(asked) => (format!("{}/versions", path(&asked.0)?), Some(&asked.1)),
        };
        let body = text.map(SchemaText::body).transpose()?;
        Ok(Request { path, body: body.map(Bytes::from) })
    }

    /// The id of the schema in an answer.
    pub(super) fn id(&self, answer: &Answer) -> Result<SchemaId, Fault> {
        let Self::Id(id) = self else {
            let none = || Fault::Unanswered("an answer without an id".to_owned(), None);
            return answer.id.map(SchemaId::Number).ok_or_else(none);
        };
        let is_other = match id {
            SchemaId::Number(number) => answer.id.is_some_and(|other| other != *number),
            SchemaId::Guid(_) => {
                answer.guid.as_ref().is_some_and(|other| !other.eq_ignore_ascii_case(&id.to_string()))
            }
        };
        if is_other {
            return Err(Fault::Unusable("the registry answers with another schema".to_owned()));
        }
        Ok(*id)
    }

    /// A fault, in words for clients.
    pub(super) fn missing(&self, fault: &Fault) -> Missing {
        let what = match self {
            Self::Id(id) => format!("schema {id}"),
            Self::Latest(subject) => format!("the latest schema of subject {}", shown(subject)),
            Self::Find(asked) | Self::Register(asked) => {
                format!("the schema of subject {}", shown(&asked.0))
            }
        };
        let is_text = matches!(self, Self::Find(_) | Self::Register(_));
        match fault {
            // Registries before GUIDs have no such path.
            Fault::Unanswered(_, Some(404)) if matches!(self, Self::Id(SchemaId::Guid(_))) => {
                Missing::Unknown(format!("{what} is not in the registry"))
            }
            Fault::Unanswered(_, Some(401 | 403)) => Missing::Unanswered(Silence::Refused),
            Fault::Unanswered(..) => Missing::Unanswered(Silence::NoAnswer),
            Fault::Rejected if is_text => Missing::Refused(format!("{what} is not valid for the registry")),
            Fault::Incompatible if is_text => {
                Missing::Refused(format!("{what} is incompatible with an earlier version"))
            }
            Fault::NotFound | Fault::Rejected | Fault::Incompatible => {
                Missing::Unknown(format!("{what} is not in the registry"))
            }
            Fault::Denied => Missing::Unknown(format!("{what} is denied to the bridge by the registry")),
            Fault::Unusable(why) => {
                let why: String = why.chars().take(MAX_WHY).collect();
                Missing::Unknown(format!("{what} cannot be read: {why}"))
            }
        }
    }

    /// The time for which a schema is the answer; `None`: for good.
    pub(super) fn age(&self) -> Option<Duration> {
        match self {
            Self::Latest(_) => Some(LATEST_AGE),
            Self::Id(_) | Self::Find(_) | Self::Register(_) => None,
        }
    }

    /// The time for which the answer is that there is none.
    pub(super) fn age_without(&self, missing: &Missing) -> Duration {
        match (missing, self) {
            (Missing::Unanswered(_), _) => UNANSWERED_AGE,
            (Missing::Unknown(_) | Missing::Refused(_), Self::Id(_)) => MISSING_AGE,
            (Missing::Unknown(_) | Missing::Refused(_), _) => REFUSED_AGE,
        }
    }

    /// The bytes of memory that it takes in a cache, with a short answer.
    pub(super) fn bytes(&self) -> usize {
        let bytes = match self {
            Self::Id(_) => 0,
            Self::Latest(subject) => subject.len(),
            Self::Find(asked) | Self::Register(asked) => {
                let SchemaText { schema, references, .. } = &asked.1;
                let names = references.iter().flat_map(|named| [&named.name, &named.subject]);
                let texts = names.chain([&asked.0, schema]);
                texts.fold(0_usize, |sum, text| {
                    sum.saturating_add(text.len()).saturating_add(size_of::<Version>())
                })
            }
        };
        bytes.saturating_add(ENTRY_BYTES)
    }
}

/// A subject's latest version is asked for again after this time.
pub(super) const LATEST_AGE: Duration = Duration::from_secs(30);
/// So is a schema that was missing or could not be used: records can name ids that nobody has registered.
pub(super) const MISSING_AGE: Duration = Duration::from_secs(30);
/// So is what a subject lacked: its owner may be about to register it.
pub(super) const REFUSED_AGE: Duration = Duration::from_secs(5);
/// So is what the registry did not answer.
pub(super) const UNANSWERED_AGE: Duration = Duration::from_secs(1);
/// The words of an answer, and what the cache needs for it.
const ENTRY_BYTES: usize = 1024;
/// Characters of the reason why a schema cannot be read.
const MAX_WHY: usize = 500;
