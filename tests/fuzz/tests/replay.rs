//! What earlier runs kept, and what once broke something, goes through its target again.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

use ilp_fuzz::target::Report;
use ilp_fuzz::{corpus, seeds, targets, trial};

/// Replays the corpus and the seeds of one target.
fn replay(name: &str) {
    trial::catch_panics();
    let target = targets::named(name).unwrap();
    let kept = corpus::load(name).unwrap();
    assert!(kept.len() >= 10, "the corpus of {name} has {} inputs", kept.len());
    let seeds = (target.seeds)().into_iter().map(|seed| (seeds::tests().join("vectors"), seed));
    let (mut all, mut whole, mut broken) = (0_usize, 0_usize, Vec::new());
    for (file, input) in kept.into_iter().chain(seeds) {
        let mut report = Report::default();
        all += 1;
        match trial::try_input(target, &input, &mut report) {
            Ok(()) => whole += usize::from(report.full),
            Err(finding) => broken.push(format!("{}: {}: {}\n  {}", file.display(), finding.place, finding.message, hex::encode(&input))),
        }
    }
    assert!(broken.is_empty(), "{} of {all} inputs break {name}:\n{}", broken.len(), broken.join("\n"));
    assert!(whole * 20 >= all, "only {whole} of {all} inputs of {name} could be read as a whole");
}

/// A test for each target, so that they run side by side and one that is forgotten shows.
macro_rules! targets {
    ($($name:ident)*) => {
        $(
            #[test]
            fn $name() {
                replay(stringify!($name));
            }
        )*

        #[test]
        fn every_target_is_replayed() {
            let names: Vec<_> = targets::ALL.iter().map(|target| target.name).collect();
            assert_eq!(names, [$(stringify!($name)),*]);
        }
    };
}

targets! { clp ilp sub text packet session exchange link worker config url }
