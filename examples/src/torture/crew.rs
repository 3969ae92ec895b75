//! The peers' processes, from the parent's side.

use super::RULES;
use super::check::{Peer, Peers};
use super::peer::{Order, State, words};
use super::place::Place;
use super::run::RunError;
use crate::flood::child::{Child, own_program};
use crate::flood::options::Login;
use crate::flood::random::random;
use rand_chacha::ChaCha12Rng;
use rand_chacha::rand_core::RngCore;
use std::time::Duration;
use tokio::time::Instant;

/// All peers, each in a process of its own.
#[derive(Debug)]
pub(super) struct Crew {
    peers: Vec<Member>,
    pairs: Vec<Peers>,
}

#[derive(Debug)]
struct Member {
    name: String,
    child: Child<State>,
}

impl Crew {
    /// Starts them. They dial the port until somebody is there.
    pub(super) async fn start(
        logins: &[(Login, Login)],
        port: u16,
        workers: u16,
        rate: u32,
        place: &Place,
        rng: &mut ChaCha12Rng,
    ) -> Result<Self, RunError> {
        let mut crew = Self { peers: Vec::new(), pairs: Vec::new() };
        let pairs = u32::try_from(logins.len()).unwrap_or(u32::MAX).max(1);
        for (payer, payee) in logins {
            let secret = random()?;
            for (own, partner, is_payer) in [(payer, payee, true), (payee, payer, false)] {
                let order = Order {
                    port,
                    workers,
                    name: own.name.clone(),
                    token: own.token.clone(),
                    partner: partner.name.clone(),
                    is_payer,
                    secret,
                    seed: rng.next_u64(),
                    rate: rate.div_ceil(pairs),
                    journal: place.journal(&own.name),
                };
                let child = Child::start_as(&own_program()?, &["peer"], &order).await?;
                crew.peers.push(Member { name: own.name.clone(), child });
            }
            let peer = |login: &Login| Peer { name: login.name.clone(), journal: place.journal(&login.name) };
            crew.pairs.push(Peers { payer: peer(payer), payee: peer(payee) });
        }
        Ok(crew)
    }

    /// Who pays whom, and where their journals are.
    pub(super) fn pairs(&self) -> &[Peers] {
        &self.pairs
    }

    /// How many payments have been started so far.
    pub(super) async fn started(&mut self) -> Result<u64, RunError> {
        Ok(self.ask(words::HOW).await?.iter().map(|(_, state)| state.started).sum())
    }

    /// No more payments are started; waits until nothing is under way and everybody has heard the final state of its account. `false` if
    /// that takes too long.
    pub(super) async fn settle(&mut self) -> Result<bool, RunError> {
        let mut states = self.ask(words::SETTLE).await?;
        let patience = Instant::now() + SETTLE_TIME_MAX;
        let timing = RULES.timing;
        // By then the connector has let go of everything, too, even of what it has taken over from its predecessor.
        let afterwards_ms = timing.grace_ms + 2 * timing.skew_ms_max;
        let over_ms = states.iter().filter_map(|(_, state)| state.last_expiry_ms).max().unwrap_or_default() + afterwards_ms;
        while Instant::now() < patience {
            if states.iter().all(|(_, state)| state.idle && state.books_at_ms.is_some_and(|at| at > over_ms)) {
                return Ok(true);
            }
            tokio::time::sleep(LOOK_EVERY).await;
            states = self.ask(words::HOW).await?;
        }
        Ok(false)
    }

    /// It is over. Gives the last state of each, by account.
    pub(super) async fn end(mut self) -> Result<Vec<(String, State)>, RunError> {
        let mut states = Vec::new();
        for Member { name, mut child } in std::mem::take(&mut self.peers) {
            let gone = |_| RunError::PeerGone { name: name.clone() };
            let state = child.ask(words::END).await.map_err(gone)?;
            let ended = child.end(END_TIME_MAX).await?;
            if !ended.is_some_and(|status| status.success()) {
                return Err(RunError::PeerGone { name });
            }
            states.push((name, state));
        }
        Ok(states)
    }

    async fn ask(&mut self, word: &str) -> Result<Vec<(String, State)>, RunError> {
        let mut states = Vec::new();
        for Member { name, child } in &mut self.peers {
            let state: State = child.ask(word).await.map_err(|_| RunError::PeerGone { name: name.clone() })?;
            states.push((name.clone(), state));
        }
        Ok(states)
    }
}

const LOOK_EVERY: Duration = Duration::from_millis(100);
/// From the last payment's start until all is over: a few seconds, but the machine may be busy.
const SETTLE_TIME_MAX: Duration = Duration::from_secs(60);
const END_TIME_MAX: Duration = Duration::from_secs(20);
