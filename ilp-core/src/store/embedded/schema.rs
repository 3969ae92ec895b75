//! The tables of the file, and how older files become like that.

use super::trouble::{Trouble, structure};
use crate::store::Medium;
use redb::{Database, ReadableDatabase, TableDefinition, TableError, TableHandle};

/// The version of everything below.
pub(super) const SCHEMA: u64 = 2;

/// Facts about the file; `schema` is the only one.
pub(super) const FACTS: TableDefinition<'_, &str, u64> = TableDefinition::new("facts");
/// A slot's number, a batch's, a piece's: a piece.
pub(super) const LOG: TableDefinition<'_, LogKey, &[u8]> = TableDefinition::new("log-2");
/// Name: a row.
pub(super) const SLOTS: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("slots-2");
/// An account's id: a row.
pub(super) const BALANCES: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("balances-2");

pub(super) type LogKey = (u32, u64, u16);

const SCHEMA_FACT: &str = "schema";

/// Makes the tables of a new file, upgrades those of an older one, refuses a newer one.
pub(super) fn check_schema(database: &Database) -> Result<(), Trouble> {
    match read_schema(database)? {
        Some(SCHEMA) => Ok(()),
        None => make(database),
        Some(found) if found > SCHEMA => Err(Trouble::Newer { found, known: SCHEMA }),
        Some(found) => Err(structure(format!("it says that it has schema {found}, which never was"))),
    }
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

fn make(database: &Database) -> Result<(), Trouble> {
    let transaction = database.begin_write()?;
    transaction.open_table(FACTS)?.insert(SCHEMA_FACT, SCHEMA)?;
    transaction.open_table(LOG)?;
    transaction.open_table(SLOTS)?;
    transaction.open_table(BALANCES)?;
    Ok(transaction.commit()?)
}

/// A file whose making was interrupted has no magic number yet, and behind its first page there is nothing. It is emptied: it never had
/// any books. A file that lost its beginning has something behind it, and stays as it is.
pub(super) fn discard_unfinished(medium: &dyn Medium) -> Result<(), Trouble> {
    let len = medium.len().map_err(Trouble::Io)?;
    let mut magic = [0; MAGIC_LEN];
    if len < PAGE || len > UNFINISHED_LEN_MAX {
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
