//! Stacks that tests share.

use std::ops::{Deref, DerefMut};
use std::thread;

use super::Stack;

/// A stack in use. Shared stacks outlive their tests, so a failing test prints the ends of their logs.
pub struct Lent<T: Deref<Target = Stack>>(pub T);

impl<T: Deref<Target = Stack>> Deref for Lent<T> {
    type Target = Stack;

    fn deref(&self) -> &Stack {
        &self.0
    }
}

impl<T: DerefMut<Target = Stack>> DerefMut for Lent<T> {
    fn deref_mut(&mut self) -> &mut Stack {
        &mut self.0
    }
}

impl<T: Deref<Target = Stack>> Drop for Lent<T> {
    #[expect(clippy::print_stderr, reason = "a failed test's output")]
    fn drop(&mut self) {
        if thread::panicking() {
            for process in self.0.processes() {
                eprintln!("--- the end of {}\n{}", process.log().display(), process.log_tail());
            }
        }
    }
}
