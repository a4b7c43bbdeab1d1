//! Makes host calls fail.

use super::host_call::HostCall;
use super::status::Status;

/// The calls that [`Vm::refuse`](crate::envoy::Vm::refuse) applies to.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nth_call_is_refused_once() {
        let mut faults = Faults::default();
        faults.refuse(HostCall::Log, When::Nth(2), Status(77));
        assert_eq!(faults.next_refusal(HostCall::SetBufferBytes), None);
        let answers: Vec<_> = (0..3).map(|_| faults.next_refusal(HostCall::Log)).collect();
        assert_eq!(answers, [None, Some(Status(77)), None]);
    }

    #[test]
    fn call_stays_refused_until_it_is_allowed() {
        let mut faults = Faults::default();
        faults.refuse(HostCall::Log, When::Always, Status(5));
        assert_eq!(faults.next_refusal(HostCall::Log), Some(Status(5)));
        assert_eq!(faults.next_refusal(HostCall::Log), Some(Status(5)));
        faults.allow(HostCall::Log);
        assert_eq!(faults.next_refusal(HostCall::Log), None);
    }
}
