//! Trying inputs to one target until something breaks or the time is over.

use crate::mutate::Mutator;
use crate::rng::Rng;
use crate::shape::parse;
use crate::target::{Report, Target};
use crate::tree::Node;
use crate::trial::{Finding, try_input};
use crate::{corpus, minimise};
use ilp_fuzz_probe::Coverage;
use serde::{Deserialize, Serialize};
use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::time::{Duration, Instant};

/// How long to go on.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Time.
    pub time: Duration,
    /// Inputs; 0 is no limit.
    pub runs: u64,
}

/// What a run has done so far.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Figures {
    /// Inputs tried, seeds included.
    pub runs: u64,
    /// Milliseconds since the start.
    pub millis: u64,
    /// Inputs whose outermost layer was good.
    pub envelope: u64,
    /// Inputs that could be read as a whole.
    pub full: u64,
    /// Inputs kept because they reached something new.
    pub kept: usize,
    /// Edges of the code reached; 0 without coverage counters.
    pub edges: usize,
    /// Edges there are.
    pub edges_max: usize,
    /// What targets reported to be remarkable.
    pub features: usize,
}

/// Inputs, and what they have reached.
#[derive(Debug)]
pub struct Engine<'t> {
    target: &'t Target,
    rng: Rng,
    pool: Vec<Kept>,
    /// Those of the pool that could be read as a whole.
    whole: Vec<usize>,
    /// Of each edge, which magnitudes of its count have been seen.
    edges: Vec<u8>,
    features: HashSet<u64>,
    coverage: Option<Coverage>,
    report: Report,
    figures: Figures,
    /// Where the input under way is written, for whoever watches this process die.
    current: Option<File>,
}

#[derive(Debug)]
struct Kept {
    bytes: Vec<u8>,
    tree: Node,
}

impl<'t> Engine<'t> {
    /// With nothing tried yet.
    pub fn new(target: &'t Target, seed: u64, current: Option<File>) -> Self {
        let coverage = Coverage::get();
        let edges = coverage.as_ref().map_or(0, Coverage::edges);
        Self {
            target,
            rng: Rng::new(seed),
            pool: Vec::new(),
            whole: Vec::new(),
            edges: vec![0; edges],
            features: HashSet::new(),
            coverage,
            report: Report::default(),
            figures: Figures { edges_max: edges, ..Figures::default() },
            current,
        }
    }

    /// Tries the seeds and what is kept, then what is made of them. `progress` is told about once a second.
    ///
    /// # Errors
    /// The first input that broke something, made small, and how it broke; or that the corpus can't be read.
    pub fn run(&mut self, limits: Limits, mut progress: impl FnMut(&Figures)) -> io::Result<Result<(), (Vec<u8>, Finding)>> {
        let began = Instant::now();
        let mut next = began;
        let kept = corpus::load(self.target.name)?.into_iter().map(|(_, input)| input);
        for input in (self.target.seeds)().into_iter().chain(kept) {
            // Said here too: whoever watches takes long silence for one input that never ends.
            if Instant::now() >= next {
                progress(&self.figures);
                next = Instant::now() + Duration::from_secs(1);
            }
            if let Err(finding) = self.input(&input, true) {
                return Ok(Err((self.minimised(&input, &finding), finding)));
            }
        }
        loop {
            let now = Instant::now();
            self.figures.millis = u64::try_from(now.duration_since(began).as_millis()).unwrap_or(u64::MAX);
            let over = now.duration_since(began) >= limits.time || (limits.runs > 0 && self.figures.runs >= limits.runs);
            if now >= next || over {
                progress(&self.figures);
                next = now + Duration::from_secs(1);
            }
            if over {
                return Ok(Ok(()));
            }
            let input = self.invent();
            if let Err(finding) = self.input(&input, false) {
                return Ok(Err((self.minimised(&input, &finding), finding)));
            }
        }
    }

    /// What a run has done so far.
    pub fn figures(&self) -> &Figures {
        &self.figures
    }

    /// Small inputs that reach, together, all that was reached.
    pub fn worth_keeping(&mut self) -> Vec<Vec<u8>> {
        let mut inputs: Vec<Vec<u8>> = self.pool.iter().map(|kept| kept.bytes.clone()).collect();
        inputs.retain(|input| input.len() <= KEPT_BYTES_MAX);
        inputs.sort_by_key(Vec::len);
        let mut reached: HashSet<(usize, u64)> = HashSet::new();
        let mut worth = Vec::new();
        for input in inputs {
            let reaches = self.reached_by(&input);
            let before = reached.len();
            reached.extend(&reaches);
            if reached.len() > before {
                worth.push((input, reaches));
            }
        }
        // Many of the smallest are outdone by what came after them.
        let mut times: HashMap<(usize, u64), usize> = HashMap::new();
        worth.iter().flat_map(|(_, reaches)| reaches).for_each(|reach| *times.entry(*reach).or_insert(0) += 1);
        worth.retain(|(_, reaches)| {
            let needed = reaches.iter().any(|reach| times[reach] == 1);
            if !needed {
                reaches.iter().for_each(|reach| *times.entry(*reach).or_insert(1) -= 1);
            }
            needed
        });
        worth.into_iter().map(|(input, _)| input).collect()
    }

    /// The edges passed and what was reported, by number.
    fn reached_by(&mut self, input: &[u8]) -> Vec<(usize, u64)> {
        let _ = self.attempt(input);
        let mut reaches: Vec<_> = self.report.features.iter().map(|feature| (usize::MAX, *feature)).collect();
        if let Some(coverage) = &self.coverage {
            coverage.read(|edge, _| reaches.push((edge, 0)));
        }
        reaches.sort_unstable();
        reaches.dedup();
        reaches
    }

    fn invent(&mut self) -> Vec<u8> {
        let (at, other) = (self.choose(), self.rng.below(self.pool.len()));
        let (Some(seed), Some(other)) = (self.pool.get(at), self.pool.get(other)) else {
            let len = self.rng.below(64);
            return self.rng.bytes(len);
        };
        let mut input = Mutator { rng: &mut self.rng, words: self.target.words }.mutate(&seed.tree, &other.tree);
        if input.len() > INPUT_BYTES_MAX && self.rng.chance(95) {
            input.truncate(INPUT_BYTES_MAX);
        }
        input
    }

    /// What was found last leads on more often than what has been here for long, and whole inputs lead deeper than broken ones.
    fn choose(&mut self) -> usize {
        let whole = self.rng.chance(60) && !self.whole.is_empty();
        let len = if whole { self.whole.len() } else { self.pool.len() };
        let from = if self.rng.chance(40) { len.saturating_sub(len / 8 + 1) } else { 0 };
        let at = from + self.rng.below(len - from);
        if whole { self.whole[at] } else { at }
    }

    /// `seed`: worth going on from even if it reaches nothing new.
    fn input(&mut self, input: &[u8], seed: bool) -> Result<(), Finding> {
        self.attempt(input)?;
        self.figures.runs += 1;
        self.figures.envelope += u64::from(self.report.envelope);
        self.figures.full += u64::from(self.report.full);
        if self.is_new() || seed {
            let tree = parse(self.target.shapes, input);
            if self.report.full {
                self.whole.push(self.pool.len());
            }
            self.pool.push(Kept { bytes: input.to_vec(), tree });
            self.figures.kept = self.pool.len();
        }
        Ok(())
    }

    fn attempt(&mut self, input: &[u8]) -> Result<(), Finding> {
        if let Some(file) = &self.current {
            let length = u32::try_from(input.len()).unwrap_or(u32::MAX);
            let _ = file.write_all_at(&[&length.to_be_bytes(), input].concat(), 0);
        }
        if let Some(coverage) = &mut self.coverage {
            coverage.reset();
        }
        try_input(self.target, input, &mut self.report)
    }

    /// Whether the last input reached anything for the first time: an edge, another magnitude of an edge's count, a feature.
    fn is_new(&mut self) -> bool {
        let mut new = false;
        if let Some(coverage) = &self.coverage {
            let (edges, figures) = (&mut self.edges, &mut self.figures);
            coverage.read(|edge, count| {
                let magnitude = 1 << count.ilog2();
                let seen = &mut edges[edge];
                if *seen & magnitude == 0 {
                    figures.edges += usize::from(*seen == 0);
                    *seen |= magnitude;
                    new = true;
                }
            });
        }
        for feature in &self.report.features {
            new |= self.features.len() < FEATURES_MAX && self.features.insert(*feature);
        }
        self.figures.features = self.features.len();
        new
    }

    fn minimised(&mut self, input: &[u8], finding: &Finding) -> Vec<u8> {
        let mut report = Report::default();
        let breaks = |input: &[u8]| try_input(self.target, input, &mut report).is_err_and(|other| other.place == finding.place);
        minimise::minimise(self.target.shapes, input, MINIMISE_TIME, breaks)
    }
}

/// Longer inputs are seldom worth their time.
const INPUT_BYTES_MAX: usize = 16 << 10;
/// Longer inputs aren't kept in the repository.
const KEPT_BYTES_MAX: usize = 2 << 10;
const FEATURES_MAX: usize = 100_000;
/// Less than the parent lets a child be silent.
const MINIMISE_TIME: Duration = Duration::from_secs(4);
