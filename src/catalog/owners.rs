//! Whose routines are read, and how far: those of one owner up to [`MAX_OWNER_WEIGHT`], the oldest first.
//!
//! Everything that is read for an owner is weighed before more is read for them, so neither the worker that reads nor the gateway
//! that keeps it, nor the ring between the two, has more of anybody than that, and less than a batch beyond it on the way.
//! Rejected: a bound at the gateway, which would come after the reading; and one in SQL alone, which cannot look into row types
//! without reading them all.
//!
//! A routine beyond the bound takes all newer ones of its owner with it, also those that would fit: which ones are served does not
//! depend on their sizes, and adding one never takes the URL of an older one.
//!
//! Not for what something weighs (`sse_proto::route`).

use std::collections::{HashMap, HashSet};

use sse_proto::route::MAX_OWNER_WEIGHT;

use crate::pg::shmem::{self, Shared};

/// What is left to each owner in one reading.
#[derive(Default)]
pub(crate) struct Owners(HashMap<u32, Account>);

/// One owner's.
pub(crate) struct Account {
    /// `None`: a routine did not fit.
    left: Option<usize>,
    /// The types that were weighed with their older routines, and all that is within these.
    types: HashSet<u32>,
}

impl Owners {
    /// Of this role.
    pub(crate) fn account(&mut self, owner: u32) -> &mut Account {
        self.0.entry(owner).or_insert_with(|| Account { left: Some(MAX_OWNER_WEIGHT), types: HashSet::new() })
    }

    /// Those who have half of what they may have, or more.
    pub(crate) fn near(&self) -> impl Iterator<Item = u32> {
        let is_near = |account: &Account| account.left.is_none_or(|left| left <= MAX_OWNER_WEIGHT / 2);
        self.0.iter().filter(move |(_, account)| is_near(account)).map(|(owner, _)| *owner)
    }
}

/// Owners who have half of what they may have, or more: a bit for each, by their oid. One who shares it with another is taken for
/// near, which costs a reading of all routines where one would do, and nothing else.
#[derive(Clone, Copy, Default)]
pub(crate) struct Near(u64);

impl Near {
    /// As the last reading of all found them.
    pub(crate) fn of_last_reading() -> Self {
        Self(shmem::shared().map_or(0, |shared| shared.header.last_reading.near_owners()))
    }

    /// With this one.
    pub(crate) fn with(self, owner: u32) -> Self {
        Self(self.0 | Self::bit(owner))
    }

    /// Whether it may be one of them.
    pub(crate) fn may_have(self, owner: u32) -> bool {
        self.0 & Self::bit(owner) != 0
    }

    /// What sessions go by from now on.
    pub(crate) fn share(self, shared: &Shared) {
        shared.header.last_reading.set_near_owners(self.0);
    }

    fn bit(owner: u32) -> u64 {
        1 << (owner % u64::BITS)
    }
}

impl Account {
    /// Whether so much more fits; after the first that does not, nothing does.
    pub(crate) fn take(&mut self, weight: usize) -> bool {
        self.left = self.left.and_then(|left| left.checked_sub(weight));
        self.left.is_some()
    }

    /// Nothing fits any more.
    pub(crate) fn is_closed(&self) -> bool {
        self.left.is_none()
    }

    /// Whether this type is seen for the first time.
    pub(crate) fn is_new(&mut self, oid: u32) -> bool {
        self.types.insert(oid)
    }
}
