//! What the targets with programs have in common: times, frames made by hand, and bookkeeping of what a peer may be answered.

use bytes::Bytes;
use ilp_oer::clp::{Body, Dialect, Entry, Extensions, Packet, PacketType, Prepare, Protocol, ProtocolData, Reject, RejectionReason};
use ilp_oer::ilp::{self, AddrList, ErrorPacket};
use ilp_oer::{Addr, Amount, ErrorCode, Fulfillment, Timestamp, TransferId};
use std::collections::BTreeMap;

/// When every program starts: 2017-09-14T13:23:40Z, a little before the times in the vectors.
pub(super) const START: i64 = 1_505_395_420_000;

pub(super) fn at(ms: i64) -> Timestamp {
    Timestamp::from_unix_millis(ms).unwrap()
}

/// A preimage that both sides of a program can make.
pub(super) fn preimage(n: u8) -> Fulfillment {
    Fulfillment::new([n; 32])
}

pub(super) fn transfer_id(n: u8) -> TransferId {
    TransferId::new([n; 16])
}

/// An ILP error as another connector would send it.
pub(super) fn error_packet(data: &[u8]) -> Vec<u8> {
    let data = &data[..data.len().min(ErrorPacket::DATA_MAX)];
    let by = Addr::new("test.somebody").unwrap();
    let code = ErrorCode::F99_APPLICATION_ERROR;
    ErrorPacket { code, name: "Application Error", triggered_by: by, forwarded_by: AddrList::EMPTY, triggered_at: at(START), data }
        .to_vec()
        .unwrap()
}

pub(super) fn payment(destination: &str, amount: u64, data: &[u8]) -> Vec<u8> {
    let account = Addr::new(destination).unwrap();
    ilp::Packet::Payment(ilp::Payment { amount: Amount::new(amount), account, data }).to_vec().unwrap()
}

/// A request or answer of some type with one entry.
pub(super) fn with_entry(kind: PacketType, request_id: u32, dialect: Dialect, name: &str, id: u8, data: &[u8]) -> Bytes {
    let entries = [entry(dialect, name, id, data)];
    let data = ProtocolData::entries(dialect, &entries);
    bare(request_id, if kind == PacketType::Response { Body::Response(data) } else { Body::Message(data) })
}

pub(super) fn bare(request_id: u32, body: Body<'_>) -> Bytes {
    Packet { request_id, body }.to_vec().unwrap().into()
}

pub(super) fn prepare(
    request_id: u32,
    dialect: Dialect,
    transfer_id: TransferId,
    amount: u64,
    preimage: Fulfillment,
    expires: i64,
    packet: &[u8],
) -> Bytes {
    let entries = [entry(dialect, "ilp", 1, packet)];
    let data = ProtocolData::entries(dialect, &entries);
    let (amount, condition) = (Amount::new(amount), preimage.condition());
    bare(request_id, Body::Prepare(Prepare { transfer_id, amount, condition, expires_at: at(expires), data }))
}

pub(super) fn entry<'a>(dialect: Dialect, name: &'a str, id: u8, data: &'a [u8]) -> Entry<'a> {
    let protocol = if dialect == Dialect::Named { Protocol::Name(name) } else { Protocol::Id(id) };
    Entry { protocol, content_type: 0, data }
}

pub(super) fn fulfill(request_id: u32, transfer_id: TransferId, fulfillment: Fulfillment) -> Bytes {
    bare(request_id, Body::Fulfill(ilp_oer::clp::Fulfill { transfer_id, fulfillment, data: ProtocolData::EMPTY }))
}

pub(super) fn reject(request_id: u32, transfer_id: TransferId, data: &[u8]) -> Bytes {
    let packet = error_packet(data);
    let reason = RejectionReason::from_bytes(&packet).unwrap();
    bare(request_id, Body::Reject(Reject { transfer_id, reason, data: ProtocolData::EMPTY }))
}

/// An answer of some kind, good or not.
pub(super) fn answer(request_id: u32, dialect: Dialect, kind: u16, data: &[u8]) -> Bytes {
    match kind % 5 {
        0 | 1 => bare(request_id, Body::Ack(ProtocolData::EMPTY)),
        2 => with_entry(PacketType::Response, request_id, dialect, "setup", 0, data),
        3 => {
            let packet = error_packet(data);
            bare(request_id, Body::Error { reason: RejectionReason::from_bytes(&packet).unwrap(), data: ProtocolData::EMPTY })
        }
        _ => [&[2][..], &request_id.to_be_bytes(), &crate::tree::length(data.len()), data].concat().into(),
    }
}

/// Requests of one side and the other side's answers to them: never more answers than requests under an id.
#[derive(Debug, Default)]
pub(super) struct Answers {
    open: BTreeMap<u32, usize>,
}

impl Answers {
    /// A request was read.
    pub(super) fn asked(&mut self, id: u32) {
        *self.open.entry(id).or_default() += 1;
    }

    /// It was answered.
    pub(super) fn answered(&mut self, id: u32) {
        let open = self.open.get_mut(&id).filter(|open| **open > 0);
        *open.unwrap_or_else(|| panic!("an answer to request {id}, which nobody has sent or which had its answer")) -= 1;
    }
}

/// What a session with these settings makes of a frame, judged by the codec alone.
pub(super) fn judge(bytes: &[u8], dialects: &[Dialect], extensions: Extensions, entries_max: usize) -> Option<(u32, bool)> {
    dialects.iter().find_map(|dialect| {
        let packet = Packet::decode(bytes, *dialect, extensions).ok()?;
        let few = packet.body.data().len() <= entries_max;
        few.then(|| (packet.request_id, packet.body.kind().is_answer()))
    })
}

/// Reads a frame of ours, which must be good whatever came in before, and short enough for peers of 2017 if there is one.
pub(super) fn read_ours(frame: &[u8], dialect: Dialect, short: bool) -> Packet<'_> {
    let packet =
        Packet::decode(frame, dialect, Extensions::ALL).unwrap_or_else(|error| panic!("we sent what can't be read: {error}: {frame:02x?}"));
    if let Body::Error { reason, .. } | Body::Reject(Reject { reason, .. }) = packet.body {
        assert!(
            !short || reason.encoded_len() <= 2 + ErrorPacket::SHORT_CONTENTS_MAX,
            "a peer of 2017 can't read this error: {frame:02x?}"
        );
    }
    packet
}
