//! What a format looks like, and how bytes become a [`Node`] by it.

use crate::tree::{Body, Kind, Node};

/// A part of a format.
#[derive(Debug, Clone, Copy)]
pub enum Shape {
    /// An integer of so many bytes.
    Uint(usize),
    /// So many bytes.
    Fixed(usize),
    /// Everything up to the end of what is around it.
    Rest(Kind),
    /// A length, and in it these.
    Prefixed(&'static [Self]),
    /// The same as 2017's sub-protocols write it.
    Prefixed2017(&'static [Self]),
    /// A count, and as many times these.
    Counted(&'static [Self]),
    /// These again and again, up to the end.
    List(&'static [Self]),
    /// A byte, and what it says.
    Switch(fn(u8) -> &'static [Self]),
    /// Up to the end: the first of these formats that fits, or octets.
    Any(&'static [&'static [Self]]),
    /// Up to the end: text of a text format.
    Words,
}

/// Makes a tree of any bytes. What doesn't fit the format becomes [`Kind::Raw`]; the tree always renders to the same bytes.
pub fn parse(shapes: &[Shape], bytes: &[u8]) -> Node {
    let mut rest = bytes;
    let mut fields = fields(shapes, &mut rest);
    if !rest.is_empty() {
        fields.push(Node::leaf(Kind::Raw, rest));
    }
    Node::group(Kind::Fields, fields)
}

fn fields(shapes: &[Shape], rest: &mut &[u8]) -> Vec<Node> {
    let mut out = Vec::new();
    for shape in shapes {
        let before = *rest;
        match field(shape, rest, &mut out) {
            Some(()) => {}
            None => {
                *rest = before;
                break;
            }
        }
    }
    out
}

fn field(shape: &Shape, rest: &mut &[u8], out: &mut Vec<Node>) -> Option<()> {
    match shape {
        Shape::Uint(len) => out.push(Node::leaf(Kind::Uint, take(rest, *len)?)),
        Shape::Fixed(len) => out.push(Node::leaf(Kind::Fixed, take(rest, *len)?)),
        Shape::Rest(kind) => out.push(Node::leaf(*kind, std::mem::take(rest))),
        Shape::Words => out.push(crate::words::parse(std::mem::take(rest))),
        Shape::Prefixed(inner) => out.push(prefixed(Kind::Prefixed, inner, rest)?),
        Shape::Prefixed2017(inner) => out.push(prefixed(Kind::Prefixed2017, inner, rest)?),
        Shape::Counted(inner) => {
            let (head, count) = head(rest, true)?;
            let mut elements = Vec::new();
            while elements.len() < count && !rest.is_empty() {
                elements.push(element(inner, rest)?);
            }
            out.push(with_head(Kind::Counted, elements, head, rest));
        }
        Shape::List(inner) => {
            let mut elements = Vec::new();
            while !rest.is_empty() {
                let before = *rest;
                let Some(element) = element(inner, rest) else {
                    *rest = before;
                    break;
                };
                elements.push(element);
            }
            out.push(Node::group(Kind::List, elements));
        }
        Shape::Switch(by) => {
            let byte = take(rest, 1)?;
            out.push(Node::leaf(Kind::Type, byte));
            out.extend(fields(by(byte[0]), rest));
        }
        Shape::Any(formats) => {
            let bytes = std::mem::take(rest);
            let fitting = formats.iter().map(|format| parse(format, bytes)).find(|node| node.is_clean() && !bytes.is_empty());
            out.push(fitting.unwrap_or_else(|| Node::leaf(Kind::Octets, bytes)));
        }
    }
    Some(())
}

/// One element of a list, whole.
fn element(inner: &'static [Shape], rest: &mut &[u8]) -> Option<Node> {
    let before = rest.len();
    let fields = fields(inner, rest);
    (fields.len() >= inner.len() && rest.len() < before).then(|| Node::group(Kind::Fields, fields))
}

fn prefixed(kind: Kind, inner: &'static [Shape], rest: &mut &[u8]) -> Option<Node> {
    let (head, length) = head(rest, false)?;
    let content = take(rest, length.min(rest.len()))?;
    let Body::Group(children) = parse(inner, content).body else { return None };
    Some(with_head(kind, children, head, rest))
}

/// Keeps the head as it was if it isn't the right one.
fn with_head(kind: Kind, children: Vec<Node>, head: &[u8], _rest: &[u8]) -> Node {
    let mut node = Node::group(kind, children);
    let mut plain = node.clone();
    plain.kind = Kind::Fields;
    let right = node.to_bytes();
    if right.len() - plain.to_bytes().len() != head.len() || !right.starts_with(head) {
        node.lie = Some(head.to_vec());
    }
    node
}

/// A length, or a count (which is a number with a length), and its bytes; anything that is one at all.
fn head<'a>(rest: &mut &'a [u8], counted: bool) -> Option<(&'a [u8], usize)> {
    let before = *rest;
    let first = usize::from(take(rest, 1)?[0]);
    let number = |bytes: &[u8]| bytes.iter().fold(0_usize, |number, byte| number.saturating_mul(256).saturating_add(usize::from(*byte)));
    let value = match (counted, first) {
        (true, 0..=8) => number(take(rest, first)?),
        (true, _) => return None,
        (false, 0..=0x7f) => first,
        (false, _) => number(take(rest, first & 0x7f)?),
    };
    Some((&before[..before.len() - rest.len()], value))
}

fn take<'a>(rest: &mut &'a [u8], len: usize) -> Option<&'a [u8]> {
    let (taken, left) = rest.split_at_checked(len)?;
    *rest = left;
    Some(taken)
}
