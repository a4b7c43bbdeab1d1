//! Documents of the cluster, as version 3 of the REST proxies' API has them.

use serde::Serialize;

use crate::http::json;

/// The list of the only cluster, at this URL.
pub(super) fn list(url: &str, id: &str) -> Vec<u8> {
    json(&List {
        kind: "KafkaClusterList",
        metadata: ListMetadata { url, next: None },
        data: [Cluster::new(url, id)],
    })
}

/// The cluster with this id of the list at this URL.
pub(super) fn describe(url: &str, id: &str) -> Vec<u8> {
    json(&Cluster::new(url, id))
}

#[derive(Serialize)]
struct List<'a> {
    kind: &'a str,
    metadata: ListMetadata<'a>,
    data: [Cluster<'a>; 1],
}

#[derive(Serialize)]
struct ListMetadata<'a> {
    #[serde(rename = "self")]
    url: &'a str,
    next: Option<&'a str>,
}

/// Clients expect all links, though most of the resources behind them are not served.
#[derive(Serialize)]
struct Cluster<'a> {
    kind: &'a str,
    metadata: Metadata,
    cluster_id: &'a str,
    /// Never: it is one of the brokers.
    controller: Option<Link>,
    acls: Link,
    brokers: Link,
    broker_configs: Link,
    consumer_groups: Link,
    topics: Link,
    partition_reassignments: Link,
}

#[derive(Serialize)]
struct Metadata {
    #[serde(rename = "self")]
    url: String,
    resource_name: String,
}

#[derive(Serialize)]
struct Link {
    related: String,
}

impl<'a> Cluster<'a> {
    fn new(url: &str, id: &'a str) -> Self {
        let link = |rest: &str| Link { related: format!("{url}/{id}/{rest}") };
        Self {
            kind: "KafkaCluster",
            metadata: Metadata { url: format!("{url}/{id}"), resource_name: format!("crn:///kafka={id}") },
            cluster_id: id,
            controller: None,
            acls: link("acls"),
            brokers: link("brokers"),
            broker_configs: link("broker-configs"),
            consumer_groups: link("consumer-groups"),
            topics: link("topics"),
            partition_reassignments: link("topics/-/partitions/-/reassignment"),
        }
    }
}
