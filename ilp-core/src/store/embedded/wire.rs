//! Small values in rows and frames. Numbers are little-endian, and every row ends with a checksum of its key and itself.

use super::Slot;
use crate::AccountId;

/// Reads from the front of some bytes; every method is `None` at their end.
#[derive(Debug, Clone, Copy)]
pub(super) struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Cursor<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    /// How many bytes were taken.
    pub(super) fn at(&self) -> usize {
        self.at
    }

    pub(super) fn is_empty(&self) -> bool {
        self.at >= self.bytes.len()
    }

    pub(super) fn take(&mut self, len: usize) -> Option<&'a [u8]> {
        let end = self.at.checked_add(len)?;
        let taken = self.bytes.get(self.at..end)?;
        self.at = end;
        Some(taken)
    }

    pub(super) fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.take(N)?.try_into().ok()
    }

    pub(super) fn u8(&mut self) -> Option<u8> {
        self.array().map(u8::from_le_bytes)
    }

    pub(super) fn u16(&mut self) -> Option<u16> {
        self.array().map(u16::from_le_bytes)
    }

    pub(super) fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_le_bytes)
    }

    pub(super) fn u64(&mut self) -> Option<u64> {
        self.array().map(u64::from_le_bytes)
    }

    pub(super) fn i128(&mut self) -> Option<i128> {
        self.array().map(i128::from_le_bytes)
    }

    pub(super) fn usize_u32(&mut self) -> Option<usize> {
        usize::try_from(self.u32()?).ok()
    }
}

pub(super) fn put_balance(out: &mut Vec<u8>, id: &AccountId, balance: Option<i128>) {
    // An id has 2 to 64 bytes.
    out.push(u8::try_from(id.as_bytes().len()).unwrap_or(u8::MAX));
    out.extend_from_slice(id.as_bytes());
    out.push(u8::from(balance.is_some()));
    if let Some(balance) = balance {
        out.extend_from_slice(&balance.to_le_bytes());
    }
}

pub(super) fn take_balance(cursor: &mut Cursor<'_>) -> Option<(AccountId, Option<i128>)> {
    let len = usize::from(cursor.u8()?);
    let id = AccountId::from_bytes(cursor.take(len)?)?;
    let balance = match cursor.u8()? {
        0 => None,
        _ => Some(i128::from_le_bytes(cursor.array()?)),
    };
    Some((id, balance))
}

/// What a slot has of an account, and the number of the slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Balance {
    pub(super) value: i128,
    pub(super) slot: u32,
}

/// The row of an account.
pub(super) fn balance_row(id: &AccountId, balance: Balance) -> Vec<u8> {
    let mut row = Vec::with_capacity(24);
    row.extend_from_slice(&balance.value.to_le_bytes());
    row.extend_from_slice(&balance.slot.to_le_bytes());
    let sum = checksum(id.as_bytes(), &row);
    row.extend_from_slice(&sum);
    row
}

pub(super) fn read_balance_row(id: &[u8], row: &[u8]) -> Option<(AccountId, Balance)> {
    let (value, sum) = row.split_at_checked(20)?;
    (sum == checksum(id, value)).then_some(())?;
    let mut cursor = Cursor::new(value);
    let balance = Balance { value: i128::from_le_bytes(cursor.array()?), slot: cursor.u32()? };
    Some((AccountId::from_bytes(id)?, balance))
}

/// The row of a slot.
pub(super) fn slot_row(name: &str, slot: &Slot) -> Vec<u8> {
    let mut row = Vec::with_capacity(41);
    for number in [slot.epoch, slot.last_seq, slot.first, slot.stamp] {
        row.extend_from_slice(&number.to_le_bytes());
    }
    row.extend_from_slice(&slot.no.to_le_bytes());
    row.push(u8::from(slot.lost));
    let sum = checksum(name.as_bytes(), &row);
    row.extend_from_slice(&sum);
    row
}

pub(super) fn read_slot_row(name: &[u8], row: &[u8]) -> Option<Slot> {
    let (value, sum) = row.split_at_checked(37)?;
    (sum == checksum(name, value)).then_some(())?;
    let mut cursor = Cursor::new(value);
    let (epoch, last_seq, first, stamp) = (cursor.u64()?, cursor.u64()?, cursor.u64()?, cursor.u64()?);
    Some(Slot { epoch, last_seq, first, stamp, no: cursor.u32()?, lost: cursor.u8()? != 0, oldest: first })
}

fn checksum(key: &[u8], value: &[u8]) -> [u8; 4] {
    let mut sum = crc32fast::Hasher::new();
    sum.update(key);
    sum.update(value);
    sum.finalize().to_le_bytes()
}
