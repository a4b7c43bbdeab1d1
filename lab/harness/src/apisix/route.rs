//! A route that uses the plugin.

use std::cell::RefCell;
use std::rc::Rc;

use super::exchange::Exchange;
use super::machine::Machine;
use super::stream::Stream;
use crate::abi::headers::Headers;

/// A route. After it is dropped, its plugin context is deleted with its last request: L, `ffi_gc`.
pub struct Route {
    machine: Rc<RefCell<Machine>>,
    key: u32,
}

impl Route {
    pub(crate) fn new(machine: Rc<RefCell<Machine>>, key: u32) -> Self {
        Self { machine, key }
    }

    /// A client's request with its whole body. `:authority` becomes the `Host` line; nginx accepts requests without it
    /// over HTTP/1.0 only. The client's address is 10.0.0.9.
    pub fn request(&self, headers: impl Into<Headers>, body: impl AsRef<[u8]>) -> Stream {
        self.request_from("10.0.0.9", headers, body)
    }

    /// The same from a client at another address.
    pub fn request_from(&self, client: &str, headers: impl Into<Headers>, body: impl AsRef<[u8]>) -> Stream {
        let exchange = Exchange::new(self.key, client, &headers.into(), body.as_ref().len());
        let key = self.machine.borrow_mut().open(exchange);
        Stream::new(Rc::clone(&self.machine), key)
    }
}

impl Drop for Route {
    fn drop(&mut self) {
        let mut machine = self.machine.borrow_mut();
        if let Some(route) = machine.host().routes.get_mut(&self.key) {
            route.removed = true;
        }
        machine.collect_garbage();
    }
}
