//! A batch as it is stored: in pieces, each with enough around it to be checked, and to be found in a file whose index is damaged.
//!
//! ```text
//! magic 8 │ salt 8 │ epoch 8 │ seq 8 │ first 8 │ stamp 8 │ body's length 4 │ balances' length 4 │ piece 2 │ flags 2 │ slot's length 2 │ slot │ checksum 4
//! │ part of the body │ checksum 4
//! ```
//!
//! Numbers are little-endian. The body is balances and the batch's blob. A piece's first checksum covers what is before it, so that a length
//! can be believed and damage can be named; the second covers everything before it.
//!
//! * The *salt* is one for the whole file. Peers choose some of the bytes in a blob, and mustn't be able to make what looks like a piece.
//! * *first* is the first batch that the slot still needed once this one was durable.
//! * *stamp* counts batches of all slots in the order in which they were applied.
//! * The balances are those that the batch set. A batch that cuts the log has those of all accounts that its slot was the last to touch
//!   (a flag says so), since what is cut may have been the only place that had them. So the log alone gives all balances.
//!
//! The database below gives a value of more than half a page a run of pages of its own, as many as the next power of two says. Pieces just
//! fill such a run, but for the last one of a batch: else nearly half of what is written could be nothing.

use super::wire::{Cursor, put_balance, take_balance};
use crate::AccountId;
use bytes::Bytes;
use std::fmt;

pub(super) const MAGIC: [u8; 8] = *b"\x89ILPlog\n";

/// What a piece takes at most: 16 pages of 4,096 bytes, less what the database puts before its only value.
pub(super) const PIECE_LEN_MAX: usize = 65_536 - 22;
/// The largest body: more than any worker steps at once, and well within the lengths' four bytes.
pub(super) const BODY_LEN_MAX: usize = 1 << 30;
/// The longest name of a slot, in bytes.
pub(super) const SLOT_LEN_MAX: usize = 1_024;

/// Everything before the slot's name.
const FIXED_LEN: usize = 62;
/// The flag of a batch that has all balances of its slot.
const ALL_BALANCES: u16 = 1;
const CHECKSUM_LEN: usize = 4;

/// Which batch it is, and what is known of it beside its body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Label<'a> {
    pub(super) salt: u64,
    pub(super) slot: &'a str,
    pub(super) epoch: u64,
    pub(super) seq: u64,
    pub(super) first: u64,
    pub(super) stamp: u64,
    /// The balances are all of the slot.
    pub(super) all_balances: bool,
}

/// A batch to be stored.
#[derive(Debug, Clone)]
pub(super) struct NewBatch<'a> {
    pub(super) label: Label<'a>,
    pub(super) balances: &'a [u8],
    pub(super) blob: &'a [u8],
}

/// A piece that was stored, and is whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Piece<'a> {
    pub(super) head: Head<'a>,
    pub(super) part: &'a [u8],
}

/// What the beginning of a piece says, and its checksum confirms.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Head<'a> {
    pub(super) label: Label<'a>,
    pub(super) no: u16,
    pub(super) body_len: usize,
    pub(super) balances_len: usize,
    head_len: usize,
}

/// Why bytes aren't a piece.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum BadPiece {
    /// There is none, or not so much as its beginning.
    Head,
    /// What it claims to be is whole, the rest isn't.
    Rest,
}

/// A batch that doesn't fit into its lengths.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct TooLarge;

/// How much of a body a piece takes.
fn part_len_max(slot_len: usize) -> usize {
    PIECE_LEN_MAX.saturating_sub(FIXED_LEN + slot_len + 2 * CHECKSUM_LEN).max(1)
}

/// How many pieces a body takes; an empty one takes one.
fn pieces_of(slot_len: usize, body_len: usize) -> usize {
    body_len.div_ceil(part_len_max(slot_len)).max(1)
}

impl NewBatch<'_> {
    fn body_len(&self) -> usize {
        self.balances.len().saturating_add(self.blob.len())
    }

    /// How many bytes each piece takes, with its number.
    pub(super) fn pieces(&self) -> Result<impl Iterator<Item = (u16, usize)>, TooLarge> {
        let (body_len, part_len_max) = (self.body_len(), part_len_max(self.label.slot.len()));
        if body_len > BODY_LEN_MAX || self.label.slot.len() > SLOT_LEN_MAX {
            return Err(TooLarge);
        }
        let pieces = u16::try_from(pieces_of(self.label.slot.len(), body_len)).map_err(|_| TooLarge)?;
        let around = FIXED_LEN + self.label.slot.len() + 2 * CHECKSUM_LEN;
        let len = move |no| body_len.saturating_sub(part_len_max.saturating_mul(usize::from(no))).min(part_len_max).saturating_add(around);
        Ok((0..pieces).map(move |no| (no, len(no))))
    }

    /// Writes a piece. `out` is as long as [`pieces`](Self::pieces) said.
    pub(super) fn write_piece(&self, no: u16, out: &mut [u8]) -> Result<(), TooLarge> {
        let mut head = Vec::with_capacity(FIXED_LEN + self.label.slot.len() + CHECKSUM_LEN);
        let Label { salt, slot, epoch, seq, first, stamp, all_balances } = self.label;
        head.extend_from_slice(&MAGIC);
        for number in [salt, epoch, seq, first, stamp] {
            head.extend_from_slice(&number.to_le_bytes());
        }
        for len in [self.body_len(), self.balances.len()] {
            head.extend_from_slice(&u32::try_from(len).map_err(|_| TooLarge)?.to_le_bytes());
        }
        let flags = if all_balances { ALL_BALANCES } else { 0 };
        for number in [no, flags, u16::try_from(slot.len()).map_err(|_| TooLarge)?] {
            head.extend_from_slice(&number.to_le_bytes());
        }
        head.extend_from_slice(slot.as_bytes());
        let mut sum = crc32fast::Hasher::new();
        sum.update(&head);
        head.extend_from_slice(&sum.clone().finalize().to_le_bytes());
        let (place, rest) = out.split_at_mut_checked(head.len()).ok_or(TooLarge)?;
        place.copy_from_slice(&head);
        let (part, end) = rest.split_at_mut_checked(rest.len().checked_sub(CHECKSUM_LEN).ok_or(TooLarge)?).ok_or(TooLarge)?;
        self.copy_part(part_len_max(self.label.slot.len()).saturating_mul(usize::from(no)), part)?;
        sum.update(part);
        end.copy_from_slice(&sum.finalize().to_le_bytes());
        Ok(())
    }

    fn copy_part(&self, from: usize, out: &mut [u8]) -> Result<(), TooLarge> {
        let of_balances = self.balances.get(from..).unwrap_or_default();
        let of_balances = of_balances.get(..out.len()).unwrap_or(of_balances);
        let (first, rest) = out.split_at_mut_checked(of_balances.len()).ok_or(TooLarge)?;
        first.copy_from_slice(of_balances);
        let from = from.saturating_add(of_balances.len()).saturating_sub(self.balances.len());
        let of_blob = self.blob.get(from..from.saturating_add(rest.len())).ok_or(TooLarge)?;
        rest.copy_from_slice(of_blob);
        Ok(())
    }
}

impl<'a> Head<'a> {
    /// The most that a piece's beginning can take.
    pub(super) const LEN_MAX: usize = FIXED_LEN + SLOT_LEN_MAX + CHECKSUM_LEN;

    /// Reads the beginning of a piece. `bytes` may go on beyond it.
    pub(super) fn read(bytes: &'a [u8]) -> Option<Self> {
        let mut cursor = Cursor::new(bytes);
        if cursor.take(MAGIC.len())? != MAGIC {
            return None;
        }
        let (salt, epoch, seq, first, stamp) = (cursor.u64()?, cursor.u64()?, cursor.u64()?, cursor.u64()?, cursor.u64()?);
        let (body_len, balances_len) = (cursor.usize_u32()?, cursor.usize_u32()?);
        let (no, flags, slot_len) = (cursor.u16()?, cursor.u16()?, usize::from(cursor.u16()?));
        let slot = cursor.take(slot_len)?;
        let sum = crc32fast::hash(bytes.get(..cursor.at())?);
        if cursor.u32()? != sum || body_len > BODY_LEN_MAX || balances_len > body_len || slot_len > SLOT_LEN_MAX {
            return None;
        }
        let (slot, all_balances) = (std::str::from_utf8(slot).ok()?, flags & ALL_BALANCES != 0);
        let label = Label { salt, slot, epoch, seq, first, stamp, all_balances };
        Some(Self { label, no, body_len, balances_len, head_len: cursor.at() })
    }

    /// How many pieces its batch has.
    pub(super) fn pieces(&self) -> usize {
        pieces_of(self.label.slot.len(), self.body_len)
    }

    /// How many bytes the whole piece has.
    pub(super) fn len(&self) -> usize {
        let part_len_max = part_len_max(self.label.slot.len());
        let before = part_len_max.saturating_mul(usize::from(self.no));
        let part = self.body_len.saturating_sub(before).min(part_len_max);
        self.head_len.saturating_add(part).saturating_add(CHECKSUM_LEN)
    }
}

impl<'a> Piece<'a> {
    /// Reads and checks a piece that begins at the beginning of `bytes`, which may go on beyond it.
    pub(super) fn read(bytes: &'a [u8]) -> Result<Self, BadPiece> {
        let head = Head::read(bytes).ok_or(BadPiece::Head)?;
        let piece = bytes.get(..head.len()).ok_or(BadPiece::Rest)?;
        let (beginning, rest) = piece.split_at_checked(head.head_len).ok_or(BadPiece::Rest)?;
        let (part, sum) = rest.split_at_checked(rest.len().saturating_sub(CHECKSUM_LEN)).ok_or(BadPiece::Rest)?;
        let mut covered = crc32fast::Hasher::new();
        covered.update(beginning.get(..beginning.len().saturating_sub(CHECKSUM_LEN)).ok_or(BadPiece::Rest)?);
        covered.update(part);
        if sum != covered.finalize().to_le_bytes() {
            return Err(BadPiece::Rest);
        }
        Ok(Self { head, part })
    }
}

/// A body in the making, of pieces in their order.
#[derive(Debug, Default)]
pub(super) struct Body {
    bytes: Vec<u8>,
    /// How many pieces it has by now.
    pub(super) pieces: u16,
    /// As the first piece says.
    len: usize,
    balances_len: usize,
    of: usize,
}

impl Body {
    /// Adds the next piece; false if it isn't that, or says something else of the batch than those before.
    pub(super) fn add(&mut self, piece: &Piece<'_>) -> bool {
        let head = piece.head;
        if self.pieces == 0 {
            (self.len, self.balances_len, self.of) = (head.body_len, head.balances_len, head.pieces());
            self.bytes.reserve_exact(head.body_len.min(RESERVED_MAX));
        }
        let fits = head.no == self.pieces && (head.body_len, head.balances_len) == (self.len, self.balances_len);
        self.bytes.extend_from_slice(piece.part);
        self.pieces = self.pieces.saturating_add(1);
        fits
    }

    /// The balances and the blob, once all pieces are there.
    pub(super) fn whole(&mut self) -> Option<(Bytes, Bytes)> {
        if self.pieces == 0 || usize::from(self.pieces) < self.of {
            return None;
        }
        let mut balances = Bytes::from(std::mem::take(&mut self.bytes));
        // Lengths that were read are believed only as far as there is something.
        let blob = balances.split_off(self.balances_len.min(balances.len()));
        Some((balances, blob))
    }
}

/// What is reserved for a body before all of it was seen.
const RESERVED_MAX: usize = 16 << 20;

/// Balances as they begin a body.
pub(super) fn encode_balances<'a>(balances: impl Iterator<Item = (&'a AccountId, Option<i128>)>) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (id, balance) in balances {
        put_balance(&mut bytes, id, balance);
    }
    bytes
}

/// The balances at the beginning of a body.
pub(super) fn decode_balances(bytes: &[u8]) -> Option<Vec<(AccountId, Option<i128>)>> {
    let mut cursor = Cursor::new(bytes);
    let mut balances = Vec::new();
    while !cursor.is_empty() {
        balances.push(take_balance(&mut cursor)?);
    }
    Some(balances)
}

impl fmt::Display for BadPiece {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Head => "where it should begin there is something else",
            Self::Rest => "its checksum is wrong",
        })
    }
}
