//! The cluster: its id and its brokers.

use http::StatusCode;
use serde::Serialize;
use sluicegate_delivery::grant::Grant;
use sluicegate_dialect as dialect;
use sluicegate_dialect::http::Clusters;
use sluicegate_dialect::http::media_type::JSON;

use super::super::Request;
use super::super::base_url::base_url;
use super::super::problem::{Problem, ProblemKind};
use super::super::response::Response;

/// The response to GET of the brokers.
///
/// # Cancel safety
/// A drop abandons the read.
pub(super) async fn brokers(grant: &Grant, content_type: &'static str) -> Result<Response, Problem> {
    let brokers = grant.brokers().await.map_err(|error| Problem::failed(error, grant.system()))?;
    Ok(Response::json(StatusCode::OK, content_type, &Brokers { brokers }))
}

/// The response to GET of the clusters, at this path.
///
/// # Cancel safety
/// A drop abandons the read.
pub(super) async fn list(request: &Request<'_>, path: &str) -> Result<Response, Problem> {
    let id = id(request).await?;
    let (clusters, url) = (words(request.grant)?, url(request, path));
    Ok(Response::with_body(StatusCode::OK, JSON, (clusters.list)(&url, &id).into()))
}

/// The response to GET of the cluster with this id, at this path.
///
/// # Cancel safety
/// A drop abandons the read.
pub(super) async fn describe(request: &Request<'_>, path: &str, given: &str) -> Result<Response, Problem> {
    check(request.grant, given).await?;
    let id = id(request).await?;
    let (clusters, url) = (words(request.grant)?, url(request, path));
    Ok(Response::with_body(StatusCode::OK, JSON, (clusters.describe)(&url, &id).into()))
}

/// Checks that an id in a path is the cluster's.
///
/// # Errors
/// It is not.
pub(super) async fn check(grant: &Grant, given: &str) -> Result<(), Problem> {
    match grant.is_cluster(given).await {
        Ok(true) => Ok(()),
        Ok(false) => {
            let detail = "the cluster of the path is not the route's: expected its id in GET /v3/clusters";
            Err(Problem::new(ProblemKind::NoResource, detail))
        }
        Err(error) => Err(Problem::failed(error, grant.system())),
    }
}

/// The system's words for such paths.
///
/// # Errors
/// It has none.
pub(super) fn words(grant: &Grant) -> Result<&'static Clusters, Problem> {
    let clusters = dialect::of(grant.system()).words().clusters;
    clusters
        .ok_or_else(|| Problem::new(ProblemKind::NoResource, "the system of the cluster has no such path"))
}

async fn id(request: &Request<'_>) -> Result<String, Problem> {
    request.grant.cluster_id().await.map_err(|error| Problem::failed(error, request.grant.system()))
}

/// The URL of the list of clusters, with the prefix that the client has used.
fn url(request: &Request<'_>, path: &str) -> String {
    let (_, prefix) = dialect::of(request.grant.system()).words().resources.without_prefix(path);
    let slash = if prefix.is_empty() { "" } else { "/" };
    format!("{}{slash}{prefix}/v3/clusters", base_url(request))
}

#[derive(Serialize)]
struct Brokers {
    brokers: Vec<i32>,
}
