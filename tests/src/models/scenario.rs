//! What can happen in a model, and when its transfers expire.

/// When a model begins, in milliseconds since 1970.
pub(super) const START: i64 = 1_700_000_000_000;
/// From the start to the expiry of every incoming transfer.
pub(super) const EXPIRES_MS: i64 = 60_000;
/// Taken off for the outgoing side.
pub(super) const WINDOW_MS: i64 = 2_000;
/// After the expiry.
pub(super) const GRACE_MS: i64 = 1_000;
/// Clocks may differ by this.
pub(super) const SKEW_MS: i64 = 1_000;
/// Less than this before its expiry no outgoing transfer is sent.
pub(super) const OUTGOING_MS_MIN: i64 = 500;
/// How the peers are called.
pub(super) const NAMES: [&str; 3] = ["alice", "bob", "carol"];

/// The bounds of one exploration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scenario {
    /// Made of the parts below; names it on the command line.
    pub name: String,
    /// What is looked at.
    pub subject: Subject,
    /// For each peer, whether it recognises what it gets twice (otherwise it is one of the 2017 form).
    pub dedupes: Vec<bool>,
    /// On the wire from the start.
    pub payments: Vec<Payment>,
    /// The connection that is cut once, if any, at any time; a new one follows at any later time.
    pub cut: Option<Cut>,
    /// The time that passes at once, at any time, while everything else waits.
    pub timer: Option<Timer>,
    /// When batches become durable.
    pub durable: Durable,
    /// Peers refuse a prepare that they get again with an Error, although they hold the first.
    pub refuses_repeats: bool,
}

/// What a model is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Subject {
    /// A connector with scripted peers.
    Connector,
    /// An application's exchange that pays a scripted peer.
    Exchange,
    /// An application's exchange that pays another one.
    TwoExchanges,
}

/// A transfer from one peer to another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Payment {
    /// Who pays.
    pub from: usize,
    /// Who is paid.
    pub to: usize,
    /// The sender's transfer id.
    pub id: u8,
    /// What the receiver may say to it.
    pub answers: Answers,
}

/// How a receiver may answer; whatever it may, it may in any order with its Ack.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answers {
    /// Fulfill.
    Fulfill,
    /// Reject.
    Reject,
    /// Either, or an Error instead of the Ack.
    Any,
}

/// A cut of one peer's connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cut {
    /// Whose.
    pub peer: usize,
    /// The connector doesn't notice before the new connection is there.
    pub unnoticed: bool,
}

/// How long the time step is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Timer {
    /// Until an exchange says again what wasn't acknowledged.
    Retry,
    /// Until requests have waited too long for their Ack.
    Answer,
    /// Until after the outgoing expiry, but within the grace.
    Grace,
    /// Until holds have ended.
    Hold,
    /// Until the sender takes no fulfill any more, though the connector still owes it.
    Late,
}

/// When the store answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Durable {
    /// Before anything else happens.
    AtOnce,
    /// At any time later.
    AnyTime,
}

impl Timer {
    /// From the start.
    pub(super) fn ms(self) -> i64 {
        match self {
            Self::Retry => 2_010,
            Self::Answer => 30_010,
            Self::Grace => EXPIRES_MS - WINDOW_MS + GRACE_MS / 2,
            Self::Hold => EXPIRES_MS - WINDOW_MS + GRACE_MS + 20,
            Self::Late => EXPIRES_MS + GRACE_MS / 2,
        }
    }
}

impl Payment {
    /// In base units: each payment has a digit of its own, so that sums show which payments are in them, and how often.
    pub(super) fn amount(place: usize) -> u64 {
        16_u64.pow(u32::try_from(place).unwrap())
    }
}

/// A name, and who pays whom under which id.
type Shape = (&'static str, &'static [(usize, usize, u8)]);

const SHAPES: [Shape; 5] = [
    ("one", &[(0, 1, 1)]),
    ("same-way", &[(0, 1, 1), (0, 1, 2)]),
    ("each-way", &[(0, 1, 1), (1, 0, 2)]),
    ("same-id", &[(0, 1, 1), (1, 0, 1)]),
    ("same-id-to-carol", &[(0, 2, 1), (1, 2, 1)]),
];

impl Scenario {
    /// A shape of payments, without faults.
    fn new(shape: usize, dedupes: [bool; 2], answers: [Answers; 2]) -> Self {
        let (shape, payments) = SHAPES[shape];
        let payments = payments.iter().zip(answers).map(|((from, to, id), answers)| Payment { from: *from, to: *to, id: *id, answers });
        let payments: Vec<_> = payments.collect();
        let peers = payments.iter().map(|payment| payment.from.max(payment.to)).max().unwrap_or_default() + 1;
        // Carol, who is only paid, is as bob.
        let dedupes: Vec<_> = (0..peers).map(|peer| dedupes[peer.min(1)]).collect();
        let kinds: Vec<_> = dedupes.iter().map(|dedupes| if *dedupes { "clp" } else { "2017" }).collect();
        let name = format!("{shape}/{}/{}", kinds.join("-"), answers.map(|a| format!("{a:?}").to_lowercase())[..payments.len()].join("-"));
        Self {
            name,
            subject: Subject::Connector,
            dedupes,
            payments,
            cut: None,
            timer: None,
            durable: Durable::AtOnce,
            refuses_repeats: false,
        }
    }

    fn cut(mut self, peer: usize, unnoticed: bool) -> Self {
        self.name += &format!("/{}-{}", if unnoticed { "drop" } else { "cut" }, NAMES[peer]);
        self.cut = Some(Cut { peer, unnoticed });
        self
    }

    fn timer(mut self, timer: Timer) -> Self {
        self.name += &format!("/{timer:?}").to_lowercase();
        self.timer = Some(timer);
        self
    }

    fn any_commit(mut self) -> Self {
        self.name += "/any-commit";
        self.durable = Durable::AnyTime;
        self
    }

    fn of(mut self, subject: Subject) -> Self {
        self.name = format!("{}/{}", if subject == Subject::Exchange { "exchange" } else { "exchanges" }, self.name);
        self.subject = subject;
        self
    }

    fn refusing_repeats(mut self) -> Self {
        self.name += "/refuses-repeats";
        self.refuses_repeats = true;
        self
    }
}

const TIMERS: [Timer; 4] = [Timer::Answer, Timer::Grace, Timer::Hold, Timer::Late];
const PEERS: [[bool; 2]; 4] = [[true, true], [false, true], [true, false], [false, false]];

/// What the ordinary tests run: payments without faults; one payment with a cut and a timer; two payments with a cut.
pub fn small() -> Vec<Scenario> {
    use Answers::{Any, Fulfill, Reject};
    let [both, next_hop, sender, none] = PEERS;
    let one = |dedupes| Scenario::new(0, dedupes, [Any, Any]);
    vec![
        Scenario::new(1, both, [Fulfill, Reject]),
        Scenario::new(2, both, [Fulfill, Fulfill]),
        Scenario::new(3, both, [Fulfill, Reject]),
        one(both).cut(0, false).timer(Timer::Answer),
        one(both).cut(1, false).timer(Timer::Answer),
        one(both).cut(1, false).timer(Timer::Grace),
        one(both).cut(1, false).timer(Timer::Hold).refusing_repeats(),
        one(both).cut(0, false).timer(Timer::Late),
        one(next_hop).cut(0, false).timer(Timer::Hold),
        one(sender).cut(1, false).timer(Timer::Answer),
        one(none).cut(0, false).timer(Timer::Answer),
        one(none).cut(1, false).timer(Timer::Grace),
        one(both).cut(0, true).any_commit(),
        Scenario::new(1, both, [Fulfill, Fulfill]).cut(1, false),
        Scenario::new(1, none, [Fulfill, Fulfill]).cut(1, false),
        Scenario::new(1, both, [Any, Any]).of(Subject::Exchange),
        Scenario::new(1, none, [Any, Fulfill]).cut(1, false).timer(Timer::Late).of(Subject::Exchange),
        Scenario::new(1, both, [Any, Any]).cut(1, false).timer(Timer::Retry).of(Subject::TwoExchanges),
    ]
}

/// Everything: the small ones first, then each shape and form with each fault, alone and together.
pub fn large() -> Vec<Scenario> {
    use Answers::{Any, Fulfill};
    let mut all = small();
    for shape in 0..SHAPES.len() {
        for dedupes in PEERS {
            for answers in [[Fulfill, Fulfill], [Any, Any]] {
                all.extend(faults(&Scenario::new(shape, dedupes, answers)));
            }
        }
    }
    for subject in [Subject::Exchange, Subject::TwoExchanges] {
        for dedupes in [PEERS[0], PEERS[3]] {
            // An exchange that waits for long says the same again and again, in every order.
            let timers = if dedupes[1] { [Timer::Retry].as_slice() } else { &TIMERS };
            for timer in timers.iter().copied() {
                all.push(Scenario::new(1, dedupes, [Any, Any]).cut(1, false).timer(timer).of(subject));
            }
        }
    }
    let mut seen = std::collections::HashSet::new();
    all.retain(|scenario| seen.insert(scenario.name.clone()));
    all
}

/// A scenario with every fault, alone and together.
fn faults(base: &Scenario) -> Vec<Scenario> {
    let mut all = vec![base.clone()];
    for peer in 0..base.dedupes.len() {
        all.extend([base.clone().cut(peer, false), base.clone().cut(peer, true)]);
    }
    let timed = all.iter().flat_map(|scenario| TIMERS.map(|timer| scenario.clone().timer(timer))).collect::<Vec<_>>();
    all.extend(timed);
    let commits = all.iter().map(|scenario| scenario.clone().any_commit()).collect::<Vec<_>>();
    all.extend(commits);
    let refusing = all.iter().filter(|s| s.cut.is_some() && s.dedupes.contains(&true)).map(|s| s.clone().refusing_repeats());
    let refusing = refusing.collect::<Vec<_>>();
    all.extend(refusing);
    all
}
