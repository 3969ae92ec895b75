//! Text formats as trees: brackets and lines are groups, words and signs are leaves.

use crate::tree::{Kind, Node};

/// Makes a tree of text, or of any bytes; it renders to the same bytes.
pub fn parse(bytes: &[u8]) -> Node {
    let mut rest = bytes;
    let mut lines = Vec::new();
    while !rest.is_empty() {
        lines.push(line(&mut rest, None, 0));
    }
    Node::group(Kind::List, lines)
}

/// Up to the end of the line, or to the closing bracket.
fn line(rest: &mut &[u8], closing: Option<u8>, depth: usize) -> Node {
    let mut nodes = Vec::new();
    while let Some(first) = rest.first().copied() {
        let len = match first {
            _ if is_word(first) => rest.iter().take_while(|byte| is_word(**byte)).count(),
            b' ' => rest.iter().take_while(|byte| **byte == b' ').count(),
            _ => 1,
        };
        let (token, left) = rest.split_at(len);
        *rest = left;
        nodes.push(Node::leaf(Kind::Token, token));
        let bracket = match first {
            b'[' => Some(b']'),
            b'{' => Some(b'}'),
            _ => None,
        };
        match bracket {
            Some(_) if depth < DEPTH_MAX => nodes.push(line(rest, bracket, depth + 1)),
            _ if Some(first) == closing || (first == b'\n' && closing.is_none()) => break,
            _ => {}
        }
    }
    Node::group(Kind::List, nodes)
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"_-~".contains(&byte) || byte >= 0x80
}

/// Deeper brackets are words.
const DEPTH_MAX: usize = 32;
