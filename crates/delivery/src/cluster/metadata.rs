//! Topics, with their partitions and leaders.

use std::collections::BTreeSet;
use std::sync::Arc;

use futures_util::future::join_all;
use sluicegate_backend::{ClusterMembers, CommandError, Description, Fault, Properties};
use sluicegate_fair_share::ClientKey;
use sluicegate_telemetry::metrics::Kind;

use super::Cluster;

/// The topics to describe.
pub(crate) struct TopicSelection<N> {
    /// By name.
    pub named: BTreeSet<String>,
    /// Topics of the cluster's list for which this is true. None: without a look at the list.
    pub listed: Option<N>,
    /// Only topics whose name sorts after this one.
    pub after: String,
}

/// Some topics, in the order of their names.
#[derive(Debug, Default)]
pub struct MetadataPage {
    /// The topics.
    pub topics: Vec<DescribedTopic>,
    /// Whether more topics follow.
    pub more: bool,
}

/// A topic's name and description.
#[derive(Debug)]
pub struct DescribedTopic {
    /// The name.
    pub name: String,
    /// The partitions, or why they are not known.
    pub description: Result<Arc<Description>, CommandError>,
}

impl Cluster {
    /// Describes topics until `size` of those described is more than `max_bytes`, but at least one.
    ///
    /// # Errors
    /// The list of topics is not available.
    ///
    /// # Cancel safety
    /// A drop abandons the reads.
    pub(crate) async fn metadata<N: Fn(&str) -> bool>(
        &self,
        source: ClientKey,
        selection: TopicSelection<N>,
        max_bytes: usize,
        size: impl Fn(&DescribedTopic) -> usize,
    ) -> Result<MetadataPage, CommandError> {
        self.measured(Kind::Topics, self.page(source, selection, max_bytes, size)).await
    }

    /// The partitions of a topic.
    ///
    /// # Cancel safety
    /// A drop abandons the read.
    pub(crate) async fn partitions(
        &self,
        source: ClientKey,
        topic: &str,
    ) -> Result<Arc<Description>, CommandError> {
        self.measured(Kind::Topics, self.describe(source, topic)).await
    }

    /// The cluster's own id, and its brokers.
    ///
    /// # Cancel safety
    /// A drop abandons the read.
    pub(crate) async fn members(&self, source: ClientKey) -> Result<ClusterMembers, CommandError> {
        let backend = self.backend();
        self.measured(Kind::Topics, backend.members(source)).await
    }

    /// The properties of a topic, once the client has room for a description more if they are not known.
    ///
    /// # Cancel safety
    /// A drop abandons the read.
    pub(crate) async fn properties(
        &self,
        source: ClientKey,
        topic: &str,
    ) -> Result<Properties, CommandError> {
        let backend = self.backend();
        if let Some(known) = backend.known_properties(topic) {
            return Ok(known);
        }
        self.rates.descriptions.take(self.holder(source), TOPIC_COST).await;
        self.measured(Kind::Topics, backend.properties(source, topic)).await
    }

    /// A topic's partitions as part of another command, once the client has room for so many.
    ///
    /// # Cancel safety
    /// A drop abandons the read.
    pub(crate) async fn describe(
        &self,
        source: ClientKey,
        topic: &str,
    ) -> Result<Arc<Description>, CommandError> {
        let backend = self.backend();
        let count = backend.known_partitions(topic).saturating_add(TOPIC_COST);
        self.rates.descriptions.take(self.holder(source), count).await;
        backend.partitions(source, topic).await
    }

    async fn page<N: Fn(&str) -> bool>(
        &self,
        source: ClientKey,
        selection: TopicSelection<N>,
        max_bytes: usize,
        size: impl Fn(&DescribedTopic) -> usize,
    ) -> Result<MetadataPage, CommandError> {
        let TopicSelection { named, listed, after } = selection;
        let mut names: BTreeSet<&str> = named.iter().map(String::as_str).collect();
        let all = match listed {
            Some(_) => self.backend().topics().await?,
            None => [].into(),
        };
        let looked_at = all.len() / NAMES_PER_PARTITION;
        self.rates.descriptions.take(self.holder(source), looked_at).await;
        if let Some(listed) = listed {
            names.extend(all.iter().map(String::as_str).filter(|name| listed(name)));
        }
        let names: Vec<&str> = names.into_iter().filter(|name| **name > *after).collect();
        let (mut page, mut bytes) = (MetadataPage::default(), 0_usize);
        for names in names.chunks(TOPICS_AT_ONCE) {
            let describe = |name| async move { (name, self.describe(source, name).await) };
            for (name, description) in join_all(names.iter().map(|name| describe(*name))).await {
                // It was deleted since the list was read.
                if !named.contains(name)
                    && description.as_ref().is_err_and(|error| error.fault == Fault::NotFound)
                {
                    continue;
                }
                let topic = DescribedTopic { name: name.to_owned(), description };
                bytes = bytes.saturating_add(size(&topic));
                if bytes > max_bytes && !page.topics.is_empty() {
                    page.more = true;
                    return Ok(page);
                }
                page.topics.push(topic);
            }
        }
        Ok(page)
    }
}

/// A topic counts as so many partitions more: it costs as much to describe.
const TOPIC_COST: usize = 20;

/// So many names of the list count as one partition.
const NAMES_PER_PARTITION: usize = 20;

/// Topics that are described at the same time.
const TOPICS_AT_ONCE: usize = 100;

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::{Instant, timeout};

    use super::*;
    use crate::testing::script::Script;

    /// The names of the topics of a page of at most `max` topics, and whether more follow.
    async fn page(named: &[&str], prefix: Option<&str>, after: &str, max: usize) -> (Vec<String>, bool) {
        let selection = TopicSelection {
            named: named.iter().copied().map(str::to_owned).collect(),
            listed: prefix.map(|prefix| move |name: &str| name.starts_with(prefix)),
            after: after.to_owned(),
        };
        let page = Script::cluster(1).0.metadata(ClientKey::default(), selection, max, |_| 1).await.unwrap();
        (page.topics.into_iter().map(|topic| topic.name).collect(), page.more)
    }

    #[tokio::test]
    async fn pages_have_each_topic_once() {
        assert_eq!(page(&[], Some(""), "", 2).await, (vec!["a".to_owned(), "b.1".to_owned()], true));
        assert_eq!(page(&[], Some(""), "b.1", 2).await, (vec!["b.2".to_owned()], false));
        assert_eq!(page(&[], Some("b"), "", 0).await, (vec!["b.1".to_owned()], true), "at least one");
        let named = ["b.1", "gone", "z"].map(str::to_owned).to_vec();
        assert_eq!(page(&["z", "gone", "b.1"], None, "", 9).await, (named, false));
        assert_eq!(page(&["z"], Some("b"), "b.1", 9).await, (vec!["b.2".to_owned(), "z".to_owned()], false));
    }

    #[tokio::test(start_paused = true)]
    async fn descriptions_of_one_client_leave_some_of_each_second_to_others() {
        let (cluster, _) = Script::cluster(1);
        // A topic of a thousand partitions, of which four are described in a second.
        let describe = |address: &[u8]| cluster.describe(ClientKey::parse(address), "1000");
        let began = Instant::now();
        let greedy = join_all((0..20).map(|_| describe(b"192.0.2.1")));
        let other = timeout(Duration::from_millis(10), describe(b"192.0.2.2"));
        let known = timeout(Duration::ZERO, cluster.properties(ClientKey::parse(b"192.0.2.1"), "1000"));
        let (_, other, known) = tokio::join!(greedy, other, known);
        assert!(other.is_ok_and(|other| other.is_ok()) && known.is_ok_and(|known| known.is_ok()), "at once");
        assert!(began.elapsed() >= Duration::from_secs(4), "{:?}", began.elapsed());
    }
}
