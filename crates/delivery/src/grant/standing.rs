//! The rights of a client now, and their end: a renewal replaces them, a revocation ends them.

use std::sync::Arc;

use arc_swap::ArcSwap;
use sluicegate_backend::{CommandError, Fault};
use sluicegate_rights::{Rights, Topics};
use sluicegate_telemetry::metrics::SessionEnd;
use tokio::sync::Notify;
use tokio::sync::futures::Notified;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use super::{
    AGED, EXPIRED, NOT_CONSUMABLE, NOT_READABLE, NOT_WRITABLE, Person, REVOKED, denied, unauthenticated,
};
use crate::cluster::{CONSUME, READ, WRITE};

/// The rights of one client and their end, shared by all clones of its grant.
pub(crate) struct Standing {
    held: ArcSwap<Held>,
    renewed: Notify,
    /// Cancelled when an operator ends it.
    ended: CancellationToken,
}

/// The rights that a client has until they end or are replaced.
pub(crate) struct Held {
    pub(crate) rights: Rights,
    /// None: of nobody in particular.
    pub(super) holding: Option<Holding>,
    /// No client is served for longer than until then.
    aged: Option<Instant>,
}

/// A person's hold on a grant.
#[derive(Debug, Clone)]
pub struct Holding {
    /// The person.
    pub person: Arc<Person>,
    /// The end of the person's identity; None: it does not expire.
    pub expires: Option<Instant>,
}

/// The end of a grant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Term {
    /// From then on, it grants nothing.
    pub at: Instant,
    /// Why it ends.
    pub cause: TermCause,
}

/// Why a grant ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TermCause {
    /// The client's identity expires.
    Identity,
    /// The client's identity was revoked.
    Revoked,
    /// No client is served for longer.
    Age,
    /// An operator has ended it.
    Operator,
}

impl TermCause {
    /// The same of a session or a stream of events.
    pub fn session_end(self) -> SessionEnd {
        match self {
            Self::Identity => SessionEnd::Expired,
            Self::Revoked => SessionEnd::Revoked,
            Self::Age => SessionEnd::Aged,
            Self::Operator => SessionEnd::Ended,
        }
    }
}

impl Standing {
    /// These rights as long as `holding` lasts, and for no longer than until `aged`.
    pub(super) fn new(rights: Rights, holding: Option<Holding>, aged: Option<Instant>) -> Self {
        let held = ArcSwap::from_pointee(Held { rights, holding, aged });
        Self { held, renewed: Notify::new(), ended: CancellationToken::new() }
    }

    /// The right to everything.
    #[cfg(test)]
    pub(crate) fn all() -> Arc<Self> {
        Arc::new(Self::new(Rights::all(), None, None))
    }

    /// The rights as they are now.
    pub(crate) fn held(&self) -> Arc<Held> {
        self.held.load_full()
    }

    /// Replaces the rights and their holding. The client's age stays.
    pub(super) fn renew(&self, rights: Rights, holding: Holding) {
        let aged = self.held.load().aged;
        self.held.store(Arc::new(Held { rights, holding: Some(holding), aged }));
        self.renewed.notify_waiters();
    }

    /// Waits for a renewal after this call.
    pub(crate) fn renewed(&self) -> Notified<'_> {
        self.renewed.notified()
    }

    /// Ends them by an operator's will.
    pub(super) fn end(&self) {
        self.ended.cancel();
    }

    /// Whether an operator has ended them.
    pub(super) fn is_ended(&self) -> bool {
        self.ended.is_cancelled()
    }

    /// Waits for their end.
    pub(super) async fn ended(&self) -> TermCause {
        tokio::select! {
            biased;
            () = self.ended.cancelled() => TermCause::Operator,
            cause = self.over() => cause,
        }
    }

    /// Waits for the end of those that are not renewed.
    async fn over(&self) -> TermCause {
        loop {
            let held = self.held();
            let cause = held.ended().await;
            if Arc::ptr_eq(&held, &self.held()) {
                return cause;
            }
        }
    }
}

impl Held {
    /// When the rights end; None: they do not, unless they are revoked.
    pub(super) fn term(&self) -> Option<Term> {
        let expires = self.holding.as_ref().and_then(|holding| holding.expires);
        let expires = expires.map(|at| Term { at, cause: TermCause::Identity });
        let aged = self.aged.map(|at| Term { at, cause: TermCause::Age });
        expires.into_iter().chain(aged).min_by_key(|term| term.at)
    }

    async fn ended(&self) -> TermCause {
        let revoked = async {
            match &self.holding {
                Some(holding) => holding.person.revoked().await,
                None => std::future::pending().await,
            }
        };
        let over = async {
            match self.term() {
                Some(term) => {
                    sleep_until(term.at).await;
                    term.cause
                }
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            () = revoked => TermCause::Revoked,
            cause = over => cause,
        }
    }

    /// The topics that the client can read. `topic` is the one of the command, if there is one.
    ///
    /// # Errors
    /// It cannot read at all, or not any more.
    pub(super) fn readable(&self, topic: Option<&str>) -> Result<&Topics, CommandError> {
        self.check()?;
        self.rights.read.as_ref().ok_or_else(|| denied(NOT_READABLE).lacking(READ, topic))
    }

    /// The topics that the client can write to. `topic` is the one of the command, if there is one.
    ///
    /// # Errors
    /// It cannot write at all, or not any more.
    pub(super) fn writable(&self, topic: Option<&str>) -> Result<&Topics, CommandError> {
        self.check()?;
        self.rights.write.as_ref().ok_or_else(|| denied(NOT_WRITABLE).lacking(WRITE, topic))
    }

    /// The groups in which the client can consume.
    ///
    /// # Errors
    /// It can in none, or not any more.
    pub(super) fn consumable(&self) -> Result<&Topics, CommandError> {
        self.check()?;
        self.rights.consume.as_ref().ok_or_else(|| denied(NOT_CONSUMABLE).lacking(CONSUME, None))
    }

    /// Checks that the client is served at all.
    ///
    /// # Errors
    /// Not any more.
    pub(super) fn check(&self) -> Result<(), CommandError> {
        let over = self.term().filter(|term| term.at <= Instant::now());
        match (&self.holding, over) {
            (Some(holding), _) if holding.person.is_revoked() => Err(unauthenticated(REVOKED)),
            (_, Some(Term { cause: TermCause::Identity | TermCause::Revoked, .. })) => {
                Err(unauthenticated(EXPIRED))
            }
            // The same client can come back.
            (_, Some(Term { cause: TermCause::Age | TermCause::Operator, .. })) => {
                Err(CommandError::new(Fault::Transient, 0, AGED).with_retry())
            }
            (_, None) => Ok(()),
        }
    }
}
