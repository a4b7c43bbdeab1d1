//! The resources of a messaging system, by path.

use std::sync::OnceLock;

use matchit::Router;

/// A path, and what requests can do there.
#[derive(Debug)]
pub struct Resource {
    /// The pattern, which is also the route in metrics and traces. Its parameters are the topic or `stream`, the
    /// `partition` or the key, and the `cluster`.
    pub path: &'static str,
    /// The name for messages.
    pub name: &'static str,
    /// The effect of GET and HEAD; none if they are not allowed.
    pub get: Option<Get>,
    /// The query parameters of GET.
    pub parameters: &'static [&'static str],
    /// The effect of POST; none if it is not allowed.
    pub posts: Option<Post>,
}

/// The effect of POST: it writes records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Post {
    /// All records of one document.
    Batch,
    /// Each as it arrives. It is answered as it is written.
    Stream,
}

/// The effect of GET. A log is the path's partition, or a topic's only one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Get {
    /// Lists all topics.
    List,
    /// Describes a topic and its partitions.
    Describe,
    /// Lists the partitions of a topic, with their replicas.
    Partitions,
    /// Describes a partition of a topic.
    Partition,
    /// Describes a log by its ends.
    DescribeLog,
    /// Lists the brokers of the cluster.
    Brokers,
    /// Lists the only cluster.
    Clusters,
    /// Describes the cluster.
    Cluster,
    /// Reads records of a topic's partitions.
    TopicRecords,
    /// Reads records of a log.
    Records,
    /// Finds the ends of a log, or the offset of a timestamp.
    Offsets,
    /// Streams records of a topic's partitions.
    TopicEvents,
    /// Streams records of a log.
    Events,
    /// Reads the newest record of a key. The path's second parameter is the key, not a partition.
    Key,
}

impl Resource {
    /// The allowed methods, in the form of the header `Allow`.
    pub fn allow(&self, write: bool) -> &'static str {
        match (self.get.is_some(), self.posts.is_some() && write) {
            (true, true) => "GET, HEAD, POST, OPTIONS",
            (true, false) => "GET, HEAD, OPTIONS",
            (false, true) => "POST, OPTIONS",
            (false, false) => "OPTIONS",
        }
    }
}

/// All resources of a system.
pub struct Resources {
    /// The rows.
    pub rows: &'static [Resource],
    /// A first segment that is ignored before another one.
    prefix: Option<(&'static str, &'static str)>,
    router: OnceLock<Router<&'static Resource>>,
}

/// The resource of a path, and the path's parameters as they were sent.
#[derive(Debug)]
pub struct Match {
    /// The row.
    pub resource: &'static Resource,
    /// The topic, still encoded.
    pub topic: Option<String>,
    /// The partition, or with [`Get::Key`] the key, still encoded.
    pub part: Option<String>,
    /// The cluster, still encoded.
    pub cluster: Option<String>,
}

/// Paths that other services have and this one does not.
pub struct Unserved {
    /// Their patterns: `*` stands for any segment, `**` for any rest.
    pub paths: &'static [&'static str],
    /// Their name for messages, with the verb.
    pub are: &'static str,
    /// The way to the same result.
    pub instead: &'static str,
    /// The page about it.
    pub page: &'static str,
}

impl Unserved {
    /// Whether it has a path. A trailing slash is ignored, as is the lack of a leading one.
    pub fn has(&self, path: &str) -> bool {
        let path = path.strip_suffix('/').unwrap_or(path);
        let path = path.strip_prefix('/').unwrap_or(path);
        self.paths.iter().any(|pattern| matches(pattern, path))
    }
}

fn matches(pattern: &str, path: &str) -> bool {
    let mut segments = path.split('/');
    for wanted in pattern.split('/') {
        match wanted {
            "**" => return true,
            wanted if segments.next().is_some_and(|segment| wanted == "*" || segment == wanted) => {}
            _ => return false,
        }
    }
    segments.next().is_none()
}

impl Resources {
    /// The table of these rows.
    pub const fn new(rows: &'static [Resource]) -> Self {
        Self { rows, prefix: None, router: OnceLock::new() }
    }

    /// The same, in whose paths the first of two segments can be before the second.
    pub const fn with_prefix(rows: &'static [Resource], prefix: (&'static str, &'static str)) -> Self {
        Self { rows, prefix: Some(prefix), router: OnceLock::new() }
    }

    /// A path without the segment that is ignored, and that segment with its slash or nothing.
    pub fn without_prefix<'a>(&self, path: &'a str) -> (&'a str, &'static str) {
        let Some((ignored, next)) = self.prefix else { return (path, "") };
        let rest = path.strip_prefix('/').unwrap_or(path).strip_prefix(ignored);
        let rest = rest.filter(|rest| rest.strip_prefix('/').is_some_and(|rest| root(rest) == next));
        rest.map_or((path, ""), |rest| (rest, ignored))
    }

    /// The first segment of a path, besides one that is ignored.
    pub fn root<'a>(&self, path: &'a str) -> &'a str {
        root(self.without_prefix(path).0)
    }

    /// The resource of a path; none if there is none. A trailing slash is ignored, but not of a key, and the lack of a
    /// leading one.
    pub fn find(&self, path: &str) -> Option<Match> {
        let (path, _) = self.without_prefix(path);
        let (path, is_cut) = path.strip_suffix('/').map_or((path, false), |path| (path, true));
        // A parameter of the router is never empty.
        let segments = path.strip_prefix('/').unwrap_or(path).split('/');
        let path: String =
            segments.flat_map(|segment| ["/", if segment.is_empty() { EMPTY } else { segment }]).collect();
        let found = self.router().at(&path).ok()?;
        if is_cut && found.value.get == Some(Get::Key) {
            return None;
        }
        let parameter = |names: [&str; 3]| {
            let value = names.into_iter().find_map(|name| found.params.get(name));
            value.map(str::to_owned)
        };
        Some(Match {
            resource: found.value,
            topic: parameter(["topic", "stream", ""]),
            part: parameter(["partition", "key", "subject"]),
            cluster: parameter(["cluster", "", ""]),
        })
    }

    fn router(&self) -> &Router<&'static Resource> {
        self.router.get_or_init(|| {
            let mut router = Router::new();
            for resource in self.rows {
                // A key can contain slashes, which some gateways refuse if they are encoded.
                let path = match resource.get {
                    Some(Get::Key) => resource.path.replace("table/{", "table/{*"),
                    _ => resource.path.to_owned(),
                };
                // Cannot fail: a test finds every row.
                let _ = router.insert(path, resource);
            }
            router
        })
    }
}

fn root(path: &str) -> &str {
    let path = path.strip_prefix('/').unwrap_or(path);
    path.split_once('/').map_or(path, |(root, _)| root)
}

/// An empty segment for the router. No name and no number is encoded as this.
const EMPTY: &str = "%";

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate as dialect;

    #[test]
    fn every_row_is_found_by_its_path() {
        for words in dialect::ALL.map(|dialect| dialect.words()) {
            for row in words.resources.rows {
                assert_eq!(words.resources.find(row.path).map(|found| found.resource.path), Some(row.path));
                assert!(words.roots.contains(&words.resources.root(row.path)), "{}", row.path);
                let only_posts = row.posts.is_some() && row.parameters.is_empty();
                assert!(row.get.is_some() || only_posts, "{}", row.path);
                assert!(row.posts.is_none() || row.path.contains('{'), "{}", row.path);
            }
        }
    }

    #[test]
    fn unserved_paths_are_not_served() {
        for words in dialect::ALL.map(|dialect| dialect.words()) {
            for unserved in words.unserved {
                for pattern in unserved.paths {
                    let path = pattern.replace('*', "x");
                    assert!(unserved.has(&path) && words.resources.find(&path).is_none(), "{pattern}");
                }
            }
            for row in words.resources.rows {
                assert!(!words.unserved.iter().any(|unserved| unserved.has(row.path)), "{}", row.path);
            }
        }
        for (pattern, path, want) in [
            ("a/**", "a", true),
            ("a/**", "a/b/c", true),
            ("a/**", "ab", false),
            ("a/**", "b/a", false),
            ("a/*/c", "a/b/c", true),
            ("a/*/c", "a/b", false),
            ("a/*/c", "a/b/c/d", false),
            ("a", "/a", false),
        ] {
            assert_eq!(matches(pattern, path), want, "{pattern} {path}");
        }
    }

    #[test]
    fn allowed_methods_are_those_of_the_row_and_the_route() {
        let row = |get, posts: bool| {
            let posts = posts.then_some(Post::Batch);
            Resource { path: "", name: "", get, parameters: &[], posts }
        };
        for (get, posts, write, want) in [
            (Some(Get::List), false, true, "GET, HEAD, OPTIONS"),
            (Some(Get::Describe), true, true, "GET, HEAD, POST, OPTIONS"),
            (Some(Get::Describe), true, false, "GET, HEAD, OPTIONS"),
            (None, true, true, "POST, OPTIONS"),
            (None, true, false, "OPTIONS"),
        ] {
            assert_eq!(row(get, posts).allow(write), want);
        }
    }

    #[test]
    fn documented_operations_are_those_of_the_rows() {
        let document =
            include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/reference/openapi.yaml"));
        let (mut path, mut documented) = ("", BTreeSet::new());
        for line in document.lines() {
            if line.starts_with("  /") {
                path = line.trim().trim_end_matches(':');
            }
            for method in
                ["get", "post", "delete"].into_iter().filter(|method| line == format!("    {method}:"))
            {
                // Paths of Durable Streams are no system's.
                if !path.starts_with("/streams/") {
                    documented.insert(format!("{method} {path}"));
                }
            }
        }
        let mut rows = BTreeSet::from(["post /produce".to_owned()]);
        let routes = ["/kafka", "/nats"];
        assert_eq!(routes.len(), dialect::ALL.len());
        for (route, dialect) in routes.into_iter().zip(dialect::ALL) {
            for Resource { path, get, posts, .. } in dialect.words().resources.rows {
                rows.extend(get.map(|_| format!("get {route}{path}")));
                rows.extend(posts.map(|_| format!("post {route}{path}")));
            }
        }
        for row in dialect::ALL.iter().flat_map(|dialect| dialect.words().consumers) {
            let methods = [("get", row.get), ("post", row.post), ("delete", row.delete)];
            let methods = methods.into_iter().filter(|(_, call)| call.is_some());
            rows.extend(methods.map(|(method, _)| format!("{method} /kafka{}", row.path)));
        }
        assert_eq!(documented, rows);
    }
}
