//! HMAC-SHA256 (RFC 2104), with keys of 32 bytes.

use sha2::{Digest, Sha256};
use std::fmt;
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

/// The length of a key and of what is made with it.
pub(super) const LEN: usize = 32;

/// A key; never shown, wiped when dropped.
#[derive(Clone)]
pub(super) struct Key(Zeroizing<[u8; LEN]>);

impl Key {
    pub(super) fn new(key: Zeroizing<[u8; LEN]>) -> Self {
        Self(key)
    }

    /// Authenticates the parts, one after the other. Where one ends doesn't show: whoever calls sees to it that it can be told.
    pub(super) fn mac(&self, parts: &[&[u8]]) -> [u8; LEN] {
        let inner = self.padded(0x36);
        let mut hash = Sha256::new_with_prefix(*inner);
        parts.iter().for_each(|part| hash.update(part));
        let outer = self.padded(0x5c);
        Sha256::new_with_prefix(*outer).chain_update(hash.finalize()).finalize().into()
    }

    /// Whether somebody who has the key made it. Takes the same time for every wrong one.
    pub(super) fn verify(&self, parts: &[&[u8]], mac: &[u8]) -> bool {
        bool::from(self.mac(parts).ct_eq(mac))
    }

    /// A key of its own for a purpose.
    pub(super) fn derive(&self, parts: &[&[u8]]) -> Self {
        Self(Zeroizing::new(self.mac(parts)))
    }

    /// The key, filled up to a block of the hash with zeros, all of it mixed with `with`.
    fn padded(&self, with: u8) -> Zeroizing<[u8; 64]> {
        let mut block = Zeroizing::new([with; 64]);
        block.iter_mut().zip(self.0.iter()).for_each(|(byte, key)| *byte ^= key);
        block
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// HMAC fills a shorter key up with zeros, so a vector's key can be any up to 32 bytes.
    fn mac(key: &[u8], data: &[u8]) -> String {
        let mut filled = [0; LEN];
        filled[..key.len()].copy_from_slice(key);
        Key::new(filled.into()).mac(&[data]).iter().map(|byte| format!("{byte:02x}")).collect()
    }

    #[test]
    fn vectors_of_rfc_4231() {
        assert_eq!(mac(&[0x0b; 20], b"Hi There"), "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7");
        assert_eq!(mac(b"Jefe", b"what do ya want for nothing?"), "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
        assert_eq!(mac(&[0xaa; 20], &[0xdd; 50]), "773ea91e36800e46854db8ebd09181a72959098b3ef8c122d9635514ced565fe");
        let key: Vec<u8> = (1..=25).collect();
        assert_eq!(mac(&key, &[0xcd; 50]), "82558a389a443c0ea4cc819899f2083a85f0faa3e578f8077a2e3ff46729665b");
        assert!(mac(&[0x0c; 20], b"Test With Truncation").starts_with("a3b6167473100ee06e0c796c2955552b"));
    }

    #[test]
    fn parts_are_one_text_and_a_wrong_mac_is_refused() {
        let key = Key::new([7; LEN].into());
        let mac = key.mac(&[b"ab", b"c"]);
        assert_eq!(mac, key.mac(&[b"abc"]));
        assert!(key.verify(&[b"abc"], &mac));
        assert!(!key.verify(&[b"abd"], &mac));
        assert!(!key.verify(&[b"abc"], &mac[..31]));
        assert!(!key.derive(&[b"x"]).verify(&[b"abc"], &mac));
        assert_eq!(format!("{key:?}"), "Key");
    }
}
