//! What peers state about ledger accounts: kept, and without effect as long as no ledger could prove or use it.

use super::batch::Effect;
use super::{ConnectionId, Worker, WorkerError};
use crate::link::{Answer, Claim, ClaimKind, RequestId};
use crate::record::{AccountNo, Record};
use crate::refusal::Refusal;
use bytes::Bytes;
use ilp_oer::Timestamp;
use ilp_oer::sub::{Vouch, VouchKind};

/// The longest claim, in bytes: an ILP address, and room for a proof.
const CLAIM_BYTES_MAX: usize = 4_096;

impl Worker {
    /// `vouch` of 2017.
    pub(super) fn on_vouch(
        &mut self,
        connection: ConnectionId,
        request: RequestId,
        data: &[u8],
        now: Timestamp,
    ) -> Result<(), WorkerError> {
        match Vouch::decode(data) {
            Ok(vouch) => {
                let kind = match vouch.kind {
                    VouchKind::For => ClaimKind::Mine,
                    VouchKind::ReachMeAt => ClaimKind::ReachMe,
                    VouchKind::RollBack => ClaimKind::RollBack,
                };
                let claim = Claim { kind, subject: vouch.address.as_str().to_owned(), proof: Bytes::new() };
                self.on_claim(connection, request, claim, now)
            }
            Err(error) => {
                self.answer(connection, request, Err(Refusal::Malformed(error.to_string())), now);
                Ok(())
            }
        }
    }

    pub(super) fn on_claim(
        &mut self,
        connection: ConnectionId,
        request: RequestId,
        claim: Claim,
        now: Timestamp,
    ) -> Result<(), WorkerError> {
        let Some((no, _)) = self.connections.get(&connection).copied() else { return Ok(()) };
        match self.admit_claim(no, &claim) {
            Ok(news) => {
                if news {
                    self.ensure_recorded(no)?;
                    self.record(&Record::Claimed { no, kind: claim.kind, subject: &claim.subject, proof: &claim.proof })?;
                }
                self.effect(Effect::Answer { connection, request, answer: Answer::Ack });
            }
            Err(refusal) => self.answer(connection, request, Err(refusal), now),
        }
        Ok(())
    }

    /// Whether it says anything new.
    fn admit_claim(&self, no: AccountNo, claim: &Claim) -> Result<bool, Refusal> {
        let account = self.account(no).ok_or(Refusal::Internal("the account is gone"))?;
        if claim.subject.len().saturating_add(claim.proof.len()) > CLAIM_BYTES_MAX {
            return Err(Refusal::Malformed(format!("a claim has at most {CLAIM_BYTES_MAX} bytes")));
        }
        if claim.kind == ClaimKind::RollBack {
            return Ok(account.claims.iter().any(|known| known.subject == claim.subject));
        }
        let max = self.config.limits.claims_per_account;
        let known = account.claims.contains(claim);
        if !known && account.claims.len() >= max {
            let max = u64::try_from(max).unwrap_or(u64::MAX);
            return Err(Refusal::Overloaded { account: account.id.clone(), max, what: "claims about ledger accounts" });
        }
        Ok(!known)
    }

    pub(super) fn apply_claim(&mut self, no: AccountNo, claim: Claim) {
        // A log that was cut may name the account before the snapshot brings it, with its claims.
        let Some(account) = self.account_mut(no) else { return };
        if claim.kind == ClaimKind::RollBack {
            account.claims.retain(|known| known.subject != claim.subject);
        } else if !account.claims.contains(&claim) {
            account.claims.push(claim);
        }
    }
}
