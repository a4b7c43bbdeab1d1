//! One request, watched from the client's side, the bridge's and the upstream's.

use std::cell::RefCell;
use std::rc::Rc;

use super::exchange::Call;
use super::machine::Machine;
use crate::{Headers, Response};

/// What has become of a request so far.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It waits for this call-out.
    Calling(Call),
    /// nginx passes it on to the route's upstream, with these headers and the client's body.
    Forwarded(Headers),
    /// The filter, or nginx itself, has answered in the upstream's place.
    Answered(Response),
    /// APISIX answers 503, as it could not run the plugin: what it logs.
    Unavailable(&'static str),
    /// The worker has crashed or hangs.
    Lost,
}

/// A request with its response. Dropping it is its end: a call-out that it waits for fails, and the filter is told to forget
/// it. That a client goes away changes nothing: measured on APISIX 3.18.
pub struct Stream {
    machine: Rc<RefCell<Machine>>,
    key: u32,
}

impl Stream {
    pub(crate) fn new(machine: Rc<RefCell<Machine>>, key: u32) -> Self {
        Self { machine, key }
    }

    /// What has become of the request.
    pub fn outcome(&self) -> Outcome {
        let mut machine = self.machine.borrow_mut();
        let host = machine.host();
        if host.dead.is_some() {
            return Outcome::Lost;
        }
        host.exchanges.get(&self.key).map_or(Outcome::Lost, |exchange| exchange.outcome.clone())
    }

    /// The request's headers as plugins that log show them: `apisix/utils/log-util.lua`, `get_full_log`.
    pub fn logged(&self) -> Headers {
        let mut machine = self.machine.borrow_mut();
        let exchange = machine.host().exchanges.get(&self.key);
        exchange.map_or_else(Headers::default, |exchange| exchange.request.behind([]))
    }

    /// The call-out is answered with this; nothing happens where none is under way. R, `_should_receive_body`: where by its
    /// status an answer has no body, none is read.
    ///
    /// # Panics
    /// With 128 header values or more, for which the real host writes behind its buffer.
    pub fn bridge_answers(&mut self, status: u16, headers: impl Into<Headers>, body: impl AsRef<[u8]>) {
        let headers = headers.into();
        assert!(headers.len() < 128, "L, handle_http_callback: the buffer of 4096 bytes has room for 128");
        let bodiless = matches!(status, 100..200 | 204 | 304);
        let body = if bodiless { &[] } else { body.as_ref() };
        let reply = (headers.and(":status", status.to_string()), body.to_vec());
        self.machine.borrow_mut().end_call(self.key, Some(reply));
    }

    /// The call-out fails. L, `send_http_call`: refused, timed out, cut, or with a header that cannot be read, the filter
    /// hears the same of each.
    pub fn bridge_fails(&mut self) {
        self.machine.borrow_mut().end_call(self.key, None);
    }

    /// The upstream answers a forwarded request with these headers; what the client gets of them. Nothing is given where the
    /// request was not forwarded.
    pub fn upstream_answers(&mut self, status: u16, headers: impl Into<Headers>) -> Option<Headers> {
        self.machine.borrow_mut().upstream_answers(self.key, status, &headers.into())
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        let mut machine = self.machine.borrow_mut();
        machine.forget(self.key);
        machine.collect_garbage();
    }
}

impl Outcome {
    /// What the client was told.
    pub fn response(&self) -> Option<&Response> {
        match self {
            Self::Answered(response) => Some(response),
            _ => None,
        }
    }
}
