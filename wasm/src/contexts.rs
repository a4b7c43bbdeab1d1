//! The plugins and streams that the host refers to by number.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use crate::filter::{Filter, RepeatLimit};
use crate::host;
use crate::stream::Stream;

/// All contexts of one VM.
///
/// A host call can re-enter the filter, so nothing is borrowed across one: a stream is taken out of the map while it is
/// used.
pub(crate) struct Contexts {
    /// None until it is configured.
    roots: RefCell<BTreeMap<u32, Option<Rc<Filter>>>>,
    /// None while it is in use.
    streams: RefCell<BTreeMap<u32, Option<Box<Stream>>>>,
    /// Rejected configurations.
    failures: RepeatLimit,
}

impl Contexts {
    pub(crate) const fn new() -> Self {
        Self {
            roots: RefCell::new(BTreeMap::new()),
            streams: RefCell::new(BTreeMap::new()),
            failures: RepeatLimit::new(),
        }
    }

    /// Adds a plugin (`root_id` 0), or a stream of the plugin `root_id`.
    pub(crate) fn create(&self, context_id: u32, root_id: u32) {
        if root_id == 0 {
            self.roots.borrow_mut().insert(context_id, None);
        } else {
            let stream = Box::new(Stream::new(context_id, self.filter(root_id)));
            self.streams.borrow_mut().insert(context_id, Some(stream));
        }
    }

    /// Reads the plugin's configuration; false if it is rejected.
    pub(crate) fn configure(&self, root_id: u32, size: usize) -> bool {
        let filter = match Filter::configure(size) {
            Ok(filter) => {
                self.failures.reset();
                Some(Rc::new(filter))
            }
            Err(lines) => {
                // Apache APISIX configures a rejected plugin twice for each request.
                if self.failures.due(&lines.join("\n")).is_some() {
                    lines.iter().for_each(|line| host::log_error(line));
                }
                None
            }
        };
        let configured = filter.is_some();
        self.roots.borrow_mut().insert(root_id, filter);
        configured
    }

    pub(crate) fn tick(&self, root_id: u32) {
        if let Some(filter) = self.filter(root_id) {
            filter.tick();
        }
    }

    /// None if there is no such stream, or it is in use.
    pub(crate) fn stream<T>(&self, context_id: u32, call: impl FnOnce(&mut Stream) -> T) -> Option<T> {
        let mut stream = self.streams.borrow_mut().get_mut(&context_id)?.take()?;
        let result = call(&mut stream);
        // The host may have deleted it in the meantime.
        if let Some(place) = self.streams.borrow_mut().get_mut(&context_id) {
            *place = Some(stream);
        }
        Some(result)
    }

    /// Removes a plugin or a stream.
    pub(crate) fn delete(&self, context_id: u32) {
        self.stream(context_id, Stream::on_delete);
        let _root = self.roots.borrow_mut().remove(&context_id);
        let _stream = self.streams.borrow_mut().remove(&context_id);
    }

    fn filter(&self, root_id: u32) -> Option<Rc<Filter>> {
        self.roots.borrow().get(&root_id)?.clone()
    }
}
