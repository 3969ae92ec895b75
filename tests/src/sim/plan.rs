//! What a seed stands for: a network, its payments, and the faults that strike it.

use super::fault::FaultKind;
use super::observe::{AccountLayout, AccountPlace, BooksLayout, Layout, NodeLayout, NodeNo};
use super::rng::Rng;
use ilp_core::link::PeerProtocol;
use ilp_oer::{Condition, Fulfillment};

/// When a run begins, in milliseconds since 1970.
pub const START: i64 = 1_800_000_000_000;

const PAYMENTS: usize = 200;
/// Payments and faults come within this time, in milliseconds.
const BUSY_MS: i64 = 40_000;
const WINDOW_MS: i64 = 2_000;
const GRACE_MS: i64 = 1_000;
const OUTGOING_MS_MIN: i64 = 500;
const HOLD_MS_MAX: i64 = 60_000;
pub(super) const SKEW_MS_MAX: i64 = 1_000;
/// The log of a run never has so many.
const LOG_BYTES: usize = 8 << 20;

/// What a seed stands for.
#[derive(Debug, Clone)]
pub struct Plan {
    /// It all comes from this.
    pub seed: u64,
    /// The network.
    pub layout: Layout,
    /// Who isn't a connector, by number.
    pub peers: Vec<PeerPlan>,
    /// Neighbours: who dials, and who is dialled.
    pub(super) links: Vec<[(NodeNo, AccountPlace); 2]>,
    /// In no order of time.
    pub payments: Vec<Payment>,
    /// In no order of time.
    pub faults: Vec<Fault>,
    /// In no order of time.
    pub settlements: Vec<Settlement>,
    /// For whatever is decided while it runs.
    pub(super) rng: Rng,
}

/// Somebody with an account.
#[derive(Debug, Clone)]
pub struct PeerPlan {
    /// Where.
    pub node: NodeNo,
    /// Which.
    pub account: AccountPlace,
    /// Its ILP address.
    pub address: String,
    /// Tells the peer's clock from the true one.
    pub(super) clock_offset_ms: i64,
}

/// Who pays, or is paid.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Party {
    /// A peer, by number.
    Peer(usize),
    /// A connector itself.
    Node(NodeNo),
}

/// A payment from one end to the other.
#[derive(Debug, Clone)]
pub struct Payment {
    /// Its number in the plan, also when others were taken out.
    pub no: usize,
    /// Who pays.
    pub from: Party,
    /// Who is paid.
    pub to: Party,
    /// What the sender sends, in base units.
    pub amount: u64,
    /// What shall arrive; 0: all that it is worth.
    pub wanted: u64,
    /// How many bytes of data go with it.
    pub data_len: usize,
    /// When, from the start.
    pub after_ms: i64,
    /// How long the sender's transfer lasts.
    pub expires_ms: i64,
    /// What the receiver does.
    pub decision: Decision,
    /// How long the receiver takes for that.
    pub decision_ms: i64,
    /// Whether the receiver says that it has the prepare.
    pub acks: bool,
    /// What the receiver knows.
    pub(super) fulfillment: Fulfillment,
    /// Its hash.
    pub(super) condition: Condition,
}

/// What a receiver does about a prepare.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    /// Fulfills it.
    Fulfill,
    /// Fulfills it so that it arrives at the last moment, or just after it: so many milliseconds after its expiry.
    FulfillAtExpiry(i64),
    /// Rejects it.
    Reject,
    /// Answers with an Error at once.
    Refuse,
    /// Nothing.
    Ignore,
}

/// Something is settled outside of a connector, and its embedder tells it so until it is told that this is durable.
#[derive(Debug, Clone)]
pub struct Settlement {
    /// When it is told for the first time, from the start.
    pub after_ms: i64,
    /// Which connector.
    pub node: NodeNo,
    /// At whose account.
    pub account: AccountPlace,
    /// What the connector owes its holder changes by so much.
    pub amount: i128,
    /// Its id.
    pub id: String,
    /// How often the embedder tells it again although it was told that it is durable.
    pub(super) repeats: u32,
}

/// A fault, where and when.
#[derive(Debug, Clone)]
pub struct Fault {
    /// Its number in the plan, also when others were taken out.
    pub no: usize,
    /// What.
    pub kind: FaultKind,
    /// When, from the start.
    pub after_ms: i64,
    /// Which connector, or whose account.
    pub node: NodeNo,
    /// The account that it is about, where it is about one.
    pub account: AccountPlace,
    /// How long it lasts, or how much of it there is.
    pub extent: i64,
}

impl Plan {
    /// All that a seed says. `kinds`: which faults there may be.
    pub fn new(seed: u64, kinds: &[FaultKind]) -> Self {
        let mut rng = Rng::new(seed);
        let (mut layout, links) = network(&mut rng.fork());
        let peers = peers(&mut rng.fork(), &mut layout);
        let payments = payments(&mut rng.fork(), &layout, &links, &peers);
        let mut faults = faults(&mut rng.fork(), kinds, &layout, &peers, &payments);
        books(&mut rng.fork(), &mut layout);
        aim(&mut rng.fork(), &layout, &mut faults);
        let settlements = settlements(&mut rng.fork(), &peers);
        Self { seed, layout, peers, links, payments, faults, settlements, rng: rng.fork() }
    }

    pub(super) fn address_of(&self, party: Party) -> String {
        match party {
            Party::Peer(no) => self.peers[no].address.clone(),
            Party::Node(no) => format!("{}.~shop", self.layout.nodes[no].address),
        }
    }

    /// The payment with this condition.
    pub(super) fn payment_of(&self, condition: &Condition) -> Option<&Payment> {
        self.payments.iter().find(|payment| payment.condition == *condition)
    }

    /// When, from the start, nothing new happens any more.
    pub(super) fn busy_ms(&self) -> i64 {
        BUSY_MS + 2_000
    }

    /// When, from the start, every payment must have ended and been forgotten.
    pub(super) fn end_ms(&self) -> i64 {
        let last = self.payments.iter().map(|payment| payment.after_ms + payment.expires_ms).max().unwrap_or(0);
        last.max(self.busy_ms()) + HOLD_MS_MAX / 4 + 3 * SKEW_MS_MAX
    }
}

const ASSETS: [&str; 2] = ["XRP/6", "EUR/2"];

type Links = Vec<[(NodeNo, AccountPlace); 2]>;

/// Connectors in a tree, each link in one of two assets.
fn network(rng: &mut Rng) -> (Layout, Links) {
    let count = usize::try_from(rng.range(3, 5)).unwrap();
    let rate = (rng.range(1, 9).unsigned_abs(), rng.range(1, 9).unsigned_abs());
    let rates =
        vec![(ASSETS[0].to_owned(), ASSETS[1].to_owned(), rate.0, rate.1), (ASSETS[1].to_owned(), ASSETS[0].to_owned(), rate.1, rate.0)];
    let node = |no: usize| NodeLayout {
        address: format!("test.n{no}"),
        slot: u16::try_from(no + 1).unwrap(),
        accounts: Vec::new(),
        rates: rates.clone(),
        books: BooksLayout { embedded: false, log_bytes: LOG_BYTES, events: false },
    };
    let mut layout = Layout {
        nodes: (0..count).map(node).collect(),
        window_ms: WINDOW_MS,
        grace_ms: GRACE_MS,
        outgoing_ms_min: OUTGOING_MS_MIN,
        hold_ms_max: HOLD_MS_MAX,
        skew_ms_max: SKEW_MS_MAX,
    };
    let parents: Vec<usize> = (1..count).map(|no| rng.index(no)).collect();
    let mut links = Vec::new();
    for (child, parent) in (1..count).zip(&parents) {
        let asset = *rng.pick(&ASSETS);
        let below = |no: usize| {
            let mut at = no;
            while at > child {
                at = parents[at - 1];
            }
            at == child
        };
        let routes = |down: bool| (0..count).filter(|no| below(*no) == down).map(|no| format!("test.n{no}")).collect();
        let [to_child, to_parent] = [(*parent, layout.nodes[*parent].accounts.len()), (child, layout.nodes[child].accounts.len())];
        for (at, other, down) in [(to_child, to_parent, true), (to_parent, to_child, false)] {
            layout.nodes[at.0].accounts.push(AccountLayout {
                name: format!("n{}", other.0),
                asset: asset.to_owned(),
                credit_limit: 1_000_000_000,
                max_packet: 1_000_000_000,
                initial_balance: 0,
                protocol: PeerProtocol::Clp,
                routes: routes(down),
                other: Some(other),
                honest: true,
            });
        }
        links.push([to_parent, to_child]);
    }
    (layout, links)
}

fn peers(rng: &mut Rng, layout: &mut Layout) -> Vec<PeerPlan> {
    let mut peers = Vec::new();
    let nodes = layout.nodes.len();
    for node in 0..nodes {
        for _ in 0..rng.range(1, 3) {
            let name = format!("p{}", peers.len());
            let protocol = if rng.percent(25) { PeerProtocol::Clp2017 } else { PeerProtocol::Clp };
            let account = AccountLayout {
                name: name.clone(),
                asset: (*rng.pick(&ASSETS)).to_owned(),
                credit_limit: if rng.percent(20) { 20_000 } else { 100_000_000 },
                max_packet: if rng.percent(10) { 5_000 } else { 1_000_000_000 },
                initial_balance: 0,
                protocol,
                routes: Vec::new(),
                other: None,
                honest: protocol == PeerProtocol::Clp2017 || !rng.percent(25),
            };
            let address = format!("{}.{name}", layout.nodes[node].address);
            let place = layout.nodes[node].accounts.len();
            let clock_offset_ms = rng.range(-SKEW_MS_MAX / 2, SKEW_MS_MAX / 2);
            layout.nodes[node].accounts.push(account);
            peers.push(PeerPlan { node, account: place, address, clock_offset_ms });
        }
    }
    peers
}

fn payments(rng: &mut Rng, layout: &Layout, links: &Links, peers: &[PeerPlan]) -> Vec<Payment> {
    let nodes = layout.nodes.len();
    // They come in bursts, so that a fault strikes many at once.
    let bursts: Vec<i64> = (0..8).map(|_| rng.range(500, BUSY_MS)).collect();
    let mut payments = Vec::new();
    while payments.len() < PAYMENTS {
        let from = if rng.percent(5) { Party::Node(rng.index(nodes)) } else { Party::Peer(rng.index(peers.len())) };
        let to = if rng.percent(8) { Party::Node(rng.index(nodes)) } else { Party::Peer(rng.index(peers.len())) };
        let at = |party: Party| match party {
            Party::Peer(no) => peers[no].node,
            Party::Node(no) => no,
        };
        // A connector pays its neighbours' and its own peers; and not itself.
        if from == to || (matches!(from, Party::Node(_)) && at(from) == at(to) && matches!(to, Party::Node(_))) {
            continue;
        }
        let hops = i64::try_from(path(links, at(from), at(to)).len()).unwrap();
        let amount = match rng.index(20) {
            0 => 1,
            1 => rng.next() % 3_000_000_000 + 1,
            _ => rng.next() % 10_000 + 1,
        };
        let wanted = if rng.percent(30) { rng.next() % amount.min(3_000) + 1 } else { 0 };
        let after_ms = if rng.percent(80) { *rng.pick(&bursts) + rng.range(0, 120) } else { rng.range(0, BUSY_MS) };
        let spare = if rng.percent(4) { rng.range(-3_000, 600) } else { rng.range(1_000, 9_000) };
        // Longer than a connection waits for an answer to a request, and longer than anybody may hold.
        let long = rng.percent(2);
        let expires_ms = if long { rng.range(45_000, 63_000) } else { (hops * WINDOW_MS + OUTGOING_MS_MIN + spare).max(1) };
        let (decision, decision_ms) = match rng.index(100) {
            0..60 => (Decision::Fulfill, if rng.percent(70) { rng.range(0, 50) } else { rng.range(0, 4_000) }),
            60..72 => (Decision::Reject, if rng.percent(70) { rng.range(0, 50) } else { rng.range(0, 4_000) }),
            72..80 => (Decision::Refuse, 0),
            80..90 => (Decision::FulfillAtExpiry(rng.range(-30, 30)), 0),
            90..94 => (Decision::FulfillAtExpiry(GRACE_MS + rng.range(-5, 5)), 0),
            _ => (Decision::Ignore, 0),
        };
        let no = payments.len();
        let acks = !rng.percent(if long { 60 } else { 8 });
        let (decision, decision_ms) = if long { (decision, rng.range(0, 40_000)) } else { (decision, decision_ms) };
        let data_len = rng.index(200);
        let fulfillment = Fulfillment::new(rng.bytes());
        let condition = fulfillment.condition();
        payments.push(Payment {
            no,
            from,
            to,
            amount,
            wanted,
            data_len,
            after_ms,
            expires_ms,
            decision,
            decision_ms,
            acks,
            fulfillment,
            condition,
        });
    }
    payments
}

/// Who keeps which books, and how.
fn books(rng: &mut Rng, layout: &mut Layout) {
    let (embedded, cut) = (rng.percent(35), rng.percent(60));
    let first = rng.index(layout.nodes.len());
    for (no, node) in layout.nodes.iter_mut().enumerate() {
        node.books.embedded = embedded && (no == first || rng.percent(15));
        // So little that it is cut several times in a run.
        if cut && rng.percent(60) {
            node.books.log_bytes = rng.index(6_000) + 500;
        }
        node.books.events = rng.percent(50);
        for account in node.accounts.iter_mut().filter(|account| account.other.is_none()) {
            if rng.percent(30) {
                account.initial_balance = rng.range(-5_000, 50_000);
            }
        }
    }
}

/// What is the store's trouble strikes the embedded store most of the time, if there is one: there it strikes inside.
fn aim(rng: &mut Rng, layout: &Layout, faults: &mut [Fault]) {
    let embedded: Vec<NodeNo> = (0..layout.nodes.len()).filter(|no| layout.nodes[*no].books.embedded).collect();
    for fault in faults.iter_mut().filter(|fault| matches!(fault.kind, FaultKind::PowerCut | FaultKind::TornWrite | FaultKind::DiskFull)) {
        if !embedded.is_empty() && rng.percent(60) {
            fault.node = *rng.pick(&embedded);
            fault.account = rng.index(layout.nodes[fault.node].accounts.len());
        }
    }
}

fn settlements(rng: &mut Rng, peers: &[PeerPlan]) -> Vec<Settlement> {
    let mut settlements: Vec<Settlement> = Vec::new();
    for no in 0..rng.range(3, 7) {
        let of = rng.pick(peers);
        let (node, account) = (of.node, of.account);
        let amount = i128::from(rng.range(1, 20_000)) * if rng.percent(30) { -1 } else { 1 };
        let (after_ms, repeats) = (rng.range(0, BUSY_MS), u32::try_from(rng.index(4)).unwrap());
        // An id is its account's: others may use the same.
        let id = format!("s{}", no / 2);
        if !settlements.iter().any(|other| (other.node, other.account, &other.id) == (node, account, &id)) {
            settlements.push(Settlement { after_ms, node, account, amount, id, repeats });
        }
    }
    settlements
}

/// The connectors from one to another, both included.
pub(super) fn path(links: &Links, from: NodeNo, to: NodeNo) -> Vec<NodeNo> {
    // Each link leads from a connector to its parent, which has a smaller number.
    let parent = |no: NodeNo| links.iter().find(|[(child, _), _]| *child == no).map(|[_, (parent, _)]| *parent);
    let up = |no: NodeNo| std::iter::successors(Some(no), |no| parent(*no)).collect::<Vec<_>>();
    let (a, b) = (up(from), up(to));
    let mut way: Vec<NodeNo> = a.iter().copied().take_while(|no| !b.contains(no)).collect();
    let meet = a.iter().copied().find(|no| b.contains(no));
    way.extend(meet);
    way.extend(b.iter().rev().copied().skip_while(|no| Some(*no) != meet).skip(1));
    way
}

fn faults(rng: &mut Rng, kinds: &[FaultKind], layout: &Layout, peers: &[PeerPlan], payments: &[Payment]) -> Vec<Fault> {
    let mut faults = Vec::new();
    if kinds.is_empty() {
        return faults;
    }
    let deadly: Vec<FaultKind> = kinds.iter().copied().filter(|kind| kind.kills()).collect();
    let of_peer = |party: Party| match party {
        Party::Peer(no) => Some((peers[no].node, peers[no].account)),
        Party::Node(_) => None,
    };
    for no in 0..usize::try_from(rng.range(11, 19)).unwrap() {
        let kind = if no < 2 && !deadly.is_empty() { *rng.pick(&deadly) } else { *rng.pick(kinds) };
        let is_peers = matches!(kind, FaultKind::WorstMoment | FaultKind::Replay | FaultKind::Lie | FaultKind::Silence);
        // Honest ones don't lie.
        let may = |at: &(NodeNo, AccountPlace)| kind != FaultKind::Lie || !layout.nodes[at.0].accounts[at.1].honest;
        // Near a payment, most of the time: where nothing is on its way, nothing can go wrong.
        let ends = payments.iter().flat_map(|payment| [(payment, payment.from), (payment, payment.to)]);
        let near: Vec<_> = ends.filter_map(|(payment, end)| Some((payment.after_ms, of_peer(end).filter(may)?))).collect();
        if near.is_empty() {
            continue;
        }
        let (mut after_ms, (mut node, mut account)) = *rng.pick(&near);
        after_ms += match rng.index(100) {
            0..60 => rng.range(0, 35),
            60..90 => rng.range(0, 3_000),
            _ => rng.range(-BUSY_MS, BUSY_MS),
        };
        if !is_peers && rng.percent(25) {
            node = rng.index(layout.nodes.len());
            account = rng.index(layout.nodes[node].accounts.len());
        }
        let after_ms = after_ms.clamp(0, BUSY_MS);
        faults.push(Fault { no, kind, after_ms, node, account, extent: rng.range(0, 1_000_000) });
    }
    faults
}
