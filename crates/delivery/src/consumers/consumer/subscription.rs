//! The topics or partitions that a consumer's client wants.

use std::sync::Arc;
use std::time::Duration;

use sluicegate_backend::groups::{GroupLog, MemberState, Membership};
use sluicegate_rights::name::{CHARACTERS, is_topic};
use tokio::sync::watch;
use tokio::time::Instant;

use super::super::pattern::TopicPattern;
use super::super::positions::Positions;
use super::super::settings::Stored;
use super::{Consumer, ConsumerError, MAX_LOGS, MAX_TOPICS, Pattern, Role, Subscribed, membership};
use crate::grant::Grant;

impl Consumer {
    /// The topics that it subscribes to, sorted.
    pub fn subscription(self: &Arc<Self>) -> Vec<String> {
        let _use = self.begin_use();
        self.state.lock().topics.iter().map(|topic| topic.to_string()).collect()
    }

    /// Subscribes to these topics instead of those before.
    ///
    /// # Errors
    /// The client cannot read one of them, they are too many, or it has assigned partitions.
    ///
    /// # Cancel safety
    /// The subscription is as before, or the new one.
    pub async fn subscribe(self: &Arc<Self>, grant: &Grant, topics: Subscribed) -> Result<(), ConsumerError> {
        let _use = self.begin_use();
        grant.begin_consumer_command(&self.group).await?;
        let (topics, pattern) = match topics {
            Subscribed::Topics(topics) => (literal(grant, topics)?, None),
            Subscribed::Pattern(text) => (matching(grant, &text).await?, Some(text)),
        };
        self.set_subscription(topics, pattern)
    }

    /// Ends the subscription, or the assignment by the client. It stays an instance of its group.
    ///
    /// # Cancel safety
    /// It is ended all the same.
    pub async fn unsubscribe(self: &Arc<Self>, grant: &Grant) -> Result<(), ConsumerError> {
        let _use = self.begin_use();
        grant.begin_consumer_command(&self.group).await?;
        let is_member = self.state.lock().role.member.is_some();
        if !is_member {
            self.stop().await;
            let membership = self.membership()?;
            let groups = self.groups()?;
            let mut state = self.state.lock();
            state.role = Role::of(groups.join(self.source, membership));
            state.positions = Positions::default();
        }
        self.set_subscription([].into(), None)
    }

    /// Reads these partitions, at most [`MAX_LOGS`], as no member of the group: nobody else notices. Without any, it ends
    /// the assignment.
    ///
    /// # Errors
    /// The client cannot read a topic, or has a subscription.
    ///
    /// # Cancel safety
    /// After a drop, it can have left the group without an assignment.
    pub async fn assign(
        self: &Arc<Self>,
        grant: &Grant,
        mut logs: Vec<GroupLog>,
    ) -> Result<(), ConsumerError> {
        if logs.is_empty() {
            return self.unsubscribe(grant).await;
        }
        let _use = self.begin_use();
        grant.begin_consumer_command(&self.group).await?;
        if logs.len() > MAX_LOGS {
            return Err(ConsumerError::Invalid(format!(
                "{} partitions: expected at most {MAX_LOGS}",
                logs.len()
            )));
        }
        grant.check_reads(logs.iter().map(|(topic, _)| &**topic))?;
        logs.sort_unstable();
        logs.dedup();
        let member = {
            let mut state = self.state.lock();
            if !state.topics.is_empty() || state.pattern.is_some() {
                return Err(ConsumerError::Conflict);
            }
            let number = MANUAL.saturating_add(state.assigned);
            state.assigned = state.assigned.saturating_add(1);
            let (assigned, of) = watch::channel(MemberState::Assigned(number, logs.into()));
            let role = Role { member: None, logs: of, _assigned: Some(assigned) };
            let member = std::mem::replace(&mut state.role, role).member;
            if member.is_some() {
                state.positions = Positions::default();
            }
            member
        };
        if let Some(member) = member {
            // Commits without being a member need a group without members.
            member.leave().await;
        }
        Ok(())
    }

    /// Changes the subscription if the client has assigned nothing.
    fn set_subscription(
        &self,
        topics: Arc<[Arc<str>]>,
        pattern: Option<String>,
    ) -> Result<(), ConsumerError> {
        let stored = Stored::new(self.settings.clone(), pattern.clone()).to_bytes()?;
        let mut state = self.state.lock();
        let Some(member) = &state.role.member else { return Err(ConsumerError::Conflict) };
        member.subscribe(Arc::clone(&topics), stored);
        state.topics = topics;
        state.pattern = pattern.map(|text| Pattern { text, looked: Some(Instant::now()) });
        Ok(())
    }

    /// Looks at the topics again that its pattern matches, once in a while. As long as they are not known, it keeps
    /// those that it has.
    pub(in crate::consumers) async fn look_at_topics(&self, grant: &Grant) {
        let text = {
            let mut state = self.state.lock();
            let due = |looked: Instant| looked.elapsed() >= LOOK_INTERVAL;
            match &mut state.pattern {
                Some(Pattern { text, looked }) if looked.is_none_or(due) => {
                    *looked = Some(Instant::now());
                    text.clone()
                }
                Some(_) | None => return,
            }
        };
        let Ok(topics) = matching(grant, &text).await else { return };
        let is_same = {
            let state = self.state.lock();
            state.topics == topics || state.pattern.as_ref().is_none_or(|pattern| pattern.text != text)
        };
        if !is_same {
            // The client can have assigned partitions meanwhile.
            let _ = self.set_subscription(topics, Some(text));
        }
    }

    /// Lets the next poll look at the topics: the client has lost one.
    pub(in crate::consumers) fn look_soon(&self) {
        if let Some(pattern) = &mut self.state.lock().pattern {
            pattern.looked = None;
        }
    }

    /// Whether there is something that a poll could wait for.
    pub(in crate::consumers) fn is_subscribed(&self) -> bool {
        let state = self.state.lock();
        state.role.member.is_none() || !state.topics.is_empty() || state.pattern.is_some()
    }

    fn membership(&self) -> Result<Membership, ConsumerError> {
        membership(&self.group, &self.instance, [].into(), &Stored::new(self.settings.clone(), None))
    }
}

/// Topics that the client names, sorted.
fn literal(grant: &Grant, mut topics: Vec<String>) -> Result<Arc<[Arc<str>]>, ConsumerError> {
    if topics.is_empty() || topics.len() > MAX_TOPICS {
        return Err(ConsumerError::Invalid(format!("{} topics: expected 1 to {MAX_TOPICS}", topics.len())));
    }
    grant.check_reads(topics.iter().map(String::as_str))?;
    for topic in &topics {
        if !is_topic(topic) {
            let shown = crate::cluster::escape_for_message(topic);
            let message = format!("topic {shown}: expected {CHARACTERS}");
            return Err(ConsumerError::Invalid(message));
        }
    }
    topics.sort_unstable();
    topics.dedup();
    Ok(topics.into_iter().map(Arc::from).collect())
}

/// Topics that match a pattern, of those that the client can read, sorted.
async fn matching(grant: &Grant, text: &str) -> Result<Arc<[Arc<str>]>, ConsumerError> {
    let pattern = TopicPattern::compile(text)?;
    let names = grant.readable_topics().await?;
    let bytes = names.iter().map(String::len).fold(0, usize::saturating_add);
    // Counted as what filters leave out, which costs about as much.
    grant.cluster().scans().take(grant.client(), bytes).await;
    let matching = names.iter().filter(|name| pattern.matches(name)).take(MAX_TOPICS);
    Ok(matching.map(|name| Arc::from(name.as_str())).collect())
}

/// The time between two looks at the topics that a pattern matches.
const LOOK_INTERVAL: Duration = Duration::from_secs(30);

/// The number of the first assignment by a client: members have others.
const MANUAL: u64 = 1 << 63;
