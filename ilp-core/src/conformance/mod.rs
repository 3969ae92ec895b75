//! What every [`BalanceStore`] must do, as cases that can be run against one.
//!
//! Whoever writes a store gives a [`Subject`], which makes stores and lets them crash, to [`run`], and looks at the [`Report`]:
//!
//! ```
//! use async_trait::async_trait;
//! use ilp_core::conformance::{self, Subject, SubjectError};
//! use ilp_core::store::{BalanceStore, MemoryStore};
//! use std::sync::Arc;
//!
//! struct InMemory;
//!
//! #[async_trait]
//! impl Subject for InMemory {
//!     async fn fresh(&mut self) -> Result<Arc<dyn BalanceStore>, SubjectError> {
//!         Ok(Arc::new(MemoryStore::new()))
//!     }
//!
//!     // Memory survives a worker, so the worst is that the worker goes and the store stays.
//!     async fn crash(&mut self, store: Arc<dyn BalanceStore>) -> Result<Arc<dyn BalanceStore>, SubjectError> {
//!         Ok(store)
//!     }
//! }
//!
//! let report = futures::executor::block_on(conformance::run(&mut InMemory));
//! assert!(report.passed(), "{report}");
//! ```
//!
//! It needs no runtime and no test framework. A store that never answers keeps it waiting, so give a test a time limit.

mod accounts;
mod cases;
mod crashes;
mod subject;
mod volatile;

pub use volatile::{PowerLoss, VolatileMedium};

use crate::store::BalanceStore;
use async_trait::async_trait;
use futures::future::BoxFuture;
use std::error::Error;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;
use subject::Case;

/// Why a subject can't go on; it fails the case.
pub type SubjectError = Box<dyn Error + Send + Sync>;

/// Makes the stores that are looked at.
#[async_trait]
pub trait Subject: Send + Sync {
    /// A store with nothing in it, that has nothing to do with those made before.
    async fn fresh(&mut self) -> Result<Arc<dyn BalanceStore>, SubjectError>;

    /// Lets the worst happen to a store that its [durability class](BalanceStore::durability) covers, in the middle of whatever it is
    /// doing, and opens what is left of it.
    async fn crash(&mut self, store: Arc<dyn BalanceStore>) -> Result<Arc<dyn BalanceStore>, SubjectError>;

    /// Lets time pass, by the clock that the store measures leases with. Without more, that is the system's: then this waits.
    async fn pass(&mut self, store: &Arc<dyn BalanceStore>, time: Duration) {
        let _ = store;
        std::thread::sleep(time);
    }
}

/// What came of each case.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// In the order in which they ran.
    pub cases: Vec<CaseReport>,
}

/// What came of one case.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CaseReport {
    /// Its name; one of [`case_names`].
    pub name: &'static str,
    /// What was wrong.
    pub result: Result<(), String>,
}

/// Runs every case, each on a store of its own. One that fails doesn't keep the others from being run.
pub async fn run(subject: &mut dyn Subject) -> Report {
    let mut cases = Vec::new();
    for (name, case) in CASES {
        let result = one(subject, *case).await;
        cases.push(CaseReport { name, result });
    }
    Report { cases }
}

/// Runs one case by its name; `None` if there is none of that name.
pub async fn run_case(subject: &mut dyn Subject, name: &str) -> Option<CaseReport> {
    let (name, case) = CASES.iter().find(|(known, _)| *known == name)?;
    Some(CaseReport { name, result: one(subject, *case).await })
}

/// The names of all cases, in the order in which they run.
pub fn case_names() -> impl Iterator<Item = &'static str> {
    CASES.iter().map(|(name, _)| *name)
}

async fn one(subject: &mut dyn Subject, case: CaseFn) -> Result<(), String> {
    let store = subject.fresh().await.map_err(|error| format!("there is no fresh store: {error}"))?;
    case(&mut Case { subject, store }).await
}

type CaseFn = for<'a, 'b> fn(&'a mut Case<'b>) -> BoxFuture<'a, Result<(), String>>;

const CASES: &[(&str, CaseFn)] = &[
    ("opens_fresh", |case| Box::pin(cases::opens_fresh(case))),
    ("unopened_slot_takes_nothing", |case| Box::pin(cases::unopened_slot_takes_nothing(case))),
    ("every_opening_raises_the_epoch", |case| Box::pin(cases::every_opening_raises_the_epoch(case))),
    ("epoch_raised_before_reading", |case| Box::pin(cases::epoch_raised_before_reading(case))),
    ("batches_in_order", |case| Box::pin(cases::batches_in_order(case))),
    ("repeat_changes_nothing", |case| Box::pin(cases::repeat_changes_nothing(case))),
    ("repeat_with_other_bytes_changes_nothing", |case| Box::pin(cases::repeat_with_other_bytes_changes_nothing(case))),
    ("gap_refused", |case| Box::pin(cases::gap_refused(case))),
    ("old_epoch_refused", |case| Box::pin(cases::old_epoch_refused(case))),
    ("unknown_epoch_refused", |case| Box::pin(cases::unknown_epoch_refused(case))),
    ("cut_keeps_what_is_needed", |case| Box::pin(cases::cut_keeps_what_is_needed(case))),
    ("balances_are_the_last_values", |case| Box::pin(cases::balances_are_the_last_values(case))),
    ("closed_accounts_have_no_balance", |case| Box::pin(cases::closed_accounts_have_no_balance(case))),
    ("read_takes_nothing", |case| Box::pin(cases::read_takes_nothing(case))),
    ("slots_are_independent", |case| Box::pin(cases::slots_are_independent(case))),
    ("overlapping_calls_in_any_order", |case| Box::pin(cases::overlapping_calls_in_any_order(case))),
    ("large_and_empty_blobs", |case| Box::pin(cases::large_and_empty_blobs(case))),
    ("many_slots", |case| Box::pin(cases::many_slots(case))),
    ("abandoned_commit_can_be_repeated", |case| Box::pin(cases::abandoned_commit_can_be_repeated(case))),
    ("balances_are_each_slots_own", |case| Box::pin(accounts::balances_are_each_slots_own(case))),
    ("setups_can_be_repeated", |case| Box::pin(accounts::setups_can_be_repeated(case))),
    ("draws_take_what_is_there_and_no_more", |case| Box::pin(accounts::draws_take_what_is_there_and_no_more(case))),
    ("moves_can_be_repeated", |case| Box::pin(accounts::moves_can_be_repeated(case))),
    ("slots_draw_together_what_there_is", |case| Box::pin(accounts::slots_draw_together_what_there_is(case))),
    ("moves_survive_crash", |case| Box::pin(accounts::moves_survive_crash(case))),
    ("letters_wait_until_they_are_read", |case| Box::pin(accounts::letters_wait_until_they_are_read(case))),
    ("a_lease_keeps_others_out", |case| Box::pin(accounts::a_lease_keeps_others_out(case))),
    ("a_lease_ends_unless_it_is_renewed", |case| Box::pin(accounts::a_lease_ends_unless_it_is_renewed(case))),
    ("durable_survives_crash", |case| Box::pin(crashes::durable_survives_crash(case))),
    ("epoch_survives_crash", |case| Box::pin(crashes::epoch_survives_crash(case))),
    ("repeat_after_crash", |case| Box::pin(crashes::repeat_after_crash(case))),
    ("batch_and_balances_both_or_neither", |case| Box::pin(crashes::batch_and_balances_both_or_neither(case))),
    ("cut_and_crash_keep_the_tail", |case| Box::pin(crashes::cut_and_crash_keep_the_tail(case))),
];

impl Report {
    /// Whether nothing was wrong.
    pub fn passed(&self) -> bool {
        self.failed().next().is_none()
    }

    /// The cases in which something was.
    pub fn failed(&self) -> impl Iterator<Item = &CaseReport> {
        self.cases.iter().filter(|case| case.result.is_err())
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for CaseReport { name, result } in &self.cases {
            match result {
                Ok(()) => writeln!(f, "ok      {name}")?,
                Err(what) => writeln!(f, "FAILED  {name}: {what}")?,
            }
        }
        let failed = self.failed().count();
        write!(f, "{failed} of {} cases failed", self.cases.len())
    }
}
