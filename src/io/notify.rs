//! Wakes one waiting task of the same core. Not for other threads: the bell is for those.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::task::{Poll, Waker};

/// A flag with at most one task waiting for it.
#[derive(Debug, Default)]
pub struct Notify {
    set: Cell<bool>,
    waiting: RefCell<Option<Waker>>,
}

impl Notify {
    /// Raises the flag; the waiting task runs soon. A flag raised before anybody waits is kept.
    pub fn notify(&self) {
        self.set.set(true);
        if let Some(waker) = self.waiting.borrow_mut().take() {
            waker.wake();
        }
    }

    /// True if the flag was up; takes it down. Otherwise the caller's task is woken when it goes up.
    pub fn poll(&self, waker: &Waker) -> bool {
        if self.set.replace(false) {
            return true;
        }
        *self.waiting.borrow_mut() = Some(waker.clone());
        false
    }

    /// Waits until the flag is up and takes it down.
    pub async fn notified(&self) {
        poll_fn(|cx| if self.poll(cx.waker()) { Poll::Ready(()) } else { Poll::Pending }).await;
    }
}
