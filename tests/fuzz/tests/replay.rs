//! What earlier runs kept, and what once broke something, goes through its target again.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

use ilp_fuzz::program::operation;
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

/// Fuzzing seldom makes inputs this large, and the corpora have none.
#[test]
fn large_inputs_break_nothing() {
    trial::catch_panics();
    let mut broken = Vec::new();
    let mut attempt = |name: &str, what: &str, input: &[u8]| {
        if let Err(finding) = trial::try_input(targets::named(name).unwrap(), input, &mut Report::default()) {
            broken.push(format!("{name}, {what}: {}: {}", finding.place, finding.message));
        }
    };
    for target in targets::ALL {
        let seeds = (target.seeds)();
        for (number, seed) in seeds.iter().enumerate().step_by(seeds.len().div_ceil(4)) {
            attempt(target.name, &format!("seed {number} again and again"), &seed.repeat(150_000 / seed.len().max(1)));
            attempt(target.name, &format!("seed {number} and much more"), &[&seed[..], &[b'x'; 150_000]].concat());
        }
    }
    for name in ["session", "exchange", "link", "worker"] {
        for setting in [0, 1, 4, 8, 12, 28] {
            for size in [20_000, 66_000, 150_000] {
                for code in 0..12 {
                    let program = [&[setting][..], &operation(code, 0, 300, &vec![b'x'; size])].concat();
                    attempt(name, &format!("setting {setting}, operation {code}, {size} bytes"), &program);
                }
            }
        }
    }
    assert!(broken.is_empty(), "{} inputs:\n{}", broken.len(), broken.join("\n"));
}
