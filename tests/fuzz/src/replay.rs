//! `fuzz replay`.

use ilp_fuzz::target::Report;
use ilp_fuzz::{corpus, targets, trial};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

pub(super) fn run(files: &[PathBuf], target: Option<&str>) -> io::Result<bool> {
    trial::catch_panics();
    let mut good = true;
    let mut out = io::stdout().lock();
    for file in files {
        let name = target.or_else(|| folder_name(file)).unwrap_or_default();
        let target =
            targets::named(name).ok_or_else(|| io::Error::other(format!("{}: no target {name:?}; say --target", file.display())))?;
        for input in corpus::read(file)? {
            let mut report = Report::default();
            match trial::try_input(target, &input, &mut report) {
                Ok(()) => writeln!(out, "{name}: {} bytes: good (envelope {}, whole {})", input.len(), report.envelope, report.full)?,
                Err(finding) => {
                    good = false;
                    writeln!(out, "{name}: {} bytes: {}: {}", input.len(), finding.place, finding.message)?;
                    writeln!(out, "  {}", hex::encode(&input))?;
                }
            }
        }
    }
    Ok(good)
}

fn folder_name(file: &Path) -> Option<&str> {
    file.parent()?.file_name()?.to_str()
}
