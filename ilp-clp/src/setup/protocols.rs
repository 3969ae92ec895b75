//! The list of setup 0.2.

use ilp_oer::sub::names::{ILP_ID, ILQP_ID, LIQUIDITY_ID, PAYMENT_ID, RECONCILE_ID, TRANSFER_ID, name_of};

/// Sub-protocols by number and name, as listed in setup 0.2.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Protocols(Vec<(u8, String)>);

impl Protocols {
    /// The given ones; of a number that occurs twice, the first.
    pub fn new(list: impl IntoIterator<Item = (u8, String)>) -> Self {
        let mut protocols = Self(Vec::new());
        for (number, name) in list {
            if !protocols.contains(number) {
                protocols.0.push((number, name));
            }
        }
        protocols
    }

    /// Whether it is listed.
    pub fn contains(&self, number: u8) -> bool {
        self.0.iter().any(|(listed, _)| *listed == number)
    }

    /// Also lists this one.
    #[must_use]
    pub fn with(self, number: u8, name: &str) -> Self {
        Self::new(self.0.into_iter().chain([(number, name.to_owned())]))
    }

    /// Doesn't list this one.
    #[must_use]
    pub fn without(mut self, number: u8) -> Self {
        self.0.retain(|(listed, _)| *listed != number);
        self
    }

    /// Number and name of each.
    pub fn iter(&self) -> impl Iterator<Item = (u8, &str)> {
        self.0.iter().map(|(number, name)| (*number, name.as_str()))
    }

    /// What `theirs` has too, under the same number and name.
    pub(super) fn common<'a>(&self, theirs: impl Iterator<Item = (u8, &'a str)>) -> Self {
        Self::new(theirs.filter(|their| self.iter().any(|our| our == *their)).map(|(number, name)| (number, name.to_owned())))
    }
}

/// The numbered sub-protocols that this project speaks, and packet type 8.
impl Default for Protocols {
    fn default() -> Self {
        let numbers = [ILP_ID, PAYMENT_ID, ILQP_ID, RECONCILE_ID, LIQUIDITY_ID, TRANSFER_ID];
        Self::new(numbers.into_iter().filter_map(|number| Some((number, name_of(number)?.to_owned()))))
    }
}
