//! The tables of the file, and how older files become like that.

use super::trouble::Trouble;
use super::upgrade::{from_1, from_2};
use crate::store::Medium;
use redb::{Database, ReadableDatabase, ReadableTable, TableDefinition, TableError, TableHandle, WriteTransaction};
use std::hash::{BuildHasher, RandomState};

/// The version of everything below.
pub(super) const SCHEMA: u64 = 3;

/// Facts about the file: `schema`, and `salt`.
pub(super) const FACTS: TableDefinition<'_, &str, u64> = TableDefinition::new("facts");
/// A slot's number, a batch's, a piece's: a piece.
pub(super) const LOG: TableDefinition<'_, LogKey, &[u8]> = TableDefinition::new("log-2");
/// Name: a row.
pub(super) const SLOTS: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("slots-2");
/// A slot's number, an account's id: a row.
pub(super) const BALANCES: TableDefinition<'_, BalanceKey, &[u8]> = TableDefinition::new("balances-3");

pub(super) type LogKey = (u32, u64, u16);
pub(super) type BalanceKey = (u32, &'static [u8]);

pub(super) const SCHEMA_FACT: &str = "schema";
const SALT_FACT: &str = "salt";

/// Makes the tables of a new file, upgrades those of an older one, refuses a newer one. Gives the file's salt.
pub(super) fn check_schema(database: &Database) -> Result<u64, Trouble> {
    match read_schema(database)? {
        Some(SCHEMA) => {}
        None => change(database, make)?,
        Some(1) => change(database, from_1)?,
        Some(2) => change(database, from_2)?,
        Some(found) if found > SCHEMA => return Err(Trouble::Newer { found, known: SCHEMA }),
        Some(found) => return Err(Trouble::NotBooks(format!("it says that it has schema {found}, which never was"))),
    }
    let salt = database.begin_read()?.open_table(FACTS)?.get(SALT_FACT)?.map(|salt| salt.value());
    salt.ok_or_else(|| Trouble::NotBooks("it has no salt".to_owned()))
}

/// `None` for a file without any table.
fn read_schema(database: &Database) -> Result<Option<u64>, Trouble> {
    let transaction = database.begin_read()?;
    match transaction.open_table(FACTS) {
        Ok(facts) => {
            let schema = facts.get(SCHEMA_FACT)?.map(|schema| schema.value());
            schema.map(Some).ok_or_else(|| Trouble::NotBooks("it doesn't say which schema it has".to_owned()))
        }
        Err(TableError::TableDoesNotExist(_)) => match transaction.list_tables()?.next() {
            None => Ok(None),
            Some(table) => Err(Trouble::NotBooks(format!("it has a table {}", table.name()))),
        },
        Err(error) => Err(error.into()),
    }
}

/// Changes the schema in one transaction: what can't be done to the end isn't done at all.
fn change(database: &Database, act: fn(&WriteTransaction) -> Result<(), Trouble>) -> Result<(), Trouble> {
    let transaction = database.begin_write()?;
    act(&transaction)?;
    Ok(transaction.commit()?)
}

/// The tables of this schema, empty.
pub(super) fn make(transaction: &WriteTransaction) -> Result<(), Trouble> {
    // Nobody can guess it, and it differs from file to file.
    let salt = RandomState::new().hash_one("salt");
    let mut facts = transaction.open_table(FACTS)?;
    facts.insert(SCHEMA_FACT, SCHEMA)?;
    facts.insert(SALT_FACT, salt)?;
    transaction.open_table(LOG)?;
    transaction.open_table(SLOTS)?;
    transaction.open_table(BALANCES)?;
    Ok(())
}

pub(super) fn salt_in(transaction: &WriteTransaction) -> Result<u64, Trouble> {
    Ok(transaction.open_table(FACTS)?.get(SALT_FACT)?.map_or(0, |salt| salt.value()))
}

/// For pieces that come from another file.
pub(super) fn set_salt(transaction: &WriteTransaction, salt: u64) -> Result<(), Trouble> {
    transaction.open_table(FACTS)?.insert(SALT_FACT, salt)?;
    Ok(())
}

/// A file whose making was interrupted has no magic number yet, and behind its first page there is nothing. It is emptied: it never had
/// any books. A file that lost its beginning has something behind it, and stays as it is.
pub(super) fn discard_unfinished(medium: &dyn Medium) -> Result<(), Trouble> {
    let len = medium.len().map_err(Trouble::Io)?;
    let mut magic = [0; MAGIC_LEN];
    if !(PAGE..=UNFINISHED_LEN_MAX).contains(&len) {
        return Ok(());
    }
    medium.read(0, &mut magic).map_err(Trouble::Io)?;
    let mut page = [0; 4096];
    let mut at = PAGE;
    let mut blank = magic == [0; MAGIC_LEN];
    while blank && at < len {
        let count = usize::try_from(len.saturating_sub(at)).map_or(page.len(), |left| left.min(page.len()));
        let part = page.get_mut(..count).unwrap_or_default();
        medium.read(at, part).map_err(Trouble::Io)?;
        blank = part.iter().all(|byte| *byte == 0);
        at = at.saturating_add(PAGE);
    }
    if blank { medium.set_len(0).map_err(Trouble::Io) } else { Ok(()) }
}

const MAGIC_LEN: usize = 9;
const PAGE: u64 = 4096;
/// Longer than a new file ever is.
const UNFINISHED_LEN_MAX: u64 = 64 << 20;
