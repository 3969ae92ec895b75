//! Packets of the Common Ledger Protocol, in both dialects.
//!
//! A packet is a type byte, a request id (`u32`), a length, and the contents. Ack, Response and Error answer the request of the
//! same id; the others are requests. One packet is one message of the transport.
//!
//! The dialects differ in the entries of protocol data only. Nothing in the bytes tells them apart, nor from other protocols of
//! this family, so whoever decodes must know.

mod data;
mod packet;
mod reason;
mod transfer;

pub use data::{Dialect, Entries, Entry, Protocol, ProtocolData};
pub use packet::{Body, Extensions, Packet, PacketType};
pub use reason::RejectionReason;
pub use transfer::{Fulfill, Prepare, Reject, Transfer};
