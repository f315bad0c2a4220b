//! A slot's account of itself, in the lower half of its headroom: what lies in it and how far that is. The ring's memory may be a
//! file that outlives the process; with the account the next one finds every entry that was accepted, whenever this one was killed.
//!
//! ```text
//! 0 magic │ 4 state │ 5 which progress │ 6 which `Stored` │ 7 guard │ 16 progress ×2 │ 160 `Stored` ×2 │ 416 … 504 (`batch::TRACE_AT`)
//! ```
//! Whatever is more than one byte stands there twice: the copy that does not count is written, then one byte makes it count. A
//! process can be killed between any two stores and leaves the one or the other, never half. (What the *machine* leaves when it
//! loses its power is the file system's business.)

use std::sync::atomic::{Ordering, compiler_fence};

use super::batch::{Identity, OpenBatch, PROGRESS_BYTES, RECORDS_START, TRACE_AT, write_header};
use super::cut;
use super::stored::{LANE_NUMBER_BITS, STORED_BYTES, Stored};

/// Bytes at the front of a slot that are its account.
pub const ACCOUNT_BYTES: usize = TRACE_AT;

const MAGIC: [u8; 4] = *b"TGS1";
const STATE_AT: usize = 4;
const PROGRESS_TURN_AT: usize = 5;
const STORED_TURN_AT: usize = 6;
const GUARDED_AT: usize = 7;
const GUARD_AT: usize = 8;
const PROGRESS_AT: usize = 16;
/// Arrays up to so many bytes may be moved when they are closed: beyond, three bytes of length were guessed right.
const GUARDED_BYTES: usize = 16 * 1024;
/// Bytes between an array and its copy: what closing it may write behind it, and more.
const GUARD_GAP_BYTES: usize = 128;
const STORED_AT: usize = PROGRESS_AT + 2 * PROGRESS_BYTES;

const FREE: u8 = 0;
const OPEN: u8 = 1;
const SEALED: u8 = 2;

const _: () = assert!(STORED_AT + 2 * STORED_BYTES <= TRACE_AT);

/// Why a slot's account cannot be believed: its entries are lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Damage {
    /// The account itself is not one.
    Account,
    /// The records are not as many as the account says.
    Records,
}

/// A batch is begun; `stored` says whose it is.
pub fn open(memory: &mut [u8], stored: &Stored, batch: &OpenBatch) {
    memory[..4].copy_from_slice(&MAGIC);
    (memory[STATE_AT], memory[GUARDED_AT]) = (FREE, 0);
    write_stored(memory, stored);
    progress(memory, batch);
    publish(memory, STATE_AT, OPEN);
}

/// The open batch grew or shrank. Everything that it says lies in the slot already.
#[inline]
pub fn progress(memory: &mut [u8], batch: &OpenBatch) {
    let turn = (memory[PROGRESS_TURN_AT] & 1) ^ 1;
    let at = PROGRESS_AT + usize::from(turn) * PROGRESS_BYTES;
    if let Some(room) = memory[at..].first_chunk_mut::<PROGRESS_BYTES>() {
        batch.save(room);
    }
    publish(memory, PROGRESS_TURN_AT, turn);
}

/// The open array is about to be closed, which may move its bytes: keeps a copy behind them while that is done. A long one does not
/// move (its lengths were guessed right), and needs none.
pub fn guard(memory: &mut [u8], batch: &OpenBatch) {
    let Some((record, limit)) = batch.open_array().filter(|(record, _)| record.len() <= GUARDED_BYTES) else { return };
    let at = record.end + GUARD_GAP_BYTES;
    if at + record.len() > limit {
        return;
    }
    memory.copy_within(record, at);
    memory[GUARD_AT..GUARD_AT + 4].copy_from_slice(&(at as u32).to_ne_bytes());
    publish(memory, GUARDED_AT, 1);
}

/// The array is closed, and its progress said.
pub fn unguard(memory: &mut [u8]) {
    publish(memory, GUARDED_AT, 0);
}

/// Puts back what was being moved when the process was killed.
fn restore_guarded(memory: &mut [u8], batch: &OpenBatch) -> Option<()> {
    let Some((record, limit)) = batch.open_array().filter(|_| memory[GUARDED_AT] == 1) else { return Some(()) };
    let at = u32::from_ne_bytes(memory[GUARD_AT..GUARD_AT + 4].try_into().ok()?) as usize;
    let end = at.checked_add(record.len()).filter(|end| *end <= limit && at >= record.end)?;
    memory.copy_within(at..end, record.start);
    Some(())
}

/// The batch takes no more entries.
pub fn seal(memory: &mut [u8], stored: &Stored) {
    memory[..4].copy_from_slice(&MAGIC);
    write_stored(memory, stored);
    publish(memory, STATE_AT, SEALED);
}

/// Something is to be known of a sealed batch before the next thing is done with it: its identity before it is sent.
pub fn restate(memory: &mut [u8], stored: &Stored) {
    write_stored(memory, stored);
}

/// Nothing lies in the slot any more.
pub fn free(memory: &mut [u8]) {
    publish(memory, STATE_AT, FREE);
}

/// What is said of the batch in the slot.
pub fn account(memory: &[u8]) -> Option<Stored> {
    let turn = usize::from(memory.get(STORED_TURN_AT)? & 1);
    Stored::read(memory.get(STORED_AT + turn * STORED_BYTES..)?).ok()
}

/// True if something lies in the slot.
pub fn is_used(memory: &[u8]) -> bool {
    memory.len() > RECORDS_START && memory[..4] == MAGIC && memory[STATE_AT] != FREE
}

/// The batch that lies in a slot of an earlier process, complete, with its header; an array that was open is closed. None if
/// nothing lies there.
///
/// # Errors
/// When the bytes are not what that process can have left.
pub fn recover(memory: &mut [u8]) -> Result<Option<Stored>, Damage> {
    if !is_used(memory) {
        return Ok(None);
    }
    let mut stored = account(memory).ok_or(Damage::Account)?;
    match memory[STATE_AT] {
        OPEN => {
            let mut batch = open_batch(memory).ok_or(Damage::Account)?;
            restore_guarded(memory, &batch).ok_or(Damage::Account)?;
            batch.close_array(memory);
            stored.sealed = batch.sealed();
        }
        SEALED => {}
        _ => return Err(Damage::Account),
    }
    let sealed = stored.sealed;
    if sealed.records == 0 {
        return Ok(None);
    }
    if sealed.end > memory.len() {
        return Err(Damage::Account);
    }
    if sealed.attributes == 0 && !cut::is_sound(memory, &sealed) {
        return Err(Damage::Records);
    }
    write_header(memory, &sealed, stored.identity.unwrap_or(Identity::NONE));
    Ok(Some(stored))
}

/// Two slots, both open, of one lane and origin: an array was being carried from the one into the other. It counts in the later one
/// alone. True if that was so.
pub fn drop_carried(earlier: &mut [u8], later: &[u8]) -> bool {
    let whose = |memory: &[u8]| {
        let stored = account(memory)?;
        (is_used(memory) && memory[STATE_AT] == OPEN).then_some((stored.lane, stored.origin, stored.number))
    };
    let (Some(one), Some(other)) = (whose(earlier), whose(later)) else { return false };
    let is_one_lane = one.2 >> LANE_NUMBER_BITS == other.2 >> LANE_NUMBER_BITS;
    if (one.0, one.1) != (other.0, other.1) || !is_one_lane || one.2 >= other.2 {
        return false;
    }
    let Some(mut batch) = open_batch(earlier).filter(|batch| batch.array_entries() > 0) else { return false };
    batch.forget_array();
    progress(earlier, &batch);
    true
}

fn open_batch(memory: &[u8]) -> Option<OpenBatch> {
    let at = PROGRESS_AT + usize::from(memory[PROGRESS_TURN_AT] & 1) * PROGRESS_BYTES;
    OpenBatch::restore(memory[at..].first_chunk()?, memory.len())
}

fn write_stored(memory: &mut [u8], stored: &Stored) {
    let turn = (memory[STORED_TURN_AT] & 1) ^ 1;
    stored.write(&mut memory[STORED_AT + usize::from(turn) * STORED_BYTES..]);
    publish(memory, STORED_TURN_AT, turn);
}

/// Makes what was written before count. The fences keep the compiler from moving stores across; a killed process's stores are in
/// the file in the order in which they were made, whatever the processor's buffers did.
#[inline]
fn publish(memory: &mut [u8], at: usize, value: u8) {
    compiler_fence(Ordering::SeqCst);
    memory[at] = value;
    compiler_fence(Ordering::SeqCst);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kafka::batch::{Out, key_bytes};
    use crate::kafka::stored::Origin;

    const SLOT_BYTES: usize = 8_192;

    fn whose(number: u64) -> Stored {
        Stored::begun(7, Origin { start: 1, core: 0 }, number)
    }

    fn push(batch: &mut OpenBatch, memory: &mut [u8], text: &str) {
        batch
            .push_record(memory, &key_bytes(None), 5, &mut |out: &mut Out<'_>| out.push(text.as_bytes()))
            .expect("fits");
        progress(memory, batch);
    }

    fn element(batch: &mut OpenBatch, memory: &mut [u8], text: &str) {
        let render = &mut |out: &mut Out<'_>| out.push(text.as_bytes());
        batch.push_element(memory, &key_bytes(None), 5, 1_000_000, render).expect("fits");
        progress(memory, batch);
    }

    fn opened(number: u64) -> (Vec<u8>, OpenBatch) {
        let mut memory = vec![0xa5; SLOT_BYTES];
        let batch = OpenBatch::new(SLOT_BYTES, 2);
        open(&mut memory, &whose(number), &batch);
        (memory, batch)
    }

    #[test]
    fn memory_that_nobody_wrote_holds_nothing() {
        assert_eq!(recover(&mut vec![0; SLOT_BYTES]), Ok(None));
        assert_eq!(recover(&mut vec![0xa5; SLOT_BYTES]), Ok(None));
        assert_eq!(recover(&mut opened(1).0), Ok(None));
    }

    #[test]
    fn every_entry_that_was_accepted_is_found_in_an_open_batch() {
        let (mut memory, mut batch) = opened(3);
        for count in 1..=20u32 {
            push(&mut batch, &mut memory, "entry");
            let stored = recover(&mut memory.clone()).expect("sound").expect("something");
            assert_eq!((stored.sealed.records, stored.sealed.entries, stored.number), (count, u64::from(count), 3));
            assert_eq!(stored.sealed, batch.sealed());
        }
        // An entry that was being written when the process was killed does not count.
        let end = batch.sealed().end;
        memory[end..end + 40].fill(0xff);
        assert_eq!(recover(&mut memory).expect("sound").expect("something").sealed, batch.sealed());
        free(&mut memory);
        assert_eq!(recover(&mut memory), Ok(None));
    }

    #[test]
    fn an_array_that_was_open_is_closed() {
        let (mut memory, mut batch) = opened(1);
        for text in ["1", "2", "3"] {
            element(&mut batch, &mut memory, text);
        }
        let stored = recover(&mut memory).expect("sound").expect("something");
        assert_eq!((stored.sealed.records, stored.sealed.entries), (1, 3));
        let bytes = &memory[RECORDS_START..stored.sealed.end];
        assert!(bytes.windows(7).any(|window| window == b"[1,2,3]"), "{bytes:?}");
    }

    #[test]
    fn an_array_that_was_being_closed_is_whole() {
        let (mut memory, mut batch) = opened(1);
        for text in ["1", "2", "3"] {
            element(&mut batch, &mut memory, text);
        }
        guard(&mut memory, &batch);
        let mut closing = batch;
        let mut torn = memory.clone();
        closing.close_array(&mut torn);
        // Killed when half of it had moved.
        let (record, _) = batch.open_array().expect("open");
        let half = record.start + record.len() / 2;
        memory[record.start..half].copy_from_slice(&torn[record.start..half]);
        let stored = recover(&mut memory).expect("sound").expect("something");
        assert_eq!(stored.sealed, closing.sealed());
        assert_eq!(memory[RECORDS_START..stored.sealed.end], torn[RECORDS_START..stored.sealed.end]);
    }

    #[test]
    fn an_array_that_was_carried_counts_once() {
        let (mut memory, mut batch) = opened(1);
        push(&mut batch, &mut memory, "alone");
        element(&mut batch, &mut memory, "1");
        let (mut next_memory, mut next) = opened(2);
        assert!(batch.carry_array(&memory, &mut next, &mut next_memory, &key_bytes(None)));
        progress(&mut next_memory, &next);
        // Killed before the earlier slot said that the array is gone.
        assert!(drop_carried(&mut memory, &next_memory));
        assert!(!drop_carried(&mut next_memory, &memory));
        assert_eq!(recover(&mut memory).expect("sound").expect("something").sealed.entries, 1);
        assert_eq!(recover(&mut next_memory).expect("sound").expect("something").sealed.entries, 1);
    }

    #[test]
    fn a_sealed_batch_keeps_the_identity_that_was_said_last() {
        let (mut memory, mut batch) = opened(1);
        push(&mut batch, &mut memory, "entry");
        let mut stored = Stored { sealed: batch.sealed(), ..whose(1) };
        seal(&mut memory, &stored);
        assert_eq!(recover(&mut memory), Ok(Some(stored)));
        stored.identity = Some(Identity { producer_id: 5, epoch: 1, sequence: 9 });
        (stored.partition, stored.sent) = (Some(3), true);
        restate(&mut memory, &stored);
        assert_eq!(recover(&mut memory), Ok(Some(stored)));
        // A copy that was half written does not count.
        let turn = usize::from(memory[STORED_TURN_AT] & 1);
        memory[STORED_AT + (turn ^ 1) * STORED_BYTES..][..50].fill(0);
        assert_eq!(recover(&mut memory), Ok(Some(stored)));
    }

    #[test]
    fn damage_shows() {
        let (mut memory, mut batch) = opened(1);
        push(&mut batch, &mut memory, "entry");
        let mut garbled = memory.clone();
        garbled[RECORDS_START] = 0x7f;
        assert_eq!(recover(&mut garbled), Err(Damage::Records));
        for state in [3, 77] {
            let mut odd = memory.clone();
            odd[STATE_AT] = state;
            assert_eq!(recover(&mut odd), Err(Damage::Account));
        }
        let turn = usize::from(memory[PROGRESS_TURN_AT] & 1);
        memory[PROGRESS_AT + turn * PROGRESS_BYTES..][..4].copy_from_slice(&u32::MAX.to_ne_bytes());
        assert_eq!(recover(&mut memory), Err(Damage::Account));
    }
}
