//! Valid encodings with a few bytes changed: whatever one codec takes as the one encoding of a valid value, the other takes too, as
//! the same value.

use crate::check::{Check, clp_verdicts_agree, ilp_verdicts_agree};
use crate::strategies::{AnyEntry, clp_value, ilp_value};
use crate::types;
use crate::values::Entry;
use ilp_oer::oer::{Reader, put_octets};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};
use proptest::test_runner::TestRunner;
use std::cell::Cell;

/// One change of one byte.
#[derive(Debug, Clone, Copy)]
enum Edit {
    Xor(u8),
    Set(u8),
    Add(u8),
    Insert(u8),
    Remove,
}

fn edits() -> impl Strategy<Value = Vec<(Index, Edit)>> {
    let special = select(vec![0, 1, 2, 3, 0x1f, b' ', b'.', b'0', b'2', b'3', b'6', b'9', b'Z', 0x7e, 0x7f, 0x80, 0x81, 0x82, 0xff]);
    let edit = prop_oneof![
        any::<u8>().prop_map(Edit::Xor),
        special.clone().prop_map(Edit::Set),
        select(vec![1, 10, 255]).prop_map(Edit::Add),
        special.prop_map(Edit::Insert),
        Just(Edit::Remove),
    ];
    vec((any::<Index>(), edit), 1..4)
}

fn apply(bytes: &mut Vec<u8>, edits: &[(Index, Edit)]) {
    for (at, edit) in edits {
        let at = at.index(bytes.len().max(1));
        match (edit, bytes.get_mut(at)) {
            (Edit::Xor(bits), Some(byte)) => *byte ^= bits,
            (Edit::Set(value), Some(byte)) => *byte = *value,
            (Edit::Add(step), Some(byte)) => *byte = byte.wrapping_add(*step),
            (Edit::Insert(value), _) => bytes.insert(at, *value),
            (Edit::Remove, Some(_)) => drop(bytes.remove(at)),
            (_, None) => {}
        }
    }
}

/// Changes any byte, or only the contents and then makes the length right again, so that what is inside gets read.
fn damaged(bytes: &[u8], head: usize, inside: bool, edits: &[(Index, Edit)]) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    if !inside {
        apply(&mut bytes, edits);
        return bytes;
    }
    let mut contents = Reader::new(&bytes[head..]).octets().unwrap().to_vec();
    apply(&mut contents, edits);
    bytes.truncate(head);
    put_octets(&contents, &mut bytes);
    bytes
}

/// One check for the packets of ILP and one for each dialect of CLP. A good part of what is damaged must still be valid, and a good
/// part not.
pub(crate) fn damaged_encodings() -> [Check; 3] {
    let ilp = |bytes: &[u8]| if ilp_counts_fit(bytes) { ilp_verdicts_agree(bytes) } else { Ok(false) };
    [
        on_damaged("ilp damaged", ilp_value(), |value| value.to_vec().unwrap(), 1, ilp),
        on_damaged_clp::<types::NamedEntry>("clp named damaged"),
        on_damaged_clp::<types::SeedEntry>("clp seed damaged"),
    ]
}

fn on_damaged_clp<E: Entry<Value: AnyEntry> + 'static>(name: &str) -> Check {
    let check = |bytes: &[u8]| if clp_counts_fit(bytes) { clp_verdicts_agree::<E>(bytes) } else { Ok(false) };
    on_damaged(name, clp_value::<E::Value>(), |value| value.to_vec().unwrap(), 5, check)
}

fn on_damaged<S: Strategy + 'static>(
    name: &str,
    values: S,
    encode: impl Fn(&S::Value) -> Vec<u8> + 'static,
    head: usize,
    check: impl Fn(&[u8]) -> Result<bool, TestCaseError> + 'static,
) -> Check {
    let values = (values, any::<bool>(), edits());
    let run = move |runner: &mut TestRunner| {
        let taken = Cell::new(0);
        let outcome = runner.run(&values, |(value, inside, edits)| {
            let bytes = damaged(&encode(&value), head, inside, &edits);
            taken.set(taken.get() + u32::from(check(&bytes)?));
            Ok(())
        });
        outcome.map_err(|error| error.to_string())?;
        let (taken, cases) = (taken.get(), runner.config().cases);
        if taken < cases / 20 || taken > cases / 20 * 19 { Err(format!("{taken} of {cases} taken")) } else { Ok(taken) }
    };
    Check { name: name.to_owned(), run: Box::new(run) }
}

/// Whether `rasn` may be asked: it allocates for as many elements as a count says, before it looks for them, and the process with it
/// would end at counts of some bytes. None of the packets here has more elements than fit into two.
fn ilp_counts_fit(bytes: &[u8]) -> bool {
    !ilp_count_is_large(&mut Reader::new(bytes)).unwrap_or(false)
}

fn clp_counts_fit(bytes: &[u8]) -> bool {
    !clp_count_is_large(bytes).unwrap_or(false)
}

fn ilp_count_is_large(reader: &mut Reader<'_>) -> Option<bool> {
    let kind = reader.u8().ok()?;
    let mut contents = reader.nested().ok()?;
    if kind == 8 {
        contents.take(3).ok()?;
        contents.octets().ok()?;
        contents.octets().ok()?;
    }
    Some((kind == 3 || kind == 8) && count_is_large(&contents))
}

fn clp_count_is_large(bytes: &[u8]) -> Option<bool> {
    let mut reader = Reader::new(bytes);
    let kind = reader.u8().ok()?;
    reader.take(4).ok()?;
    let mut contents = reader.nested().ok()?;
    let fixed = match kind {
        4 => 16 + 8 + 32,
        5 => 16 + 32,
        6 => 16,
        8 => 16 + 8,
        _ => 0,
    };
    contents.take(fixed).ok()?;
    let reason = kind == 3 || kind == 6;
    if reason && ilp_count_is_large(&mut contents).unwrap_or(false) {
        return Some(true);
    }
    if kind == 4 || kind == 8 && contents.u8().ok()? == 1 {
        contents.octets().ok()?;
    }
    Some(count_is_large(&contents))
}

/// Of 3 bytes or more.
fn count_is_large(at: &Reader<'_>) -> bool {
    at.rest().first().is_some_and(|size| *size > 2)
}
