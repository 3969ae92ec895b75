//! The machinery: trees, mutation, finding, making small.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

use ilp_fuzz::engine::{Engine, Limits};
use ilp_fuzz::mutate::Mutator;
use ilp_fuzz::rng::Rng;
use ilp_fuzz::shape::parse;
use ilp_fuzz::target::{Report, Target};
use ilp_fuzz::{formats, minimise, seeds, targets, trial};
use ilp_oer::clp::{Dialect, Extensions, Packet};
use std::time::Duration;

/// Breaks when a packet in good form has exactly 200 entries.
fn planted(input: &[u8], report: &mut Report) {
    let Ok(packet) = Packet::decode(input, Dialect::Named, Extensions::NONE) else { return };
    report.full = true;
    assert!(packet.body.data().len() != 200, "planted");
}

const PLANTED: Target = Target { name: "planted", about: "", shapes: formats::CLP, words: &[], seeds: seeds::clp, run: planted };

#[test]
fn trees_render_to_the_bytes_they_were_made_of() {
    let mut rng = Rng::new(3);
    for target in targets::ALL {
        let inputs = (target.seeds)();
        for (n, input) in inputs.iter().enumerate() {
            let tree = parse(target.shapes, input);
            assert_eq!(tree.to_bytes(), *input, "{}: seed {n}", target.name);
            let other = parse(target.shapes, rng.pick::<Vec<u8>>(&inputs));
            let mutant = Mutator { rng: &mut rng, words: target.words }.mutate(&tree, &other);
            assert_eq!(parse(target.shapes, &mutant).to_bytes(), mutant, "{}: a mutant of seed {n}", target.name);
        }
    }
}

#[test]
fn vectors_fit_their_formats() {
    for (shapes, inputs) in [(formats::CLP, seeds::clp()), (formats::CLP_SEED, seeds::clp_seed()), (formats::ILP, seeds::ilp())] {
        let good = inputs.iter().filter(|input| parse(shapes, input).is_clean()).count();
        assert!(good * 4 > inputs.len(), "{good} of {}", inputs.len());
    }
}

#[test]
fn a_change_to_a_field_leaves_the_lengths_around_it_right() {
    let mut rng = Rng::new(5);
    let inputs: Vec<_> = seeds::clp().into_iter().filter(|input| Packet::decode(input, Dialect::Named, Extensions::ALL).is_ok()).collect();
    let (mut decoded, mut changed) = (0, 0);
    for _ in 0..2_000 {
        let (input, other) = (parse(formats::CLP, rng.pick::<Vec<u8>>(&inputs)), parse(formats::CLP, rng.pick::<Vec<u8>>(&inputs)));
        let mutant = Mutator { rng: &mut rng, words: &[] }.mutate(&input, &other);
        changed += usize::from(mutant != input.to_bytes());
        decoded += usize::from(Packet::decode(&mutant, Dialect::Named, Extensions::ALL).is_ok());
    }
    assert!(changed > 1_500 && decoded > 500, "{changed} changed, {decoded} of 2000 decode");
}

#[test]
fn a_planted_mistake_is_found_and_made_small() {
    trial::catch_panics();
    let mut engine = Engine::new(&PLANTED, 1, None);
    let limits = Limits { time: Duration::from_secs(150), runs: 1_000_000 };
    let (input, finding) = engine.run(limits, |_| {}).unwrap().expect_err("not found");
    assert!(finding.message.contains("planted") && finding.place.contains("engine.rs"), "{finding:?}");
    assert_eq!(Packet::decode(&input, Dialect::Named, Extensions::NONE).unwrap().body.data().len(), 200);
    // Type, id, length, count, and entries with nothing in them.
    assert!(input.len() <= 5 + 3 + 2 + 200 * 3, "{} bytes", input.len());
}

#[test]
fn the_same_seed_tries_the_same_inputs() {
    let figures = |seed| {
        let mut engine = Engine::new(targets::named("sub").unwrap(), seed, None);
        engine.run(Limits { time: Duration::from_secs(150), runs: 3_000 }, |_| {}).unwrap().unwrap();
        let figures = engine.figures().clone();
        (figures.runs, figures.envelope, figures.full, figures.kept)
    };
    assert_eq!(figures(4), figures(4));
    assert_ne!(figures(4), figures(5));
}

#[test]
fn minimising_keeps_what_matters_only() {
    let input = b"\x04ab12\xff\xff\xff\xffcdefghijklmnop";
    let small = minimise::minimise(formats::TEXT, input, Duration::from_secs(150), |input| input.contains(&b'1') && input.contains(&b'p'));
    assert_eq!(small, b"1p");
}

#[test]
fn copies_of_copies_do_not_fill_the_memory() {
    let mut rng = Rng::new(9);
    let nested = parse(formats::TEXT, format!("[[[[{}]]]]", "a".repeat(4_000)).as_bytes());
    for _ in 0..20_000 {
        let mutant = Mutator { rng: &mut rng, words: &[] }.mutate(&nested, &nested);
        assert!(mutant.len() < 1 << 20, "{} bytes", mutant.len());
    }
}
