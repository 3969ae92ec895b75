//! Packets of the Interledger Protocol (IL-RFC 3) and the Interledger Quoting Protocol (IL-RFC 8) as of 2017.
//!
//! A packet is a type byte, a length, and the contents. [`Packet::decode`] takes exactly one packet; [`ErrorPacket::decode`] the
//! one that CLP carries as a rejection reason.

mod addr_list;
mod error;
mod packet;
mod payment;
mod quote;

pub use addr_list::{AddrList, Addrs};
pub use error::ErrorPacket;
pub use packet::{Packet, PacketType};
pub use payment::Payment;
pub use quote::{ByDestinationRequest, ByDestinationResponse, BySourceRequest, BySourceResponse, LiquidityRequest, LiquidityResponse};
