//! Looking at everything, as it was at one instant.

use crate::connection::{Connection, Live};
use crate::error::RedisError;
use crate::{keys, reply, rows, slots};
use ilp_core::AccountId;
use ilp_core::store::{AccountRow, Directory, Lease, OpenedSlot, SlotEntry, SlotName, SlotPicture};
use redis::Value;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};
use tokio::sync::Mutex;

/// A slot and all rows. The log is read in parts afterwards: batches don't change. If some were cut meanwhile it begins anew.
pub(crate) async fn read(con: &Connection, slot: &SlotName) -> Result<Option<SlotPicture>, RedisError> {
    let live = con.live().await?;
    let script = &con.scripts.read;
    let mut missing = None;
    for _ in 0..ATTEMPTS {
        let mut call = script.call(&[con.keys.slot(slot), con.keys.hot(slot), con.keys.mail(slot), con.keys.accounts()]);
        call.arg(&con.keys.prefix);
        let reply = con.run(&live, script, &call).await?;
        let shown = shown(&reply);
        let [numbers, balances, mail, accounts] = reply::array(reply).ok_or_else(|| live.server.strange(script.name, &shown))?;
        let wrong = |key| con.damaged(&live, key, "can't be read");
        let numbers = reply::array::<3>(numbers).ok_or_else(|| wrong(con.keys.slot(slot)))?;
        let [Some(epoch), Some(last_seq), cut] = numbers_of(&numbers).ok_or_else(|| wrong(con.keys.slot(slot)))? else {
            return Ok(None);
        };
        let cut = cut.unwrap_or(1);
        // It was there, and can't be missing because it was cut.
        if missing.is_some_and(|missing| cut <= missing) {
            return Err(con.damaged(&live, con.keys.log(slot), &format!("has not all batches from {cut} to {last_seq}")));
        }
        let Some(log) = slots::read_log(con, &live, slot, last_seq, cut).await? else {
            missing = Some(cut);
            continue;
        };
        let mail = slots::letters(mail).ok_or_else(|| wrong(con.keys.mail(slot)))?;
        let balances = balances_of(con, &live, slot, balances)?;
        let accounts = rows::read_all(con, &live, accounts)?;
        return Ok(Some(SlotPicture { slot: OpenedSlot { epoch, last_seq, log, mail }, balances, accounts }));
    }
    Err(RedisError::Busy { what: format!("the log of {slot}") })
}

/// All rows, as the last directory had them: only what has changed since is read again, because directories are read once a second.
#[derive(Debug, Default)]
pub(crate) struct LastRows(Mutex<Option<Rows>>);

#[derive(Debug)]
struct Rows {
    /// Of which connection: another server may have other rows under the same numbers.
    serial: u64,
    /// When all were read.
    since: Instant,
    /// The last change that is in them.
    change: u64,
    rows: BTreeMap<AccountId, AccountRow>,
}

pub(crate) async fn directory(con: &Connection, last: &LastRows) -> Result<Directory, RedisError> {
    let live = con.live().await?;
    let mut last = last.0.lock().await;
    if last.as_ref().is_some_and(|last| last.serial != live.serial || last.since.elapsed() > ALL_ROWS_AFTER) {
        *last = None;
    }
    let (mut change, mut slots, mut changed) = ask_directory(con, &live, last.as_ref().map_or(0, |last| last.change)).await?;
    if last.as_ref().is_some_and(|last| change < last.change) {
        *last = None;
        (change, slots, changed) = ask_directory(con, &live, 0).await?;
    }
    let rows = last.get_or_insert_with(|| Rows { serial: live.serial, since: Instant::now(), change, rows: BTreeMap::new() });
    rows.rows.extend(rows::read_all(con, &live, changed)?);
    rows.change = change;
    let accounts = rows.rows.iter().map(|(id, row)| (id.clone(), row.clone())).collect();
    let mut directory = Directory { slots: Vec::new(), accounts, balances: Vec::new() };
    for value in reply::items(slots).unwrap_or_default() {
        let shown = shown(&value);
        let wrong = || con.damaged(&live, con.keys.slots(), &format!("names what isn't a slot: {shown}"));
        let (entry, balances) = slot_of(value).ok_or_else(wrong)?;
        let balances = balances_of(con, &live, &entry.name, balances)?;
        directory.balances.extend(balances.into_iter().map(|(id, balance)| (id, entry.name.clone(), balance)));
        directory.slots.push(entry);
    }
    directory.slots.sort_by(|a, b| a.name.cmp(&b.name));
    directory.balances.sort();
    Ok(directory)
}

/// The number of the last change, all slots, and the rows that have changed since another one.
async fn ask_directory(con: &Connection, live: &Live, since: u64) -> Result<(u64, Value, Value), RedisError> {
    let script = &con.scripts.directory;
    let mut call = script.call(&[con.keys.slots(), con.keys.accounts(), con.keys.changes()]);
    call.arg(&con.keys.prefix).arg(since);
    let reply = con.run(live, script, &call).await?;
    let shown = shown(&reply);
    let [change, slots, rows] = reply::array(reply).ok_or_else(|| live.server.strange(script.name, &shown))?;
    let change = reply::number(&change).ok_or_else(|| con.damaged(live, con.keys.changes(), "isn't a number"))?;
    Ok((change, slots, rows))
}

/// The beginning of an answer, for a message.
pub(crate) fn shown(value: &Value) -> String {
    format!("{value:?}").chars().take(SHOWN_MAX).collect()
}

/// A slot's entry, and its balances as the server gave them.
fn slot_of(value: Value) -> Option<(SlotEntry, Value)> {
    let [name, numbers, balances, lease, ms, letters] = reply::array(value)?;
    let [epoch, last_seq] = numbers_of(&reply::array::<2>(numbers)?)?;
    let [holder, address] = reply::array(lease)?;
    // Below 0 there is no key, or it never ends.
    let ms = reply::number::<i64>(&ms)?;
    let lease = match (reply::text(&holder), u32::try_from(ms)) {
        (Some(holder), Ok(ms)) => {
            let address = reply::text(&address).filter(|address| !address.is_empty());
            Some(Lease { holder: holder.into(), address: address.map(Into::into), ms })
        }
        _ => None,
    };
    let entry =
        SlotEntry { name: reply::text(&name)?.into(), epoch: epoch?, last_seq: last_seq?, lease, letters: reply::number(&letters)? };
    Some((entry, balances))
}

fn balances_of(con: &Connection, live: &Live, slot: &str, value: Value) -> Result<Vec<(AccountId, i128)>, RedisError> {
    let balances = reply::pairs(value).and_then(|pairs| {
        let one = |(id, balance): (String, String)| Some((keys::account_of(&id)?, balance.parse().ok()?));
        pairs.into_iter().map(one).collect::<Option<Vec<_>>>()
    });
    let mut balances = balances.ok_or_else(|| con.damaged(live, con.keys.hot(slot), "has something else than balances"))?;
    balances.sort();
    Ok(balances)
}

/// Numbers, each of which may not be there.
fn numbers_of<const N: usize>(values: &[Value; N]) -> Option<[Option<u64>; N]> {
    values.iter().map(reply::optional).collect::<Option<Vec<_>>>()?.try_into().ok()
}

/// How often a log may be cut while it is read.
const ATTEMPTS: usize = 8;
/// All rows are read again now and then, in case that a server was exchanged behind its connection.
const ALL_ROWS_AFTER: Duration = Duration::from_secs(60);
const SHOWN_MAX: usize = 300;
