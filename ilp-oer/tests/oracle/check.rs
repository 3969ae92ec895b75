//! What both codecs must agree on, for one value and for one string of bytes.

use crate::model::{Clp, Ilp};
use crate::strategies::{AnyEntry, CLP_TYPES, ILP_TYPES, clp_value_of, ilp_value_of};
use crate::types;
use crate::values::Entry;
use ilp_oer::clp::{Dialect, Extensions};
use ilp_oer::ilp;
use ilp_oer::value::{ClpValue, EntryValue, IlpValue};
use proptest::strategy::Strategy;
use proptest::test_runner::{TestCaseError, TestCaseResult, TestRunner};
use proptest::{prop_assert, prop_assert_eq};

/// Something to be checked on as many cases as the runner's configuration says.
pub(crate) struct Check {
    pub(crate) name: String,
    /// Answers how many of the cases were packets, read by both codecs to the same value; says what they differ in otherwise.
    pub(crate) run: Run,
}

type Run = Box<dyn Fn(&mut TestRunner) -> Result<u32, String>>;

/// One for each type of packet, those of CLP in both dialects.
pub(crate) fn values_of_each_type() -> Vec<Check> {
    let ilp = ILP_TYPES.map(|kind| Check { name: format!("ilp {kind:?}"), run: on_each(ilp_value_of(kind), ilp_agrees) });
    ilp.into_iter().chain(clp_checks::<types::NamedEntry>()).chain(clp_checks::<types::SeedEntry>()).collect()
}

fn clp_checks<E: Entry<Value: AnyEntry> + 'static>() -> impl Iterator<Item = Check> {
    let dialect = match E::Value::DIALECT {
        Dialect::Named => "named",
        Dialect::Seed => "seed",
    };
    CLP_TYPES.into_iter().map(move |kind| {
        let run = on_each(clp_value_of::<E::Value>(kind), clp_agrees::<E>);
        Check { name: format!("clp {dialect} {kind:?}"), run }
    })
}

fn on_each<S: Strategy + 'static>(values: S, check: impl Fn(&S::Value) -> TestCaseResult + 'static) -> Run {
    Box::new(move |runner| {
        let outcome = runner.run(&values, |value| check(&value));
        outcome.map(|()| runner.config().cases).map_err(|error| error.to_string())
    })
}

/// Both write the same bytes, and both read the other's back to the same value.
fn ilp_agrees(value: &IlpValue) -> TestCaseResult {
    let model = Ilp::from_value(value);
    let (ours, theirs) = (value.to_vec().unwrap(), model.encode().unwrap());
    prop_assert_eq!(&ours, &theirs);

    let read = Ilp::decode(&ours).unwrap();
    prop_assert_eq!(&read.to_value().unwrap(), value);
    prop_assert_eq!(&read, &model);
    let read = ilp::Packet::decode(&theirs).unwrap();
    prop_assert_eq!(&IlpValue::try_from(read).unwrap(), value);
    Ok(())
}

fn clp_agrees<E: Entry<Value: AnyEntry>>(value: &ClpValue<E::Value>) -> TestCaseResult {
    let model = Clp::<E>::from_value(value);
    let (ours, theirs) = (value.to_vec().unwrap(), model.encode().unwrap());
    prop_assert_eq!(&ours, &theirs);

    let read = Clp::<E>::decode(&ours).unwrap();
    prop_assert_eq!(&read.to_value().unwrap(), value);
    prop_assert_eq!(&read, &model);
    prop_assert_eq!(&ClpValue::<E::Value>::decode(&theirs, Extensions::ALL).unwrap(), value);
    Ok(())
}

/// Both read the bytes as the same value, or neither takes them: `rasn` takes them if they are a value's one encoding, and the value
/// is one of the protocol. Answers whether they were taken.
pub(crate) fn ilp_verdicts_agree(bytes: &[u8]) -> Result<bool, TestCaseError> {
    let ours = ilp::Packet::decode(bytes).ok().map(|packet| IlpValue::try_from(packet).unwrap());
    let theirs = Ilp::decode(bytes).ok().filter(|model| model.encode().as_deref() == Ok(bytes));
    let theirs = theirs.and_then(|model| model.to_value().ok());
    prop_assert!(ours == theirs, "{bytes:02x?}\n  ours {ours:?}\ntheirs {theirs:?}");
    Ok(ours.is_some())
}

pub(crate) fn clp_verdicts_agree<E: Entry<Value: AnyEntry>>(bytes: &[u8]) -> Result<bool, TestCaseError> {
    let ours = ClpValue::<E::Value>::decode(bytes, Extensions::ALL).ok();
    let theirs = Clp::<E>::decode(bytes).ok().filter(|model| model.encode().as_deref() == Ok(bytes));
    let theirs = theirs.and_then(|model| model.to_value().ok());
    prop_assert!(ours == theirs, "{bytes:02x?}\n  ours {ours:?}\ntheirs {theirs:?}");
    Ok(ours.is_some())
}
