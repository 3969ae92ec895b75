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
    },
    /// An incoming unconditional transfer.
    Charged {
        from: Leg,
    },
    /// A statement without effect.
    Claimed,
    /// When a batch began, and how many events lie before it.
    BatchBegun,
}

#[derive(Debug, Clone)]
pub(super) struct Prepared {
    pub(super) key: Id,
    pub(super) from: Leg,
    pub(super) incoming_id: Id,
    pub(super) incoming_expires_at: i64,
    pub(super) to: Leg,
    pub(super) expires_at: i64,
    pub(super) condition: [u8; 32],
    pub(super) packet: Vec<u8>,
}

/// The records of a batch, or nothing if they can't be read. Snapshots don't occur: the simulated logs are short.
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
            let no = rest.u32()?;
            // The first byte is the parallelism.
            let name = String::from_utf8(rest.bytes()?.get(1..)?.to_vec()).ok()?;
            rest.bytes()?;
            Record::AccountOpened { no, name }
        }
        3 => {
            let (key, from, incoming_id, _digest) = (rest.array()?, rest.leg()?, rest.array()?, rest.array::<16>()?);
            let (incoming_expires_at, to, expires_at) = (rest.i64()?, rest.leg()?, rest.i64()?);
            let (condition, packet) = (rest.array()?, rest.bytes()?.to_vec());
            Record::Prepared(Box::new(Prepared { key, from, incoming_id, incoming_expires_at, to, expires_at, condition, packet }))
        }
        4 => Record::Fulfilled { key: rest.array()?, from: rest.leg()?, to: rest.leg()?, fulfillment: rest.array()? },
        5 => {
            let (key, from) = (rest.array()?, rest.leg()?);
            rest.bytes()?;
            Record::Rejected { key, from }
        }
        6 => Record::AnswerAcked { key: rest.array()? },
        7 => Record::AnswerRefused { key: rest.array()?, from: rest.leg()?, charged: rest.array()? == [1] },
        8 => {
            let key = rest.array()?;
            rest.leg()?;
            Record::Unconfirmed { key }
        }
        9 => {
            let from = rest.leg()?;
            rest.array::<40>()?;
            Record::Charged { from }
        }
        15 => {
            rest.array::<5>()?;
            rest.bytes()?;
            rest.bytes()?;
            Record::Claimed
        }
        16 => {
            rest.array::<16>()?;
            Record::BatchBegun
        }
        _ => return None,
    })
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
