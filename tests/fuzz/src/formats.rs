//! The formats of packets, sub-protocols and programs.

use crate::shape::Shape::{self, Any, Counted, Fixed, List, Prefixed, Prefixed2017, Rest, Switch, Uint, Words};
use crate::tree::Kind;

/// A CLP packet with named entries.
pub const CLP: &[Shape] = &[Switch(clp_named)];
/// A CLP packet with numbered entries.
pub const CLP_SEED: &[Shape] = &[Switch(clp_seed)];
/// An ILP or ILQP packet.
pub const ILP: &[Shape] = &[Switch(ilp)];
/// A request of `setup`.
pub const SETUP: &[Shape] = &[Switch(setup)];
/// `info`, `balance`, `vouch`.
pub const INFO: &[Shape] = &[Switch(info)];
/// An answer of `liquidity`.
pub const LIQUIDITY: &[Shape] = &[Uint(1), Fixed(16), Fixed(16), Fixed(16), Fixed(16), Uint(8), Uint(8)];
/// A byte that says which dialect or format, and a CLP packet.
pub const CLP_CHOICE: &[Shape] = &[Uint(1), Any(&[CLP, CLP_SEED])];
/// A byte that says what it is, and the data of a sub-protocol, or a list of entries.
pub const SUB_CHOICE: &[Shape] = &[Uint(1), Any(&[SETUP, INFO, LIQUIDITY, ILP, NAMED_DATA, SEED_DATA])];
/// A byte that says what it is, and text.
pub const TEXT_CHOICE: &[Shape] = &[Uint(1), Words];
/// Text alone.
pub const TEXT: &[Shape] = &[Words];
/// A program of operations, see [`Program`](crate::program::Program): a byte for its setting, then operation, argument, number, bytes.
pub const PROGRAM: &[Shape] = &[Uint(1), List(&[Uint(1), Uint(1), Uint(2), Prefixed(&[Any(&[CLP, CLP_SEED, ILP, SETUP, INFO])])])];

const NAMED: &[Shape] = &[Prefixed(&[Rest(Kind::Text)]), Uint(1), Prefixed(&[Any(&[ILP, SETUP, INFO, LIQUIDITY])])];
const NUMBERED: &[Shape] = &[Uint(1), Prefixed(&[Any(&[ILP, SETUP, INFO, LIQUIDITY])])];
const NAMED_DATA: &[Shape] = &[Counted(NAMED)];
const SEED_DATA: &[Shape] = &[Counted(NUMBERED)];
const TIME: Shape = Prefixed(&[Rest(Kind::Time)]);
const ADDRESS: Shape = Prefixed(&[Rest(Kind::Address)]);
const OCTETS: Shape = Prefixed(&[Rest(Kind::Octets)]);
const TEXT_FIELD: Shape = Prefixed(&[Rest(Kind::Text)]);

fn clp_named(kind: u8) -> &'static [Shape] {
    match kind {
        1 | 2 | 7 => &[Uint(4), Prefixed(NAMED_DATA)],
        3 => &[Uint(4), Prefixed(&[Switch(ilp), Counted(NAMED)])],
        4 => &[Uint(4), Prefixed(&[Fixed(16), Uint(8), Fixed(32), TIME, Counted(NAMED)])],
        5 => &[Uint(4), Prefixed(&[Fixed(16), Fixed(32), Counted(NAMED)])],
        6 => &[Uint(4), Prefixed(&[Fixed(16), Switch(ilp), Counted(NAMED)])],
        8 => &[Uint(4), Prefixed(&[Fixed(16), Uint(8), Switch(named_presence)])],
        _ => &[Uint(4), Prefixed(&[Rest(Kind::Raw)])],
    }
}

fn clp_seed(kind: u8) -> &'static [Shape] {
    match kind {
        1 | 2 | 7 => &[Uint(4), Prefixed(SEED_DATA)],
        3 => &[Uint(4), Prefixed(&[Switch(ilp), Counted(NUMBERED)])],
        4 => &[Uint(4), Prefixed(&[Fixed(16), Uint(8), Fixed(32), TIME, Counted(NUMBERED)])],
        5 => &[Uint(4), Prefixed(&[Fixed(16), Fixed(32), Counted(NUMBERED)])],
        6 => &[Uint(4), Prefixed(&[Fixed(16), Switch(ilp), Counted(NUMBERED)])],
        8 => &[Uint(4), Prefixed(&[Fixed(16), Uint(8), Switch(seed_presence)])],
        _ => &[Uint(4), Prefixed(&[Rest(Kind::Raw)])],
    }
}

fn named_presence(present: u8) -> &'static [Shape] {
    if present == 0 { NAMED_DATA } else { &[TIME, Counted(NAMED)] }
}

fn seed_presence(present: u8) -> &'static [Shape] {
    if present == 0 { SEED_DATA } else { &[TIME, Counted(NUMBERED)] }
}

fn ilp(kind: u8) -> &'static [Shape] {
    match kind {
        1 => &[Prefixed(&[Uint(8), ADDRESS, OCTETS, Uint(1)])],
        2 => &[Prefixed(&[ADDRESS, Uint(4), Uint(1)])],
        3 => &[Prefixed(&[Counted(&[Uint(8), Uint(8)]), ADDRESS, Uint(4), TIME, Uint(1)])],
        4 | 6 => &[Prefixed(&[ADDRESS, Uint(8), Uint(4), Uint(1)])],
        5 | 7 => &[Prefixed(&[Uint(8), Uint(4), Uint(1)])],
        8 => &[Prefixed(&[Fixed(3), TEXT_FIELD, ADDRESS, Counted(&[ADDRESS]), TIME, OCTETS, Uint(1)])],
        _ => &[Prefixed(&[Rest(Kind::Raw)])],
    }
}

fn setup(operation: u8) -> &'static [Shape] {
    match operation {
        1 => &[OCTETS, OCTETS, OCTETS],
        2 => &[Counted(&[Uint(1), TEXT_FIELD])],
        3 => &[TEXT_FIELD, TEXT_FIELD, TEXT_FIELD, OCTETS],
        _ => &[Rest(Kind::Raw)],
    }
}

fn info(kind: u8) -> &'static [Shape] {
    match kind {
        0 => &[],
        1..=3 => &[Prefixed2017(&[Rest(Kind::Address)])],
        _ => &[Rest(Kind::Raw)],
    }
}
