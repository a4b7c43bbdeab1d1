//! The task behind a subscription: subscribes, hands out what arrives, and begins anew after a failure.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use sluicegate_protocol::pub_sub_req::Req;
use sluicegate_protocol::pub_sub_resp::Resp;
use sluicegate_protocol::{CmdCredit, CmdPing, CmdUnsubscribe};
use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};
use tracing::debug;

use super::credit::Credit;
use crate::session::{Answers, Session};
use crate::{Builder, Error, retry};

/// The subscriptions of one messaging system: their command, how far it has come, and the updates in the system's
/// terms.
pub(crate) trait Resume: Send + Sync + 'static {
    type Update: Send + 'static;

    /// The command that continues after what was taken.
    fn command(&self) -> Req;

    /// Notes that its command was sent, with this sequence.
    fn begin(&mut self, _: &Arc<Session>, _sequence: i64) {}

    /// Notes that the server was heard, after what has come was counted as taken.
    fn hear(&mut self);

    /// An answer of the server; none for an event that this client does not know.
    ///
    /// # Errors
    /// [`Error::Protocol`] if the answer is none to this command, [`Error::GroupsUnsupported`].
    fn read(&self, answer: Resp) -> Result<Option<Self::Update>, Error>;

    /// Counts `update` as taken. For one that proves progress, returns the bytes of its messages, which credit is
    /// granted for.
    fn advance(&mut self, update: &Self::Update) -> Option<u64>;

    /// The update that announces another attempt.
    fn reconnecting(error: Error, pause: Duration) -> Self::Update;
}

pub(super) struct Feed<R: Resume> {
    /// `None` after a failure that requires a new connection.
    session: Option<Arc<Session>>,
    builder: Builder,
    resume: R,
    window: u64,
    updates: mpsc::Sender<Result<R::Update, Error>>,
    /// In a row, without progress between them.
    failures: u32,
}

/// Why a command of the subscription is over.
enum End {
    /// Nobody takes updates any more.
    Dropped,
    /// The server sent more than there is room for. What came before that has been taken, the rest is read again.
    Overrun,
    Failed(Error),
}

impl From<Error> for End {
    fn from(why: Error) -> Self {
        Self::Failed(why)
    }
}

impl<R: Resume> Feed<R> {
    pub(super) fn new(
        session: Arc<Session>,
        builder: Builder,
        resume: R,
        window: u64,
        updates: mpsc::Sender<Result<R::Update, Error>>,
    ) -> Self {
        Self { session: Some(session), builder, resume, window, updates, failures: 0 }
    }

    /// Runs until the subscription is dropped, or fails for good.
    pub(super) async fn run(mut self) {
        loop {
            let Err(end) = self.subscribe().await;
            let error = match end {
                End::Dropped => return,
                End::Overrun => continue,
                End::Failed(error) => error,
            };
            self.failures = self.failures.saturating_add(1);
            let logs_in = self.builder.login.is_some();
            let Some(pause) = retry::resume_pause(&error, self.failures, logs_in) else {
                // Fails if the subscription was dropped a moment ago.
                let _ = self.updates.send(Err(error)).await;
                return;
            };
            debug!("failed to {error}, {} in a row, subscribing again in {pause:?}", self.failures);
            if !matches!(error, Error::Command { .. }) {
                self.session = None;
            }
            if self.updates.send(Ok(R::reconnecting(error, pause))).await.is_err()
                || self.unless_dropped(sleep(pause)).await.is_err()
            {
                return;
            }
        }
    }

    /// Subscribes from where the last command ended.
    async fn subscribe(&mut self) -> Result<Infallible, End> {
        let session = match &self.session {
            Some(session) => Arc::clone(session),
            None => {
                let connected = self.unless_dropped(self.builder.clone().connect()).await?;
                let client = connected.map_err(|why| Error::reconnect(&why, self.builder.login.is_some()))?;
                Arc::clone(self.session.insert(client.session))
            }
        };
        let after = self.builder.request_timeout;
        let opening = timeout(after, session.open(self.resume.command(), self.room()));
        let opened = self.unless_dropped(opening).await?;
        let mut answers = opened.unwrap_or(Err(Error::Timeout { after }))?;
        self.resume.begin(&session, answers.sequence());
        let Err(end) = self.hand_out(&session, &mut answers).await;
        // After an error of the server there is nothing to end, and an older one would not know how.
        if !matches!(end, End::Failed(Error::Command { .. } | Error::CommandUnsupported { .. })) {
            let end = Req::CmdUnsubscribe(CmdUnsubscribe { subscription: answers.sequence() });
            let _ = timeout(self.builder.request_timeout, session.send(end)).await;
        }
        Err(end)
    }

    async fn hand_out(&mut self, session: &Session, answers: &mut Answers) -> Result<Infallible, End> {
        let limit = self.builder.request_timeout;
        let mut credit = Credit::new(self.window);
        let mut is_subscribed = false;
        loop {
            let patience = if is_subscribed { SILENCE } else { limit };
            let answer = match self.unless_dropped(timeout(patience, answers.next())).await? {
                Ok(answer) => answer?.ok_or(End::Overrun)?,
                Err(_) if is_subscribed => {
                    // A connection that broke silently looks like topics without records.
                    let ping = Req::CmdPing(CmdPing::default());
                    self.unless_dropped(session.command(ping, limit)).await??;
                    self.resume.hear();
                    continue;
                }
                Err(_) => return Err(Error::Timeout { after: limit }.into()),
            };
            is_subscribed = true;
            let Some(update) = self.resume.read(answer)? else { continue };
            let taken = self.resume.advance(&update);
            self.resume.hear();
            if taken.is_some() {
                self.failures = 0;
            }
            self.updates.send(Ok(update)).await.map_err(|_| End::Dropped)?;
            if let Some(bytes) = taken.and_then(|bytes| credit.take(bytes)) {
                let grant = Req::CmdCredit(CmdCredit { subscription: answers.sequence(), bytes });
                // If the session is over, answers that have arrived are handed out first.
                let _ = self.unless_dropped(session.send(grant)).await?;
            }
        }
    }

    async fn unless_dropped<T>(&self, work: impl Future<Output = T>) -> Result<T, End> {
        tokio::select! {
            done = work => Ok(done),
            () = self.updates.closed() => Err(End::Dropped),
        }
    }

    /// For answers that have arrived and are not taken.
    fn room(&self) -> usize {
        let window = usize::try_from(self.window).unwrap_or(usize::MAX);
        window.saturating_mul(DECODED).saturating_add(self.builder.max_message_bytes)
    }
}

/// The memory of the smallest deliveries is at most this times their messages' bytes on the wire.
const DECODED: usize = 16;
/// Time without a message after which a subscription asks whether the server is still there.
const SILENCE: Duration = Duration::from_secs(30);
