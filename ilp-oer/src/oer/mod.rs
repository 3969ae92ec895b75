//! Octet Encoding Rules, as far as Interledger uses them: what every codec of this crate is built from.
//!
//! | | |
//! |---|---|
//! | fixed unsigned integer | big-endian |
//! | length | below 128 one byte; otherwise `0x80 + n` and `n` bytes, the fewest that hold it |
//! | octets, text | length, then the bytes; those of fixed size have no length |
//! | count | length of the number, then the number in the fewest bytes, at least one |

mod reader;
#[cfg(test)]
mod tests;
mod writer;

pub use reader::Reader;
pub use writer::{count_len, length_len, octets_len, put_count, put_length, put_octets, put_timestamp};

pub(crate) use writer::{check_max, check_text, length_2017_len, put_length_2017, room, to_vec};
