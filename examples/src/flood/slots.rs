//! A table of requests under way, in which numbers find their entries without a search.

/// Requests under way, each under a number that is its request id on the connection.
///
/// The lower 16 bits of a number are the entry's place, the upper 16 count the place's tenants. So an answer that comes twice meets
/// another number at its place, not another request's entry, unless 65,536 others have been there in between.
#[derive(Debug)]
pub(super) struct Slots<T> {
    places: Vec<Place<T>>,
    /// Places without a tenant. The one that became free last is used first: what it needs is in the processor's cache.
    free: Vec<u16>,
    len: usize,
}

#[derive(Debug)]
struct Place<T> {
    tenants: u16,
    tenant: Option<T>,
}

impl<T> Slots<T> {
    /// No request is under way.
    pub(super) fn new() -> Self {
        Self { places: Vec::new(), free: Vec::new(), len: 0 }
    }

    /// Adds an entry and gives its number, unless there are 65,536 already.
    pub(super) fn insert(&mut self, tenant: T) -> Option<u32> {
        let index = match self.free.pop() {
            Some(index) => index,
            None => {
                let index = u16::try_from(self.places.len()).ok()?;
                self.places.push(Place { tenants: 0, tenant: None });
                index
            }
        };
        let place = self.places.get_mut(usize::from(index))?;
        place.tenants = place.tenants.wrapping_add(1);
        place.tenant = Some(tenant);
        self.len += 1;
        Some(number(place.tenants, index))
    }

    /// The entry under a number.
    pub(super) fn get_mut(&mut self, number: u32) -> Option<&mut T> {
        let (tenants, index) = parts(number);
        let place = self.places.get_mut(usize::from(index))?;
        if place.tenants == tenants { place.tenant.as_mut() } else { None }
    }

    /// Takes the entry under a number out.
    pub(super) fn remove(&mut self, number: u32) -> Option<T> {
        let (tenants, index) = parts(number);
        let place = self.places.get_mut(usize::from(index))?;
        if place.tenants != tenants {
            return None;
        }
        let tenant = place.tenant.take()?;
        self.len -= 1;
        self.free.push(index);
        Some(tenant)
    }

    /// Takes out all entries that `gone` says so of.
    pub(super) fn remove_if(&mut self, mut gone: impl FnMut(&mut T) -> bool) {
        for (index, place) in (0..).zip(&mut self.places) {
            if place.tenant.as_mut().is_some_and(&mut gone) {
                place.tenant = None;
                self.len -= 1;
                self.free.push(index);
            }
        }
    }

    /// Whether there is none.
    pub(super) fn is_empty(&self) -> bool {
        self.len == 0
    }
}

fn number(tenants: u16, index: u16) -> u32 {
    u32::from(tenants) << 16 | u32::from(index)
}

fn parts(number: u32) -> (u16, u16) {
    let [a, b, c, d] = number.to_be_bytes();
    (u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_finds_its_entry_once() {
        let mut slots = Slots::new();
        let (a, b) = (slots.insert('a').unwrap(), slots.insert('b').unwrap());
        assert_eq!((slots.get_mut(a).copied(), slots.get_mut(b).copied(), slots.len), (Some('a'), Some('b'), 2));
        assert_eq!((slots.remove(a), slots.remove(a), slots.get_mut(a).copied()), (Some('a'), None, None));
        let c = slots.insert('c').unwrap();
        assert_eq!(parts(c).1, parts(a).1);
        assert_eq!((slots.remove(a), slots.remove(c), slots.remove(0), slots.remove(u32::MAX)), (None, Some('c'), None, None));
        assert_eq!((slots.remove(b), slots.is_empty()), (Some('b'), true));
    }

    #[test]
    fn no_more_than_65536_are_under_way() {
        let mut slots = Slots::new();
        let numbers: Vec<_> = (0..65_536).map(|n| slots.insert(n).unwrap()).collect();
        assert_eq!(slots.insert(0), None);
        assert_eq!(slots.remove(numbers[40_000]), Some(40_000));
        assert!(slots.insert(0).is_some());
    }

    #[test]
    fn entries_are_taken_out_by_what_they_are() {
        let mut slots = Slots::new();
        let numbers: Vec<_> = (0..10).map(|n| slots.insert(n).unwrap()).collect();
        slots.remove_if(|n| *n % 3 == 0);
        assert_eq!(slots.len, 6);
        assert_eq!((slots.remove(numbers[3]), slots.remove(numbers[4])), (None, Some(4)));
        assert!((0..5).all(|n| slots.insert(n).is_some()));
        assert_eq!((slots.len, slots.places.len()), (10, 10));
    }
}
