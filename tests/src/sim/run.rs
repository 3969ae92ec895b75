//! Runs of a seed, and how a failing one is made small.

use super::audit::{Tally, Violation};
use super::fault::FaultKind;
use super::plan::Plan;
use super::world::{Coverage, Watcher, World};
use std::collections::BTreeMap;

/// What came of a run.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// The first rule that was broken.
    pub violation: Option<Violation>,
    /// How often each fault struck.
    pub struck: BTreeMap<FaultKind, u32>,
    /// Which states each fault met.
    pub coverage: Coverage,
    /// What the auditor was told.
    pub observations: u64,
    /// How often everything was at rest and the books were compared.
    pub quiet_points: u32,
    /// What the auditor saw of the payments.
    pub tally: Tally,
}

/// Runs a plan.
pub fn run(plan: &Plan) -> Outcome {
    watch(plan, None)
}

/// Runs a plan and shows everything that can be seen.
pub fn watch(plan: &Plan, watcher: Option<Watcher>) -> Outcome {
    let mut world = World::new(plan.clone(), watcher);
    let violation = world.run();
    Outcome {
        violation,
        struck: world.struck,
        coverage: world.coverage,
        observations: world.observations,
        quiet_points: world.quiet_points,
        tally: world.auditor.tally(),
    }
}

/// The plan with as few faults and payments as still break the same rule; tries at most so many runs.
pub fn shrink(plan: &Plan, violation: &Violation, tries: u32) -> Plan {
    let mut left = tries;
    let mut small = plan.clone();
    let mut fails = |plan: &Plan| {
        left = left.saturating_sub(1);
        left > 0 && run(plan).violation.is_some_and(|found| found.invariant == violation.invariant)
    };
    thin(&mut small, |plan| &mut plan.faults, &mut fails);
    thin(&mut small, |plan| &mut plan.payments, &mut fails);
    thin(&mut small, |plan| &mut plan.faults, &mut fails);
    small
}

/// Takes out ever smaller parts of a list, as long as it still fails.
fn thin<T: Clone>(plan: &mut Plan, list: impl Fn(&mut Plan) -> &mut Vec<T>, fails: &mut impl FnMut(&Plan) -> bool) {
    let mut part = list(plan).len();
    while part > 0 {
        let mut from = 0;
        while from < list(plan).len() {
            let mut without = plan.clone();
            let end = (from + part).min(list(plan).len());
            list(&mut without).drain(from..end);
            if fails(&without) { *plan = without } else { from += part }
        }
        part /= 2;
    }
}
