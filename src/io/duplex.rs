//! Two futures in one task, for the two directions of an exchange. Neither is ever dropped half-way: an operation that the
//! kernel has begun is ended by `shutdown` and then awaited.

use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::task::Poll;

/// Runs `first` and `second` until both are done. `first_done` is called once, as soon as `first` is. Both are pinned where they are made:
/// taken by value they would lie in the caller's memory twice, of which every connection has its own.
pub async fn both<A, B>(
    mut first: Pin<&mut A>,
    mut second: Pin<&mut B>,
    first_done: impl FnOnce(&A::Output),
) -> (A::Output, B::Output)
where
    A: Future,
    B: Future,
{
    let (mut first_out, mut second_out) = (None, None);
    let mut first_done = Some(first_done);
    poll_fn(move |cx| {
        if first_out.is_none()
            && let Poll::Ready(out) = first.as_mut().poll(cx)
        {
            if let Some(done) = first_done.take() {
                done(&out);
            }
            first_out = Some(out);
        }
        if second_out.is_none()
            && let Poll::Ready(out) = second.as_mut().poll(cx)
        {
            second_out = Some(out);
        }
        match (first_out.take(), second_out.take()) {
            (Some(first), Some(second)) => Poll::Ready((first, second)),
            (first, second) => {
                (first_out, second_out) = (first, second);
                Poll::Pending
            }
        }
    })
    .await
}

/// Waits for whichever comes first; true if it was `first`. Only for futures that hold no kernel operation (timers, flags).
pub async fn either<A, B>(first: A, second: B) -> bool
where
    A: Future<Output = ()>,
    B: Future<Output = ()>,
{
    let mut first = std::pin::pin!(first);
    let mut second = std::pin::pin!(second);
    poll_fn(move |cx| {
        if first.as_mut().poll(cx).is_ready() {
            Poll::Ready(true)
        } else if second.as_mut().poll(cx).is_ready() {
            Poll::Ready(false)
        } else {
            Poll::Pending
        }
    })
    .await
}

/// Runs a connection's future; a panic in it ends that connection and not the core. `None` says that it panicked. Pinned as in [`both`].
pub async fn caught<F: Future>(mut future: Pin<&mut F>) -> Option<F::Output> {
    poll_fn(move |cx| {
        let step = catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(cx)));
        match step {
            Ok(Poll::Pending) => Poll::Pending,
            Ok(Poll::Ready(out)) => Poll::Ready(Some(out)),
            Err(_) => Poll::Ready(None),
        }
    })
    .await
}
