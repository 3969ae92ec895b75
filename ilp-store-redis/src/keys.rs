//! The names of keys. The table in the crate's documentation says what is in them.

use ilp_core::AccountId;

/// Names with a deployment's prefix.
#[derive(Debug, Clone)]
pub(crate) struct Keys {
    pub(crate) prefix: String,
}

impl Keys {
    pub(crate) fn schema(&self) -> String {
        format!("{}schema", self.prefix)
    }

    pub(crate) fn slots(&self) -> String {
        format!("{}slots", self.prefix)
    }

    pub(crate) fn accounts(&self) -> String {
        format!("{}accounts", self.prefix)
    }

    /// How often a row was changed.
    pub(crate) fn changes(&self) -> String {
        format!("{}changes", self.prefix)
    }

    /// Written before each wait for replicas.
    pub(crate) fn barrier(&self) -> String {
        format!("{}barrier", self.prefix)
    }

    pub(crate) fn slot(&self, slot: &str) -> String {
        format!("{}slot:{{{slot}}}", self.prefix)
    }

    pub(crate) fn log(&self, slot: &str) -> String {
        format!("{}log:{{{slot}}}", self.prefix)
    }

    pub(crate) fn mail(&self, slot: &str) -> String {
        format!("{}mail:{{{slot}}}", self.prefix)
    }

    pub(crate) fn hot(&self, slot: &str) -> String {
        format!("{}hotBalance:{{{slot}}}", self.prefix)
    }

    pub(crate) fn lease(&self, slot: &str) -> String {
        format!("{}lease:{{{slot}}}", self.prefix)
    }

    pub(crate) fn account(&self, id: &AccountId) -> String {
        format!("{}account:{{{}}}", self.prefix, shown(id))
    }

    pub(crate) fn cold(&self, id: &AccountId) -> String {
        format!("{}coldBalance:{{{}}}", self.prefix, shown(id))
    }
}

/// An account's id as keys and fields have it: in hexadecimal digits.
pub(crate) fn shown(id: &AccountId) -> String {
    hex::encode(id.as_bytes())
}

/// The account of such an id.
pub(crate) fn account_of(shown: &str) -> Option<AccountId> {
    let bytes = hex::decode(shown).ok()?;
    let (parallelism, name) = bytes.split_first()?;
    let id = AccountId::new(*parallelism, std::str::from_utf8(name).ok()?).ok()?;
    (id.as_bytes() == bytes).then_some(id)
}
