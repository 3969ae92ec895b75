//! What commands print and sockets answer: the same numbers as JSON and as tables.

mod audit;
mod copies;
mod explain;
mod places;
mod status;

pub use audit::{AccountReport, AssetReport, AuditReport};
pub use copies::Copied;
pub use explain::{Explanation, TransferReport};
pub(crate) use places::together;
pub use places::{BalancesReport, HotReport, HotSetReport, OwnedReport, PlacesReport};
pub use status::{ConnectionReport, HeldReport, StatusReport, StoreReport};

use ilp_core::Asset;

/// An asset as reports write it, `XRP/6`, read back.
pub(super) fn asset(text: &str) -> Asset {
    let (code, scale) = text.rsplit_once('/').unwrap_or((text, "0"));
    Asset::new(code, scale.parse().unwrap_or(0))
}

/// An amount in its asset's own unit, or a dash.
fn units_or_dash(amount: Option<i128>, asset: &Asset) -> String {
    amount.map_or_else(|| "-".to_owned(), |amount| crate::show::units(amount, asset, false))
}
