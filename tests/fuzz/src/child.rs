//! The process of one target.

use crate::Run;
use ilp_fuzz::engine::{Engine, Figures, Limits};
use ilp_fuzz::{corpus, targets, trial};
use serde::{Deserialize, Serialize};
use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// What a child tells its parent, a line of JSON each.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Line {
    /// About once a second, and at the end.
    Figures(Figures),
    /// Something broke.
    Found {
        /// The input.
        file: PathBuf,
        /// Where in the code.
        place: String,
        /// What was said.
        message: String,
    },
    /// The end.
    Done,
}

/// `current`: the file that always holds the input under way.
pub(super) fn run(run: &Run, current: &Path) -> io::Result<bool> {
    trial::catch_panics();
    let name = run.targets.first().map_or("", String::as_str);
    let target = targets::named(name).ok_or_else(|| io::Error::other(format!("no target {name}")))?;
    let mut engine = Engine::new(target, run.seed, Some(File::create(current)?));
    let mut said = Ok(());
    let limits = Limits { time: Duration::from_secs(run.seconds), runs: run.runs };
    let result = engine.run(limits, |figures| {
        if said.is_ok() {
            said = say(&Line::Figures(figures.clone()));
        }
    })?;
    said?;
    if let Err((input, finding)) = result {
        let file = corpus::save_found(target.name, &input)?;
        say(&Line::Figures(engine.figures().clone()))?;
        say(&Line::Found { file, place: finding.place, message: finding.message })?;
        return Ok(false);
    }
    if run.keep {
        let inputs = engine.worth_keeping();
        corpus::save_kept(target.name, &inputs.iter().map(Vec::as_slice).collect::<Vec<_>>())?;
    }
    say(&Line::Done)?;
    Ok(true)
}

fn say(line: &Line) -> io::Result<()> {
    let mut out = io::stdout().lock();
    serde_json::to_writer(&mut out, line)?;
    out.write_all(b"\n")?;
    out.flush()
}
