//! Each field has one form, and errors say where.

use super::Reader;
use crate::error::{DecodeError, DecodeErrorKind};

fn length(bytes: &[u8]) -> Result<usize, DecodeErrorKind> {
    Reader::new(bytes).length().map_err(|error| error.kind)
}

fn count(bytes: &[u8]) -> Result<usize, DecodeErrorKind> {
    Reader::new(bytes).count().map_err(|error| error.kind)
}

#[test]
fn a_length_has_one_form() {
    assert_eq!(length(&[0]), Ok(0));
    assert_eq!(length(&[0x7f]), Ok(127));
    assert_eq!(length(&[0x81, 0x80]), Ok(128));
    assert_eq!(length(&[0x82, 1, 0]), Ok(256));
    assert_eq!(length(&[0x85, 1, 0, 0, 0, 0]), Ok(1 << 32));
    assert_eq!(length(&[0x88, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]), Ok(usize::MAX));
    for bytes in [&[0x80][..], &[0x81, 0x7f], &[0x82, 0, 0x80], &[0x85, 0, 0, 0, 1, 0], &[0x89, 0, 1, 1, 1, 1, 1, 1, 1, 1]] {
        assert_eq!(length(bytes), Err(DecodeErrorKind::LengthNotMinimal), "{bytes:x?}");
    }
    assert_eq!(length(&[0x89, 1, 1, 1, 1, 1, 1, 1, 1, 1]), Err(DecodeErrorKind::TooLarge));
    assert_eq!(length(&[0xff, 1]), Err(DecodeErrorKind::Truncated { needed: 127, available: 1 }));
    assert_eq!(length(&[]), Err(DecodeErrorKind::Truncated { needed: 1, available: 0 }));
}

#[test]
fn a_count_has_one_form() {
    assert_eq!(count(&[1, 0]), Ok(0));
    assert_eq!(count(&[1, 0xff]), Ok(255));
    assert_eq!(count(&[2, 1, 0]), Ok(256));
    for bytes in [&[0][..], &[2, 0, 1], &[6, 0, 0, 0, 0, 0, 1], &[2, 0, 0]] {
        assert_eq!(count(bytes), Err(DecodeErrorKind::CountNotMinimal), "{bytes:x?}");
    }
    assert_eq!(count(&[9, 1, 0, 0, 0, 0, 0, 0, 0, 0]), Err(DecodeErrorKind::TooLarge));
    assert_eq!(count(&[0x81, 1, 1]), Err(DecodeErrorKind::LengthNotMinimal));
    assert_eq!(count(&[2, 1]), Err(DecodeErrorKind::Truncated { needed: 2, available: 1 }));
}

#[test]
fn lengths_of_2017_may_take_two_bytes_from_128_up() {
    let length = |bytes: &[u8]| Reader::new(bytes).length_2017().map_err(|error| error.kind);
    assert_eq!(length(&[0x82, 0, 0x99]), Ok(0x99));
    assert_eq!(length(&[0x81, 0x99]), Ok(0x99));
    assert_eq!(length(&[0x82, 1, 0]), Ok(256));
    assert_eq!(length(&[0x82, 0, 0x7f]), Err(DecodeErrorKind::LengthNotMinimal));
    assert_eq!(length(&[0x83, 0, 0, 0x99]), Err(DecodeErrorKind::LengthNotMinimal));
}

#[test]
fn offsets_count_from_the_outermost_slice() {
    let mut reader = Reader::new(&[9, 9, 3, 1, b'a', 0x1f]);
    assert_eq!(reader.u16().unwrap(), 0x0909);
    let mut inner = reader.nested().unwrap();
    assert_eq!(inner.text().unwrap(), "a");
    assert_eq!(inner.offset(), 5);
    assert_eq!(inner.text().unwrap_err(), DecodeError { offset: 5, kind: DecodeErrorKind::Truncated { needed: 31, available: 0 } });
    assert!(reader.is_empty());
    assert_eq!(Reader::new(&[0, 0]).finish().unwrap_err().kind, DecodeErrorKind::Trailing(2));
}

#[test]
fn text_is_printable_ascii() {
    assert_eq!(Reader::new(&[0]).text(), Ok(""));
    assert_eq!(Reader::new(&[2, 0x20, 0x7e]).text(), Ok(" ~"));
    for byte in [0, 0x1f, 0x7f, 0x80, 0xe9, 0xff] {
        assert_eq!(Reader::new(&[1, byte]).text().unwrap_err().kind, DecodeErrorKind::InvalidText);
    }
    assert_eq!(Reader::new(&[2, 0xc3, 0xa9]).text().unwrap_err().kind, DecodeErrorKind::InvalidText);
}
