//! Accounts' rows. Redis keeps them; what a move does is computed here, by [`AccountRow`]'s own rules.

use crate::connection::{Connection, Live};
use crate::error::RedisError;
use crate::{keys, pictures, reply};
use ilp_core::AccountId;
use ilp_core::store::{AccountRow, AccountSetup, LastMove, Move, MoveOutcome, MoveResult};
use redis::Value;
use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

/// The highest version of each row that this process has been told, to notice a server that has lost some.
#[derive(Debug, Default)]
pub(crate) struct KnownRows(Mutex<HashMap<AccountId, u64>>);

/// A row, and which one it is of those that an account has had.
struct Versioned {
    version: u64,
    row: AccountRow,
}

pub(crate) async fn set_up(con: &Connection, known: &KnownRows, setup: &AccountSetup) -> Result<AccountRow, RedisError> {
    let change = |row: Option<&AccountRow>| {
        let mut new = row.cloned().unwrap_or_else(|| AccountRow::new(setup));
        new.set_up(setup);
        (new.clone(), Some(new))
    };
    change_row(con, known, &setup.id, change).await
}

pub(crate) async fn make_move(con: &Connection, known: &KnownRows, request: &Move) -> Result<MoveOutcome, RedisError> {
    let change = |row: Option<&AccountRow>| match row {
        Some(row) => {
            let mut new = row.clone();
            let outcome = new.apply(request.slot, request.n, &request.change);
            (outcome, Some(new))
        }
        None => (MoveOutcome::NoAccount, None),
    };
    change_row(con, known, &request.account, change).await
}

/// Reads a row, lets it be changed, and puts it in the place of the one that was read; again if that isn't there any more. What a script
/// does that nobody waits for any more is what the next attempt finds.
async fn change_row<T>(
    con: &Connection,
    known: &KnownRows,
    id: &AccountId,
    change: impl Fn(Option<&AccountRow>) -> (T, Option<AccountRow>),
) -> Result<T, RedisError> {
    let live = con.live().await?;
    // As of before it is asked: while an answer is on its way another call may go further.
    let mut was = known.version(id);
    let mut reply = con.run(&live, &con.scripts.row, &con.scripts.row.call(&[con.keys.account(id), con.keys.cold(id)])).await?;
    for _ in 0..ATTEMPTS {
        let old = read(con, &live, id, reply)?;
        check(con, &live, id, old.as_ref(), was)?;
        let (answer, new) = change(old.as_ref().map(|old| &old.row));
        let new = new.filter(|new| old.as_ref().is_none_or(|old| old.row != *new));
        let Some(new) = new else {
            // Somebody may have been answered nothing yet of what is there.
            con.settle(&live).await?;
            known.seen(id, old.map_or(0, |old| old.version));
            return Ok(answer);
        };
        let version = old.as_ref().map_or(0, |old| old.version).saturating_add(1);
        was = known.version(id);
        reply = write(con, &live, id, old.as_ref(), version, &new).await?;
        if reply == Value::Array(Vec::new()) {
            con.settle(&live).await?;
            known.seen(id, version);
            return Ok(answer);
        }
    }
    Err(RedisError::Busy { what: format!("the row of {id}") })
}

/// Answers nothing if it was done, and the row as it is if that isn't the old one.
async fn write(
    con: &Connection,
    live: &Live,
    id: &AccountId,
    old: Option<&Versioned>,
    version: u64,
    new: &AccountRow,
) -> Result<Value, RedisError> {
    let script = &con.scripts.set_row;
    let mut call = script.call(&[con.keys.account(id), con.keys.cold(id), con.keys.accounts(), con.keys.changes()]);
    call.arg(old.map(|old| old.version.to_string()).unwrap_or_default()).arg(keys::shown(id)).arg(new.cold.to_string());
    call.arg("version").arg(version);
    call.arg("slots").arg(new.slots.iter().map(u16::to_string).collect::<Vec<_>>().join(","));
    call.arg("key").arg(hex::encode(new.key));
    call.arg("creditLimit").arg(new.credit_limit);
    call.arg("closed").arg(u8::from(new.closed));
    for (slot, last) in &new.moves {
        if old.and_then(|old| old.row.moves.get(slot)) != Some(last) {
            let LastMove { n, result: MoveResult { moved, enough }, total } = last;
            call.arg(format!("move:{slot}")).arg(format!("{n} {moved} {} {total}", u8::from(*enough)));
        }
    }
    con.run(live, script, &call).await
}

/// A row as the scripts `row` and `set_row` answer it; `None` if there is none.
fn read(con: &Connection, live: &Live, id: &AccountId, reply: Value) -> Result<Option<Versioned>, RedisError> {
    let Some([fields, cold]) = reply::array(reply) else {
        return Err(con.damaged(live, con.keys.account(id), "can't be read"));
    };
    if fields == Value::Array(Vec::new()) && cold == Value::Nil {
        return Ok(None);
    }
    match decode(fields, &cold) {
        Some(row) => Ok(Some(row)),
        None => Err(con.damaged(live, con.keys.account(id), "or its cold balance isn't a row of an account")),
    }
}

/// All rows as the scripts `read` and `directory` answer them, in the order of ids.
pub(crate) fn read_all(con: &Connection, live: &Live, reply: Value) -> Result<Vec<(AccountId, AccountRow)>, RedisError> {
    let one = |value| {
        let [id, fields, cold] = reply::array(value)?;
        Some((keys::account_of(&reply::text(&id)?)?, decode(fields, &cold)?.row))
    };
    let rows = reply::items(reply).unwrap_or_default().into_iter().map(|value| {
        let shown = pictures::shown(&value);
        one(value).ok_or_else(|| con.damaged(live, con.keys.accounts(), &format!("names what isn't a row: {shown}")))
    });
    let mut rows = rows.collect::<Result<Vec<_>, _>>()?;
    rows.sort_by(|(a, _), (b, _)| a.cmp(b));
    Ok(rows)
}

fn decode(fields: Value, cold: &Value) -> Option<Versioned> {
    let fields: HashMap<_, _> = reply::pairs(fields)?.into_iter().collect();
    let of = |name: &str| fields.get(name).map(String::as_str);
    let flag = |text: &str| match text {
        "0" => Some(false),
        "1" => Some(true),
        _ => None,
    };
    let moves = fields.iter().filter_map(|(name, value)| Some((name.strip_prefix("move:")?, value)));
    let moves = moves.map(|(slot, value)| {
        let [n, moved, enough, total] = value.split(' ').collect::<Vec<_>>().try_into().ok()?;
        let result = MoveResult { moved: moved.parse().ok()?, enough: flag(enough)? };
        Some((slot.parse().ok()?, LastMove { n: n.parse().ok()?, result, total: total.parse().ok()? }))
    });
    let row = AccountRow {
        slots: of("slots")?.split(',').filter(|slot| !slot.is_empty()).map(|slot| slot.parse().ok()).collect::<Option<_>>()?,
        key: hex::decode(of("key")?).ok()?.try_into().ok()?,
        credit_limit: of("creditLimit")?.parse().ok()?,
        cold: reply::number(cold)?,
        closed: flag(of("closed")?)?,
        moves: moves.collect::<Option<_>>()?,
    };
    Some(Versioned { version: of("version")?.parse().ok()?, row })
}

/// An error if a row is behind what this process knew.
fn check(con: &Connection, live: &Live, id: &AccountId, row: Option<&Versioned>, was: u64) -> Result<(), RedisError> {
    let is = row.map_or(0, |row| row.version);
    if is < was {
        return Err(con.lost(live, format!("the row of {id} has version {is}, and had {was}")));
    }
    Ok(())
}

impl KnownRows {
    fn version(&self, id: &AccountId) -> u64 {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(id).copied().unwrap_or(0)
    }

    fn seen(&self, id: &AccountId, version: u64) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let entry = known.entry(id.clone()).or_default();
        *entry = version.max(*entry);
    }
}

/// How often a row may change between reading and replacing it: others have each time got what they wanted.
const ATTEMPTS: usize = 64;
