//! Inputs that are programs: a setting, and operations one after the other.

/// A program's bytes, read as far as they go.
#[derive(Debug, Clone, Copy)]
pub struct Program<'a> {
    /// Its first byte, which sets the scene.
    pub setting: u8,
    rest: &'a [u8],
    left: usize,
}

/// What to do. Every target has its own list of operations, so every byte means something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Operation<'a> {
    /// Which.
    pub code: u8,
    /// Its argument.
    pub argument: u8,
    /// Another.
    pub number: u16,
    /// A frame, or whatever it works on.
    pub data: &'a [u8],
}

impl<'a> Program<'a> {
    /// Of an input; without any byte, the program that does nothing.
    pub fn new(input: &'a [u8]) -> Self {
        let (setting, rest) = input.split_first().map_or((0, input), |(setting, rest)| (*setting, rest));
        Self { setting, rest, left: OPERATIONS_MAX }
    }
}

impl<'a> Iterator for Program<'a> {
    type Item = Operation<'a>;

    fn next(&mut self) -> Option<Operation<'a>> {
        self.left = self.left.checked_sub(1)?;
        let [code, argument, high, low, length, rest @ ..] = self.rest else { return None };
        let (length, rest) = match *length {
            short @ 0..=0x7f => (usize::from(short), rest),
            long => {
                let (digits, rest) = rest.split_at_checked(usize::from(long & 0x7f))?;
                (digits.iter().fold(0, |length: usize, byte| length.saturating_mul(256).saturating_add(usize::from(*byte))), rest)
            }
        };
        let data;
        (data, self.rest) = rest.split_at(length.min(rest.len()));
        Some(Operation { code: *code, argument: *argument, number: u16::from_be_bytes([*high, *low]), data })
    }
}

/// An operation's bytes.
pub fn operation(code: u8, argument: u8, number: u16, data: &[u8]) -> Vec<u8> {
    let [high, low] = number.to_be_bytes();
    [&[code, argument, high, low][..], &crate::seeds::prefixed(data)].concat()
}

/// Longer programs are cut, so that none takes for ever.
const OPERATIONS_MAX: usize = 400;
