//! Owned forms of the packets with serde, for JSON.
