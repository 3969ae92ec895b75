//! How two processes prove to each other that they know the secret.
//!
//! ```text
//!  dialler                                    acceptor
//!     │ magic, version, nonce, name ────────────► │
//!     │ ◄──── magic, version, nonce, name, proof  │
//!     │ proof ──────────────────────────────────► │
//! ```
//!
//! A proof is a MAC, under the secret, of the side that makes it and of everything that both have said before; so nobody's proof is of use
//! to anybody else, in another place, or a second time. From the same follow two keys, one for each direction.

use super::frame::{Opener, Sealer};
use super::mac::{Key, LEN};
use super::wire::VERSION;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

/// The longest name of a process.
pub(super) const HOLDER_MAX: usize = 255;

const MAGIC: [u8; 4] = *b"ILPw";
const NONCE: usize = 32;

/// The two know each other.
#[derive(Debug)]
pub(super) struct Session {
    /// The other one's name.
    pub(super) holder: Arc<str>,
    pub(super) sealer: Sealer,
    pub(super) opener: Opener,
}

/// Who didn't pass learns nothing about why.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("no proof of the secret came, or not in time")]
pub(super) struct Refused;

/// Of the one who made the connection, to the process of this name.
pub(super) async fn dial<S>(stream: &mut S, secret: &Key, own: &str, other: &str, patience: Duration) -> Result<Session, Refused>
where
    S: AsyncRead + AsyncWrite + Unpin + Send,
{
    in_time(patience, async {
        let dialler = Hello::of(own)?;
        stream.write_all(&dialler.bytes).await.map_err(refused)?;
        let acceptor = Hello::read(stream).await?;
        let said = [&*dialler.bytes, &*acceptor.bytes];
        if !secret.verify(&with(ACCEPTOR, said), &read::<LEN, _>(stream).await?) || acceptor.holder()? != other {
            return Err(Refused);
        }
        stream.write_all(&secret.mac(&with(DIALLER, said))).await.map_err(refused)?;
        Ok(Session {
            holder: acceptor.holder()?.into(),
            sealer: Sealer::new(secret.derive(&with(FROM_DIALLER, said))),
            opener: Opener::new(secret.derive(&with(FROM_ACCEPTOR, said))),
        })
    })
    .await
}

/// Of the one to whom it was made.
pub(super) async fn accept<S>(stream: &mut S, secret: &Key, own: &str, patience: Duration) -> Result<Session, Refused>
where
    S: AsyncRead + AsyncWrite + Unpin + Send,
{
    in_time(patience, async {
        let dialler = Hello::read(stream).await?;
        let acceptor = Hello::of(own)?;
        let said = [&*dialler.bytes, &*acceptor.bytes];
        let proof = secret.mac(&with(ACCEPTOR, said));
        stream.write_all(&[&*acceptor.bytes, &proof].concat()).await.map_err(refused)?;
        // Our own name may be a loop in the configuration, or our own words come back.
        if !secret.verify(&with(DIALLER, said), &read::<LEN, _>(stream).await?) || dialler.holder()? == own {
            return Err(Refused);
        }
        Ok(Session {
            holder: dialler.holder()?.into(),
            sealer: Sealer::new(secret.derive(&with(FROM_ACCEPTOR, said))),
            opener: Opener::new(secret.derive(&with(FROM_DIALLER, said))),
        })
    })
    .await
}

// None is the beginning of another, and what is said says itself how long it is.
const DIALLER: &[u8] = b"ilp-node colleagues: proof of the dialler ";
const ACCEPTOR: &[u8] = b"ilp-node colleagues: proof of the acceptor ";
const FROM_DIALLER: &[u8] = b"ilp-node colleagues: key from dialler to acceptor ";
const FROM_ACCEPTOR: &[u8] = b"ilp-node colleagues: key from acceptor to dialler ";

fn with<'a>(purpose: &'static [u8], [dialler, acceptor]: [&'a [u8]; 2]) -> [&'a [u8]; 3] {
    [purpose, dialler, acceptor]
}

/// What a side says first: magic, version, nonce, the length of its name, its name.
struct Hello {
    bytes: Vec<u8>,
}

impl Hello {
    const FIXED: usize = MAGIC.len() + 1 + NONCE + 1;

    fn of(own: &str) -> Result<Self, Refused> {
        let mut nonce = [0; NONCE];
        getrandom::fill(&mut nonce).map_err(refused)?;
        let len = u8::try_from(own.len()).map_err(refused)?;
        Ok(Self { bytes: [&MAGIC[..], &[VERSION], &nonce, &[len], own.as_bytes()].concat() })
    }

    async fn read<S: AsyncRead + Unpin>(stream: &mut S) -> Result<Self, Refused> {
        let fixed = read::<{ Self::FIXED }, _>(stream).await?;
        let begins = fixed.strip_prefix(&MAGIC).and_then(|rest| rest.first()) == Some(&VERSION);
        let len = fixed.last().copied().filter(|len| begins && *len > 0).ok_or(Refused)?;
        let mut bytes = fixed.to_vec();
        bytes.resize(Self::FIXED.saturating_add(len.into()), 0);
        stream.read_exact(bytes.get_mut(Self::FIXED..).unwrap_or_default()).await.map_err(refused)?;
        Ok(Self { bytes })
    }

    fn holder(&self) -> Result<&str, Refused> {
        std::str::from_utf8(self.bytes.get(Self::FIXED..).unwrap_or_default()).map_err(refused)
    }
}

async fn read<const N: usize, S: AsyncRead + Unpin>(stream: &mut S) -> Result<[u8; N], Refused> {
    let mut bytes = [0; N];
    stream.read_exact(&mut bytes).await.map_err(refused)?;
    Ok(bytes)
}

async fn in_time<T>(patience: Duration, handshake: impl Future<Output = Result<T, Refused>> + Send) -> Result<T, Refused> {
    tokio::time::timeout(patience, handshake).await.unwrap_or(Err(Refused))
}

fn refused<E>(_: E) -> Refused {
    Refused
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::future::join;
    use tokio::io::{DuplexStream, duplex};

    const PATIENCE: Duration = Duration::from_secs(3_600);

    fn key(byte: u8) -> Key {
        Key::new([byte; LEN].into())
    }

    fn run<T>(test: impl Future<Output = T>) -> T {
        tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap().block_on(test)
    }

    /// A handshake of "ann", who dials "bob", through somebody who may change each part of what is said: from which side, and which part.
    async fn through(
        ann: Key,
        bob: Key,
        change: impl Fn(bool, usize, &mut Vec<u8>),
    ) -> (Result<Session, Refused>, Result<Session, Refused>) {
        let ((mut a, mut from_a), (mut b, mut from_b)) = (duplex(1_024), duplex(1_024));
        let between = async move {
            let mut pass = async |from: bool, part: usize| {
                let (source, sink): (&mut DuplexStream, &mut DuplexStream) =
                    if from { (&mut from_a, &mut from_b) } else { (&mut from_b, &mut from_a) };
                let mut bytes = vec![0; 1_024];
                let len = source.read(&mut bytes).await.unwrap_or(0);
                bytes.truncate(len);
                change(from, part, &mut bytes);
                let _ = sink.write_all(&bytes).await;
            };
            pass(true, 0).await;
            pass(false, 1).await;
            pass(true, 2).await;
            std::future::pending::<()>().await;
        };
        let both = join(dial(&mut a, &ann, "ann", "bob", PATIENCE), accept(&mut b, &bob, "bob", PATIENCE));
        tokio::select! {
            both = both => both,
            () = between => unreachable!(),
        }
    }

    #[test]
    fn who_has_the_secret_is_known_by_name_and_both_have_the_same_keys() {
        run(async {
            let (a, b) = through(key(1), key(1), |_, _, _| {}).await;
            let (mut a, mut b) = (a.unwrap(), b.unwrap());
            assert_eq!((&*a.holder, &*b.holder), ("bob", "ann"));
            let (mut there, mut back) = (Vec::new(), Vec::new());
            a.sealer.seal(b"there", &mut there).unwrap();
            b.sealer.seal(b"back!", &mut back).unwrap();
            assert_eq!(b.opener.open(&there[4..]).unwrap(), b"there");
            assert_eq!(a.opener.open(&back[4..]).unwrap(), b"back!");
            assert_ne!(there, back);
        });
    }

    #[test]
    fn another_secret_is_refused_by_both() {
        run(async {
            let (a, b) = through(key(1), key(2), |_, _, _| {}).await;
            assert_eq!((a.unwrap_err(), b.unwrap_err()), (Refused, Refused));
        });
    }

    #[test]
    fn every_octet_counts() {
        run(async {
            let first = Hello::FIXED + 3;
            for (part, len) in [(0, first), (1, first + LEN), (2, LEN)] {
                for place in 0..len {
                    let (a, b) = through(key(1), key(1), |_, this, bytes| {
                        if this == part
                            && let Some(byte) = bytes.get_mut(place)
                        {
                            *byte ^= 1;
                        }
                    })
                    .await;
                    assert!(b.is_err(), "octet {place} of part {part}");
                    // The last part is nothing that the dialler could know of.
                    assert!(part == 2 || a.is_err(), "octet {place} of part {part}");
                }
            }
        });
    }

    #[test]
    fn silence_and_half_a_handshake_end_in_time() {
        run(async {
            let (mut a, _silent) = duplex(1_024);
            let patience = Duration::from_secs(5);
            assert_eq!(accept(&mut a, &key(1), "bob", patience).await.unwrap_err(), Refused);
            assert_eq!(dial(&mut a, &key(1), "ann", "bob", patience).await.unwrap_err(), Refused);
            let (mut a, mut half) = duplex(1_024);
            half.write_all(&MAGIC).await.unwrap();
            assert_eq!(accept(&mut a, &key(1), "bob", patience).await.unwrap_err(), Refused);
        });
    }

    #[test]
    fn words_sent_back_prove_nothing() {
        run(async {
            // Somebody without the secret answers the acceptor with whatever the acceptor says itself.
            let (mut a, mut mirror) = duplex(1_024);
            let reflect = async {
                mirror.write_all(&Hello::of("ann").unwrap().bytes).await.unwrap();
                let mut bytes = vec![0; 1_024];
                let len = mirror.read(&mut bytes).await.unwrap();
                mirror.write_all(&bytes[len - LEN..len]).await.unwrap();
            };
            assert!(join(accept(&mut a, &key(1), "bob", PATIENCE), reflect).await.0.is_err());
        });
    }

    #[test]
    fn who_isnt_the_one_that_was_dialled_is_refused() {
        run(async {
            let (mut a, mut b) = duplex(1_024);
            let (key, patience) = (key(1), Duration::from_secs(1));
            let (a, b) = join(dial(&mut a, &key, "ann", "cid", patience), accept(&mut b, &key, "bob", patience)).await;
            assert!(a.is_err() && b.is_err());
        });
    }
}
