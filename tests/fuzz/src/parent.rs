//! Runs the processes of the targets, and survives them.

use crate::Run;
use crate::child::Line;
use crate::watch::Watch;
use ilp_fuzz::engine::Figures;
use ilp_fuzz::target::Target;
use ilp_fuzz::{corpus, minimise, targets};
use serde::Serialize;
use std::collections::VecDeque;
use std::io::{self, BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};

/// How a target came out.
#[derive(Debug, Serialize)]
struct Outcome {
    target: &'static str,
    #[serde(flatten)]
    figures: Figures,
    findings: Vec<Finding>,
}

#[derive(Debug, Serialize)]
struct Finding {
    file: PathBuf,
    what: String,
    /// The input in hex, so that whoever has only the output of a run can try it again.
    input: String,
}

impl Finding {
    fn new(file: PathBuf, what: String) -> io::Result<Self> {
        let input = hex::encode(std::fs::read(&file)?);
        Ok(Self { file, what, input })
    }
}

struct Job {
    target: &'static Target,
    process: Child,
    watch: Watch,
    current: PathBuf,
    figures: Figures,
    findings: Vec<Finding>,
    done: bool,
}

/// What a job's process wrote; `None` when its output has ended.
type Said = (&'static str, Option<String>);

pub(super) fn run(run: &Run) -> io::Result<bool> {
    let mut waiting = chosen(run)?;
    let (say, hear) = channel();
    let (mut jobs, mut outcomes): (Vec<Job>, Vec<Outcome>) = (Vec::new(), Vec::new());
    let mut shown = Instant::now();
    while !waiting.is_empty() || !jobs.is_empty() {
        while jobs.len() < run.jobs.max(1)
            && let Some(target) = waiting.pop_front()
        {
            jobs.push(start(run, target, say.clone())?);
        }
        take_line(&hear, &mut jobs)?;
        let mut at = 0;
        while let Some(job) = jobs.get_mut(at) {
            if job.watch.hangs() {
                job.process.kill()?;
                job.watch.heard();
                let what = "one input took more than 5 s of processor time, or waited for ever".to_owned();
                keep_current(job, what)?;
                job.done = true;
            }
            if job.done
                && let Some(status) = job.process.try_wait()?
            {
                finish(jobs.swap_remove(at), status, run, &mut outcomes)?;
            } else {
                at += 1;
            }
        }
        if shown.elapsed() >= PROGRESS_EVERY {
            shown = Instant::now();
            show_progress(&jobs)?;
        }
    }
    summary(run, &outcomes)?;
    Ok(outcomes.iter().all(|outcome| outcome.findings.is_empty()))
}

fn chosen(run: &Run) -> io::Result<VecDeque<&'static Target>> {
    if run.targets.is_empty() {
        return Err(io::Error::other("which target? `fuzz --list` says what there is, `fuzz all` takes all"));
    }
    let mut chosen = VecDeque::new();
    for name in &run.targets {
        match targets::named(name) {
            _ if name == "all" => chosen.extend(targets::ALL),
            Some(target) => chosen.push_back(target),
            None => return Err(io::Error::other(format!("no target {name}; `fuzz --list` says what there is"))),
        }
    }
    Ok(chosen)
}

fn start(run: &Run, target: &'static Target, say: Sender<Said>) -> io::Result<Job> {
    let current = std::env::temp_dir().join(format!("ilp-fuzz-{}-{}", std::process::id(), target.name));
    let mut command = Command::new(std::env::current_exe()?);
    command.arg(target.name).arg("--child").arg(&current);
    for (name, value) in [("--seconds", run.seconds), ("--runs", run.runs), ("--seed", run.seed)] {
        command.arg(name).arg(value.to_string());
    }
    if run.keep {
        command.arg("--keep");
    }
    let mut process = command.stdout(Stdio::piped()).spawn()?;
    let output = process.stdout.take().ok_or_else(|| io::Error::other("no output"))?;
    std::thread::spawn(move || {
        for line in BufReader::new(output).lines().map_while(Result::ok) {
            let _ = say.send((target.name, Some(line)));
        }
        let _ = say.send((target.name, None));
    });
    let watch = Watch::new(process.id());
    Ok(Job { target, process, watch, current, figures: Figures::default(), findings: Vec::new(), done: false })
}

fn take_line(hear: &Receiver<Said>, jobs: &mut [Job]) -> io::Result<()> {
    let (name, line) = match hear.recv_timeout(Duration::from_millis(100)) {
        Ok(said) => said,
        Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => return Ok(()),
    };
    let Some(job) = jobs.iter_mut().find(|job| job.target.name == name) else { return Ok(()) };
    job.watch.heard();
    match line.map(|line| serde_json::from_str(&line)).transpose()? {
        Some(Line::Figures(figures)) => job.figures = figures,
        Some(Line::Found { file, place, message }) => job.findings.push(Finding::new(file, format!("{place}: {message}"))?),
        Some(Line::Done) => {}
        None => job.done = true,
    }
    Ok(())
}

/// The input under way when a process died is what killed it.
fn keep_current(job: &mut Job, what: String) -> io::Result<()> {
    let bytes = std::fs::read(&job.current)?;
    let Some((length, rest)) = bytes.split_first_chunk::<4>() else { return Ok(()) };
    let length = usize::try_from(u32::from_be_bytes(*length)).unwrap_or(usize::MAX);
    let input = rest.get(..length).unwrap_or(rest);
    let small = minimise::minimise(job.target.shapes, input, MINIMISE_TIME, |input| kills(job.target, &job.current, input));
    job.findings.push(Finding::new(corpus::save_found(job.target.name, &small)?, what)?);
    Ok(())
}

/// Whether an input ends, or holds up, a process.
fn kills(target: &Target, file: &Path, input: &[u8]) -> bool {
    let attempt = || -> io::Result<bool> {
        std::fs::write(file, input)?;
        let mut command = Command::new(std::env::current_exe()?);
        command.args(["replay", "--target", target.name]).arg(file).stdout(Stdio::null()).stderr(Stdio::null());
        let mut process = command.spawn()?;
        let watch = Watch::new(process.id());
        loop {
            if let Some(status) = process.try_wait()? {
                return Ok(status.code().is_none());
            }
            if watch.hangs() {
                process.kill()?;
                process.wait()?;
                return Ok(true);
            }
            std::thread::sleep(Duration::from_millis(2));
        }
    };
    attempt().unwrap_or(false)
}

fn finish(mut job: Job, status: ExitStatus, run: &Run, outcomes: &mut Vec<Outcome>) -> io::Result<()> {
    if job.findings.is_empty() && !status.success() {
        if status.code() == Some(2) {
            return Err(io::Error::other(format!("the process of target {} can't run", job.target.name)));
        }
        keep_current(&mut job, format!("the process died: {status}"))?;
    }
    let _ = std::fs::remove_file(&job.current);
    let outcome = Outcome { target: job.target.name, figures: job.figures, findings: job.findings };
    let mut out = io::stdout().lock();
    if run.json {
        serde_json::to_writer(&mut out, &outcome)?;
        writeln!(out)?;
    } else {
        writeln!(out, "{}", row(&outcome))?;
    }
    say_findings(&outcome)?;
    outcomes.push(outcome);
    Ok(())
}

fn say_findings(outcome: &Outcome) -> io::Result<()> {
    for Finding { file, what, input } in &outcome.findings {
        let file = relative(file);
        writeln!(io::stderr(), "{}: {what}\n  input: {input}\n  again: tests/fuzz/run replay {}", outcome.target, file.display())?;
    }
    Ok(())
}

fn row(outcome: &Outcome) -> String {
    let Figures { runs, envelope, full, kept, edges, edges_max, features, .. } = outcome.figures;
    let share = |part: u64| format!("{} %", (part * 100).checked_div(runs).unwrap_or(0));
    format!(
        "{:<10}{runs:>10} runs {:>7}/s  envelope {:>5}  whole {:>5}  kept {kept:>5}  edges {edges:>5} of {edges_max}  states {features:>6}  findings {}",
        outcome.target,
        rate(&outcome.figures),
        share(envelope),
        share(full),
        outcome.findings.len(),
    )
}

fn rate(figures: &Figures) -> u64 {
    (figures.runs * 1000).checked_div(figures.millis).unwrap_or(0)
}

fn show_progress(jobs: &[Job]) -> io::Result<()> {
    let jobs = jobs.iter().map(|job| {
        let Figures { runs, kept, edges, .. } = job.figures;
        format!("{}: {runs} runs, {}/s, kept {kept}, edges {edges}", job.target.name, rate(&job.figures))
    });
    writeln!(io::stderr(), "{}", jobs.collect::<Vec<_>>().join(";  "))
}

fn summary(run: &Run, outcomes: &[Outcome]) -> io::Result<()> {
    let runs: u64 = outcomes.iter().map(|outcome| outcome.figures.runs).sum();
    let findings: usize = outcomes.iter().map(|outcome| outcome.findings.len()).sum();
    // Again, where they aren't lost among what was said meanwhile.
    outcomes.iter().try_for_each(say_findings)?;
    let mut out = io::stdout().lock();
    if run.json {
        writeln!(out, "{}", serde_json::json!({ "targets": outcomes.len(), "runs": runs, "seed": run.seed, "findings": findings }))
    } else {
        writeln!(out, "{} targets, {runs} runs, seed {}, {findings} findings", outcomes.len(), run.seed)
    }
}

/// As seen from the folder of the repository.
fn relative(file: &Path) -> PathBuf {
    let mut parts: Vec<_> = file.components().rev().take(4).collect();
    parts.reverse();
    parts.iter().collect()
}

const MINIMISE_TIME: Duration = Duration::from_secs(30);
const PROGRESS_EVERY: Duration = Duration::from_secs(10);
