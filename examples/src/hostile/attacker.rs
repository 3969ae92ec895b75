//! The attackers, in a process of their own.

use super::attacks::{Attack, Target};
use super::connector::{ADDRESS, Account, Hello, order, run_child, say};
use super::score::Score;
use ilp_oer::Address;
use serde::{Deserialize, Serialize};
use std::process::ExitCode;
use std::sync::Arc;

/// What the attackers are told.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Order {
    pub(super) attack: String,
    pub(super) target: Hello,
    /// Those that they know the tokens of.
    pub(super) accounts: Vec<Account>,
    pub(super) small: bool,
}

/// That they are ready.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Ready {}

/// Asks for the counts so far. The first question also starts the attack.
pub(super) const COUNTS: &str = "counts";

/// Attacks until the input ends.
pub(super) fn main() -> ExitCode {
    run_child("attacker", |mut lines| async move {
        let Some(order) = order::<Order>(&mut lines).await? else { return Ok(()) };
        let attack = Attack::of(&order.attack).ok_or("no such attack")?;
        say(&Ready {})?;
        let score = Score::default();
        let Order { target: Hello { port, tls_port }, accounts, small, .. } = order;
        let target = Arc::new(Target { port, tls_port, accounts, address: Address::new(ADDRESS)?, small, score: score.clone() });
        let answers = async {
            while lines.recv().await.is_some() {
                say(&score.counts())?;
            }
            Ok(())
        };
        let attacking = attack.run(target);
        tokio::select! {
            result = answers => result,
            () = attacking => Ok(()),
        }
    })
}
