//! Takes a connector and its peers through every order of what can happen; see `docs/testing.md`.

use clap::Parser;
use ilp_tests::models::{
    Coverage, Exchanges, Explored, Found, Model, Scenario, Step, Subject, Violation, World, explore, large, replay, shortest, small,
};
use serde_json::json;
use std::io::{IsTerminal, Write, stderr, stdout};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Takes a connector and its peers through every order of two payments' messages, a cut, a reconnect and a timer.
///
/// Exit codes: 0 every rule held in every order; 1 a rule was broken; 2 the command line is wrong.
#[derive(Debug, Parser)]
#[command(name = "interleavings")]
struct Options {
    /// All scenarios rather than those that the ordinary tests run.
    #[arg(long)]
    large: bool,
    /// Only scenarios with this in their names.
    #[arg(long, value_name = "TEXT", default_value = "")]
    scenario: String,
    /// Names the scenarios and ends.
    #[arg(long)]
    list: bool,
    /// One JSON object per scenario, and one for all.
    #[arg(long)]
    json: bool,
    /// Goes through one order of the one scenario, step by step; steps as a violation's report has them, with commas between.
    #[arg(long, value_name = "STEPS", value_delimiter = ',')]
    replay: Vec<Step>,
    /// Leaves a scenario after about this many states, and says so; a million take half a gigabyte at most.
    #[arg(long, value_name = "STATES", default_value_t = 3_000_000)]
    states: u64,
    /// Stops after this many seconds, and says how many scenarios were covered whole.
    #[arg(long, value_name = "SECONDS")]
    seconds: Option<u64>,
}

fn main() -> ExitCode {
    let options = Options::parse();
    let mut scenarios = if options.large { large() } else { small() };
    match scenarios.iter().position(|scenario| scenario.name == options.scenario) {
        Some(exactly) => scenarios = vec![scenarios.swap_remove(exactly)],
        None => scenarios.retain(|scenario| scenario.name.contains(&options.scenario)),
    }
    if scenarios.is_empty() || (!options.replay.is_empty() && scenarios.len() > 1) {
        say(&format!("{} scenarios have {:?} in their names; --list shows all", scenarios.len(), options.scenario));
        return ExitCode::from(2);
    }
    if options.list {
        scenarios.iter().for_each(|scenario| say(&scenario.name));
        return ExitCode::SUCCESS;
    }
    match options.replay.is_empty() {
        true => exit(run(&options, scenarios)),
        false => {
            let scenario = Arc::new(scenarios.remove(0));
            match scenario.subject {
                Subject::Connector => retrace(|| World::new(&scenario), &options.replay),
                Subject::Exchange | Subject::TwoExchanges => retrace(|| Exchanges::new(&scenario), &options.replay),
            }
        }
    }
}

fn exit(held: bool) -> ExitCode {
    if held { ExitCode::SUCCESS } else { ExitCode::from(1) }
}

/// Explores one scenario after the other until a rule is broken.
fn run(options: &Options, scenarios: Vec<Scenario>) -> bool {
    let (began, count) = (Instant::now(), scenarios.len());
    let deadline = options.seconds.map(|seconds| began + Duration::from_secs(seconds));
    let (mut total, mut whole) = (Coverage::default(), 0);
    for (n, scenario) in scenarios.into_iter().enumerate() {
        let (scenario, started) = (Arc::new(scenario), Instant::now());
        let watch = |coverage: &Coverage| {
            progress(&format!("{n}/{count} {}: {} interleavings, {} states", scenario.name, coverage.interleavings, coverage.states));
            coverage.states < options.states && deadline.is_none_or(|deadline| Instant::now() < deadline)
        };
        let explored = match scenario.subject {
            Subject::Connector => explore(|| World::new(&scenario), watch),
            Subject::Exchange | Subject::TwoExchanges => explore(|| Exchanges::new(&scenario), watch),
        };
        add(&mut total, &explored.coverage);
        whole += u32::from(explored.whole);
        report(options.json, &scenario.name, &explored, started.elapsed());
        if let Some(found) = explored.found {
            match scenario.subject {
                Subject::Connector => tell(options, &scenario.name, || World::new(&scenario), found, total.interleavings),
                Subject::Exchange | Subject::TwoExchanges => {
                    tell(options, &scenario.name, || Exchanges::new(&scenario), found, total.interleavings);
                }
            }
            return false;
        }
        if deadline.is_some_and(|deadline| Instant::now() >= deadline) {
            break;
        }
    }
    let (all, seconds) = (total.interleavings, began.elapsed().as_secs());
    match options.json {
        true => say(&json!({ "scenarios": whole, "of": count, "interleavings": all.to_string(), "states": total.states,
            "transitions": total.transitions, "seconds": seconds })
        .to_string()),
        false => say(&format!(
            "{all} interleavings through {} states of {whole} of {count} scenarios in {seconds} s: every rule held",
            total.states
        )),
    }
    true
}

fn add(total: &mut Coverage, part: &Coverage) {
    total.interleavings = total.interleavings.saturating_add(part.interleavings);
    total.states += part.states;
    total.ends += part.ends;
    total.transitions += part.transitions;
    total.depth = total.depth.max(part.depth);
}

fn report(as_json: bool, name: &str, explored: &Explored<Step>, took: Duration) {
    let Coverage { interleavings, states, ends, transitions, depth } = explored.coverage;
    let ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
    progress("");
    match as_json {
        true => say(&json!({ "scenario": name, "interleavings": interleavings.to_string(), "states": states, "ends": ends,
            "transitions": transitions, "depth": depth, "whole": explored.whole, "ms": ms })
        .to_string()),
        false => {
            let part = if explored.whole || explored.found.is_some() { "" } else { "  (not whole)" };
            say(&format!("{interleavings:>14} interleavings {states:>7} states {depth:>3} steps {ms:>7} ms  {name}{part}"));
        }
    }
}

/// A broken rule: what happened, and the command that shows it again.
fn tell<M: Model<Step = Step>>(options: &Options, name: &str, start: impl Fn() -> M, found: Found<Step>, interleavings: u128) {
    let brief = shortest(&start, found.violation.check, found.schedule.len()).unwrap_or(found);
    let Found { violation: Violation { check, what }, schedule } = brief;
    let steps: Vec<String> = schedule.iter().map(Step::to_string).collect();
    let large = if options.large { "--large " } else { "" };
    let command = format!("cargo run --bin interleavings -- {large}--scenario {name} --replay {}", steps.join(","));
    if options.json {
        say(&json!({ "check": check.name(), "what": what, "scenario": name, "interleavings": interleavings.to_string(),
            "steps": steps, "replay": command })
        .to_string());
        return;
    }
    say(&format!("\nbroken after {interleavings} interleavings: {check}\n  {what}\nshortest order:"));
    narrate(start, &schedule);
    say(&format!("again:\n  {command}"));
}

fn narrate<M: Model<Step = Step>>(start: impl Fn() -> M, steps: &[Step]) -> M {
    let mut world = start();
    for (n, step) in (1..).zip(steps) {
        say(&format!("{n:>4}. {:<80} {step}", world.describe(*step)));
        world.take(*step);
    }
    world
}

/// One order, and what came of it.
fn retrace<M: Model<Step = Step>>(start: impl Fn() -> M, steps: &[Step]) -> ExitCode {
    for n in 0..steps.len() {
        let (before, next) = steps.split_at(n);
        let can = replay(&start, before).steps();
        if next.first().is_some_and(|step| !can.contains(step)) {
            let can: Vec<_> = can.iter().map(Step::to_string).collect();
            say(&format!("step {} can't be taken; these can: {}", n + 1, can.join(" ")));
            return ExitCode::from(2);
        }
    }
    let world = narrate(start, steps);
    let can: Vec<_> = world.steps().iter().map(Step::to_string).collect();
    let result = world.check().and_then(|()| if can.is_empty() { world.finish() } else { Ok(()) });
    let held = result.is_ok();
    match result {
        Err(violation) => say(&format!("broken: {violation}")),
        Ok(()) if can.is_empty() => say("the end: every rule held"),
        Ok(()) => say(&format!("every rule held so far; next: {}", can.join(" "))),
    }
    exit(held)
}

/// On a terminal only.
fn progress(text: &str) {
    if stderr().is_terminal() {
        let _ = write!(stderr(), "\r\x1b[K{text}");
    }
}

fn say(text: &str) {
    // Whoever closed the pipe has seen enough.
    let _ = writeln!(stdout(), "{text}");
}
