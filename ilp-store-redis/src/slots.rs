//! Slots: opening, leases, commits, letters.

use crate::connection::{Connection, Live};
use crate::error::RedisError;
use crate::metrics::count;
use crate::{reply, schema};
use bytes::Bytes;
use ilp_core::store::{Commit, CommitOutcome, Lease, Letter, OpenedSlot, Renewal, SlotName, StoreError};
use redis::Value;
use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// What this process knows of slots that it has opened, to notice a server that has lost some of it.
#[derive(Debug, Default)]
pub(crate) struct KnownSlots(Mutex<HashMap<SlotName, Known>>);

#[derive(Debug, Clone)]
struct Known {
    epoch: u64,
    /// Which opening it was: a server that has lost an epoch gives it to somebody else again.
    opener: String,
    /// The last batch that was called durable.
    durable: u64,
}

/// What came of one attempt to raise an epoch.
enum Raised {
    Opened {
        last_seq: u64,
        cut: u64,
    },
    /// Somebody else has raised it meanwhile.
    Changed,
}

pub(crate) async fn open(con: &Connection, known: &KnownSlots, slot: &SlotName, lease: &Lease) -> Result<OpenedSlot, StoreError> {
    let live = con.live().await.map_err(|error| error.of_slot(slot))?;
    for _ in 0..ATTEMPTS {
        let seen = known.check(con, &live, slot).await.map_err(|error| error.of_slot(slot))?;
        let epoch = seen.unwrap_or(0).saturating_add(1);
        let opener = schema::random(&live.server).map_err(|error| error.of_slot(slot))?;
        if let Raised::Opened { last_seq, cut } = raise(con, &live, slot, seen, epoch, &opener, lease).await? {
            let opened = read_opened(con, &live, slot, epoch, last_seq, cut).await.map_err(|error| error.of_slot(slot))?;
            known.opened(slot, Known { epoch, opener, durable: last_seq });
            return Ok(opened);
        }
    }
    Err(RedisError::Busy { what: format!("the epoch of {slot}") }.of_slot(slot))
}

async fn raise(
    con: &Connection,
    live: &Live,
    slot: &SlotName,
    seen: Option<u64>,
    epoch: u64,
    opener: &str,
    lease: &Lease,
) -> Result<Raised, StoreError> {
    let script = &con.scripts.open;
    let mut call = script.call(&[con.keys.slot(slot), con.keys.lease(slot), con.keys.slots()]);
    call.arg(seen.map(|seen| seen.to_string()).unwrap_or_default()).arg(epoch).arg(opener).arg(&**slot);
    call.arg(&*lease.holder).arg(lease.address.as_deref().unwrap_or_default()).arg(lease.ms);
    let reply = con.run(live, script, &call).await.map_err(|error| error.of_slot(slot))?;
    let strange = |said: &dyn std::fmt::Debug| live.server.strange(script.name, said).of_slot(slot);
    let items = reply::items(reply).unwrap_or_default();
    let words: Vec<_> = items.iter().map(|item| reply::text(item).unwrap_or_default()).collect();
    match &*words.iter().map(String::as_str).collect::<Vec<_>>() {
        ["held", holder, ms] => {
            let left = ms.parse().unwrap_or(u32::MAX);
            Err(StoreError::held(slot, ((*holder).into(), left)))
        }
        ["changed", _] => Ok(Raised::Changed),
        ["opened", last_seq, cut] => match (last_seq.parse(), if cut.is_empty() { Ok(1) } else { cut.parse() }) {
            (Ok(last_seq), Ok(cut)) => Ok(Raised::Opened { last_seq, cut }),
            _ => Err(con.damaged(live, con.keys.slot(slot), "has no numbers where they should be").of_slot(slot)),
        },
        _ => Err(strange(&items)),
    }
}

/// Nobody changes the log under an older epoch, so it can be read in parts.
async fn read_opened(con: &Connection, live: &Live, slot: &str, epoch: u64, last_seq: u64, cut: u64) -> Result<OpenedSlot, RedisError> {
    con.settle(live).await?;
    let log = read_log(con, live, slot, last_seq, cut).await?;
    let Some(log) = log else {
        return Err(con.damaged(live, con.keys.log(slot), &format!("has not all batches from {cut} to {last_seq}")));
    };
    let doing = "XRANGE";
    let mut cmd = redis::cmd(doing);
    cmd.arg(con.keys.mail(slot)).arg("-").arg("+");
    let reply = con.send(live, doing, &cmd).await?;
    let mail = letters(reply).ok_or_else(|| con.damaged(live, con.keys.mail(slot), "has something else than letters"))?;
    Ok(OpenedSlot { epoch, last_seq, log, mail })
}

/// The blobs up to `last_seq`; `None` if one is missing from `cut` on.
pub(crate) async fn read_log(con: &Connection, live: &Live, slot: &str, last_seq: u64, cut: u64) -> Result<Option<Vec<Bytes>>, RedisError> {
    let doing = "XRANGE";
    let mut log: Vec<Bytes> = Vec::new();
    let mut next = None;
    while next.is_none_or(|next| next <= last_seq) && last_seq > 0 {
        let mut cmd = redis::cmd(doing);
        let from = next.map_or("-".to_owned(), |next: u64| next.to_string());
        cmd.arg(con.keys.log(slot)).arg(from).arg(last_seq).arg("COUNT").arg(LOG_PAGE);
        let reply = con.send(live, doing, &cmd).await?;
        let page = reply::entries(reply).ok_or_else(|| con.damaged(live, con.keys.log(slot), "has something else than batches"))?;
        if page.is_empty() {
            return Ok(None);
        }
        for (seq, blob) in page {
            // The first is that of the cut, or one before it.
            if next.map_or(seq > cut, |next| seq != next) {
                return Ok(None);
            }
            next = Some(seq.saturating_add(1));
            log.push(blob);
        }
    }
    Ok(Some(log))
}

pub(crate) async fn renew(con: &Connection, known: &KnownSlots, slot: &SlotName, epoch: u64, lease: &Lease) -> Result<Renewal, RedisError> {
    let live = con.live().await?;
    let script = &con.scripts.renew;
    let opener = known.opener(slot, epoch);
    let mut call = script.call(&[con.keys.slot(slot), con.keys.lease(slot)]);
    call.arg(epoch).arg(&opener).arg(&*lease.holder).arg(lease.address.as_deref().unwrap_or_default()).arg(lease.ms);
    let reply = con.run(&live, script, &call).await?;
    let shown = format!("{reply:?}");
    let [epoch_is, opener_is] = reply::array(reply).ok_or_else(|| live.server.strange(script.name, &shown))?;
    let epoch_is = reply::optional(&epoch_is).flatten().unwrap_or(0);
    if epoch_is != epoch || !is_opener(&opener, &opener_is) {
        return Ok(Renewal::Fenced { epoch: epoch_is });
    }
    con.settle(&live).await?;
    Ok(Renewal::Kept)
}

pub(crate) async fn commit(con: &Connection, known: &KnownSlots, batch: &Commit) -> Result<CommitOutcome, RedisError> {
    let live = con.live().await?;
    let (script, slot) = (&con.scripts.commit, &batch.slot);
    let opener = known.opener(slot, batch.epoch);
    let mut call = script.call(&[con.keys.slot(slot), con.keys.log(slot), con.keys.mail(slot), con.keys.hot(slot)]);
    // There is no batch before number 0, nor such a batch.
    let before = batch.seq.checked_sub(1).map(|before| before.to_string()).unwrap_or_default();
    call.arg(batch.epoch).arg(&opener).arg(before).arg(batch.seq).arg(&*batch.blob);
    call.arg(batch.cut_below.map(|cut| cut.min(batch.seq).to_string()).unwrap_or_default());
    call.arg(batch.mail_read.map(|read| read.saturating_add(1).to_string()).unwrap_or_default());
    let set: Vec<_> = batch.balances.iter().filter_map(|(id, balance)| Some((id, (*balance)?))).collect();
    call.arg(set.len().saturating_mul(2));
    for (id, balance) in set {
        call.arg(crate::keys::shown(id)).arg(balance.to_string());
    }
    for (id, _) in batch.balances.iter().filter(|(_, balance)| balance.is_none()) {
        call.arg(crate::keys::shown(id));
    }
    let reply = con.run(&live, script, &call).await?;
    let outcome = decide(known, batch, &opener, reply).ok_or_else(|| con.damaged(&live, con.keys.slot(slot), "has no epoch and number"))?;
    if outcome == CommitOutcome::Durable {
        con.settle(&live).await?;
        known.durable(slot, batch.epoch, batch.seq);
        count(&con.counters.commits, 1);
        count(&con.counters.bytes, u64::try_from(batch.blob.len()).unwrap_or(u64::MAX));
    }
    Ok(outcome)
}

/// What the slot is after the script says what it has done.
fn decide(known: &KnownSlots, batch: &Commit, opener: &str, reply: Value) -> Option<CommitOutcome> {
    let [epoch, opener_is, last_seq] = reply::array(reply)?;
    let Some(epoch) = reply::optional::<u64>(&epoch)? else {
        // Nobody ever opened it; or the server has lost it, and then who opens it again is told.
        let lost = known.knows(&batch.slot);
        return Some(if lost { CommitOutcome::Fenced { epoch: 0 } } else { CommitOutcome::Gap { last_seq: 0 } });
    };
    let last_seq = reply::number::<u64>(&last_seq)?;
    if epoch != batch.epoch || !is_opener(opener, &opener_is) {
        return Some(CommitOutcome::Fenced { epoch });
    }
    Some(if batch.seq <= last_seq { CommitOutcome::Durable } else { CommitOutcome::Gap { last_seq } })
}

pub(crate) async fn mail(con: &Connection, slot: &SlotName, letter: &[u8]) -> Result<(), StoreError> {
    let wrong = |error: RedisError| error.of_slot(slot);
    let live = con.live().await.map_err(wrong)?;
    let script = &con.scripts.mail;
    let mut call = script.call(&[con.keys.slot(slot), con.keys.mail(slot)]);
    call.arg(letter);
    if con.run(&live, script, &call).await.map_err(wrong)? == Value::Nil {
        return Err(StoreError::no_mailbox(slot));
    }
    con.settle(&live).await.map_err(wrong)
}

pub(crate) fn letters(value: Value) -> Option<Vec<Letter>> {
    Some(reply::entries(value)?.into_iter().map(|(no, content)| Letter { no, content }).collect())
}

/// Whether the slot was opened by that opener, if it is known which it was.
fn is_opener(expected: &str, is: &Value) -> bool {
    expected.is_empty() || reply::text(is).as_deref() == Some(expected)
}

impl KnownSlots {
    /// The slot's epoch, if it has one; an error if it is behind what this process knows.
    async fn check(&self, con: &Connection, live: &Live, slot: &SlotName) -> Result<Option<u64>, RedisError> {
        // As of before it is asked: while the answer is on its way another opening may go further.
        let known = self.lock().get(slot).cloned();
        let doing = "HMGET";
        let mut cmd = redis::cmd(doing);
        cmd.arg(con.keys.slot(slot)).arg(&["epoch", "seq"]);
        let reply = con.send(live, doing, &cmd).await?;
        let read = reply::array(reply).and_then(|[epoch, seq]| Some((reply::optional::<u64>(&epoch)?, reply::optional::<u64>(&seq)?)));
        let (epoch, seq) = read.ok_or_else(|| con.damaged(live, con.keys.slot(slot), "has no epoch and number"))?;
        let Some(known) = known else { return Ok(epoch) };
        if seq.unwrap_or(0) < known.durable {
            let (is, was) = (seq.unwrap_or(0), known.durable);
            return Err(con.lost(live, format!("the last batch of {slot} is number {is}, and {was} was durable")));
        }
        if epoch.unwrap_or(0) < known.epoch {
            let (is, was) = (epoch.unwrap_or(0), known.epoch);
            return Err(con.lost(live, format!("the epoch of {slot} is {is}, and was {was}")));
        }
        Ok(epoch)
    }

    fn opened(&self, slot: &SlotName, known: Known) {
        let mut slots = self.lock();
        // Two openings at once may end in any order.
        let newer = slots.get(slot).is_none_or(|other| other.epoch < known.epoch);
        if newer {
            slots.insert(slot.clone(), known);
        }
    }

    fn durable(&self, slot: &SlotName, epoch: u64, seq: u64) {
        if let Some(known) = self.lock().get_mut(slot).filter(|known| known.epoch == epoch) {
            known.durable = known.durable.max(seq);
        }
    }

    fn knows(&self, slot: &SlotName) -> bool {
        self.lock().contains_key(slot)
    }

    /// Nothing if this process hasn't opened the slot with this epoch.
    fn opener(&self, slot: &SlotName, epoch: u64) -> String {
        self.lock().get(slot).filter(|known| known.epoch == epoch).map(|known| known.opener.clone()).unwrap_or_default()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<SlotName, Known>> {
        // Nothing panics while it is held, so what is inside is whole.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How often an epoch may change between reading and raising it.
const ATTEMPTS: usize = 64;
/// Batches that are read at once.
const LOG_PAGE: u32 = 32;
