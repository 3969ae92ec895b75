//! Writing: lengths beforehand, then each field once.

use super::reader::is_text;
use crate::error::{EncodeError, EncodeErrorReason};
use crate::types::Timestamp;
use bytes::BufMut;

/// How many bytes [`put_length`] writes.
#[inline]
pub const fn length_len(length: usize) -> usize {
    if length < 128 { 1 } else { 1 + uint_len(length) }
}

/// How many bytes [`put_octets`] writes for so many octets.
#[inline]
pub const fn octets_len(length: usize) -> usize {
    length_len(length).saturating_add(length)
}

/// How many bytes [`put_count`] writes.
#[inline]
pub const fn count_len(count: usize) -> usize {
    1 + uint_len(count)
}

/// Writes a length. Panics, as all of these do, if `out` has no room: ask [`BufMut::remaining_mut`] first.
#[inline]
pub fn put_length(length: usize, out: &mut impl BufMut) {
    match u8::try_from(length) {
        Ok(short @ 0..=0x7f) => out.put_u8(short),
        _ => {
            out.put_u8(0x80 | small(uint_len(length)));
            out.put_uint(wide(length), uint_len(length));
        }
    }
}

/// Writes octets, or text, with their length in front.
#[inline]
pub fn put_octets(octets: &[u8], out: &mut impl BufMut) {
    put_length(octets.len(), out);
    out.put_slice(octets);
}

/// Writes a count of elements.
#[inline]
pub fn put_count(count: usize, out: &mut impl BufMut) {
    out.put_u8(small(uint_len(count)));
    out.put_uint(wide(count), uint_len(count));
}

/// Writes a time with its length in front: 20 bytes.
#[inline]
pub fn put_timestamp(time: Timestamp, out: &mut impl BufMut) {
    put_octets(&time.write_wire(), out);
}

/// How many bytes [`put_length_2017`] writes.
pub(crate) const fn length_2017_len(length: usize) -> usize {
    if length < 128 || length > 0xffff { length_len(length) } else { 3 }
}

/// Writes a length as 2017's sub-protocols do: from 128 up in two bytes, even when one would do.
pub(crate) fn put_length_2017(length: usize, out: &mut impl BufMut) {
    match u16::try_from(length) {
        Ok(long @ 0x80..) => {
            out.put_u8(0x82);
            out.put_u16(long);
        }
        _ => put_length(length, out),
    }
}

/// Refuses an output without room for `needed` bytes, so that nothing is written by halves.
#[inline]
pub(crate) fn room(needed: usize, out: &impl BufMut) -> Result<(), EncodeError> {
    let available = out.remaining_mut();
    if needed > available {
        return Err(EncodeError { field: "out", reason: EncodeErrorReason::NoRoom { needed, available } });
    }
    Ok(())
}

/// Refuses octets above a limit of the protocol.
#[inline]
pub(crate) fn check_max(field: &'static str, octets: &[u8], max: usize) -> Result<(), EncodeError> {
    if octets.len() > max {
        return Err(EncodeError { field, reason: EncodeErrorReason::TooLong { length: octets.len(), max } });
    }
    Ok(())
}

/// Refuses text that isn't printable ASCII.
#[inline]
pub(crate) fn check_text(field: &'static str, text: &str) -> Result<(), EncodeError> {
    if is_text(text) { Ok(()) } else { Err(EncodeError { field, reason: EncodeErrorReason::InvalidText }) }
}

/// Runs an `encode` into a vector of just the right size.
pub(crate) fn to_vec<E>(len: usize, encode: impl FnOnce(&mut Vec<u8>) -> Result<(), E>) -> Result<Vec<u8>, E> {
    let mut out = Vec::with_capacity(len);
    encode(&mut out)?;
    Ok(out)
}

/// Bytes of the shortest form of a number, at least one.
#[inline]
const fn uint_len(number: usize) -> usize {
    let mut bytes = 1;
    let mut left = number >> 8;
    while left > 0 {
        bytes += 1;
        left >>= 8;
    }
    bytes
}

/// A number of bytes of a number, at most 8.
#[inline]
fn small(bytes: usize) -> u8 {
    u8::try_from(bytes).unwrap_or(8)
}

/// A usize has at most 64 bits wherever this compiles for.
#[inline]
fn wide(number: usize) -> u64 {
    u64::try_from(number).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oer::Reader;

    #[test]
    fn lengths_and_counts_read_back_and_take_the_bytes_announced() {
        for number in [0, 1, 127, 128, 255, 256, 65_535, 65_536, 1 << 24, 1 << 32, (1 << 56) - 1, usize::MAX] {
            let mut out = Vec::new();
            put_length(number, &mut out);
            assert_eq!(out.len(), length_len(number));
            assert_eq!(Reader::new(&out).length(), Ok(number));

            out.clear();
            put_count(number, &mut out);
            assert_eq!(out.len(), count_len(number));
            assert_eq!(Reader::new(&out).count(), Ok(number));

            out.clear();
            put_length_2017(number, &mut out);
            assert_eq!(out.len(), length_2017_len(number));
            assert_eq!(Reader::new(&out).length_2017(), Ok(number));
        }
    }
}
