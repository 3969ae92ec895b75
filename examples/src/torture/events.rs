//! The bookkeeper: keeps a ledger of the embedder's own from the connector's events, and acknowledges what is safe in it.
//!
//! The ledger is a file of JSON lines, one for each event under its number, with what it moves. It says nothing that an event hasn't said.

use super::Sabotage;
use super::points::{Point, Trigger};
use ilp_core::{AccountId, Event, NumberedEvent};
use ilp_oer::Amount;
use serde::{Deserialize, Serialize};
use std::fs::{File, OpenOptions};
use std::io::{self, BufRead, BufReader, Seek, SeekFrom, Write};
use std::path::Path;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;
use tokio::sync::mpsc;

/// A line of the ledger.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Line {
    /// An event.
    Event { number: u64, kind: String, moves: Vec<Move> },
    /// So many events were told again that the ledger had.
    Again { events: u64 },
}

/// What an event changes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Move {
    /// An account; `None` for the connector's own.
    pub(super) account: Option<String>,
    pub(super) balance: i128,
    pub(super) held: i128,
}

/// The ledger, and the thread that keeps it.
#[derive(Debug)]
pub(super) struct Bookkeeper {
    /// Give this to the connector.
    pub(super) events: mpsc::Sender<NumberedEvent>,
    /// Everything up to these numbers is safe, and may be acknowledged.
    pub(super) safe: mpsc::Receiver<u64>,
    pub(super) thread: JoinHandle<io::Result<()>>,
}

impl Bookkeeper {
    /// Takes up the ledger at a path, or begins it.
    pub(super) fn start(path: &Path, trigger: Arc<Trigger>, sabotage: Option<Sabotage>) -> io::Result<Self> {
        let ledger = Ledger::open(path)?;
        let (events, told) = mpsc::channel(EVENTS_MAX);
        let (acknowledge, safe) = mpsc::channel(ACKNOWLEDGEMENTS_MAX);
        let hasty = sabotage == Some(Sabotage::EarlyAcknowledge);
        let thread = std::thread::spawn(move || ledger.keep(told, &acknowledge, &trigger, hasty));
        Ok(Self { events, safe, thread })
    }
}

struct Ledger {
    file: File,
    /// The last event that is in it.
    last: u64,
    unwritten: Vec<u8>,
}

impl Ledger {
    /// A process that was killed while it wrote may have left the beginning of a line: that was never acknowledged.
    fn open(path: &Path) -> io::Result<Self> {
        let mut file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path)?;
        let (mut last, mut whole) = (0, 0);
        let mut reader = BufReader::new(&mut file);
        let mut line = Vec::new();
        loop {
            line.clear();
            let length = reader.read_until(b'\n', &mut line)?;
            if line.pop() != Some(b'\n') {
                break;
            }
            if let Line::Event { number, .. } = serde_json::from_slice(&line)? {
                last = number;
            }
            whole += u64::try_from(length).unwrap_or(u64::MAX);
        }
        file.set_len(whole)?;
        file.seek(SeekFrom::End(0))?;
        Ok(Self { file, last, unwritten: Vec::new() })
    }

    /// Until no more events come.
    fn keep(
        mut self,
        mut told: mpsc::Receiver<NumberedEvent>,
        acknowledge: &mpsc::Sender<u64>,
        trigger: &Trigger,
        hasty: bool,
    ) -> io::Result<()> {
        let mut events = Vec::new();
        while told.blocking_recv_many(&mut events, EVENTS_AT_ONCE) > 0 {
            trigger.at(Point::EventsTold, || format!("{} events are taken, and not written", events.len()));
            let mut again = 0;
            for NumberedEvent { number, event, .. } in events.drain(..) {
                match number {
                    // It isn't in the books.
                    None => {}
                    Some(number) if number <= self.last => again += 1,
                    Some(number) => self.note(number, &event)?,
                }
            }
            if again > 0 {
                self.line(&Line::Again { events: again })?;
            }
            if hasty {
                let _ = acknowledge.blocking_send(self.last);
                std::thread::sleep(HASTY_LAG);
            }
            self.sync()?;
            trigger.at(Point::EventsWritten, || "events are in the ledger, and not acknowledged".to_owned());
            // When the connector stops, there is nobody who would take it: the next one tells the last events again.
            let _ = acknowledge.blocking_send(self.last);
        }
        Ok(())
    }

    fn note(&mut self, number: u64, event: &Event) -> io::Result<()> {
        self.last = number;
        let (kind, moves) = moves(event);
        self.line(&Line::Event { number, kind: kind.to_owned(), moves })
    }

    fn line(&mut self, line: &Line) -> io::Result<()> {
        serde_json::to_writer(&mut self.unwritten, line)?;
        self.unwritten.push(b'\n');
        Ok(())
    }

    fn sync(&mut self) -> io::Result<()> {
        self.file.write_all(&self.unwritten)?;
        self.unwritten.clear();
        self.file.sync_data()
    }
}

/// What kind of event it is, and what it moves, as the library's documentation says.
fn moves(event: &Event) -> (&'static str, Vec<Move>) {
    let name = |account: &Option<AccountId>| account.as_ref().map(|account| account.name().to_owned());
    let units = |amount: &Amount| i128::from(amount.get());
    // Paid from or to the connector itself, there is no account at that side.
    let account = |of: &Option<AccountId>, balance: i128, held: i128| name(of).map(|name| Move { account: Some(name), balance, held });
    let own = |balance: i128| Some(Move { account: None, balance, held: 0 });
    let all = |moves: &[Option<Move>]| moves.iter().flatten().cloned().collect();
    match event {
        Event::AccountOpened { account: id, .. } => ("opened", all(&[account(&Some(id.clone()), 0, 0)])),
        Event::AccountClosed { account: id, written_off } => {
            ("closed", all(&[account(&Some(id.clone()), written_off.saturating_neg(), 0), own(*written_off)]))
        }
        Event::Accepted { from, incoming_amount, .. } => {
            let amount = units(incoming_amount);
            ("accepted", all(&[account(from, -amount, amount)]))
        }
        Event::Fulfilled { from, to, incoming_amount, outgoing_amount, .. } => {
            let (incoming, outgoing) = (units(incoming_amount), units(outgoing_amount));
            // The connector's own account has both: what it took, and what it gave.
            let taken = from.as_ref().and_then(|_| own(incoming));
            let given = to.as_ref().and_then(|_| own(-outgoing));
            ("fulfilled", all(&[account(from, 0, -incoming), taken, account(to, outgoing, 0), given]))
        }
        Event::Rejected { from, incoming_amount, .. } => {
            let amount = units(incoming_amount);
            ("rejected", all(&[account(from, amount, -amount)]))
        }
        Event::Disputed { .. } => ("disputed", Vec::new()),
        Event::Unconfirmed { .. } => ("unconfirmed", Vec::new()),
        Event::Lost { from, incoming_amount, .. } => {
            let amount = units(incoming_amount);
            ("borne", all(&[account(from, amount, 0), own(-amount)]))
        }
        Event::Charged { from, amount, .. } => {
            let amount = units(amount);
            ("charged", all(&[account(&Some(from.clone()), -amount, 0), own(amount)]))
        }
        Event::Settlement { account: id, amount, .. } => ("settlement", all(&[account(&Some(id.clone()), *amount, 0)])),
        _ => ("unknown", Vec::new()),
    }
}

const EVENTS_MAX: usize = 4_096;
const EVENTS_AT_ONCE: usize = 1_024;
const ACKNOWLEDGEMENTS_MAX: usize = 64;
/// So long a hasty bookkeeper's ledger is behind its word.
const HASTY_LAG: Duration = Duration::from_millis(10);
