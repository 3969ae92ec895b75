//! One input to one target, with panics caught.

use crate::target::{Report, Target};
use std::cell::{Cell, RefCell};
use std::panic::{self, AssertUnwindSafe, PanicHookInfo};
use std::sync::Once;

/// A panic: the product's, or that of a target because something didn't hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// Where: file and line. Findings at the same place are taken for the same.
    pub place: String,
    /// What it said.
    pub message: String,
}

/// Tries one input.
///
/// # Errors
/// The panic.
pub fn try_input(target: &Target, input: &[u8], report: &mut Report) -> Result<(), Finding> {
    report.clear();
    TRYING.set(true);
    let result = panic::catch_unwind(AssertUnwindSafe(|| (target.run)(input, report)));
    TRYING.set(false);
    result.map_err(|_| LAST.take().unwrap_or_else(unknown))
}

/// From now on panics of targets are remembered by their thread rather than printed.
pub fn catch_panics() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let others = panic::take_hook();
        panic::set_hook(Box::new(move |info| if TRYING.get() { LAST.set(Some(finding(info))) } else { others(info) }));
    });
}

thread_local! {
    static TRYING: Cell<bool> = const { Cell::new(false) };
    static LAST: RefCell<Option<Finding>> = const { RefCell::new(None) };
}

fn finding(info: &PanicHookInfo<'_>) -> Finding {
    let place = info.location().map_or_else(String::new, |location| format!("{}:{}", location.file(), location.line()));
    let payload = info.payload();
    let words = payload.downcast_ref::<&str>().copied().or_else(|| payload.downcast_ref::<String>().map(String::as_str));
    let message = words.unwrap_or("a panic without words").chars().take(MESSAGE_CHARS_MAX).collect();
    Finding { place, message }
}

/// Without [`catch_panics`] the usual hook has printed it.
fn unknown() -> Finding {
    Finding { place: String::new(), message: "a panic, see above".to_owned() }
}

/// Two whole inputs compared with each other make long messages.
const MESSAGE_CHARS_MAX: usize = 600;
