//! Makes host calls fail.

use super::host_call::{HostCall, Status};

/// The calls that [`Controls::refuse`](crate::Controls::refuse) applies to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum When {
    /// Every further call.
    Always,
    /// One further call, counted from 1.
    Nth(u32),
}

/// The refusals in force.
#[derive(Default)]
pub(crate) struct Faults(Vec<Fault>);

struct Fault {
    call: HostCall,
    when: When,
    status: Status,
}

impl Faults {
    pub(crate) fn refuse(&mut self, call: HostCall, when: When, status: Status) {
        self.0.push(Fault { call, when, status });
    }

    pub(crate) fn allow(&mut self, call: HostCall) {
        self.0.retain(|fault| fault.call != call);
    }

    /// Counts `call`; returns the status if it is refused.
    pub(crate) fn next_refusal(&mut self, call: HostCall) -> Option<Status> {
        let mut refused = None;
        self.0.retain_mut(|fault| match (fault.call == call, fault.when) {
            (false, _) => true,
            (true, When::Always) => {
                refused = refused.or(Some(fault.status));
                true
            }
            (true, When::Nth(left @ 2..)) => {
                fault.when = When::Nth(left.saturating_sub(1));
                true
            }
            (true, When::Nth(_)) => {
                refused = refused.or(Some(fault.status));
                false
            }
        });
        refused
    }
}
