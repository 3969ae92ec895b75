//! Telling the dialects apart by a connection's first frame.

use ilp_oer::clp::Dialect;

/// The dialect of a frame whose first entry is `setup`: in the seed dialect that entry starts with its number, 0, in the named one
/// with the length of its name, 5. `None` for everything else.
pub fn detect_dialect(frame: &[u8]) -> Option<Dialect> {
    let (head, rest) = frame.split_at_checked(5)?;
    if head.first() != Some(&MESSAGE) {
        return None;
    }
    let (length, rest) = rest.split_first()?;
    let extra = if *length < 0x80 { 0 } else { usize::from(length & 0x7f) };
    let (_, contents) = rest.split_at_checked(extra)?;
    let (count_length, contents) = contents.split_first()?;
    let (_, entries) = contents.split_at_checked(usize::from(*count_length))?;
    match entries {
        [0, ..] => Some(Dialect::Seed),
        [5, b's', b'e', b't', b'u', b'p', ..] => Some(Dialect::Named),
        _ => None,
    }
}

const MESSAGE: u8 = 7;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_setup_frame_shows_the_dialect() {
        assert_eq!(detect_dialect(b"\x07\0\0\0\x01\x0e\x01\x01\x05setup\0\x04\x01\0\0\0"), Some(Dialect::Named));
        assert_eq!(detect_dialect(b"\x07\0\0\0\x01\x08\x01\x01\0\x04\x01\0\0\0"), Some(Dialect::Seed));
        assert_eq!(detect_dialect(b"\x07\0\0\0\x01\x81\xff\x01\x01\0\x81\xfa"), Some(Dialect::Seed));
    }

    #[test]
    fn nothing_else_shows_it() {
        for frame in
            [&b""[..], b"\x07\0\0\0\x01", b"\x07\0\0\0\x01\x02\x01\0", b"\x07\0\0\0\x01\x03\x01\x01\x01", b"\x04\0\0\0\x01\x03\x01\x01\0"]
        {
            assert_eq!(detect_dialect(frame), None);
        }
        assert_eq!(detect_dialect(b"\x07\0\0\0\x01\xff\x01\x01\0"), None);
    }
}
