//! Files of earlier schemas become what [`schema`](super::schema) has. A step takes them from one schema to the newest, within one
//! transaction of the caller's.

use super::books::Slot;
use super::frame::{Label, NewBatch, encode_balances};
use super::schema::{BALANCES, FACTS, LOG, SCHEMA, SCHEMA_FACT, SLOTS, make, salt_in};
use super::trouble::{Trouble, damaged_balance, structure};
use super::wire::{Balance, balance_row, read_balance_row, slot_row};
use crate::AccountId;
use redb::{ReadableTable, TableDefinition, WriteTransaction};

/// Name: epoch, last batch, first batch that is needed.
const SLOTS_1: TableDefinition<'_, &str, (u64, u64, u64)> = TableDefinition::new("slots");
/// Slot and batch: the blob.
const LOG_1: TableDefinition<'_, (&str, u64), &[u8]> = TableDefinition::new("log");
/// An account's id: a row.
const BALANCES_2: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("balances-2");
/// An account's id: its balance.
const BALANCES_1: TableDefinition<'_, &[u8], i128> = TableDefinition::new("balances");

/// Schema 1 had neither checksums nor anything around a blob.
pub(super) fn from_1(transaction: &WriteTransaction) -> Result<(), Trouble> {
    make(transaction)?;
    let salt = salt_in(transaction)?;
    {
        // Nobody knows which slot set a balance, so the first one gets them all, and its first batch has them.
        let mut all = balances_of_1(transaction)?;
        let (old_slots, old_log) = (transaction.open_table(SLOTS_1)?, transaction.open_table(LOG_1)?);
        let (mut slots, mut log) = (transaction.open_table(SLOTS)?, transaction.open_table(LOG)?);
        let mut stamp = 0u64;
        for (no, entry) in (0u32..).zip(old_slots.iter()?) {
            let (name, row) = entry?;
            let (name, (epoch, last_seq, first)) = (name.value(), row.value());
            for entry in old_log.range((name, first)..=(name, last_seq))? {
                let (key, blob) = entry?;
                let (_, seq) = key.value();
                stamp = stamp.saturating_add(1);
                let balances = std::mem::take(&mut all);
                let label = Label { salt, slot: name, epoch, seq, first, stamp, all_balances: !balances.is_empty() };
                let batch = NewBatch { label, balances: &balances, blob: blob.value() };
                let too_large = |_| structure(format!("batch {seq} of slot {name} is too large"));
                for (piece, len) in batch.pieces().map_err(too_large)? {
                    let mut place = log.insert_reserve((no, seq, piece), len)?;
                    batch.write_piece(piece, place.as_mut()).map_err(too_large)?;
                }
            }
            let slot = Slot { epoch, last_seq, first, no, stamp, ..Slot::default() };
            slots.insert(name, &*slot_row(name, &slot))?;
        }
    }
    transaction.delete_table(SLOTS_1)?;
    transaction.delete_table(LOG_1)?;
    transaction.delete_table(BALANCES_1)?;
    Ok(())
}

/// Schema 2 had one balance of each account, and the slot that had set it. Since a slot had all of an account, its part of it is that.
pub(super) fn from_2(transaction: &WriteTransaction) -> Result<(), Trouble> {
    {
        let old = transaction.open_table(BALANCES_2)?;
        let mut new = transaction.open_table(BALANCES)?;
        for entry in old.iter()? {
            let (key, row) = entry?;
            let (_, balance) = read_balance_row(key.value(), row.value()).ok_or_else(|| damaged_balance(key.value()))?;
            new.insert((balance.slot, key.value()), row.value())?;
        }
    }
    transaction.delete_table(BALANCES_2)?;
    transaction.open_table(FACTS)?.insert(SCHEMA_FACT, SCHEMA)?;
    Ok(())
}

/// Copies the balances; gives them as a batch has them.
fn balances_of_1(transaction: &WriteTransaction) -> Result<Vec<u8>, Trouble> {
    let (old, mut new) = (transaction.open_table(BALANCES_1)?, transaction.open_table(BALANCES)?);
    let mut all = Vec::new();
    for entry in old.iter()? {
        let (key, value) = entry?;
        let id = AccountId::from_bytes(key.value()).ok_or_else(|| damaged_balance(key.value()))?;
        new.insert((0, key.value()), &*balance_row(&id, Balance { value: value.value(), slot: 0 }))?;
        all.push((id, Some(value.value())));
    }
    Ok(encode_balances(all.iter().map(|(id, balance)| (id, *balance))))
}
