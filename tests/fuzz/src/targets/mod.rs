//! The targets, each with what must hold.

mod clp;
mod config;
mod exchange;
mod frames;
mod ilp;
mod link;
mod packet;
mod session;
mod sub;
mod text;
mod url;
mod worker;

use crate::formats;
use crate::target::Target;
use ilp_fuzz_probe::Memory;
use ilp_oer::DecodeError;

/// All of them.
pub const ALL: &[Target] = &[
    Target {
        name: "clp",
        about: "CLP packets of all types in both dialects: one form, no memory, offsets that point into them",
        shapes: formats::CLP_CHOICE,
        words: NAMES,
        seeds: clp::seeds,
        run: clp::run,
    },
    Target {
        name: "ilp",
        about: "ILP and ILQP packets 1 to 8, quotes from curves, shortened and forwarded errors",
        shapes: formats::ILP,
        words: NAMES,
        seeds: ilp::seeds,
        run: ilp::run,
    },
    Target {
        name: "sub",
        about: "setup, info, balance, vouch, liquidity, lists of entries, errors on their own",
        shapes: formats::SUB_CHOICE,
        words: NAMES,
        seeds: sub::seeds,
        run: sub::run,
    },
    Target {
        name: "text",
        about: "addresses, times, amounts, ids, codes and names as text, against rules written a second time",
        shapes: formats::TEXT_CHOICE,
        words: text::WORDS,
        seeds: text::seeds,
        run: text::run,
    },
    Target {
        name: "packet",
        about: "the lines of the packet command, hex to JSON and back",
        shapes: formats::TEXT_CHOICE,
        words: packet::WORDS,
        seeds: packet::seeds,
        run: packet::run,
    },
    Target {
        name: "session",
        about: "a session's frames, requests, answers, time-outs and end, against a model",
        shapes: formats::PROGRAM,
        words: NAMES,
        seeds: session::seeds,
        run: session::run,
    },
    Target {
        name: "exchange",
        about: "an exchange and its setup in all four roles, with a handler, against a hostile peer",
        shapes: formats::PROGRAM,
        words: NAMES,
        seeds: exchange::seeds,
        run: exchange::run,
    },
    Target {
        name: "link",
        about: "the CLP link in all three forms, dialled and listening, with a caller like a worker",
        shapes: formats::PROGRAM,
        words: NAMES,
        seeds: link::seeds,
        run: link::run,
    },
    Target {
        name: "worker",
        about: "a worker with two honest peers that pay each other and a hostile one, all over CLP links",
        shapes: formats::PROGRAM,
        words: NAMES,
        seeds: worker::seeds,
        run: worker::run,
    },
    Target {
        name: "config",
        about: "the configuration file of the connector",
        shapes: formats::TEXT,
        words: config::WORDS,
        seeds: config::seeds,
        run: config::run,
    },
    Target {
        name: "url",
        about: "URLs to dial, and the path of a 2017 connection",
        shapes: formats::TEXT,
        words: url::WORDS,
        seeds: url::seeds,
        run: url::run,
    },
];

/// The target of that name.
pub fn named(name: &str) -> Option<&'static Target> {
    ALL.iter().find(|target| target.name == name)
}

/// Names that mean something in packets.
const NAMES: &[&str] = &[
    "setup",
    "ilp",
    "payment",
    "ilqp",
    "reconcile",
    "liquidity",
    "transfer",
    "ccp",
    "info",
    "balance",
    "vouch",
    "",
    "alice",
    "bob",
    "carol",
    "mallory",
    "secret",
    "wrong",
];

/// What must hold for every decoder: it takes no memory, and an error points into the bytes.
fn check_decoder<T>(result: &Result<T, DecodeError>, memory: Memory, bytes: &[u8]) {
    assert_eq!(memory, Memory::default(), "decoding took memory");
    if let Err(error) = result {
        assert!(error.offset <= bytes.len(), "{error}, beyond the {} bytes that there are", bytes.len());
    }
}

/// Whether a type byte, `ahead` bytes more and a length make an envelope for just these bytes.
fn is_envelope(bytes: &[u8], types: u8, ahead: usize) -> bool {
    let Some((head, rest)) = bytes.split_at_checked(1 + ahead) else { return false };
    (1..=types).contains(&head[0])
        && rest.split_first().is_some_and(|(first, rest)| match *first {
            short @ 0..=0x7f => usize::from(short) == rest.len(),
            long => {
                let size = usize::from(long & 0x7f);
                size <= rest.len() && crate::tree::length(rest.len() - size) == bytes[1 + ahead..][..1 + size]
            }
        })
}
