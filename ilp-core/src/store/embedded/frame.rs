//! A batch as it is stored: enough to check it, and to find it in a file whose index is damaged.
//!
//! ```text
//! magic 8 │ epoch 8 │ seq 8 │ first 8 │ blob's length 4 │ balances' length 4 │ slot's length 2 │ slot │ checksum 4 │ balances │ blob │ checksum 4
//! ```
//!
//! Numbers are little-endian. `first` is the first batch that the slot still needed once this one was durable. The first checksum covers
//! what is before it, so that a length can be believed and damage can be named; the second covers everything before it.

use super::wire::{Cursor, put_balance, take_balance};
use crate::AccountId;
use std::fmt;

pub(super) const MAGIC: [u8; 8] = *b"\x89ILPlog\n";
/// Everything before the slot's name.
const FIXED_LEN: usize = 42;
const CHECKSUM_LEN: usize = 4;

/// A batch to be stored.
#[derive(Debug, Clone, Copy)]
pub(super) struct NewFrame<'a> {
    pub(super) slot: &'a str,
    pub(super) epoch: u64,
    pub(super) seq: u64,
    pub(super) first: u64,
    pub(super) balances: &'a [(AccountId, Option<i128>)],
    pub(super) blob: &'a [u8],
}

/// A batch that was stored, and is whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Frame<'a> {
    pub(super) head: Head<'a>,
    pub(super) blob: &'a [u8],
    balances: &'a [u8],
}

/// What the beginning of a frame says, and its checksum confirms.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Head<'a> {
    pub(super) slot: &'a str,
    pub(super) epoch: u64,
    pub(super) seq: u64,
    pub(super) first: u64,
    /// Of the whole frame.
    pub(super) len: usize,
    head_len: usize,
    balances_len: usize,
}

/// Why bytes aren't a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum BadFrame {
    /// There is none, or not so much as its beginning.
    Head,
    /// What it claims to be is whole, the rest isn't.
    Body,
}

/// A batch that is too large for its lengths.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct TooLarge;

impl NewFrame<'_> {
    /// How many bytes it takes.
    pub(super) fn len(&self) -> usize {
        let balances: usize = self.balances.iter().map(|(id, balance)| super::wire::balance_len(id, *balance)).sum();
        FIXED_LEN + self.slot.len() + CHECKSUM_LEN + balances + self.blob.len() + CHECKSUM_LEN
    }

    /// Writes it. `out` has exactly [`len`](Self::len) bytes.
    pub(super) fn write(&self, out: &mut [u8]) -> Result<(), TooLarge> {
        let mut head = Vec::with_capacity(FIXED_LEN + self.slot.len() + CHECKSUM_LEN);
        let mut balances = Vec::with_capacity(self.balances.len().saturating_mul(32));
        for (id, balance) in self.balances {
            put_balance(&mut balances, id, *balance);
        }
        head.extend_from_slice(&MAGIC);
        head.extend_from_slice(&self.epoch.to_le_bytes());
        head.extend_from_slice(&self.seq.to_le_bytes());
        head.extend_from_slice(&self.first.to_le_bytes());
        head.extend_from_slice(&u32::try_from(self.blob.len()).map_err(|_| TooLarge)?.to_le_bytes());
        head.extend_from_slice(&u32::try_from(balances.len()).map_err(|_| TooLarge)?.to_le_bytes());
        head.extend_from_slice(&u16::try_from(self.slot.len()).map_err(|_| TooLarge)?.to_le_bytes());
        head.extend_from_slice(self.slot.as_bytes());
        let mut sum = crc32fast::Hasher::new();
        sum.update(&head);
        head.extend_from_slice(&sum.clone().finalize().to_le_bytes());
        sum.update(&balances);
        sum.update(self.blob);
        let end = sum.finalize().to_le_bytes();
        let mut rest = out;
        for part in [&head, &balances, self.blob, &end] {
            let (place, after) = rest.split_at_mut_checked(part.len()).ok_or(TooLarge)?;
            place.copy_from_slice(part);
            rest = after;
        }
        if rest.is_empty() { Ok(()) } else { Err(TooLarge) }
    }
}

impl<'a> Head<'a> {
    /// The most that a frame's beginning can take.
    pub(super) const LEN_MAX: usize = FIXED_LEN + 65_535 + CHECKSUM_LEN;

    /// Reads the beginning of a frame. `bytes` may go on beyond it.
    pub(super) fn read(bytes: &'a [u8]) -> Option<Self> {
        let mut cursor = Cursor::new(bytes);
        if cursor.take(MAGIC.len())? != MAGIC {
            return None;
        }
        let (epoch, seq, first) = (cursor.u64()?, cursor.u64()?, cursor.u64()?);
        let (blob_len, balances_len) = (cursor.usize_u32()?, cursor.usize_u32()?);
        let slot_len = usize::from(cursor.u16()?);
        let slot = cursor.take(slot_len)?;
        let sum = crc32fast::hash(bytes.get(..cursor.at())?);
        if cursor.u32()? != sum {
            return None;
        }
        let head_len = cursor.at();
        let len = head_len.checked_add(balances_len)?.checked_add(blob_len)?.checked_add(CHECKSUM_LEN)?;
        Some(Self { slot: std::str::from_utf8(slot).ok()?, epoch, seq, first, len, head_len, balances_len })
    }
}

impl<'a> Frame<'a> {
    /// Reads and checks a frame that begins at the beginning of `bytes`, which may go on beyond it.
    pub(super) fn read(bytes: &'a [u8]) -> Result<Self, BadFrame> {
        let head = Head::read(bytes).ok_or(BadFrame::Head)?;
        let frame = bytes.get(..head.len).ok_or(BadFrame::Body)?;
        let (content, sum) = frame.split_at_checked(head.len.saturating_sub(CHECKSUM_LEN)).ok_or(BadFrame::Body)?;
        let mut covered = crc32fast::Hasher::new();
        let (beginning, rest) = content.split_at_checked(head.head_len).ok_or(BadFrame::Body)?;
        covered.update(beginning.get(..beginning.len().saturating_sub(CHECKSUM_LEN)).ok_or(BadFrame::Body)?);
        covered.update(rest);
        if sum != covered.finalize().to_le_bytes() {
            return Err(BadFrame::Body);
        }
        let (balances, blob) = rest.split_at_checked(head.balances_len).ok_or(BadFrame::Body)?;
        Ok(Self { head, blob, balances })
    }

    /// The balances that the batch set.
    pub(super) fn balances(&self) -> Option<Vec<(AccountId, Option<i128>)>> {
        let mut cursor = Cursor::new(self.balances);
        let mut balances = Vec::new();
        while !cursor.is_empty() {
            balances.push(take_balance(&mut cursor)?);
        }
        Some(balances)
    }
}

impl fmt::Display for BadFrame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Head => "where it should begin there is something else",
            Self::Body => "its checksum is wrong",
        })
    }
}
