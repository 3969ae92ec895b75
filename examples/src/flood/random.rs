//! Random numbers that nobody can guess.

/// The operating system gives none.
#[derive(Debug, Clone, Copy, thiserror::Error)]
#[error("the operating system gives no random numbers: {0}")]
pub(crate) struct NoRandomness(getrandom::Error);

/// So many random bytes: a seed, or a secret.
///
/// # Errors
/// See [`NoRandomness`].
pub(crate) fn random<const N: usize>() -> Result<[u8; N], NoRandomness> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(NoRandomness)?;
    Ok(bytes)
}
