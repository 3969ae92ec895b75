//! Leases of slots, on whatever clock the store has.

use super::{Lease, SlotName};
use std::collections::HashMap;
use std::sync::Arc;

/// Who has which slot, and until when. Times are milliseconds of a clock that never runs backwards.
#[derive(Debug, Clone, Default)]
pub struct Leases {
    held: HashMap<SlotName, Held>,
}

#[derive(Debug, Clone)]
struct Held {
    lease: Lease,
    until: u64,
}

impl Leases {
    /// A holder takes a slot. If somebody else's lease runs: whose, and how many milliseconds of it are left.
    pub fn take(&mut self, slot: &SlotName, lease: &Lease, now: u64) -> Result<(), (Arc<str>, u32)> {
        if let Some(other) = self.held.get(slot).filter(|other| other.lease.holder != lease.holder && other.until > now) {
            let left = u32::try_from(other.until.saturating_sub(now)).unwrap_or(u32::MAX);
            return Err((other.lease.holder.clone(), left));
        }
        self.renew(slot, lease, now);
        Ok(())
    }

    /// Whoever has the slot keeps it.
    pub fn renew(&mut self, slot: &SlotName, lease: &Lease, now: u64) {
        self.held.insert(slot.clone(), Held { lease: lease.clone(), until: now.saturating_add(lease.ms.into()) });
    }

    /// A slot's lease, with what is left of it.
    pub fn of(&self, slot: &SlotName, now: u64) -> Option<Lease> {
        let held = self.held.get(slot).filter(|held| held.until > now)?;
        let ms = u32::try_from(held.until.saturating_sub(now)).unwrap_or(u32::MAX);
        Some(Lease { ms, ..held.lease.clone() })
    }
}
