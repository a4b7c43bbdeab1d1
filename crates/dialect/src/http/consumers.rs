//! Consumers in groups, as the second version of the REST proxies' API has them: paths, and bodies in and out.
//!
//! The proxies take and answer different forms. All that their clients send is taken where it has one meaning.

mod bodies;
mod settings;

pub use self::bodies::{
    Commits, Committed, Created, Places, Positions, Subscription, assignments, commits, positions,
    subscription,
};
pub use self::settings::Settings;

/// A path, and the effect of each method there.
#[derive(Debug)]
pub struct ConsumerResource {
    /// The pattern, which is also the route in metrics and traces. Its parameters are the group, then the instance.
    pub path: &'static str,
    /// The name for messages.
    pub name: &'static str,
    /// The effect of GET and HEAD; none if they are not allowed.
    pub get: Option<Call>,
    /// The effect of POST.
    pub post: Option<Call>,
    /// The effect of DELETE.
    pub delete: Option<Call>,
    /// The query parameters of GET.
    pub parameters: &'static [&'static str],
}

/// The effect of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Call {
    /// Creates a consumer.
    Create,
    /// Ends it.
    Delete,
    /// Subscribes to topics.
    Subscribe,
    /// Tells the subscription.
    Subscription,
    /// Ends the subscription.
    Unsubscribe,
    /// Assigns partitions.
    Assign,
    /// Tells the partitions that it has.
    Assignment,
    /// Reads records since the last read.
    Records,
    /// Commits positions.
    Commit,
    /// Tells what is committed.
    Committed,
    /// Moves to other positions.
    Seek,
    /// Moves to the first records.
    SeekToBeginning,
    /// Moves to the ends.
    SeekToEnd,
}

impl ConsumerResource {
    /// The allowed methods, in the form of the header `Allow`.
    pub fn allow(&self) -> &'static str {
        match (self.get.is_some(), self.post.is_some(), self.delete.is_some()) {
            (true, true, true) => "GET, HEAD, POST, DELETE, OPTIONS",
            (true, true, false) => "GET, HEAD, POST, OPTIONS",
            (true, false, _) => "GET, HEAD, OPTIONS",
            (false, true, _) => "POST, OPTIONS",
            (false, false, _) => "DELETE, OPTIONS",
        }
    }
}

/// The resource of a path, with the path's group and instance as they were sent; none if there is none. A trailing slash
/// is ignored, as is the lack of a leading one.
pub fn find<'a>(
    rows: &'static [ConsumerResource],
    path: &'a str,
) -> Option<(&'static ConsumerResource, [&'a str; 2])> {
    let path = path.strip_suffix('/').unwrap_or(path);
    let path = path.strip_prefix('/').unwrap_or(path);
    rows.iter().find_map(|row| {
        let mut segments = path.split('/');
        let (mut group, mut instance) = ("", "");
        for wanted in row.path.split('/').skip(1) {
            let segment = segments.next()?;
            match wanted {
                "{group}" if !segment.is_empty() => group = segment,
                "{instance}" if !segment.is_empty() => instance = segment,
                wanted if wanted == segment => {}
                _ => return None,
            }
        }
        segments.next().is_none().then_some((row, [group, instance]))
    })
}

/// The paths of all resources.
pub static RESOURCES: [ConsumerResource; 10] = [
    ConsumerResource { post: Some(Call::Create), ..row("/consumers/{group}", "the consumers of a group") },
    ConsumerResource {
        get: Some(Call::Committed),
        post: Some(Call::Commit),
        parameters: &["topic"],
        ..row("/consumers/{group}/offsets", "the offsets of a group")
    },
    ConsumerResource {
        delete: Some(Call::Delete),
        ..row("/consumers/{group}/instances/{instance}", "a consumer")
    },
    ConsumerResource {
        get: Some(Call::Subscription),
        post: Some(Call::Subscribe),
        delete: Some(Call::Unsubscribe),
        ..row("/consumers/{group}/instances/{instance}/subscription", "a subscription")
    },
    ConsumerResource {
        get: Some(Call::Assignment),
        post: Some(Call::Assign),
        ..row("/consumers/{group}/instances/{instance}/assignments", "the partitions of a consumer")
    },
    ConsumerResource {
        get: Some(Call::Records),
        parameters: &["timeout", "max_bytes", "max_records"],
        ..row("/consumers/{group}/instances/{instance}/records", "the records of a consumer")
    },
    ConsumerResource {
        get: Some(Call::Committed),
        post: Some(Call::Commit),
        parameters: &["topic"],
        ..row("/consumers/{group}/instances/{instance}/offsets", "the offsets of a consumer")
    },
    ConsumerResource {
        post: Some(Call::Seek),
        ..row("/consumers/{group}/instances/{instance}/positions", "the positions of a consumer")
    },
    ConsumerResource {
        post: Some(Call::SeekToBeginning),
        ..row("/consumers/{group}/instances/{instance}/positions/beginning", "the first positions")
    },
    ConsumerResource {
        post: Some(Call::SeekToEnd),
        ..row("/consumers/{group}/instances/{instance}/positions/end", "the last positions")
    },
];

const fn row(path: &'static str, name: &'static str) -> ConsumerResource {
    ConsumerResource { path, name, get: None, post: None, delete: None, parameters: &[] }
}

/// Whether a body can be of this type, in lower case and without parameters: none, plain JSON, and the proxies' own in
/// any version, with any embedded format. Others would be sent by pages without asking (the Fetch standard, section
/// 2.2.2).
pub fn is_body_type(content_type: &str) -> bool {
    let is_own = |kind: &str| kind.starts_with("application/vnd.kafka") && kind.ends_with("+json");
    ["", crate::http::media_type::JSON, "application/octet-stream"].contains(&content_type)
        || is_own(content_type)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_is_found_by_its_path() {
        for row in &RESOURCES {
            for path in [row.path.to_owned(), format!("{}/", row.path), row.path[1..].to_owned()] {
                let (found, [group, instance]) = find(&RESOURCES, &path).unwrap();
                assert_eq!((found.path, group), (row.path, "{group}"));
                assert_eq!(!instance.is_empty(), row.path.contains("{instance}"));
            }
        }
        let others = "/ /consumers /consumers/ /consumers//offsets /consumers/g// /consumers/g/i /consumers/g/instances \
                      /consumers/g/instances/i/topics/t /consumers/g/instances//records";
        for path in others.split(' ').chain([""]) {
            assert!(find(&RESOURCES, path).is_none(), "{path}");
        }
    }
}
