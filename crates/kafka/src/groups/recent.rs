//! Members of ours in groups that were stable a moment ago: groups that rebalance do not tell what their members want.
//!
//! A group can wait for members whose bridge is gone, while their clients ask another bridge to take them over. That one has
//! to know what they want: it has seen it, because it asked about the group before one of its own members has changed it.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use sluicegate_backend::groups::Membership;
use tokio::time::Instant;

/// The memberships that groups told.
#[derive(Default)]
pub(crate) struct Recent(Mutex<Known>);

#[derive(Default)]
struct Known {
    groups: HashMap<Arc<str>, Seen>,
    /// About, at most [`MAX_BYTES`].
    bytes: usize,
}

struct Seen {
    at: Instant,
    members: Vec<Membership>,
    bytes: usize,
}

impl Recent {
    /// Whether what is known of a group is about as new as what it tells now.
    pub(super) fn is_new(&self, group: &str) -> bool {
        self.0.lock().groups.get(group).is_some_and(|seen| seen.at.elapsed() < SAME)
    }

    /// A stable group has these members of ours.
    pub(super) fn saw(&self, group: &str, members: Vec<Membership>) {
        let bytes = members.iter().map(size).fold(group.len(), usize::saturating_add);
        let mut known = self.0.lock();
        let at = Instant::now();
        known.remove(group);
        if members.is_empty() {
            return;
        }
        known.bytes = known.bytes.saturating_add(bytes);
        known.groups.insert(group.into(), Seen { at, members, bytes });
        if known.bytes > MAX_BYTES {
            known.groups.retain(|_, seen| at.duration_since(seen.at) < KEPT);
            known.bytes = known.groups.values().map(|seen| seen.bytes).sum();
        }
        while known.bytes > MAX_BYTES
            && let Some((largest, _)) = known.groups.iter().max_by_key(|(_, seen)| seen.bytes)
        {
            let largest = Arc::clone(largest);
            known.remove(&largest);
        }
    }

    /// The membership of an instance when its group was stable last, if that was a moment ago. One without topics was new
    /// then, and will have some by now.
    pub(super) fn get(&self, group: &str, instance: &str) -> Option<Membership> {
        let known = self.0.lock();
        let seen = known.groups.get(group).filter(|seen| seen.at.elapsed() < KEPT)?;
        let is_it = |member: &&Membership| member.instance.as_deref() == Some(instance);
        seen.members.iter().find(is_it).filter(|member| !member.topics.is_empty()).cloned()
    }
}

impl Known {
    fn remove(&mut self, group: &str) {
        if let Some(seen) = self.groups.remove(group) {
            self.bytes = self.bytes.saturating_sub(seen.bytes);
        }
    }
}

/// The bytes of a membership, about.
fn size(member: &Membership) -> usize {
    let topics = member.topics.iter().map(|topic| topic.len().saturating_add(32));
    topics.fold(member.settings.len().saturating_add(256), usize::saturating_add)
}

/// The time for which what a member wants is taken for what it wants now. That is as long as a session without a bridge and
/// a rebalance: after that, the group has forgotten the member.
const KEPT: Duration = Duration::from_secs(45);

/// The time within which a group is not noted again.
const SAME: Duration = Duration::from_secs(1);

/// For the members of all groups of a cluster: those of some thousand instances with usual settings. Beyond that, the largest
/// group is forgotten, and not one that is new.
const MAX_BYTES: usize = 4 << 20;

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn member(group: &str, instance: &str, settings: usize) -> Membership {
        Membership {
            group: group.into(),
            instance: Some(instance.into()),
            topics: ["t".into()].into(),
            settings: Bytes::from(vec![0; settings]),
            session_timeout: Duration::from_secs(30),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn members_are_known_for_a_moment_within_a_bound() {
        let recent = Recent::default();
        recent.saw("g", vec![member("g", "i", 1), member("g", "j", 1)]);
        assert_eq!(recent.get("g", "j"), Some(member("g", "j", 1)));
        assert_eq!((recent.get("g", "k"), recent.get("h", "i")), (None, None));
        assert!(recent.is_new("g") && !recent.is_new("h"));
        // As the group tells last.
        tokio::time::advance(SAME).await;
        assert!(!recent.is_new("g"));
        let new = Membership { topics: [].into(), ..member("g", "k", 1) };
        recent.saw("g", vec![member("g", "i", 2), new]);
        let known = ["i", "j", "k"].map(|instance| recent.get("g", instance));
        assert_eq!(known, [Some(member("g", "i", 2)), None, None]);
        for large in 1..=10 {
            recent.saw("large", vec![member("large", "i", MAX_BYTES / 10 * large)]);
            let small = format!("small-{large}");
            recent.saw(&small, vec![member(&small, "i", MAX_BYTES / 100)]);
            assert!(recent.get(&small, "i").is_some(), "{small}");
            assert_eq!(recent.get("large", "i").is_some(), large < 10, "the largest is forgotten");
        }
        assert!(recent.0.lock().bytes <= MAX_BYTES);
        tokio::time::advance(KEPT).await;
        assert_eq!(recent.get("g", "i"), None);
        recent.saw("h", vec![member("h", "i", MAX_BYTES - 1000)]);
        assert!(recent.get("h", "i").is_some(), "what is old is forgotten first");
        recent.saw("h", Vec::new());
        assert_eq!(recent.0.lock().bytes, 0);
    }
}
