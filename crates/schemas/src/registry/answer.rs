//! Answers of registries: schemas and errors.

use serde::{Deserialize, Serialize};
use sluicegate_protocol::SchemaType;

use super::path::shown;
use super::transport::{Request, Response, Transport, Unanswered};
use crate::MAX_SCHEMA_BYTES;

/// The text of a schema, and the schemas that it refers to.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct SchemaText {
    /// Its language.
    pub kind: SchemaType,
    /// The text.
    pub schema: String,
    /// The references that it names directly.
    pub references: Vec<Version>,
}

/// A version of a subject, by the name that another schema has for it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Version {
    /// The name in the schema.
    pub name: String,
    /// The subject.
    pub subject: String,
    /// The number of the version; −1 is the latest.
    pub version: i32,
}

/// The reason why a request gave no schema.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Fault {
    /// The registry has no such subject, version or schema.
    NotFound,
    /// The credentials do not open it.
    Denied,
    /// The registry does not accept a text as a schema.
    Rejected,
    /// The subject has a version with which a text is not compatible.
    Incompatible,
    /// The schema cannot be used: in words for clients.
    Unusable(String),
    /// No valid answer: in words for the log. The status is that of an answer with an error.
    Unanswered(String, Option<u16>),
}

/// An answer with a schema, an id, or both.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct Answer {
    pub(super) id: Option<u32>,
    pub(super) guid: Option<String>,
    pub(super) version: Option<i32>,
    schema: Option<String>,
    schema_type: Option<String>,
    references: Option<Vec<Version>>,
}

/// The answer to a request.
pub(super) async fn ask(transport: &dyn Transport, request: Request) -> Result<Answer, Fault> {
    let response = transport.send(request).await.map_err(|error| match error {
        Unanswered::TooLarge(max) => Fault::Unusable(format!("the answer has more than {max} bytes")),
        Unanswered::Failed(cause) => Fault::Unanswered(cause, None),
    })?;
    if response.status != 200 {
        return Err(fault(&response));
    }
    serde_json::from_slice(&response.body)
        .map_err(|error| Fault::Unanswered(format!("an answer that is not a schema: {error}"), None))
}

/// Asks a registry for the name of a subject, to know whether it answers. Gives what answered, in words.
///
/// # Errors
/// No answer, or not one of a registry: in words for operators.
///
/// # Cancel safety
/// A drop ends the request.
pub async fn probe(transport: &dyn Transport) -> Result<String, String> {
    let registry = transport.shown();
    let connected = || format!("connected to {registry}");
    let request = Request { path: "/subjects?limit=1".to_owned(), body: None };
    let response = match transport.send(request).await {
        Ok(response) => response,
        // Registries that know no limit name all of them.
        Err(Unanswered::TooLarge(_)) => return Ok(connected()),
        Err(Unanswered::Failed(cause)) => return Err(format!("{registry} does not answer: {cause}")),
    };
    if response.status == 200 {
        let names: Result<Vec<&str>, _> = serde_json::from_slice(&response.body);
        return names
            .map(|_| connected())
            .map_err(|_| format!("{registry} is not a schema registry: expected a list of subjects"));
    }
    match fault(&response) {
        Fault::Denied => Ok(format!("{}, which lets this user list no subjects", connected())),
        Fault::Unanswered(cause, _) => Err(format!("{registry} answers with {cause}")),
        _ => Err(format!("{registry} answers with status {}", response.status)),
    }
}

/// An answer with an error, by its status, and by the registry's own code where proxies have that status too.
fn fault(response: &Response) -> Fault {
    #[derive(Deserialize)]
    struct Problem {
        error_code: i64,
    }
    let status = response.status;
    let problem: Option<Problem> = serde_json::from_slice(&response.body).ok();
    // Codes with five digits are of the registry, and begin with the status.
    match (status, problem.map_or(0, |problem| problem.error_code)) {
        (404, 40400..=40499) => Fault::NotFound,
        (403, 40300..=40399) => Fault::Denied,
        (400 | 422, _) => Fault::Rejected,
        (409, _) => Fault::Incompatible,
        (status, _) => Fault::Unanswered(format!("status {status}{}", hint(status)), Some(status)),
    }
}

fn hint(status: u16) -> &'static str {
    match status {
        300..=399 => ": redirects are not followed",
        401 | 403 => ": expected credentials that the registry accepts",
        404 => " without the error code of a registry: is there one at this path?",
        _ => "",
    }
}

impl Answer {
    /// The schema.
    pub(super) fn text(self) -> Result<SchemaText, Fault> {
        let name = self.schema_type.as_deref().unwrap_or(SchemaType::Avro.name());
        let Some(kind) = SchemaType::ALL.into_iter().find(|kind| kind.name() == name) else {
            let known = SchemaType::ALL.map(SchemaType::name).join(", ");
            return Err(Fault::Unusable(format!("its type is {}, expected one of {known}", shown(name))));
        };
        let none = || Fault::Unanswered("an answer without a schema".to_owned(), None);
        let schema = self.schema.ok_or_else(none)?;
        Ok(SchemaText { kind, schema, references: self.references.unwrap_or_default() })
    }
}

impl SchemaText {
    /// The JSON with which it is looked up and registered.
    pub(super) fn body(&self) -> Result<Vec<u8>, Fault> {
        #[derive(Serialize)]
        #[serde(rename_all = "camelCase")]
        struct Body<'a> {
            schema: &'a str,
            #[serde(skip_serializing_if = "Option::is_none")]
            schema_type: Option<&'static str>,
            #[serde(skip_serializing_if = "<[_]>::is_empty")]
            references: &'a [Version],
        }
        if self.schema.len() > MAX_SCHEMA_BYTES {
            return Err(Fault::Unusable(format!("it has more than {MAX_SCHEMA_BYTES} bytes")));
        }
        // Registries that have Avro alone know no types.
        let schema_type = (self.kind != SchemaType::Avro).then_some(self.kind.name());
        let body = Body { schema: &self.schema, schema_type, references: &self.references };
        serde_json::to_vec(&body).map_err(|error| Fault::Unusable(error.to_string()))
    }
}
