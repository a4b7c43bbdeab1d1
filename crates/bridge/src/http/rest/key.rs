//! The newest record of a key as JSON, from the topic's table.

use http::StatusCode;
use sluicegate_backend::first_message;
use sluicegate_delivery::cluster::escape_for_message;
use sluicegate_delivery::grant::Grant;
use sluicegate_dialect as dialect;
use sluicegate_dialect::http::media_type::Format;

use super::super::problem::{Problem, ProblemKind};
use super::super::response::Response;
use super::records::content_type;

/// The response to GET of a key.
///
/// # Cancel safety
/// A drop abandons the read.
pub(super) async fn get(grant: &Grant, topic: &str, key: &[u8], format: Format) -> Result<Response, Problem> {
    let system = grant.system();
    let found = match grant.look_up(topic, key).await {
        Ok(found) => found,
        Err(error) => {
            return Err(Problem::failed(error, system).with_missing_log(grant, topic, None).await);
        }
    };
    let Some((partition, record, (message, _))) =
        found.and_then(|(partition, record)| Some((partition, record.clone(), first_message(&record)?)))
    else {
        let (word, topic) = (dialect::of(system).words().key, escape_for_message(topic));
        let detail = format!("the table of {} {topic} has no such {word}", system.topic);
        return Err(Problem::new(ProblemKind::NoKey, detail));
    };
    let mut body = Vec::new();
    dialect::of(system).put_record(&mut body, topic, partition, &message, format);
    grant.route().delivered(1, record.len());
    Ok(Response::with_body(StatusCode::OK, content_type(format, system), body.into()))
}
