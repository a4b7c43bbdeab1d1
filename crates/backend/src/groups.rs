//! Groups of consumers: members share the logs of topics, and a group keeps the positions that it has committed.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use sluicegate_fair_share::ClientKey;
use tokio::sync::watch;

use crate::{CommandError, CommandFuture, Fault, Log};

/// The groups of a cluster.
pub trait Groups: Send + Sync {
    /// Begins to join a group. The member stays in it until [`Member::leave`], or until it is dropped: then it is
    /// silent, and the group gives its logs to others after [`Membership::session_timeout`].
    fn join(&self, source: ClientKey, membership: Membership) -> Arc<dyn Member>;

    /// The membership of an instance, wherever its member lives; None: the group has no such member.
    ///
    /// # Cancel safety
    /// A drop abandons the read.
    fn find<'a>(
        &'a self,
        source: ClientKey,
        group: &'a str,
        instance: &'a str,
    ) -> CommandFuture<'a, Option<Membership>>;

    /// The last commit of a group in each log, in their order; None: nothing.
    ///
    /// # Cancel safety
    /// A drop abandons the read.
    fn committed<'a>(
        &'a self,
        source: ClientKey,
        group: &'a str,
        logs: &'a [GroupLog],
    ) -> CommandFuture<'a, Vec<Result<Option<Commit>, CommandError>>>;

    /// Commits positions for a group without being a member. The group must have none.
    ///
    /// # Cancel safety
    /// The commits can be made all the same.
    fn commit<'a>(
        &'a self,
        source: ClientKey,
        group: &'a str,
        commits: &'a [Commit],
    ) -> CommandFuture<'a, Vec<Result<(), CommandError>>>;
}

/// A topic's name, and the number of a partition.
pub type GroupLog = (Arc<str>, i32);

/// The log, as reads name it.
pub fn log((topic, partition): &GroupLog) -> Log<'_> {
    Log { topic, partition: *partition }
}

/// A membership as the group knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Membership {
    /// The group's name.
    pub group: Arc<str>,
    /// The name by which the member is known when it comes back, here or elsewhere: the last one to join with it has the
    /// member's logs, and the one before is fenced. None: each join is a new member.
    pub instance: Option<Arc<str>>,
    /// The topics whose logs it wants a share of, sorted.
    pub topics: Arc<[Arc<str>]>,
    /// A text that the group keeps for the bridge that takes the member over: at most [`MAX_SETTINGS`] bytes.
    pub settings: Bytes,
    /// The time without a sign of life after which the group gives the member's logs to others.
    pub session_timeout: Duration,
}

/// A member of a group. It keeps itself alive.
pub trait Member: Send + Sync {
    /// Its state, as it changes.
    fn state(&self) -> watch::Receiver<MemberState>;

    /// Asks for a share of other topics instead, with other settings.
    fn subscribe(&self, topics: Arc<[Arc<str>]>, settings: Bytes);

    /// The positions to commit before logs are given up, or when the member leaves. Each call replaces those before, and
    /// so does each assignment, with none.
    fn keep(&self, commits: Vec<Commit>);

    /// Commits positions of logs that the member has: in the assignment of this number, or in any. Once the command has
    /// begun in it, the next assignment will do for logs that stay with the member.
    ///
    /// # Cancel safety
    /// The commits can be made all the same.
    fn commit(
        &self,
        assignment: Option<u64>,
        commits: Vec<Commit>,
    ) -> BoxFuture<'_, Result<Vec<Result<(), CommandError>>, CommandError>>;

    /// Asks the group whether it still knows the member, and waits until it does, until the state tells otherwise, or for at
    /// most [`CONFIRM_TIMEOUT`].
    ///
    /// # Cancel safety
    /// The group is asked all the same.
    fn confirm(&self) -> BoxFuture<'_, ()>;

    /// Commits what is kept, and leaves the group.
    ///
    /// # Cancel safety
    /// The member leaves all the same.
    fn leave(&self) -> BoxFuture<'_, ()>;
}

/// A member's part in its group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MemberState {
    /// It waits for its share of the logs, and may not read now. The error is the last failure, if any.
    Joining(Option<CommandError>),
    /// It may read these logs, sorted, until the state changes. Each assignment has a higher number: the next one, if no other
    /// member can have had its logs since the one before.
    Assigned(u64, Arc<[GroupLog]>),
    /// It is no member for longer: another one has its name, the cluster does not authorize it, or it has left.
    Ended(Ended),
}

/// Why a member is none for longer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ended {
    /// It has left.
    Left,
    /// Another one has joined with its name.
    Fenced,
    /// The cluster refuses it.
    Refused(CommandError),
}

/// A position that a group commits, or has committed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Commit {
    /// The log.
    pub log: GroupLog,
    /// The offset of the next record to read.
    pub offset: i64,
    /// A text of the client's, empty if there is none.
    pub metadata: Arc<str>,
}

/// The time for which a member waits for its group to know it.
pub const CONFIRM_TIMEOUT: Duration = Duration::from_secs(1);

/// Makes the commits without a `refusal`, for which `commit` gives a result each. The results have the order of `commits`.
///
/// # Errors
/// The errors of `commit`, which is not called for none.
///
/// # Cancel safety
/// The commits can be made all the same.
pub async fn commit_own<E>(
    commits: &[Commit],
    refusal: impl Fn(&Commit) -> Option<CommandError>,
    commit: impl AsyncFnOnce(Vec<Commit>) -> Result<Vec<Result<(), CommandError>>, E>,
) -> Result<Vec<Result<(), CommandError>>, E> {
    let refusals: Vec<_> = commits.iter().map(refusal).collect();
    let own = commits.iter().zip(&refusals).filter(|(_, refusal)| refusal.is_none());
    let own: Vec<Commit> = own.map(|(commit, _)| commit.clone()).collect();
    let made = if own.is_empty() { Vec::new() } else { commit(own).await? };
    let mut made = made.into_iter();
    let unanswered =
        || CommandError::new(Fault::Transient, 0, "the group has not answered for the partition");
    let result = |refusal: Option<_>| match refusal {
        Some(refusal) => Err(refusal),
        None => made.next().unwrap_or_else(|| Err(unanswered())),
    };
    Ok(refusals.into_iter().map(result).collect())
}

/// The settings of a member, at most, in bytes.
pub const MAX_SETTINGS: usize = 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn each_commit_has_its_result() {
        let error = |code| CommandError::new(Fault::Rejected, code, "");
        let (own, refused) = (None, Some(1));
        for (refusals, made, want) in [
            (&[own, refused, own][..], vec![Ok(()), Err(error(2))], &[0, 1, 2][..]),
            (&[refused, own], vec![Ok(())], &[1, 0]),
            // Nobody knows whether it was made.
            (&[own, refused, own], vec![Err(error(2))], &[2, 1, -1]),
            (&[refused], vec![Ok(())], &[1]),
        ] {
            let commit = |log| Commit { log: ("t".into(), log), offset: 1, metadata: Arc::default() };
            let commits: Vec<_> = (0..3).map(commit).take(refusals.len()).collect();
            let refusal = |commit: &Commit| refusals[commit.log.1 as usize].map(error);
            let make = async |own: Vec<Commit>| {
                assert_eq!(own.len(), refusals.iter().filter(|refusal| refusal.is_none()).count());
                assert!(!own.is_empty());
                Ok::<_, ()>(made)
            };
            let results = commit_own(&commits, refusal, make).await.unwrap().into_iter();
            let code = |error: CommandError| if error.fault == Fault::Transient { -1 } else { error.code };
            let codes: Vec<_> = results.map(|result| result.err().map_or(0, code)).collect();
            assert_eq!(codes, want, "{refusals:?}");
        }
    }
}
