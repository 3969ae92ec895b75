//! What a connector's log says, read without its code.

/// An amount at an account of the log; [`OWN`] is the connector itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Leg {
    pub(super) account: u32,
    pub(super) amount: u64,
}

/// The number that stands for the connector itself.
pub(super) const OWN: u32 = u32::MAX;

pub(super) type Id = [u8; 16];

#[derive(Debug, Clone)]
pub(super) enum Record {
    AccountOpened {
        no: u32,
        name: String,
        asset: String,
    },
    Prepared(Box<Prepared>),
    Fulfilled {
        key: Id,
        from: Leg,
        to: Leg,
        fulfillment: [u8; 32],
    },
    Rejected {
        key: Id,
        from: Leg,
        reason: Vec<u8>,
    },
    AnswerAcked {
        key: Id,
    },
    AnswerRefused {
        key: Id,
        from: Leg,
        charged: bool,
    },
    Unconfirmed {
        key: Id,
        from: Leg,
    },
    /// An incoming unconditional transfer.
    Charged {
        from: Leg,
        id: Id,
    },
    /// A statement without effect.
    Claimed,
    /// How many events lie before the batch.
    BatchBegun {
        events: u64,
    },
    /// Something was settled elsewhere.
    Settled {
        no: u32,
        id: String,
        amount: i128,
    },
    /// The embedder has all events up to this one.
    EventsAcked {
        through: u64,
    },
    /// A move between cold and hot begins: so much isn't hot any more.
    MoveBegun {
        no: u32,
        n: u64,
        given: i128,
    },
    /// It has ended: so much more is hot.
    MoveEnded {
        no: u32,
        n: u64,
        drawn: i128,
    },
    // A snapshot: what stands at its place in the log, said again.
    SnapshotBegun {
        numbers: u32,
        events_acked: u64,
    },
    Account {
        no: u32,
        name: String,
        asset: String,
        sums: Sums,
        doubts: Doubts,
        /// The number of the last move, and whether it is under way.
        last_move: (u64, bool),
    },
    SettlementKnown {
        no: u32,
        id: String,
        amount: i128,
    },
    Own {
        asset: String,
        balance: i128,
        closed_settlements: i128,
        closed_moves: i128,
    },
    Transfer(Box<Carried>),
    SnapshotEnded,
}

/// What a balance is made of.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Sums {
    pub(super) incoming_prepared: i128,
    pub(super) incoming_fulfilled: i128,
    pub(super) incoming_unconditional: i128,
    pub(super) outgoing_fulfilled: i128,
    pub(super) outgoing_unconditional: i128,
    pub(super) settlements: i128,
    /// Drawn, less what was given back.
    pub(super) moved: i128,
}

/// How many transfers ended in each of these ways, and what they add up to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Doubts {
    pub(super) disputed: (u64, i128),
    pub(super) unconfirmed: (u64, i128),
    pub(super) lost: (u64, i128),
}

/// A transfer as a snapshot tells it.
#[derive(Debug, Clone)]
pub(super) struct Carried {
    pub(super) prepared: Prepared,
    /// 0 held, 1 fulfilled, 2 rejected, 3 unconditional.
    pub(super) outcome: u8,
    pub(super) fulfillment: [u8; 32],
    pub(super) reason: Vec<u8>,
    /// The sender hasn't acknowledged its answer.
    pub(super) owed: bool,
}

#[derive(Debug, Clone)]
pub(super) struct Prepared {
    pub(super) key: Id,
    pub(super) from: Leg,
    pub(super) incoming_id: Id,
    pub(super) digest: Id,
    pub(super) incoming_expires_at: i64,
    pub(super) to: Leg,
    pub(super) expires_at: i64,
    pub(super) condition: [u8; 32],
    pub(super) packet: Vec<u8>,
}

/// The records of a batch, or nothing if they can't be read. No account is ever closed here.
pub(super) fn records(blob: &[u8]) -> Option<Vec<Record>> {
    let mut rest = Rest(blob);
    let mut records = Vec::new();
    while !rest.0.is_empty() {
        records.push(record(&mut rest)?);
    }
    Some(records)
}

fn record(rest: &mut Rest<'_>) -> Option<Record> {
    let [kind] = rest.array()?;
    Some(match kind {
        1 => {
            let (no, name) = (rest.u32()?, rest.name()?);
            Record::AccountOpened { no, name, asset: rest.text()? }
        }
        3 => Record::Prepared(Box::new(rest.prepared()?)),
        4 => Record::Fulfilled { key: rest.array()?, from: rest.leg()?, to: rest.leg()?, fulfillment: rest.array()? },
        5 => Record::Rejected { key: rest.array()?, from: rest.leg()?, reason: rest.bytes()?.to_vec() },
        6 => Record::AnswerAcked { key: rest.array()? },
        7 => Record::AnswerRefused { key: rest.array()?, from: rest.leg()?, charged: rest.array()? == [1] },
        8 => Record::Unconfirmed { key: rest.array()?, from: rest.leg()? },
        9 => {
            let (from, id) = (rest.leg()?, rest.array()?);
            rest.array::<24>()?;
            Record::Charged { from, id }
        }
        10 => Record::SnapshotBegun { numbers: rest.u32()?, events_acked: rest.u64()? },
        20 => {
            let (no, n) = (rest.u32()?, rest.u64()?);
            Record::MoveBegun { no, n, given: rest.change()??.given }
        }
        21 => Record::MoveEnded { no: rest.u32()?, n: rest.u64()?, drawn: rest.i128()? },
        22 => {
            let (no, name) = (rest.u32()?, rest.name()?);
            let (asset, sums, doubts) = (rest.text()?, rest.sums()?, rest.doubts()?);
            let last = rest.u64()?;
            Record::Account { no, name, asset, sums, doubts, last_move: (last, rest.change()?.is_some()) }
        }
        23 => {
            let (asset, balance, closed_settlements) = (rest.text()?, rest.i128()?, rest.i128()?);
            Record::Own { asset, balance, closed_settlements, closed_moves: rest.i128()? }
        }
        13 => {
            let (prepared, [outcome]) = (rest.prepared()?, rest.array()?);
            let (fulfillment, reason) = (rest.array()?, rest.bytes()?.to_vec());
            Record::Transfer(Box::new(Carried { prepared, outcome, fulfillment, reason, owed: rest.array()? == [1] }))
        }
        14 => Record::SnapshotEnded,
        15 => {
            rest.array::<5>()?;
            rest.bytes()?;
            rest.bytes()?;
            Record::Claimed
        }
        16 => {
            rest.array::<8>()?;
            Record::BatchBegun { events: rest.u64()? }
        }
        17 => Record::Settled { no: rest.u32()?, id: rest.text()?, amount: rest.i128()? },
        18 => Record::SettlementKnown { no: rest.u32()?, id: rest.text()?, amount: rest.i128()? },
        19 => Record::EventsAcked { through: rest.u64()? },
        _ => return None,
    })
}

/// What a move takes away when it begins.
struct Change {
    given: i128,
}

struct Rest<'a>(&'a [u8]);

impl<'a> Rest<'a> {
    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (head, tail) = self.0.split_first_chunk::<N>()?;
        self.0 = tail;
        Some(*head)
    }

    fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_be_bytes)
    }

    fn i64(&mut self) -> Option<i64> {
        self.array().map(i64::from_be_bytes)
    }

    fn u64(&mut self) -> Option<u64> {
        self.array().map(u64::from_be_bytes)
    }

    fn i128(&mut self) -> Option<i128> {
        self.array().map(i128::from_be_bytes)
    }

    fn text(&mut self) -> Option<String> {
        String::from_utf8(self.bytes()?.to_vec()).ok()
    }

    /// The name in an account's id: the first byte is the parallelism.
    fn name(&mut self) -> Option<String> {
        String::from_utf8(self.bytes()?.get(1..)?.to_vec()).ok()
    }

    fn prepared(&mut self) -> Option<Prepared> {
        let (key, from, incoming_id, digest) = (self.array()?, self.leg()?, self.array()?, self.array()?);
        let (incoming_expires_at, to, expires_at) = (self.i64()?, self.leg()?, self.i64()?);
        let (condition, packet) = (self.array()?, self.bytes()?.to_vec());
        Some(Prepared { key, from, incoming_id, digest, incoming_expires_at, to, expires_at, condition, packet })
    }

    fn sums(&mut self) -> Option<Sums> {
        Some(Sums {
            incoming_prepared: self.i128()?,
            incoming_fulfilled: self.i128()?,
            incoming_unconditional: self.i128()?,
            outgoing_fulfilled: self.i128()?,
            outgoing_unconditional: self.i128()?,
            settlements: self.i128()?,
            moved: self.i128()?,
        })
    }

    fn change(&mut self) -> Option<Option<Change>> {
        Some(match self.array()? {
            [0] => None,
            [1] => {
                self.array::<36>()?;
                Some(Change { given: 0 })
            }
            [2] => Some(Change { given: self.i128()? }),
            _ => return None,
        })
    }

    fn doubts(&mut self) -> Option<Doubts> {
        let mut tally = || Some((self.u64()?, self.i128()?));
        Some(Doubts { disputed: tally()?, unconfirmed: tally()?, lost: tally()? })
    }

    fn leg(&mut self) -> Option<Leg> {
        Some(Leg { account: self.u32()?, amount: self.array().map(u64::from_be_bytes)? })
    }

    fn bytes(&mut self) -> Option<&'a [u8]> {
        let len = usize::try_from(self.u32()?).ok()?;
        let (head, tail) = self.0.split_at_checked(len)?;
        self.0 = tail;
        Some(head)
    }
}
