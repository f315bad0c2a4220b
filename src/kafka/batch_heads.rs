//! The heads of record batches, as Fetch answers carry them: who sent each, and which of his it is. Records are neither unpacked nor
//! checked: that is `records`'.

use super::batch::HEADER_BYTES;

/// Bytes before a batch's own length is counted.
const LENGTH_END: usize = 12;

/// What a batch's head says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchHead {
    /// Offset of its last record.
    pub last_offset: i64,
    /// Records that it had when it was sent (the log cleaner may have taken some since).
    pub records: u32,
    /// Who sent it; -1: not idempotent.
    pub producer_id: i64,
    /// In which epoch.
    pub epoch: i16,
    /// Sequence of its first record.
    pub base_sequence: i32,
}

/// Hands over the head of every whole batch. What is of an older format (magic 0 and 1) has no sender.
pub fn read(bytes: &[u8], mut each: impl FnMut(BatchHead)) {
    let mut rest = bytes;
    while let Some(length) = rest.get(8..LENGTH_END).and_then(<[u8]>::first_chunk::<4>) {
        let length =
            usize::try_from(i32::from_be_bytes(*length)).ok().and_then(|length| length.checked_add(LENGTH_END));
        let Some((batch, behind)) = length.and_then(|length| rest.split_at_checked(length)) else { return };
        rest = behind;
        each(head(batch));
    }
}

fn head(batch: &[u8]) -> BatchHead {
    let base_offset = batch.first_chunk().map_or(0, |bytes| i64::from_be_bytes(*bytes));
    let bytes = |at: usize| batch.get(at..at + 8).and_then(<[u8]>::first_chunk::<8>).copied().unwrap_or_default();
    let int32 = |at: usize| (i64::from_be_bytes(bytes(at)) >> 32) as i32;
    if batch.len() < HEADER_BYTES || batch[16] != 2 {
        return BatchHead { last_offset: base_offset, records: 0, producer_id: -1, epoch: -1, base_sequence: -1 };
    }
    let last_offset_delta = int32(23);
    BatchHead {
        last_offset: base_offset.saturating_add(i64::from(last_offset_delta)),
        records: (last_offset_delta as u32).wrapping_add(1),
        producer_id: i64::from_be_bytes(bytes(43)),
        epoch: (int32(51) >> 16) as i16,
        base_sequence: int32(53),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kafka::batch::{HEADROOM_BYTES, Identity, OpenBatch, key_bytes, write_header};

    fn batch(identity: Identity, records: u32, base_offset: i64) -> Vec<u8> {
        let mut memory = vec![0; 8 * 1024];
        let mut open = OpenBatch::new(memory.len(), 2);
        for _ in 0..records {
            open.push_record(&mut memory, &key_bytes(None), 7, &mut |out| out.push(b"value")).expect("fits");
        }
        let sealed = open.sealed();
        write_header(&mut memory, &sealed, identity);
        let mut batch = memory[HEADROOM_BYTES..sealed.end].to_vec();
        batch[..8].copy_from_slice(&base_offset.to_be_bytes());
        batch
    }

    #[test]
    fn heads_of_batches_are_read_up_to_the_one_that_is_cut_off() {
        let one = Identity { producer_id: 1 << 40, epoch: 513, sequence: i32::MAX - 1 };
        let bytes = [batch(one, 3, 10), batch(Identity::NONE, 1, 13), batch(one, 2, 14)].concat();
        let mut heads = Vec::new();
        read(&bytes[..bytes.len() - 1], |head| heads.push(head));
        let expected =
            BatchHead { last_offset: 12, records: 3, producer_id: 1 << 40, epoch: 513, base_sequence: i32::MAX - 1 };
        assert_eq!(heads[0], expected);
        assert_eq!((heads[1].last_offset, heads[1].producer_id, heads.len()), (13, -1, 2));
    }

    #[test]
    fn wild_bytes_end_it_without_a_panic() {
        let whole = batch(Identity { producer_id: 5, epoch: 0, sequence: 0 }, 2, i64::MAX);
        for at in 0..whole.len() {
            for value in [0, 1, 0x7f, 0x80, 0xff] {
                let mut bytes = whole.clone();
                bytes[at] = value;
                read(&bytes, |_| {});
                read(&bytes[..at], |_| {});
            }
        }
    }
}
