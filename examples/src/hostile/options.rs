//! The command line.

use super::attacks::{ALL, Attack};
use clap::Parser;
use clap::builder::PossibleValuesParser;

/// Attacks a connector in every way that we know, and measures what honest peers notice and what is left afterwards.
///
/// For each attack a connector is started as a child process, with an honest load of a fixed rate between two peers. It is measured
/// alone and under attack in turns, and the medians are compared. The attackers are a process of their own with a low priority: they
/// stand for other machines, and shall not take the honest peers' processor.
#[derive(Debug, Parser)]
#[command(name = "hostile", version, after_help = EXIT_CODES)]
pub(super) struct Options {
    /// The attacks, by name; `all` for all
    #[arg(value_name = "ATTACK", required_unless_present_any = ["list", "connector", "attacker"], value_parser = names())]
    pub(super) attacks: Vec<String>,
    /// Names all attacks and says what they do
    #[arg(long, exclusive = true)]
    pub(super) list: bool,
    /// Turns of one run alone and one under attack
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=100))]
    pub(super) pairs: u32,
    /// Seconds that each run lasts; some attacks take longer to see their end
    #[arg(long, value_name = "S", default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..=3600))]
    pub(super) seconds: u64,
    /// Honest payments a second
    #[arg(long, value_name = "N", default_value_t = 1_000, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub(super) rate: u32,
    /// A tenth of the connections, a connector with a tenth of the patience, and hardly any load before and after: for tests
    #[arg(long)]
    pub(super) small: bool,
    /// Prints one line of JSON for each attack
    #[arg(long)]
    pub(super) json: bool,
    /// Be the connector of another one
    #[arg(long, hide = true, exclusive = true)]
    pub(super) connector: bool,
    /// Be the attackers of another one
    #[arg(long, hide = true, exclusive = true)]
    pub(super) attacker: bool,
}

impl Options {
    /// The attacks to be made.
    pub(super) fn chosen(&self) -> Vec<&'static Attack> {
        let chosen = |attack: &&Attack| self.attacks.iter().any(|name| name == attack.name || name == EVERY);
        ALL.iter().filter(chosen).collect()
    }
}

fn names() -> PossibleValuesParser {
    PossibleValuesParser::new(ALL.iter().map(|attack| attack.name).chain([EVERY]))
}

const EVERY: &str = "all";
const EXIT_CODES: &str = "\
Exit status:
  0  the connector withstood every attack
  1  it didn't: one cost too much, slowed honest peers too much, left something behind, or was not answered as it should be
  2  wrong usage
  3  the connector or the attackers could not be started, or the connector refused an honest peer";

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;
    use std::collections::HashSet;

    #[test]
    fn the_command_line_is_consistent() {
        Options::command().debug_assert();
    }

    #[test]
    fn all_attacks_are_chosen_by_one_word_and_each_has_a_name_of_its_own() {
        let chosen = |line: &str| Options::try_parse_from(line.split(' ')).map(|options| options.chosen().len());
        assert_eq!(chosen("hostile all").ok(), Some(ALL.len()));
        assert_eq!(chosen("hostile garbage pings").ok(), Some(2));
        assert!(chosen("hostile nonsense").is_err() && chosen("hostile --json").is_err());
        assert_eq!(ALL.iter().map(|attack| attack.name).collect::<HashSet<_>>().len(), ALL.len());
    }
}
