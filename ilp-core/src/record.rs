//! Records: what a batch makes durable. A worker's state is what its records say, applied in order.
//!
//! A record is one byte of kind and fixed-size fields, big-endian; texts and packets follow a u32 length. Every record that moves money
//! names the accounts and amounts itself, so that it can be applied even where the transfer's own record lies before the snapshot.

use crate::account::AccountId;
use crate::link::ClaimKind;
use crate::store::MoveChange;
use crate::worker::{Doubts, Tally};
use bytes::{Buf, BufMut};
use ilp_oer::TransferId;

/// An account's number in the records of one slot: given out in order, never used twice.
pub(crate) type AccountNo = u32;

/// The number that stands for the connector itself, as sender or receiver.
pub(crate) const OWN: AccountNo = AccountNo::MAX;

/// An amount at an account.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Leg {
    pub(crate) account: AccountNo,
    pub(crate) amount: u64,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Record<'a> {
    /// A batch begins: when, by the connector's clock, and how many events lie before it. Only the first record of a batch.
    BatchBegun { at: i64, events: u64 },
    /// The account exists from here on, in an asset.
    AccountOpened { no: AccountNo, id: AccountId, asset: &'a str },
    /// The slot has books of an account whose home is another slot.
    AccountKnown { no: AccountNo, id: AccountId, asset: &'a str },
    /// It has none any more: the account was closed at its home, and nothing of it was here.
    AccountLeft { no: AccountNo, id: AccountId },
    /// The account exists no more; what was left went to the connector's own account.
    AccountClosed { no: AccountNo, id: AccountId, written_off: i128 },
    /// A payment is held: incoming amount taken, outgoing transfer fixed in every byte that leaves.
    Prepared(Prepared<'a>),
    /// The outgoing side is paid, the incoming side owes its answer.
    Fulfilled { key: TransferId, from: Leg, to: Leg, fulfillment: [u8; 32] },
    /// The incoming side has its money back and is owed its answer.
    Rejected { key: TransferId, from: Leg, reason: &'a [u8] },
    /// The incoming side has our answer.
    AnswerAcked { key: TransferId },
    /// The incoming side refused our fulfill. `charged`: it had it in time, so its account stays charged; else the own account takes the loss.
    AnswerRefused { key: TransferId, from: Leg, charged: bool },
    /// The incoming side never answered our fulfill; it stays charged.
    Unconfirmed { key: TransferId, from: Leg },
    /// An incoming unconditional transfer.
    Charged { from: Leg, id: TransferId, digest: [u8; 16], expires_at: i64 },
    /// The account's peer states something about a ledger account.
    Claimed { no: AccountNo, kind: ClaimKind, subject: &'a str, proof: &'a [u8] },
    /// Something was settled outside of the connector: what it owes the holder changes by so much. An id counts once for an account.
    Settled { no: AccountNo, id: &'a str, amount: i128 },
    /// The embedder has all events up to this one.
    EventsAcked { through: u64 },
    /// The slot is about to move units of the account; what it gives back isn't hot any more.
    MoveBegun { no: AccountNo, n: u64, change: MoveChange },
    /// The store has decided the move: the slot has so much more by it, or less.
    MoveEnded { no: AccountNo, n: u64, moved: i128 },
    /// A snapshot begins: what follows and everything before is covered when it ends. Account numbers below `numbers` are used up.
    SnapshotBegun { numbers: AccountNo, events_acked: u64 },
    /// Part of a snapshot: an account as it stands.
    Account(AccountState<'a>),
    /// Part of a snapshot: a settlement that the account's sums have in them.
    SettlementKnown { no: AccountNo, id: &'a str, amount: i128 },
    /// Part of a snapshot: the connector's own account in an asset. Comes after all accounts.
    Own { asset: &'a str, balance: i128, closed_settlements: i128, closed_moves: i128 },
    /// Part of a snapshot: a transfer as it stands.
    Transfer(TransferState<'a>),
    /// The snapshot is whole: the log before the batch in which it began isn't needed any more.
    SnapshotEnded,
}

/// The first record of a batch.
pub(crate) struct BatchBegun;

impl BatchBegun {
    /// Sets the time in a batch that begins with the record.
    pub(crate) fn set_time(blob: &mut [u8], at: i64) {
        if let Some(place) = blob.get_mut(1..9) {
            place.copy_from_slice(&at.to_be_bytes());
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Prepared<'a> {
    /// Ours on the outgoing side, and the transfer's name in all later records.
    pub(crate) key: TransferId,
    pub(crate) from: Leg,
    pub(crate) incoming_id: TransferId,
    pub(crate) digest: [u8; 16],
    pub(crate) incoming_expires_at: i64,
    pub(crate) to: Leg,
    pub(crate) expires_at: i64,
    pub(crate) condition: [u8; 32],
    pub(crate) packet: &'a [u8],
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Sums {
    pub(crate) incoming_prepared: i128,
    pub(crate) incoming_fulfilled: i128,
    pub(crate) incoming_unconditional: i128,
    pub(crate) outgoing_fulfilled: i128,
    pub(crate) outgoing_unconditional: i128,
    pub(crate) settlements: i128,
    /// Drawn from the cold balance, less what was given back.
    pub(crate) moved: i128,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct AccountState<'a> {
    pub(crate) no: AccountNo,
    pub(crate) id: AccountId,
    pub(crate) asset: &'a str,
    pub(crate) sums: Sums,
    pub(crate) doubts: Doubts,
    /// The number of the slot's last move, and what it does if the store hasn't answered yet.
    pub(crate) last_move: u64,
    pub(crate) moving: Option<MoveChange>,
}

impl<'a> AccountState<'a> {
    /// Of an account with which nothing has happened.
    pub(crate) fn new(no: AccountNo, id: AccountId, asset: &'a str) -> Self {
        Self { no, id, asset, sums: Sums::default(), doubts: Doubts::default(), last_move: 0, moving: None }
    }
}

/// Where a transfer stands, beside what its `Prepared` record says. `None` for what is only remembered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TransferState<'a> {
    pub(crate) prepared: Prepared<'a>,
    /// 0 held, 1 fulfilled, 2 rejected.
    pub(crate) outcome: u8,
    pub(crate) fulfillment: [u8; 32],
    pub(crate) reason: &'a [u8],
    /// The answer to the incoming side is still owed.
    pub(crate) owed: bool,
}

/// The log is damaged or of another version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the log's record at byte {offset} of its batch can't be read")]
pub struct CorruptRecord {
    /// From the start of the batch.
    pub offset: usize,
}

impl<'a> Record<'a> {
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Self::BatchBegun { at, events } => {
                out.put_u8(16);
                out.put_i64(*at);
                out.put_u64(*events);
            }
            Self::AccountOpened { no, id, asset } => {
                out.put_u8(1);
                out.put_u32(*no);
                put_bytes(out, id.as_bytes());
                put_bytes(out, asset.as_bytes());
            }
            Self::AccountClosed { no, id, written_off } => {
                out.put_u8(2);
                out.put_u32(*no);
                put_bytes(out, id.as_bytes());
                out.put_i128(*written_off);
            }
            Self::AccountKnown { no, id, asset } => {
                out.put_u8(24);
                out.put_u32(*no);
                put_bytes(out, id.as_bytes());
                put_bytes(out, asset.as_bytes());
            }
            Self::AccountLeft { no, id } => {
                out.put_u8(25);
                out.put_u32(*no);
                put_bytes(out, id.as_bytes());
            }
            Self::Prepared(prepared) => {
                out.put_u8(3);
                prepared.encode(out);
            }
            Self::Fulfilled { key, from, to, fulfillment } => {
                out.put_u8(4);
                out.put_slice(key.as_bytes());
                put_leg(out, *from);
                put_leg(out, *to);
                out.put_slice(fulfillment);
            }
            Self::Rejected { key, from, reason } => {
                out.put_u8(5);
                out.put_slice(key.as_bytes());
                put_leg(out, *from);
                put_bytes(out, reason);
            }
            Self::AnswerAcked { key } => {
                out.put_u8(6);
                out.put_slice(key.as_bytes());
            }
            Self::AnswerRefused { key, from, charged } => {
                out.put_u8(7);
                out.put_slice(key.as_bytes());
                put_leg(out, *from);
                out.put_u8(u8::from(*charged));
            }
            Self::Unconfirmed { key, from } => {
                out.put_u8(8);
                out.put_slice(key.as_bytes());
                put_leg(out, *from);
            }
            Self::Charged { from, id, digest, expires_at } => {
                out.put_u8(9);
                put_leg(out, *from);
                out.put_slice(id.as_bytes());
                out.put_slice(digest);
                out.put_i64(*expires_at);
            }
            Self::SnapshotBegun { numbers, events_acked } => {
                out.put_u8(10);
                out.put_u32(*numbers);
                out.put_u64(*events_acked);
            }
            Self::Account(state) => {
                out.put_u8(22);
                out.put_u32(state.no);
                put_bytes(out, state.id.as_bytes());
                put_bytes(out, state.asset.as_bytes());
                let s = &state.sums;
                for sum in [
                    s.incoming_prepared,
                    s.incoming_fulfilled,
                    s.incoming_unconditional,
                    s.outgoing_fulfilled,
                    s.outgoing_unconditional,
                    s.settlements,
                    s.moved,
                ] {
                    out.put_i128(sum);
                }
                let d = &state.doubts;
                for tally in [d.disputed, d.unconfirmed, d.lost] {
                    out.put_u64(tally.count);
                    out.put_i128(tally.amount);
                }
                out.put_u64(state.last_move);
                match &state.moving {
                    Some(change) => put_change(out, change),
                    None => out.put_u8(0),
                }
            }
            Self::Own { asset, balance, closed_settlements, closed_moves } => {
                out.put_u8(23);
                put_bytes(out, asset.as_bytes());
                out.put_i128(*balance);
                out.put_i128(*closed_settlements);
                out.put_i128(*closed_moves);
            }
            Self::MoveBegun { no, n, change } => {
                out.put_u8(20);
                out.put_u32(*no);
                out.put_u64(*n);
                put_change(out, change);
            }
            Self::MoveEnded { no, n, moved } => {
                out.put_u8(21);
                out.put_u32(*no);
                out.put_u64(*n);
                out.put_i128(*moved);
            }
            Self::Transfer(state) => {
                out.put_u8(13);
                state.prepared.encode(out);
                out.put_u8(state.outcome);
                out.put_slice(&state.fulfillment);
                put_bytes(out, state.reason);
                out.put_u8(u8::from(state.owed));
            }
            Self::SnapshotEnded => out.put_u8(14),
            Self::Settled { no, id, amount } => {
                out.put_u8(17);
                put_settlement(out, *no, id, *amount);
            }
            Self::SettlementKnown { no, id, amount } => {
                out.put_u8(18);
                put_settlement(out, *no, id, *amount);
            }
            Self::EventsAcked { through } => {
                out.put_u8(19);
                out.put_u64(*through);
            }
            Self::Claimed { no, kind, subject, proof } => {
                out.put_u8(15);
                out.put_u32(*no);
                out.put_u8(match kind {
                    ClaimKind::Mine => 1,
                    ClaimKind::ReachMe => 2,
                    ClaimKind::RollBack => 3,
                });
                put_bytes(out, subject.as_bytes());
                put_bytes(out, proof);
            }
        }
    }

    /// The records of one batch, in order.
    pub(crate) fn decode_all(batch: &'a [u8]) -> impl Iterator<Item = Result<Self, CorruptRecord>> {
        let mut rest = batch;
        std::iter::from_fn(move || {
            if rest.is_empty() {
                return None;
            }
            let offset = batch.len().saturating_sub(rest.len());
            let record = Self::decode(&mut rest);
            if record.is_none() {
                rest = &[];
            }
            Some(record.ok_or(CorruptRecord { offset }))
        })
    }

    fn decode(rest: &mut &'a [u8]) -> Option<Self> {
        Some(match rest.try_get_u8().ok()? {
            1 => Self::AccountOpened { no: rest.try_get_u32().ok()?, id: AccountId::from_bytes(get_bytes(rest)?)?, asset: get_text(rest)? },
            2 => {
                let (no, id) = (rest.try_get_u32().ok()?, AccountId::from_bytes(get_bytes(rest)?)?);
                Self::AccountClosed { no, id, written_off: rest.try_get_i128().ok()? }
            }
            3 => Self::Prepared(Prepared::decode(rest)?),
            4 => Self::Fulfilled { key: get_id(rest)?, from: get_leg(rest)?, to: get_leg(rest)?, fulfillment: get_array(rest)? },
            5 => Self::Rejected { key: get_id(rest)?, from: get_leg(rest)?, reason: get_bytes(rest)? },
            6 => Self::AnswerAcked { key: get_id(rest)? },
            7 => Self::AnswerRefused { key: get_id(rest)?, from: get_leg(rest)?, charged: get_bool(rest)? },
            8 => Self::Unconfirmed { key: get_id(rest)?, from: get_leg(rest)? },
            9 => Self::Charged { from: get_leg(rest)?, id: get_id(rest)?, digest: get_array(rest)?, expires_at: rest.try_get_i64().ok()? },
            10 => Self::SnapshotBegun { numbers: rest.try_get_u32().ok()?, events_acked: rest.try_get_u64().ok()? },
            // 11 and 12 are of the time before there were moves.
            kind @ (11 | 22) => {
                let (no, id) = (rest.try_get_u32().ok()?, AccountId::from_bytes(get_bytes(rest)?)?);
                let asset = get_text(rest)?;
                let mut sum = || rest.try_get_i128().ok();
                let sums = Sums {
                    incoming_prepared: sum()?,
                    incoming_fulfilled: sum()?,
                    incoming_unconditional: sum()?,
                    outgoing_fulfilled: sum()?,
                    outgoing_unconditional: sum()?,
                    settlements: sum()?,
                    moved: if kind == 22 { sum()? } else { 0 },
                };
                let mut tally = || Some(Tally { count: rest.try_get_u64().ok()?, amount: rest.try_get_i128().ok()? });
                let doubts = Doubts { disputed: tally()?, unconfirmed: tally()?, lost: tally()? };
                let (last_move, moving) = match kind {
                    22 => (rest.try_get_u64().ok()?, get_change(rest)?),
                    _ => (0, None),
                };
                Self::Account(AccountState { no, id, asset, sums, doubts, last_move, moving })
            }
            kind @ (12 | 23) => {
                let (asset, balance) = (get_text(rest)?, rest.try_get_i128().ok()?);
                let closed_settlements = rest.try_get_i128().ok()?;
                let closed_moves = if kind == 23 { rest.try_get_i128().ok()? } else { 0 };
                Self::Own { asset, balance, closed_settlements, closed_moves }
            }
            13 => Self::Transfer(TransferState {
                prepared: Prepared::decode(rest)?,
                outcome: rest.try_get_u8().ok()?,
                fulfillment: get_array(rest)?,
                reason: get_bytes(rest)?,
                owed: get_bool(rest)?,
            }),
            14 => Self::SnapshotEnded,
            15 => {
                let no = rest.try_get_u32().ok()?;
                let kind = match rest.try_get_u8().ok()? {
                    1 => ClaimKind::Mine,
                    2 => ClaimKind::ReachMe,
                    3 => ClaimKind::RollBack,
                    _ => return None,
                };
                Self::Claimed { no, kind, subject: get_text(rest)?, proof: get_bytes(rest)? }
            }
            16 => Self::BatchBegun { at: rest.try_get_i64().ok()?, events: rest.try_get_u64().ok()? },
            17 => Self::Settled { no: rest.try_get_u32().ok()?, id: get_text(rest)?, amount: rest.try_get_i128().ok()? },
            18 => Self::SettlementKnown { no: rest.try_get_u32().ok()?, id: get_text(rest)?, amount: rest.try_get_i128().ok()? },
            19 => Self::EventsAcked { through: rest.try_get_u64().ok()? },
            20 => Self::MoveBegun { no: rest.try_get_u32().ok()?, n: rest.try_get_u64().ok()?, change: get_change(rest)?? },
            21 => Self::MoveEnded { no: rest.try_get_u32().ok()?, n: rest.try_get_u64().ok()?, moved: rest.try_get_i128().ok()? },
            24 => Self::AccountKnown { no: rest.try_get_u32().ok()?, id: AccountId::from_bytes(get_bytes(rest)?)?, asset: get_text(rest)? },
            25 => Self::AccountLeft { no: rest.try_get_u32().ok()?, id: AccountId::from_bytes(get_bytes(rest)?)? },
            _ => return None,
        })
    }
}

impl<'a> Prepared<'a> {
    fn encode(&self, out: &mut Vec<u8>) {
        out.put_slice(self.key.as_bytes());
        put_leg(out, self.from);
        out.put_slice(self.incoming_id.as_bytes());
        out.put_slice(&self.digest);
        out.put_i64(self.incoming_expires_at);
        put_leg(out, self.to);
        out.put_i64(self.expires_at);
        out.put_slice(&self.condition);
        put_bytes(out, self.packet);
    }

    fn decode(rest: &mut &'a [u8]) -> Option<Self> {
        Some(Self {
            key: get_id(rest)?,
            from: get_leg(rest)?,
            incoming_id: get_id(rest)?,
            digest: get_array(rest)?,
            incoming_expires_at: rest.try_get_i64().ok()?,
            to: get_leg(rest)?,
            expires_at: rest.try_get_i64().ok()?,
            condition: get_array(rest)?,
            packet: get_bytes(rest)?,
        })
    }
}

fn put_settlement(out: &mut Vec<u8>, no: AccountNo, id: &str, amount: i128) {
    out.put_u32(no);
    put_bytes(out, id.as_bytes());
    out.put_i128(amount);
}

fn put_change(out: &mut Vec<u8>, change: &MoveChange) {
    match change {
        MoveChange::Draw { needed, least, share } => {
            out.put_u8(1);
            out.put_i128(*needed);
            out.put_i128(*least);
            out.put_u32(*share);
        }
        MoveChange::Give { amount } => {
            out.put_u8(2);
            out.put_i128(*amount);
        }
        MoveChange::Close => out.put_u8(3),
    }
}

fn get_change(rest: &mut &[u8]) -> Option<Option<MoveChange>> {
    Some(match rest.try_get_u8().ok()? {
        0 => None,
        1 => {
            let (needed, least) = (rest.try_get_i128().ok()?, rest.try_get_i128().ok()?);
            Some(MoveChange::Draw { needed, least, share: rest.try_get_u32().ok()? })
        }
        2 => Some(MoveChange::Give { amount: rest.try_get_i128().ok()? }),
        3 => Some(MoveChange::Close),
        _ => return None,
    })
}

fn put_leg(out: &mut Vec<u8>, leg: Leg) {
    out.put_u32(leg.account);
    out.put_u64(leg.amount);
}

/// Nothing here is longer than a frame, so the length always fits; were it not to, the record would be cut and refused on reading.
fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    out.put_u32(u32::try_from(bytes.len()).unwrap_or(u32::MAX));
    out.put_slice(bytes);
}

fn get_leg(rest: &mut &[u8]) -> Option<Leg> {
    Some(Leg { account: rest.try_get_u32().ok()?, amount: rest.try_get_u64().ok()? })
}

fn get_array<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
    let (head, tail) = rest.split_first_chunk::<N>()?;
    *rest = tail;
    Some(*head)
}

fn get_id(rest: &mut &[u8]) -> Option<TransferId> {
    get_array(rest).map(TransferId::new)
}

fn get_bytes<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let len = usize::try_from(rest.try_get_u32().ok()?).ok()?;
    let (head, tail) = rest.split_at_checked(len)?;
    *rest = tail;
    Some(head)
}

fn get_text<'a>(rest: &mut &'a [u8]) -> Option<&'a str> {
    std::str::from_utf8(get_bytes(rest)?).ok()
}

fn get_bool(rest: &mut &[u8]) -> Option<bool> {
    match rest.try_get_u8().ok()? {
        0 => Some(false),
        1 => Some(true),
        _ => None,
    }
}
