//! Inputs as trees of fields, so that a change to a field leaves the lengths and counts around it right.

/// A field, or a group of fields.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// What it is.
    pub kind: Kind,
    /// What it holds.
    pub body: Body,
    /// Bytes that stand in place of the right length or count.
    pub lie: Option<Vec<u8>>,
}

/// A field's bytes, or a group's fields.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Body {
    /// Bytes.
    Leaf(Vec<u8>),
    /// Fields in order.
    Group(Vec<Node>),
}

/// What a field or a group is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// A byte that says what follows.
    Type,
    /// A big-endian integer.
    Uint,
    /// Bytes of a fixed size: ids, conditions.
    Fixed,
    /// An instant on the wire.
    Time,
    /// Text on the wire.
    Text,
    /// An ILP address.
    Address,
    /// Octets of any size.
    Octets,
    /// What didn't fit the format.
    Raw,
    /// A word, number, blank or sign of a text format.
    Token,
    /// Group: one after the other.
    Fields,
    /// Group: any number of alike things, not counted.
    List,
    /// Group: a count, and as many times the same fields.
    Counted,
    /// Group: a length, and what is so long.
    Prefixed,
    /// The same as 2017's sub-protocols write it.
    Prefixed2017,
}

impl Kind {
    /// Whether children may be added and removed without damage.
    pub fn is_list(self) -> bool {
        matches!(self, Self::List | Self::Counted)
    }

    /// Whether there is a length or a count in front that can be wrong.
    pub fn has_head(self) -> bool {
        matches!(self, Self::Counted | Self::Prefixed | Self::Prefixed2017)
    }
}

impl Node {
    /// A field.
    pub fn leaf(kind: Kind, bytes: impl Into<Vec<u8>>) -> Self {
        Self { kind, body: Body::Leaf(bytes.into()), lie: None }
    }

    /// A group.
    pub fn group(kind: Kind, children: Vec<Self>) -> Self {
        Self { kind, body: Body::Group(children), lie: None }
    }

    /// The whole input.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = Vec::new();
        self.render(&mut out);
        out
    }

    fn render(&self, out: &mut Vec<u8>) {
        let children = match &self.body {
            Body::Leaf(bytes) => return out.extend_from_slice(bytes),
            Body::Group(children) => children,
        };
        let start = out.len();
        children.iter().for_each(|child| child.render(out));
        if self.kind.has_head() {
            let content = out.len() - start;
            let head = self.lie.clone().unwrap_or_else(|| match self.kind {
                Kind::Counted => count(children.len()),
                Kind::Prefixed2017 if (128..=255).contains(&content) => [vec![0x82, 0], uint(content)].concat(),
                _ => length(content),
            });
            out.splice(start..start, head);
        }
    }

    /// How many nodes there are, itself included.
    pub fn nodes(&self) -> usize {
        match &self.body {
            Body::Leaf(_) => 1,
            Body::Group(children) => 1 + children.iter().map(Self::nodes).sum::<usize>(),
        }
    }

    /// The node of that number, itself being 0.
    pub fn nth_mut(&mut self, n: &mut usize) -> Option<&mut Self> {
        if *n == 0 {
            return Some(self);
        }
        *n -= 1;
        match &mut self.body {
            Body::Leaf(_) => None,
            Body::Group(children) => children.iter_mut().find_map(|child| child.nth_mut(n)),
        }
    }

    /// All nodes of a kind.
    pub fn of_kind<'a>(&'a self, kind: Kind, found: &mut Vec<&'a Self>) {
        if self.kind == kind {
            found.push(self);
        }
        if let Body::Group(children) = &self.body {
            children.iter().for_each(|child| child.of_kind(kind, found));
        }
    }

    /// Whether all of it fitted its format.
    pub fn is_clean(&self) -> bool {
        self.kind != Kind::Raw
            && self.lie.is_none()
            && match &self.body {
                Body::Leaf(_) => true,
                Body::Group(children) => children.iter().all(Self::is_clean),
            }
    }
}

/// A length in its shortest form. Not the product's own code: a mistake there must not hide itself.
pub fn length(length: usize) -> Vec<u8> {
    match u8::try_from(length) {
        Ok(short @ 0..=0x7f) => vec![short],
        _ => {
            let digits = uint(length);
            let mut out = vec![0x80 | u8::try_from(digits.len()).unwrap_or(0)];
            out.extend(digits);
            out
        }
    }
}

/// A count in its shortest form.
pub fn count(count: usize) -> Vec<u8> {
    let digits = uint(count);
    [length(digits.len()), digits].concat()
}

/// An integer in the fewest bytes, at least one.
pub fn uint(number: usize) -> Vec<u8> {
    let bytes = number.to_be_bytes();
    let zeros = bytes.iter().take_while(|byte| **byte == 0).count().min(bytes.len() - 1);
    bytes[zeros..].to_vec()
}
