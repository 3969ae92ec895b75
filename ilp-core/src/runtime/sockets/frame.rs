//! Frames: bodies with a number and a MAC, so that nobody on the way can add one, change one, leave one out or bring one twice.
//!
//! ```text
//!  length of what follows: u32 │ number: u64, from 0 without gaps │ body │ MAC of number and body
//! ```

use super::mac::{Key, LEN};
use super::wire::BODY_MAX;
use bytes::{BufMut, Bytes, BytesMut};

const COUNTER: usize = 8;
const FRAME_MIN: usize = COUNTER + 1 + LEN;
pub(super) const FRAME_MAX: usize = COUNTER + BODY_MAX + LEN;

/// Whatever is wrong with a frame, the link is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("what came isn't the next frame")]
pub(super) struct Broken;

/// Makes the frames of one direction.
#[derive(Debug)]
pub(super) struct Sealer {
    key: Key,
    next: u64,
}

/// Takes them.
#[derive(Debug)]
pub(super) struct Opener {
    key: Key,
    next: u64,
}

impl Sealer {
    pub(super) fn new(key: Key) -> Self {
        Self { key, next: 0 }
    }

    /// Appends the next frame, with its length.
    pub(super) fn seal(&mut self, body: &[u8], out: &mut Vec<u8>) -> Result<(), Broken> {
        let len = body.len().saturating_add(COUNTER + LEN);
        if body.is_empty() || len > FRAME_MAX {
            return Err(Broken);
        }
        let counter = self.next.to_be_bytes();
        out.put_u32(u32::try_from(len).map_err(|_| Broken)?);
        out.put_slice(&counter);
        out.put_slice(body);
        out.put_slice(&self.key.mac(&[&counter, body]));
        self.next = self.next.checked_add(1).ok_or(Broken)?;
        Ok(())
    }
}

impl Opener {
    pub(super) fn new(key: Key) -> Self {
        Self { key, next: 0 }
    }

    /// The body of the next frame, if it is that.
    pub(super) fn open<'a>(&mut self, frame: &'a [u8]) -> Result<&'a [u8], Broken> {
        let (counter, rest) = frame.split_at_checked(COUNTER).ok_or(Broken)?;
        let (body, mac) = rest.split_at_checked(rest.len().checked_sub(LEN).ok_or(Broken)?).ok_or(Broken)?;
        if !self.key.verify(&[counter, body], mac) || counter != self.next.to_be_bytes() {
            return Err(Broken);
        }
        self.next = self.next.checked_add(1).ok_or(Broken)?;
        Ok(body)
    }
}

/// Takes a whole frame out of what has come in, if one is there. A length says only when that is: it makes nothing grow.
pub(super) fn take(buffer: &mut BytesMut) -> Result<Option<Bytes>, Broken> {
    let Some(len) = buffer.first_chunk::<4>() else { return Ok(None) };
    let len = usize::try_from(u32::from_be_bytes(*len)).map_err(|_| Broken)?;
    if !(FRAME_MIN..=FRAME_MAX).contains(&len) {
        return Err(Broken);
    }
    let whole = len.saturating_add(4);
    if buffer.len() < whole {
        return Ok(None);
    }
    let frame = buffer.split_to(whole).freeze();
    Ok(Some(frame.slice(4..)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair() -> (Sealer, Opener) {
        let key = Key::new([3; LEN].into());
        (Sealer::new(key.clone()), Opener::new(key))
    }

    fn frames(sealer: &mut Sealer, bodies: &[&[u8]]) -> Vec<Bytes> {
        let mut out = Vec::new();
        bodies.iter().for_each(|body| sealer.seal(body, &mut out).unwrap());
        let mut buffer = BytesMut::from(&*out);
        std::iter::from_fn(|| take(&mut buffer).unwrap()).collect()
    }

    #[test]
    fn frames_arrive_in_their_order_only_and_once() {
        let (mut sealer, mut opener) = pair();
        let sent = frames(&mut sealer, &[b"one", b"two", b"three"]);
        assert_eq!(opener.open(&sent[0]).unwrap(), b"one");
        assert_eq!(opener.open(&sent[0]), Err(Broken));
        assert_eq!(opener.open(&sent[2]), Err(Broken));
        assert_eq!(opener.open(&sent[1]).unwrap(), b"two");
        assert_eq!(opener.open(&sent[2]).unwrap(), b"three");
    }

    #[test]
    fn a_frame_with_a_flipped_bit_or_cut_short_is_refused() {
        let (mut sealer, mut opener) = pair();
        let sent = frames(&mut sealer, &[b"a body"]).remove(0);
        for bit in 0..sent.len() * 8 {
            let mut changed = sent.to_vec();
            changed[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(opener.open(&changed), Err(Broken));
        }
        for len in 0..sent.len() {
            assert_eq!(opener.open(&sent[..len]), Err(Broken));
        }
        assert_eq!(opener.open(&sent).unwrap(), b"a body");
    }

    #[test]
    fn a_length_out_of_range_is_refused_before_anything_else_has_come() {
        for len in [0, FRAME_MIN - 1, FRAME_MAX + 1, usize::try_from(u32::MAX).unwrap()] {
            let mut buffer = BytesMut::from(&u32::try_from(len).unwrap().to_be_bytes()[..]);
            assert_eq!(take(&mut buffer), Err(Broken));
        }
        let mut buffer = BytesMut::from(&u32::try_from(FRAME_MAX).unwrap().to_be_bytes()[..]);
        assert_eq!(take(&mut buffer), Ok(None));
        assert!(buffer.capacity() < 64);
    }

    #[test]
    fn nothing_too_long_is_sealed() {
        let (mut sealer, _) = pair();
        assert_eq!(sealer.seal(&vec![0; BODY_MAX + 1], &mut Vec::new()), Err(Broken));
        assert_eq!(sealer.seal(b"", &mut Vec::new()), Err(Broken));
        assert!(sealer.seal(&vec![0; BODY_MAX], &mut Vec::new()).is_ok());
    }
}
