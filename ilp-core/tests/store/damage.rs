//! Files that were changed behind the store's back: a clear error, never a panic or wrong books, and what can be read can be had.

use crate::support::{Dir, id, lease, open, slot};
use bytes::Bytes;
use futures::executor::block_on;
use ilp_core::store::{
    AccountSetup, BalanceStore, BooksError, Commit, CommitOutcome, Damage, EmbeddedStore, Move, MoveChange, MoveOutcome, OpenedSlot,
    Salvaged, salvage,
};
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

/// Blobs that can't be mistaken for each other, of a few bytes to some hundred thousand.
fn blob(name: &str, seq: u64) -> Bytes {
    let len = if name == "large" { 70_000 + seq * 1_000 } else { 40 + seq % 7 };
    format!("[{seq} {name}]").repeat(usize::try_from(len).unwrap() / 8).into()
}

const LAST: u64 = 24;
/// Where `large` and `small` begin after the cut that their batch 20 makes.
const CUT: u64 = 12;

/// Two slots that were cut, and one that wasn't. `quiet` has an account that only it touched, before the cut.
fn fill(store: &EmbeddedStore) {
    for name in ["large", "small", "uncut"] {
        let epoch = open(store, name).epoch;
        for seq in 1..=LAST {
            let mut balances = vec![(id(name), Some(i128::from(seq)))];
            if seq == 3 {
                balances.push((id(&format!("quiet-{name}")), Some(-3)));
            }
            if seq == 5 {
                balances.push((id(&format!("closed-{name}")), Some(1)));
            }
            if seq == 6 {
                balances.push((id(&format!("closed-{name}")), None));
            }
            let cut_below = (seq == 20 && name != "uncut").then_some(CUT);
            let batch = Commit { slot: slot(name), epoch, seq, blob: blob(name, seq), balances, cut_below, mail_read: None };
            assert_eq!(block_on(store.commit(batch)), CommitOutcome::Durable);
        }
    }
    open(store, "opened only");
}

/// An image of such books, after a clean stop or while they are in use.
fn image(clean: bool) -> Vec<u8> {
    let dir = Dir::new();
    let store = EmbeddedStore::open(dir.path()).unwrap();
    fill(&store);
    if clean {
        drop(store);
        return fs::read(dir.join("books.redb")).unwrap();
    }
    fs::read(dir.join("books.redb")).unwrap()
}

fn put(dir: &Path, image: &[u8]) {
    fs::create_dir_all(dir).unwrap();
    fs::write(dir.join("books.redb"), image).unwrap();
}

fn log(store: &EmbeddedStore, name: &str) -> Option<OpenedSlot> {
    block_on(store.read(&slot(name))).unwrap().map(|picture| picture.slot)
}

fn balances(store: &EmbeddedStore) -> BTreeMap<String, i128> {
    let directory = block_on(store.directory()).unwrap();
    directory.balances.into_iter().map(|(id, _, balance)| (id.name().to_owned(), balance)).collect()
}

fn expected(name: &str, from: u64, to: u64) -> Vec<Bytes> {
    (from..=to).map(|seq| blob(name, seq)).collect()
}

/// Where a batch's bytes lie in a file.
fn find(image: &[u8], name: &str, seq: u64) -> usize {
    let blob = blob(name, seq);
    let part = &blob[blob.len() / 2..][..blob.len().min(60) / 2];
    image.windows(part.len()).position(|window| window == part).unwrap()
}

fn refused(dir: &Path) -> BooksError {
    EmbeddedStore::open(dir).map(drop).unwrap_err()
}

#[test]
fn a_damaged_batch_is_named_and_nothing_before_it_is_lost() {
    for clean in [true, false] {
        let mut damaged = image(clean);
        let at = find(&damaged, "large", 21);
        damaged[at] ^= 0x10;
        let dir = Dir::new();
        put(&dir.join("damaged"), &damaged);
        let error = refused(&dir.join("damaged"));
        let BooksError::Damaged { place, damage: Damage::Batch { slot, seq, .. } } = &error else { panic!("{error:?}") };
        assert_eq!((&**slot, *seq), ("large", 21));
        assert!(place.ends_with("damaged/books.redb"), "{place}");
        let text = error.to_string();
        assert!(text.contains("batch 21 of slot large can't be read") && text.contains("salvage"), "{text}");

        let report = salvage(&dir.join("damaged"), &dir.join("salvaged")).unwrap();
        assert!(!report.is_whole() && report.index.is_some(), "{report}");
        let outcomes: Vec<_> = report.slots.iter().map(|slot| (&*slot.slot, slot.outcome)).collect();
        let whole = Salvaged::Whole { last_seq: LAST };
        assert_eq!(outcomes, [("large", Salvaged::CutShort { last_seq: 20, seen: LAST }), ("small", whole), ("uncut", whole)]);
        assert_eq!(fs::read(dir.join("damaged/books.redb")).unwrap(), damaged, "the damaged file stays as it is");

        let store = EmbeddedStore::open(&dir.join("salvaged")).unwrap();
        assert_eq!(log(&store, "large").unwrap().log, expected("large", CUT, 20));
        assert_eq!(log(&store, "small").unwrap().log, expected("small", CUT, LAST));
        assert_eq!(log(&store, "uncut").unwrap().log, expected("uncut", 1, LAST));
        // The balances fit what there is of each slot, those that nobody touched since the cut too.
        let quiet = [("quiet-large", -3), ("quiet-small", -3), ("quiet-uncut", -3)];
        let all = [("large", 20), ("small", 24), ("uncut", 24)].into_iter().chain(quiet);
        assert_eq!(balances(&store), all.map(|(name, balance)| (name.to_owned(), balance)).collect());
        // And they go on.
        let opened = open(&store, "large");
        let next = Commit { blob: blob("large", 21), ..crate::support::batch("large", opened.epoch, 21) };
        crate::support::commit(&store, next);
    }
}

/// What is needed is damaged before the snapshot that it begins with is complete: nothing can be gone on with, and it says so.
#[test]
fn a_slot_without_its_beginning_is_lost_and_refuses_to_open() {
    let mut damaged = image(true);
    // Batch 20 made the cut, so without batch 15 it would have to be read from 1 on.
    for at in [find(&damaged, "uncut", 1), find(&damaged, "large", 15)] {
        damaged[at] ^= 1;
    }
    // What was cut may still be somewhere.
    while let Some(at) = damaged.windows(9).position(|window| window == b"[2 large]") {
        damaged[at] ^= 1;
    }
    let dir = Dir::new();
    put(&dir.join("damaged"), &damaged);
    let report = salvage(&dir.join("damaged"), &dir.join("salvaged")).unwrap();
    let outcomes: BTreeMap<_, _> = report.slots.iter().map(|slot| (&*slot.slot, slot.outcome)).collect();
    assert_eq!(outcomes["large"], Salvaged::Lost { damaged: 15, seen: LAST });
    assert_eq!(outcomes["uncut"], Salvaged::Lost { damaged: 1, seen: LAST });
    assert!(report.to_string().contains("slot large: lost, since batch 15 of 24 is damaged"), "{report}");
    let store = EmbeddedStore::open(&dir.join("salvaged")).unwrap();
    for name in ["large", "uncut"] {
        let error = block_on(store.open(&slot(name), &lease())).unwrap_err();
        assert!(error.message.contains("restore a backup"), "{error}");
    }
    assert_eq!(open(&store, "small").log, expected("small", CUT, LAST));
    drop(store);
    // Another salvage doesn't make it whole.
    let again = salvage(&dir.join("salvaged"), &dir.join("again")).unwrap();
    assert!(again.index.is_none() && !again.is_whole(), "{again}");
}

#[test]
fn whole_books_are_salvaged_whole() {
    let dir = Dir::new();
    for (no, clean) in [true, false].into_iter().enumerate() {
        let (from, to) = (dir.join(&format!("from-{no}")), dir.join(&format!("to-{no}")));
        put(&from, &image(clean));
        let report = salvage(&from, &to).unwrap();
        assert!(report.is_whole() && report.index.is_none(), "{report}");
        assert_eq!(report.slots.len(), 4);
        let (old, new) = (EmbeddedStore::open(&from).unwrap(), EmbeddedStore::open(&to).unwrap());
        for name in ["large", "small", "uncut", "opened only"] {
            assert_eq!(log(&new, name), log(&old, name), "{name}");
        }
        assert_eq!(balances(&new), balances(&old));
    }
}

/// Anything may happen to a file. It opens with what it had, or says that it is damaged; what is salvaged was there.
fn survives(dir: &Dir, damaged: &[u8], what: &str) -> bool {
    let (from, to) = (dir.join("damaged"), dir.join("salvaged"));
    let _ = fs::remove_dir_all(&to);
    put(&from, damaged);
    let begins = |name| if name == "uncut" { 1 } else { CUT };
    let refused = match EmbeddedStore::open(&from) {
        Ok(store) => {
            for name in ["large", "small", "uncut"] {
                let opened = log(&store, name).unwrap_or_else(|| panic!("{what}: {name} is gone"));
                assert!(opened.last_seq == LAST, "{what}: {name} ends at {}", opened.last_seq);
                assert_eq!(opened.log, expected(name, begins(name), LAST), "{what}: {name}");
            }
            false
        }
        Err(BooksError::Damaged { .. } | BooksError::NotBooks { .. }) => true,
        Err(error) => panic!("{what}: {error:?}"),
    };
    put(&from, damaged);
    match salvage(&from, &to) {
        Ok(report) => {
            let store = EmbeddedStore::open(&to).unwrap();
            for found in &report.slots {
                let name = &*found.slot;
                match found.outcome {
                    Salvaged::Lost { .. } => assert!(block_on(store.open(&found.slot, &lease())).is_err()),
                    Salvaged::Whole { last_seq } | Salvaged::CutShort { last_seq, .. } => {
                        let opened = log(&store, name).unwrap();
                        let first = last_seq + 1 - u64::try_from(opened.log.len()).unwrap();
                        assert_eq!(opened.log, expected(name, first, last_seq), "{what}: {name}");
                        assert!(name == "opened only" || first <= begins(name), "{what}: {name} begins at {first}");
                        assert!(refused || last_seq == LAST || name == "opened only", "{what}: {report}");
                    }
                }
            }
        }
        Err(BooksError::NotBooks { .. } | BooksError::Missing { .. }) => assert!(refused, "{what}"),
        Err(error) => panic!("{what}: {error:?}"),
    }
    assert_eq!(fs::read(from.join("books.redb")).unwrap(), damaged, "{what}: the damaged file stays as it is");
    refused
}

/// Positions all over a file, the same ones every time.
fn positions(len: usize, count: usize) -> impl Iterator<Item = usize> {
    (0..count).map(move |no| no * 2_654_435_761 % len)
}

#[test]
fn flipped_bits() {
    let (dir, image) = (Dir::new(), image(true));
    let mut refused = 0;
    // The header, the pages behind it, and all over the file.
    for at in (0..320).step_by(23).chain(positions(64 << 10, 8)).chain(positions(image.len(), 14)) {
        let mut damaged = image.clone();
        damaged[at] ^= 1 << (at % 8);
        refused += u32::from(survives(&dir, &damaged, &format!("bit at {at}")));
    }
    assert!(refused > 10, "{refused}");
}

#[test]
fn flipped_bits_after_an_unclean_stop() {
    let (dir, image) = (Dir::new(), image(false));
    for at in (0..320).step_by(29).chain(positions(image.len(), 8)) {
        let mut damaged = image.clone();
        damaged[at] ^= 1 << (at % 8);
        survives(&dir, &damaged, &format!("bit at {at}"));
    }
}

#[test]
fn zeroed_pages() {
    let (dir, image) = (Dir::new(), image(true));
    let mut refused = 0;
    for page in [0, 1, 2, 3].into_iter().chain(positions(image.len() / 4096, 16)) {
        let mut damaged = image.clone();
        damaged[page * 4096..][..4096].fill(0);
        refused += u32::from(survives(&dir, &damaged, &format!("page {page}")));
    }
    assert!(refused > 3, "{refused}");
}

#[test]
fn truncated_files() {
    let (dir, image) = (Dir::new(), image(true));
    for len in
        [0, 1, 9, 320, 4095, 4096, 8192, image.len() / 2, image.len() - 4096, image.len() - 1].into_iter().chain(positions(image.len(), 20))
    {
        assert!(survives(&dir, &image[..len], &format!("{len} bytes")), "{len} of {} bytes were enough", image.len());
    }
    let mut longer = image.clone();
    longer.extend_from_slice(&[0; 5_000]);
    survives(&dir, &longer, "longer");
}

/// A whole file of noise, or of something that begins like one of ours.
#[test]
fn what_isnt_ours() {
    let dir = Dir::new();
    let mut noise: Vec<u8> = (0..1u32 << 20).map(|at| at.wrapping_mul(2_654_435_761).to_be_bytes()[0]).collect();
    assert!(survives(&dir, &noise, "noise"));
    noise[..320].copy_from_slice(&image(true)[..320]);
    assert!(survives(&dir, &noise, "noise behind a header"));
}

/// Peers choose some of the bytes in a batch. What they make to look like a batch isn't taken for one, even where the damage lays it bare.
#[test]
fn what_a_peer_makes_up_is_never_salvaged() {
    let dir = Dir::new();
    // Books of the attacker's own, with a later epoch and number.
    let theirs = EmbeddedStore::open(&dir.join("theirs")).unwrap();
    let epoch = (0..9).map(|_| open(&theirs, "uncut").epoch).max().unwrap();
    for seq in 1..=40 {
        let made_up = Commit {
            slot: slot("uncut"),
            epoch,
            seq,
            blob: "a lie".into(),
            balances: vec![(id("uncut"), Some(1 << 40))],
            cut_below: None,
            mail_read: None,
        };
        crate::support::commit(&theirs, made_up);
    }
    drop(theirs);
    let lies = fs::read(dir.join("theirs/books.redb")).unwrap();
    let magic = b"\x89ILPlog\n";
    let from = lies.windows(magic.len()).position(|window| window == magic).unwrap();
    let lies = Bytes::from(lies[from..][..20_000].to_vec());

    let store = EmbeddedStore::open(&dir.join("ours")).unwrap();
    fill(&store);
    let opened = open(&store, "uncut");
    crate::support::commit(&store, Commit { blob: lies.clone(), ..crate::support::batch("uncut", opened.epoch, LAST + 1) });
    drop(store);
    let mut damaged = fs::read(dir.join("ours/books.redb")).unwrap();
    // The beginning of the piece that has the lies is gone, so they lie bare.
    let at = damaged.windows(64).position(|window| window == &lies[..64]).unwrap();
    let piece = damaged[..at].windows(magic.len()).rposition(|window| window == magic).unwrap();
    damaged[piece] ^= 1;
    put(&dir.join("ours"), &damaged);
    let report = salvage(&dir.join("ours"), &dir.join("salvaged")).unwrap();
    let uncut = report.slots.iter().find(|found| &*found.slot == "uncut").unwrap();
    assert_eq!(uncut.outcome, Salvaged::Whole { last_seq: LAST }, "{report}");
    let store = EmbeddedStore::open(&dir.join("salvaged")).unwrap();
    assert_eq!(log(&store, "uncut").unwrap().log, expected("uncut", 1, LAST));
    assert_eq!(balances(&store)["uncut"], i128::from(LAST));
}

/// Rows of accounts and letters are found without the index, as batches are; what is missing of them is said.
#[test]
fn accounts_and_mail_are_salvaged() {
    let dir = Dir::new();
    let store = EmbeddedStore::open(&dir.join("books")).unwrap();
    let epoch = crate::support::fill(&store, "slot-1", 3);
    let setup = |name: &str| AccountSetup { id: id(name), slots: vec![1, 2], key: [5; 16], credit_limit: 1_000 };
    for n in 1..=50_u32 {
        let name = format!("account-{}", n % 5);
        block_on(store.set_up(&setup(&name))).unwrap();
        let change = MoveChange::Draw { needed: 0, least: n.into(), share: 1_000 };
        let request = Move { account: id(&name), slot: u16::try_from(n % 5).unwrap(), n: u64::from(n.div_ceil(5)), change };
        assert!(matches!(block_on(store.make_move(&request)), MoveOutcome::Done { .. }));
        block_on(store.mail(&slot("slot-1"), Bytes::from(format!("letter {n}")))).unwrap();
    }
    let read = Commit { mail_read: Some(20), ..crate::support::batch("slot-1", epoch, 4) };
    crate::support::commit(&store, read);
    let before = block_on(store.directory()).unwrap();
    assert!(before.accounts.iter().all(|(_, row)| row.difference() == 0 && row.cold < 0), "{before:?}");
    drop(store);
    // Nothing of the database below can be read.
    let mut damaged = fs::read(dir.join("books/books.redb")).unwrap();
    damaged[..4096].fill(0xaa);
    put(&dir.join("damaged"), &damaged);
    let report = salvage(&dir.join("damaged"), &dir.join("salvaged")).unwrap();
    assert!(report.is_whole() && report.index.is_some(), "{report}");
    let store = EmbeddedStore::open(&dir.join("salvaged")).unwrap();
    let after = block_on(store.directory()).unwrap();
    assert_eq!((&after.accounts, after.slots.len()), (&before.accounts, 1));
    // Letters that were read may be there again: who reads them finds nothing to do.
    let mail = open(&store, "slot-1").mail;
    assert_eq!(mail.iter().rev().take(30).map(|letter| letter.no).collect::<Vec<_>>(), (21..=50).rev().collect::<Vec<_>>());
    drop(store);
    // The last row is damaged: it is said, and nobody goes on as if nothing had been drawn.
    let last = damaged.windows(8).rposition(|window| window == b"accounts").unwrap();
    damaged[last + 40] ^= 1;
    put(&dir.join("worse"), &damaged);
    let report = salvage(&dir.join("worse"), &dir.join("less")).unwrap();
    let accounts = report.slots.iter().find(|found| &*found.slot == "(accounts)").unwrap();
    assert!(matches!(accounts.outcome, Salvaged::Whole { .. } | Salvaged::CutShort { .. }), "{report}");
}

#[test]
fn salvage_refuses_what_it_mustnt_touch() {
    let dir = Dir::new();
    let store = EmbeddedStore::open(&dir.join("books")).unwrap();
    crate::support::fill(&store, "a", 3);
    let error = salvage(&dir.join("books"), &dir.join("to")).unwrap_err();
    assert!(matches!(error, BooksError::InUse { .. }), "{error:?}");
    drop(store);
    let error = salvage(&dir.join("nothing"), &dir.join("to")).unwrap_err();
    assert!(matches!(error, BooksError::Missing { .. }), "{error:?}");
    let error = salvage(&dir.join("books"), &dir.join("books")).unwrap_err();
    assert!(matches!(error, BooksError::Occupied { .. }), "{error:?}");
    assert!(salvage(&dir.join("books"), &dir.join("to")).unwrap().is_whole());
}
