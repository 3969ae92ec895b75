//! `connector settle`: what was paid outside of the connector, brought into its books by hand.

use super::super::Exit;
use super::super::admin::desk;
use super::super::admin::protocol::{Refused, Request, Settled};
use super::super::report::asset;
use super::super::store::OpenedStore;
use super::place::{Books, Found, Where};
use super::{Failure, block_on, print};
use crate::show::units;
use async_trait::async_trait;
use clap::Args;
use ilp_core::runtime::Connector;
use ilp_core::store::BalanceStore;
use ilp_core::{AccountConfig, IncomingPayment, Receiver, Rejection, SettlementId};
use ilp_oer::Fulfillment;
use std::time::Duration;

/// For how long it is waited for what is under way.
const STOP: Duration = Duration::from_secs(2);

const AFTER_HELP: &str = "\
The amount is in base units of the account's asset, a whole number with its sign: +2500 if the
holder has paid us, -2500 if we have paid them. An account's settlements are known by their ids for
ever: the same one can be told any number of times and counts once, so if anything was unclear, tell
it again. If no connector runs, the books at rest are opened for it.

Exit codes:
    0  it is in the books, now or since an earlier time
    1  it was refused: no such account, another amount under this id, out of range
    2  wrong usage
    3  the configuration can't be read
    4  it couldn't be done, or it isn't known whether it was: see what is wrong, and tell it again
       with the same id
";

/// What was settled.
#[derive(Debug, Args)]
#[command(after_help = AFTER_HELP)]
pub(in super::super) struct SettleArguments {
    /// The account's name
    account: String,

    /// How much, in base units: +500 if its holder has paid us, -500 if we have paid them
    #[arg(value_name = "±AMOUNT", value_parser = parse_amount, allow_hyphen_values = true)]
    amount: i128,

    /// The settlement's own name, chosen by you: 1 to 64 visible characters, such as the number of the bank's statement
    #[arg(long, value_parser = parse_id)]
    id: SettlementId,

    #[command(flatten)]
    place: Where,
}

/// Settles through the running connector, or in the books at rest.
pub(in super::super) fn settle(arguments: SettleArguments) -> Result<Exit, Failure> {
    let SettleArguments { account, amount, id, place } = arguments;
    let request = Request::Settle { account: account.clone(), amount, id: id.to_string() };
    let settled: Settled = match place.place()?.ask_or_open(&request)? {
        Found::Answer(settled) => settled,
        Found::AtRest(store) => at_rest(store, &account, amount, &id)?,
    };
    let asset = asset(&settled.asset);
    let how = if settled.repeated { "was in the books already" } else { "is in the books" };
    print(format_args!(
        "settlement {} of {amount:+} ({}) with {} {how}; its balance is {} ({})\n",
        settled.id,
        units(amount, &asset, true),
        settled.account,
        settled.balance,
        units(settled.balance, &asset, false)
    ));
    Ok(Exit::Done)
}

/// Takes up the books as a connector would, without letting anybody in.
fn at_rest(books: Books, account: &str, amount: i128, id: &SettlementId) -> Result<Settled, Failure> {
    block_on(async {
        let store = books.open().await?;
        let builder = Connector::builder("private.settle").store(store.clone()).receiver(Undecided);
        let connector = builder.start().await.map_err(|error| Failure::cannot(super::super::store::in_full(&error)))?;
        let settled = match set_up(&connector, &store, account).await {
            Ok(()) => desk::settle(&connector, account, amount, id.as_str()).await.map_err(|refused: Refused| refused.into()),
            Err(failure) => Err(failure),
        };
        // What it has to move is moved, unless payments of which only others know the end keep it waiting.
        let _ = connector.stop(STOP).await;
        settled
    })?
}

/// Makes the account what it was, as the books have it: below zero its balance is the store's business, and an account that isn't configured
/// moves nothing. One that has no row has never been configured; settling finds that it isn't there.
async fn set_up(connector: &Connector, store: &OpenedStore, account: &str) -> Result<(), Failure> {
    let directory = store.directory().await.map_err(|error| Failure::cannot(super::super::store::in_full(&error)))?;
    let Some((id, row)) = directory.accounts.into_iter().find(|(id, row)| id.name() == account && !row.closed) else { return Ok(()) };
    let status = connector.status().await.map_err(|stopped| Failure::cannot(stopped.to_string()))?;
    let Some(known) = status.worker.accounts.iter().find(|known| known.id == id) else { return Ok(()) };
    let config = AccountConfig { credit_limit: row.credit_limit, ..AccountConfig::new(id, known.asset.clone()) };
    connector.add_account(config).await.map_err(|error| Failure::cannot(error.to_string()))
}

/// Payments to the connector itself that are held stay so, until whoever takes them runs again.
#[derive(Debug)]
struct Undecided;

#[async_trait]
impl Receiver for Undecided {
    async fn receive(&self, _: IncomingPayment) -> Result<Fulfillment, Rejection> {
        std::future::pending().await
    }
}

fn parse_amount(text: &str) -> Result<i128, String> {
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    if text.contains(['.', ',', 'e', 'E']) {
        return Err("amounts are whole base units, without a point or exponent: with scale 6, 2.5 of an asset is +2500000".into());
    }
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err("expected a whole number of base units with its sign, such as +2500 or -2500".into());
    }
    if digits == text {
        return Err(format!("say which way: +{text} if the holder has paid us, -{text} if we have paid them"));
    }
    text.parse().map_err(|_| "out of range".into())
}

fn parse_id(text: &str) -> Result<SettlementId, String> {
    text.parse().map_err(|error: ilp_core::InvalidSettlementId| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::parse_amount;

    #[test]
    fn an_amount_is_a_whole_number_with_its_sign() {
        for (text, amount) in [("+500", 500), ("-20", -20), ("+0", 0), ("-170141183460469231731687303715884105728", i128::MIN)] {
            assert_eq!(parse_amount(text), Ok(amount));
        }
        for (text, why) in [
            ("500", "say which way: +500"),
            ("+2.5", "whole base units"),
            ("-1e3", "whole base units"),
            ("+", "a whole number"),
            ("", "a whole number"),
            ("--5", "a whole number"),
            ("+5XRP", "a whole number"),
            ("+170141183460469231731687303715884105728", "out of range"),
        ] {
            assert!(parse_amount(text).unwrap_err().contains(why), "{text}");
        }
    }
}
