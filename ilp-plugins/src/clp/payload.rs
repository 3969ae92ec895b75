//! Sub-protocols: what a first entry is called in each dialect.

use ilp_clp::ProtocolBuffer;
use ilp_core::link::{Payload, SubProtocol};
use ilp_oer::clp::{Dialect, Entry, Protocol};
use ilp_oer::sub::names;

/// The first entry, which alone decides what a request is.
pub(super) fn payload(data: &ProtocolBuffer) -> Payload {
    match data.first() {
        Some(entry) => Payload { protocol: sub_protocol(entry.protocol), data: data.as_bytes().slice_ref(entry.data) },
        None => Payload::EMPTY,
    }
}

fn sub_protocol(protocol: Protocol<'_>) -> SubProtocol {
    match protocol {
        Protocol::Name(names::ILP) | Protocol::Id(names::ILP_ID) => SubProtocol::Ilp,
        Protocol::Name(names::PAYMENT) | Protocol::Id(names::PAYMENT_ID) => SubProtocol::Payment,
        Protocol::Name(names::ILQP) | Protocol::Id(names::ILQP_ID) => SubProtocol::Ilqp,
        Protocol::Name(names::RECONCILE) | Protocol::Id(names::RECONCILE_ID) => SubProtocol::Reconcile,
        Protocol::Name(names::LIQUIDITY) | Protocol::Id(names::LIQUIDITY_ID) => SubProtocol::Liquidity,
        Protocol::Name(names::CCP) | Protocol::Id(names::CCP_ID) => SubProtocol::Ccp,
        Protocol::Name(names::INFO) => SubProtocol::Info,
        Protocol::Name(names::BALANCE) => SubProtocol::Balance,
        Protocol::Name(names::VOUCH) => SubProtocol::Vouch,
        Protocol::Name(_) | Protocol::Id(_) => SubProtocol::Other,
    }
}

/// An entry of a sub-protocol; `None` if the dialect has no word for it.
pub(super) fn entry(dialect: Dialect, protocol: SubProtocol, data: &[u8]) -> Option<Entry<'_>> {
    let (name, number) = match protocol {
        SubProtocol::Ilp => (names::ILP, Some(names::ILP_ID)),
        SubProtocol::Payment => (names::PAYMENT, Some(names::PAYMENT_ID)),
        SubProtocol::Ilqp => (names::ILQP, Some(names::ILQP_ID)),
        SubProtocol::Reconcile => (names::RECONCILE, Some(names::RECONCILE_ID)),
        SubProtocol::Liquidity => (names::LIQUIDITY, Some(names::LIQUIDITY_ID)),
        SubProtocol::Ccp => (names::CCP, Some(names::CCP_ID)),
        SubProtocol::Info => (names::INFO, None),
        SubProtocol::Balance => (names::BALANCE, None),
        SubProtocol::Vouch => (names::VOUCH, None),
        SubProtocol::None | SubProtocol::Other => return None,
    };
    match dialect {
        Dialect::Named => Some(Entry::named(name, names::OCTETS, data)),
        Dialect::Seed => number.map(|number| Entry::numbered(number, data)),
    }
}
