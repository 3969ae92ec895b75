//! Walks through every order of a model's steps.

use super::{Check, Violation};
use std::collections::{HashMap, HashSet, VecDeque};
use std::fmt::{Debug, Display};

/// A small system whose next step somebody else chooses.
///
/// It must be deterministic: the same steps from the start lead to the same state. So a state is reached again by replay, and nothing
/// needs to be cloned.
pub trait Model: Sized {
    /// One step; its text names it on the command line.
    type Step: Copy + Eq + Debug + Display;

    /// The steps that can be taken now, in an order that depends on the state alone. None at the end.
    fn steps(&self) -> Vec<Self::Step>;

    /// Takes one of them.
    fn take(&mut self, step: Self::Step);

    /// A hash of everything that later steps and later checks depend on. Two states with one key are taken for one.
    fn key(&self) -> u128;

    /// What a step would do, for people.
    fn describe(&self, step: Self::Step) -> String;

    /// Checks the step that was taken last, and the state after it.
    fn check(&self) -> Result<(), Violation>;

    /// At the end: lets time pass, and checks what came of it all.
    fn finish(self) -> Result<(), Violation>;
}

/// What an exploration covered.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Coverage {
    /// Orders of all steps from the start to an end. Where several lead through one state, each counts, and what follows is walked once.
    pub interleavings: u128,
    /// Different states.
    pub states: u64,
    /// Of these, ends.
    pub ends: u64,
    /// Steps from one state to another.
    pub transitions: u64,
    /// Steps of the longest order.
    pub depth: usize,
}

/// A broken rule, and how to get there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found<S> {
    /// Which rule, and how.
    pub violation: Violation,
    /// From the start.
    pub schedule: Vec<S>,
}

/// How an exploration ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Explored<S> {
    /// What was covered, up to the broken rule if there is one.
    pub coverage: Coverage,
    /// The first broken rule.
    pub found: Option<Found<S>>,
    /// Every order was covered.
    pub whole: bool,
}

/// Depth first through all orders, from each state once. `watch` sees the coverage now and then; its `false` ends the walk.
pub fn explore<M: Model>(start: impl Fn() -> M, mut watch: impl FnMut(&Coverage) -> bool) -> Explored<M::Step> {
    let mut walk = Walk { seen: HashMap::new(), path: Vec::new(), stack: Vec::new(), coverage: Coverage::default() };
    let mut live = match walk.enter(start()) {
        Ok(live) => live,
        Err(violation) => return walk.ended(Some(violation), false),
    };
    while let Some(node) = walk.stack.last_mut() {
        let Some(step) = node.steps.get(node.next).copied() else {
            walk.leave();
            continue;
        };
        node.next += 1;
        // Once another branch was walked, this state is reached again from the start.
        let mut model = live.take().unwrap_or_else(|| replay(&start, &walk.path));
        model.take(step);
        walk.path.push(step);
        walk.coverage.transitions += 1;
        match walk.enter(model) {
            Ok(model) => live = model,
            Err(violation) => return walk.ended(Some(violation), false),
        }
        if walk.coverage.transitions.is_multiple_of(256) && !watch(&walk.covered()) {
            return walk.ended(None, false);
        }
    }
    walk.ended(None, true)
}

/// The state after these steps.
pub fn replay<M: Model>(start: impl Fn() -> M, steps: &[M::Step]) -> M {
    let mut model = start();
    for step in steps {
        model.take(*step);
    }
    model
}

/// The shortest order of at most `max` steps that breaks a rule; breadth first.
pub fn shortest<M: Model>(start: impl Fn() -> M, check: Check, max: usize) -> Option<Found<M::Step>> {
    let mut seen = HashSet::new();
    let mut queue = VecDeque::from([Vec::new()]);
    while let Some(path) = queue.pop_front() {
        let model = replay(&start, &path);
        if !seen.insert(model.key()) {
            continue;
        }
        let steps = model.steps();
        let result = model.check().and_then(|()| if steps.is_empty() { model.finish() } else { Ok(()) });
        match result {
            Err(violation) if violation.check == check => return Some(Found { violation, schedule: path }),
            Ok(()) if path.len() < max => queue.extend(steps.into_iter().map(|step| [&path[..], &[step]].concat())),
            _ => {}
        }
    }
    None
}

struct Walk<S> {
    /// How many orders lead from each finished state to an end.
    seen: HashMap<u128, u128>,
    path: Vec<S>,
    stack: Vec<Node<S>>,
    coverage: Coverage,
}

struct Node<S> {
    key: u128,
    steps: Vec<S>,
    next: usize,
    /// Orders from here to an end, through the steps that were walked.
    orders: u128,
}

impl<S> Walk<S> {
    /// Checks the state that the path has led to. Gives it back if it is new and goes on.
    fn enter<M: Model<Step = S>>(&mut self, model: M) -> Result<Option<M>, Violation> {
        model.check()?;
        let key = model.key();
        if let Some(orders) = self.seen.get(&key).copied() {
            self.back(orders);
            return Ok(None);
        }
        let steps = model.steps();
        self.coverage.states += 1;
        self.coverage.depth = self.coverage.depth.max(self.path.len());
        if steps.is_empty() {
            model.finish()?;
            self.coverage.ends += 1;
            self.seen.insert(key, 1);
            self.back(1);
            return Ok(None);
        }
        self.stack.push(Node { key, steps, next: 0, orders: 0 });
        Ok(Some(model))
    }

    /// All steps of the last state were walked.
    fn leave(&mut self) {
        if let Some(node) = self.stack.pop() {
            self.seen.insert(node.key, node.orders);
            self.back(node.orders);
        }
    }

    fn back(&mut self, orders: u128) {
        self.path.pop();
        match self.stack.last_mut() {
            Some(parent) => parent.orders = parent.orders.saturating_add(orders),
            None => self.coverage.interleavings = orders,
        }
    }

    fn covered(&self) -> Coverage {
        let under_way = self.stack.iter().map(|node| node.orders).fold(0, u128::saturating_add);
        Coverage { interleavings: self.coverage.interleavings.max(under_way), ..self.coverage }
    }

    fn ended(self, violation: Option<Violation>, whole: bool) -> Explored<S> {
        let mut coverage = self.covered();
        // The order that broke the rule counts.
        coverage.interleavings = coverage.interleavings.saturating_add(u128::from(violation.is_some()));
        Explored { coverage, found: violation.map(|violation| Found { violation, schedule: self.path }), whole }
    }
}
