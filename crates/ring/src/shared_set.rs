//! A set in shared memory, of things that are known by a hash. Processes that replace it do so one at a time,
//! and everybody else looks into it without waiting.
//!
//! A set holds for one number. Whoever looks names the number that matters now. If the set holds for another
//! one, or is being replaced, the answer is "unknown". An answer "not in it" has the set's version, so that
//! it can be checked later that it was not replaced meanwhile.
//!
//! Several sets may be made for the same number. Each has the generation of what it was made of, and an older
//! one never replaces a newer one. If a newer one has other things in it, whoever has looked between its
//! making and its coming has looked in the old one: [`Replaced::ByAnother`] says so to the process that made
//! it, which has to make one more.
//!
//! The version is also the lock of those who replace: it is odd while one of them writes. Rejected: a lock
//! beside it, which costs a word and would have to agree with it. A process that ends while it writes would
//! leave the version odd for ever; nothing here allocates, fails or looks at signals.
//!
//! Everything is sequentially consistent, because what is compared with the number is: this is done for
//! changes of the catalog, where nobody counts nanoseconds.
//!
//! Not for: what is in the set, and what the number counts (`pg/watched.rs` of the extension).

use crate::sync::{AtomicU64, Ordering::SeqCst};

/// See the head of this file. It takes `WORDS` words, and two bits of them for each thing in it.
#[repr(C)]
#[derive(Debug)]
pub struct SharedSet<const WORDS: usize> {
    /// Odd while the set is replaced; another number whenever the bits have changed.
    version: AtomicU64,
    /// The number for which the set holds; 0 is none.
    holds_for: AtomicU64,
    /// The generation of what the set was made of. Read and written by those who replace alone.
    generation: AtomicU64,
    bits: [AtomicU64; WORDS],
}

/// A set that is being put together.
#[derive(Debug)]
pub struct Marks<const WORDS: usize>(Vec<u64>);

/// What has become of a set that was to replace the present one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Replaced {
    /// It is in force, or a newer one is; whoever looked in the one before knows, or was told "unknown".
    Yes,
    /// It is in force. The one before held for the same number and had other things in it: what was not found
    /// in that one may be in this one.
    ByAnother,
    /// Not yet: another process is replacing it. Try again.
    Busy,
}

/// The result of a look at the set.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Look {
    /// It is in the set; or something else is that looks like it.
    InIt,
    /// It is not in the set, which has this version.
    NotInIt(u64),
    /// The set does not hold at the moment.
    Unknown,
}

impl<const WORDS: usize> Default for SharedSet<WORDS> {
    fn default() -> Self {
        Self {
            version: AtomicU64::new(0),
            holds_for: AtomicU64::new(0),
            generation: AtomicU64::new(0),
            bits: std::array::from_fn(|_| AtomicU64::new(0)),
        }
    }
}

impl<const WORDS: usize> SharedSet<WORDS> {
    /// Replaces the set with one that holds for this number and was made of this generation, unless the
    /// present one has a higher number or, of the same number, a later generation: then somebody else has
    /// looked later than the caller. Neither may be 0.
    pub fn try_replace(&self, marks: &Marks<WORDS>, number: u64, generation: u64) -> Replaced {
        let before = self.version.load(SeqCst);
        if !before.is_multiple_of(2)
            || self.version.compare_exchange(before, before.wrapping_add(1), SeqCst, SeqCst).is_err()
        {
            return Replaced::Busy;
        }
        let present = (self.holds_for.load(SeqCst), self.generation.load(SeqCst));
        let is_newer = present <= (number, generation);
        let is_other =
            is_newer && self.bits.iter().zip(&marks.0).any(|(bits, new)| bits.load(SeqCst) != *new);
        if is_other {
            for (bits, new) in self.bits.iter().zip(&marks.0) {
                bits.store(*new, SeqCst);
            }
        }
        if is_newer {
            self.holds_for.store(number, SeqCst);
            self.generation.store(generation, SeqCst);
        }
        self.version.store(if is_other { before.wrapping_add(2) } else { before }, SeqCst);
        if is_other && present.0 == number { Replaced::ByAnother } else { Replaced::Yes }
    }

    /// Looks for something, in the set as it has to be for this number.
    pub fn look(&self, kind: u32, hash: u32, number: u64) -> Look {
        let version = self.version.load(SeqCst);
        if !self.holds(version, number) {
            return Look::Unknown;
        }
        let is_in_it = places::<WORDS>(kind, hash)
            .iter()
            .all(|(word, bit)| self.bits.get(*word).is_none_or(|bits| bits.load(SeqCst) & bit != 0));
        match is_in_it {
            true => Look::InIt,
            false if self.version.load(SeqCst) == version => Look::NotInIt(version),
            false => Look::Unknown,
        }
    }

    /// Whether the set still has this version, and holds for this number.
    pub fn holds(&self, version: u64, number: u64) -> bool {
        version.is_multiple_of(2)
            && self.version.load(SeqCst) == version
            && self.holds_for.load(SeqCst) == number
    }
}

impl<const WORDS: usize> Default for Marks<WORDS> {
    fn default() -> Self {
        Self(vec![0; WORDS])
    }
}

impl<const WORDS: usize> Marks<WORDS> {
    /// Enters a thing of this kind with this hash.
    pub fn add(&mut self, kind: u32, hash: u32) {
        for (word, bit) in places::<WORDS>(kind, hash) {
            if let Some(bits) = self.0.get_mut(word) {
                *bits |= bit;
            }
        }
    }
}

fn places<const WORDS: usize>(kind: u32, hash: u32) -> [(usize, u64); 2] {
    // The finishing steps of splitmix64: every bit of the input moves every bit of the result.
    let mut mixed = u64::from(kind) << 32 | u64::from(hash);
    mixed = (mixed ^ mixed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^= mixed >> 31;
    [mixed, mixed >> 32].map(|half| {
        let place = half as usize % (WORDS * 64);
        (place / 64, 1 << (place % 64))
    })
}

#[cfg(all(test, not(loom)))]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn marks(hashes: &[u32]) -> Marks<8> {
        let mut marks = Marks::default();
        hashes.iter().for_each(|hash| marks.add(1, *hash));
        marks
    }

    fn replace(set: &SharedSet<8>, hashes: &[u32], number: u64, generation: u64) {
        assert_eq!(set.try_replace(&marks(hashes), number, generation), Replaced::Yes);
    }

    #[test]
    fn a_set_answers_for_its_number_alone() {
        let set = SharedSet::<8>::default();
        assert_eq!(set.look(1, 7, 5), Look::Unknown);
        replace(&set, &[7], 5, 1);
        for (number, look) in [(4, Look::Unknown), (5, Look::InIt), (6, Look::Unknown)] {
            assert_eq!(set.look(1, 7, number), look, "{number}");
        }
        assert!(matches!(set.look(1, 8, 5), Look::NotInIt(_)));
        assert!(matches!(set.look(2, 7, 5), Look::NotInIt(_)), "the same hash of another kind");
    }

    #[test]
    fn an_older_set_does_not_replace_a_newer_one() {
        let set = SharedSet::<8>::default();
        replace(&set, &[7], 5, 9);
        for (number, generation) in [(4, 9), (4, 10), (5, 8)] {
            replace(&set, &[8], number, generation);
            assert_eq!(set.look(1, 7, 5), Look::InIt, "{number} {generation}");
        }
        replace(&set, &[8], 6, 10);
        assert_eq!(set.look(1, 8, 6), Look::InIt);
        assert!(matches!(set.look(1, 7, 6), Look::NotInIt(_)));
    }

    #[test]
    fn whoever_replaces_a_set_of_the_same_number_by_another_is_told() {
        let set = SharedSet::<8>::default();
        replace(&set, &[7], 5, 1);
        replace(&set, &[7], 5, 2);
        for generation in [2, 3] {
            let marks = marks(&[8, u32::try_from(generation).unwrap()]);
            assert_eq!(set.try_replace(&marks, 5, generation), Replaced::ByAnother, "{generation}");
        }
        assert_eq!(set.try_replace(&marks(&[7]), 5, 2), Replaced::Yes, "which does not replace it");
        assert_eq!(set.look(1, 8, 5), Look::InIt);
    }

    #[test]
    fn what_was_not_found_holds_until_the_set_has_changed() {
        let set = SharedSet::<8>::default();
        replace(&set, &[7], 5, 1);
        let Look::NotInIt(version) = set.look(1, 8, 5) else { panic!("it is in it") };
        assert!(set.holds(version, 5) && !set.holds(version, 6));
        replace(&set, &[7], 6, 2);
        assert!(set.holds(version, 6), "the same set for a later number");
        replace(&set, &[7, 8], 7, 3);
        assert!(!set.holds(version, 7));
    }
}
