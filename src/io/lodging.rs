//! Memory for futures that are large, short-lived and many: an exchange's. A connection that rests must not keep the room that it needs
//! while it is served, and an exchange must not allocate: the core lends the room to one exchange after the other.

use std::alloc::{Layout, alloc, dealloc, handle_alloc_error};
use std::cell::{Cell, RefCell};
use std::future::Future;
use std::marker::PhantomData;
use std::pin::Pin;
use std::ptr::NonNull;
use std::task::{Context, Poll};

/// Rooms kept for reuse, per core: exchanges that are under way at once. More are given back to the allocator.
const SPARE_ROOMS: usize = 1024;

/// A core's spare rooms, all for the same kind of future: the first one's. Another kind is served too, and its room not kept.
#[derive(Debug)]
pub struct Lodging {
    layout: Cell<Layout>,
    spare: RefCell<Vec<NonNull<u8>>>,
}

impl Default for Lodging {
    fn default() -> Self {
        Self { layout: Cell::new(Layout::new::<()>()), spare: RefCell::default() }
    }
}

impl Lodging {
    /// Puts what `make` makes into a room. It is polled there, and dropped before the room is given back.
    pub fn take_in<F: Future>(&self, make: impl FnOnce() -> F) -> Guest<'_, F> {
        let layout = Layout::new::<F>();
        if self.layout.get().size() == 0 {
            self.layout.set(layout);
        }
        let future = make();
        let room = self.room(layout).cast::<F>();
        // SAFETY: the room has F's layout and nobody else has it.
        unsafe { room.write(future) };
        Guest { lodging: self, room, owns: PhantomData }
    }

    fn room(&self, layout: Layout) -> NonNull<u8> {
        if layout == self.layout.get()
            && let Some(room) = self.spare.borrow_mut().pop()
        {
            return room;
        }
        assert!(layout.size() > 0, "a future without a size needs no room");
        // SAFETY: the size is not 0.
        NonNull::new(unsafe { alloc(layout) }).unwrap_or_else(|| handle_alloc_error(layout))
    }

    fn take_back(&self, room: NonNull<u8>, layout: Layout) {
        let mut spare = self.spare.borrow_mut();
        if layout == self.layout.get() && spare.len() < SPARE_ROOMS {
            spare.push(room);
        } else {
            // SAFETY: `room` allocated it with this layout, and its guest is gone.
            unsafe { dealloc(room.as_ptr(), layout) };
        }
    }
}

impl Drop for Lodging {
    fn drop(&mut self) {
        for room in self.spare.get_mut().drain(..) {
            // SAFETY: only rooms of this layout are kept, and a guest that is still there has taken its own out.
            unsafe { dealloc(room.as_ptr(), self.layout.get()) };
        }
    }
}

/// A future in its room.
#[derive(Debug)]
pub struct Guest<'a, F> {
    lodging: &'a Lodging,
    room: NonNull<F>,
    owns: PhantomData<F>,
}

impl<F: Future> Future for Guest<'_, F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        // SAFETY: the room holds F from `take_in` to `drop`, nobody else points to it, and F is never moved out of it.
        unsafe { Pin::new_unchecked(&mut *self.room.as_ptr()) }.poll(cx)
    }
}

impl<F> Drop for Guest<'_, F> {
    fn drop(&mut self) {
        /// Also if dropping the future panics.
        struct Back<'a>(&'a Lodging, NonNull<u8>, Layout);
        impl Drop for Back<'_> {
            fn drop(&mut self) {
                self.0.take_back(self.1, self.2);
            }
        }
        let _back = Back(self.lodging, self.room.cast(), Layout::new::<F>());
        // SAFETY: as in `poll`; this is its end.
        unsafe { self.room.drop_in_place() };
    }
}

#[cfg(test)]
mod tests {
    use std::future::{pending, ready};
    use std::panic::{AssertUnwindSafe, catch_unwind};
    use std::pin::pin;
    use std::rc::Rc;
    use std::task::Waker;

    use super::*;

    fn poll<F: Future>(future: Pin<&mut F>) -> Poll<F::Output> {
        future.poll(&mut Context::from_waker(Waker::noop()))
    }

    /// A future with something to drop, of more than a word.
    async fn stay(held: Rc<()>, ends: bool) -> usize {
        let room = [1_usize; 16];
        if !ends {
            pending::<()>().await;
        }
        Rc::strong_count(&held) + room.iter().sum::<usize>()
    }

    #[test]
    fn rooms_are_used_again_and_what_was_in_them_is_dropped() {
        let (lodging, held) = (Lodging::default(), Rc::new(()));
        let rooms: Vec<usize> = (0..3)
            .map(|_| {
                let guest = lodging.take_in(|| stay(Rc::clone(&held), true));
                let room = guest.room.as_ptr() as usize;
                assert_eq!(poll(pin!(guest)), Poll::Ready(2 + 16));
                room
            })
            .collect();
        assert!(rooms.iter().all(|room| *room == rooms[0]));
        let (first, second) = [(); 2].map(|()| lodging.take_in(|| stay(Rc::clone(&held), false))).into();
        assert_ne!(first.room, second.room);
        assert!(poll(pin!(first)).is_pending());
        drop(second);
        assert_eq!(Rc::strong_count(&held), 1, "also of futures that had not ended, or not begun");
        assert_eq!(lodging.spare.borrow().len(), 2);
    }

    #[test]
    fn another_kind_of_future_gets_a_room_that_is_not_kept() {
        let lodging = Lodging::default();
        assert_eq!(poll(pin!(lodging.take_in(|| ready(7_u8)))), Poll::Ready(7));
        assert_eq!(poll(pin!(lodging.take_in(|| stay(Rc::default(), true)))), Poll::Ready(17));
        assert_eq!(lodging.spare.borrow().len(), 1);
    }

    #[test]
    fn a_guest_that_panics_gives_its_room_back_and_what_it_held() {
        let (lodging, held) = (Lodging::default(), Rc::new(()));
        let panics = async {
            let _held = Rc::clone(&held);
            // Not reported: it is meant.
            std::panic::resume_unwind(Box::new("planted"));
        };
        let caught = catch_unwind(AssertUnwindSafe(|| {
            let _: Poll<()> = poll(pin!(lodging.take_in(|| panics)));
        }));
        assert!(caught.is_err());
        assert_eq!((Rc::strong_count(&held), lodging.spare.borrow().len()), (1, 1));
    }
}
