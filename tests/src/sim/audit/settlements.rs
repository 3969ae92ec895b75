//! The rules about settlements.

use super::super::observe::{AccountPlace, NodeNo};
use super::records::Fits;
use super::{Auditor, Invariant};

/// What the log calls the balance that an account is opened with.
const INITIAL: &str = "initial";

impl Auditor {
    /// A settlement is in the log.
    pub(super) fn settled(&mut self, node: NodeNo, seq: u64, no: u32, id: String, amount: i128) -> Fits {
        let place = self.ledgers[node].numbers.get(&no).copied();
        let place = place.ok_or((Invariant::BalanceFormula, format!("account number {no} was never given out")))?;
        let of = &self.layout.nodes[node].accounts[place];
        let name = of.name.clone();
        let asked = match id == INITIAL {
            true => (of.initial_balance != 0).then_some(i128::from(of.initial_balance)),
            false => self.settlements.iter().find(|s| (s.node, s.account, &s.id) == (node, place, &id)).map(|s| s.amount),
        };
        let ledger = &mut self.ledgers[node];
        ledger.balances[place] += amount;
        ledger.sums[place].settlements += amount;
        let before = ledger.settlements.insert((place, id.clone()), (amount, seq));
        if before.is_some() {
            return Err((Invariant::SettledOnce, format!("settlement {id} of {name} counts for the second time")));
        }
        match asked == Some(amount) {
            true => Ok(()),
            false => Err((Invariant::SettledOnce, format!("settlement {id} of {name} is {amount} in the log, asked for was {asked:?}"))),
        }
    }

    /// The embedder was told what became of a settlement.
    pub(super) fn told_settled(&mut self, node: NodeNo, place: AccountPlace, id: &str, amount: i128, result: &Result<bool, String>) {
        let key = (place, id.to_owned());
        let ledger = &mut self.ledgers[node];
        let recorded = ledger.settlements.get(&key).map(|(amount, _)| *amount);
        let wrong = match result {
            Ok(_) if recorded != Some(amount) => format!("settlement {id} is called durable, the log has {recorded:?} of {amount}"),
            Ok(false) if !ledger.new_settlements.insert(key) => format!("settlement {id} is called new for the second time"),
            Err(error) if recorded.is_none_or(|recorded| recorded == amount) => format!("settlement {id} is refused: {error}"),
            Ok(_) | Err(_) => return,
        };
        self.fail(node, Invariant::SettledOnce, wrong);
    }
}
