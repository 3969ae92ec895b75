//! Batches on their way: answers of the store may overtake each other.

use crate::bench::{Bench, account};
use ilp_core::store::{Commit, CommitOutcome};
use ilp_core::worker::{Batch, Pipeline, Untrusted};

/// A pipeline that has been given this many batches, and their commits; the first has the number 5.
fn on_their_way(count: u64) -> (Pipeline, Vec<Commit>) {
    let mut bench = Bench::new();
    let mut step = |n: u64| -> Batch {
        let config = account(&format!("dora{n}"), 0);
        let input = bench.add_input(config, n);
        bench.worker.step(bench.at(), &mut vec![input]).unwrap()
    };
    let mut pipeline = Pipeline::new("slot".into(), 1);
    let commits: Vec<_> = (0..count).map(|n| pipeline.push(step(n)).unwrap()).collect();
    assert_eq!(commits[0].seq, 5);
    (pipeline, commits)
}

#[test]
fn a_gap_that_comes_late_is_no_sign_that_the_store_has_forgotten() {
    let (mut pipeline, commits) = on_their_way(2);
    // The store took the second one up before the first, and this answer overtook the one that said so.
    assert_eq!(pipeline.outcome(commits[0].clone(), CommitOutcome::Durable), Ok(None));
    let retry = pipeline.outcome(commits[1].clone(), CommitOutcome::Gap { last_seq: 4 }).unwrap().unwrap();
    assert_eq!(retry.commit, commits[1]);
    assert_eq!(pipeline.outcome(retry.commit, CommitOutcome::Durable), Ok(None));
    assert!(pipeline.next_durable().is_some() && pipeline.next_durable().is_some());
}

#[test]
fn a_gap_below_what_was_durable_when_the_commit_was_sent_means_that_the_store_has_forgotten() {
    let (mut pipeline, commits) = on_their_way(2);
    assert_eq!(pipeline.outcome(commits[0].clone(), CommitOutcome::Durable), Ok(None));
    let gap = CommitOutcome::Gap { last_seq: 4 };
    let retry = pipeline.outcome(commits[1].clone(), gap.clone()).unwrap().unwrap();
    assert_eq!(pipeline.outcome(retry.commit, gap), Err(Untrusted::Forgotten { last_seq: 4 }));
    assert!(pipeline.next_durable().is_none());

    // The first commit of all was sent knowing what the worker was opened with.
    let (mut pipeline, commits) = on_their_way(1);
    let outcome = pipeline.outcome(commits[0].clone(), CommitOutcome::Gap { last_seq: 3 });
    assert_eq!(outcome, Err(Untrusted::Forgotten { last_seq: 3 }));
}

#[test]
fn a_store_in_trouble_is_asked_less_and_less_often_with_the_same_bytes() {
    let (mut pipeline, commits) = on_their_way(2);
    let unknown = || CommitOutcome::Unknown { cause: "no space".into() };
    let mut waits = Vec::new();
    let mut commit = commits[0].clone();
    for _ in 0..12 {
        let retry = pipeline.outcome(commit, unknown()).unwrap().unwrap();
        assert_eq!(retry.commit, commits[0]);
        waits.push(retry.after.as_millis());
        commit = retry.commit;
    }
    assert_eq!(waits, [5, 10, 20, 40, 80, 160, 320, 640, 1_000, 1_000, 1_000, 1_000]);
    let mut behind = commits[1].clone();
    let mut waits = Vec::new();
    for _ in 0..40 {
        let retry = pipeline.outcome(behind, CommitOutcome::Gap { last_seq: 4 }).unwrap().unwrap();
        waits.push(retry.after.as_millis());
        behind = retry.commit;
    }
    assert_eq!((waits[0], waits[39]), (1, 50));
    // When it is well again, everything goes on.
    assert_eq!(pipeline.outcome(commit, CommitOutcome::Durable), Ok(None));
    assert_eq!(pipeline.outcome(behind, CommitOutcome::Durable), Ok(None));
    assert!(pipeline.next_durable().is_some() && pipeline.next_durable().is_some());
}
