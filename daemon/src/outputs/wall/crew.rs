//! Work on many pages, shared by all processors.

use std::panic::resume_unwind;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use crate::fault;

/// More threads would wait for the disk.
const MOST_THREADS: usize = 4;

/// Does `work` for each item, the first ones first; nothing more is begun once one has failed.
/// # Errors
/// That of an item that failed.
pub(super) fn each<T: Sync, E: Send>(
    items: &[T],
    work: impl Fn(&T) -> Result<(), E> + Sync,
) -> Result<(), E> {
    let next = AtomicUsize::new(0);
    let run = || {
        while let Some(item) = items.get(next.fetch_add(1, Ordering::Relaxed)) {
            work(item).inspect_err(|_| next.store(items.len(), Ordering::Relaxed))?;
        }
        Ok(())
    };
    let others = thread::available_parallelism().map_or(1, usize::from).min(MOST_THREADS) - 1;
    thread::scope(|scope| {
        // A thread that cannot be had leaves its part to the others.
        // A fault in one is a fault of the whole, and no end of the process.
        let start = |_| thread::Builder::new().spawn_scoped(scope, || fault::outlive(run)).ok();
        let started: Vec<_> = (0..others).filter_map(start).collect();
        let mut outcome = run();
        for thread in started {
            let told = thread.join().unwrap_or_else(|fault| resume_unwind(fault));
            outcome = outcome.and(told.unwrap_or_else(|reason| resume_unwind(Box::new(reason))));
        }
        outcome
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_item_is_worked_on_once() {
        let done: Vec<AtomicUsize> = (0..1_000).map(AtomicUsize::new).collect();
        let add = |item: &AtomicUsize| {
            item.fetch_add(1, Ordering::Relaxed);
            Ok::<(), ()>(())
        };
        assert_eq!(each(&done, add), Ok(()));
        assert!(done.iter().enumerate().all(|(at, item)| item.load(Ordering::Relaxed) == at + 1));
    }

    #[test]
    fn nothing_more_is_begun_once_one_has_failed() {
        let begun = AtomicUsize::new(0);
        let fail = |item: &usize| {
            begun.fetch_add(1, Ordering::Relaxed);
            if *item == 3 { Err("that one") } else { Ok(()) }
        };
        let items: Vec<usize> = (0..1_000_000).collect();
        assert_eq!(each(&items, fail), Err("that one"));
        assert!(begun.load(Ordering::Relaxed) < items.len());
    }
}
