//! Limits what is read for each owner: routines up to [`MAX_OWNER_WEIGHT`], the oldest first.
//!
//! Everything that is read for an owner is weighed before more is read for that owner. So neither the worker
//! that reads, nor the gateway that keeps the result, nor the ring between the two has more than that for
//! anybody, plus less than a batch on the way. Rejected: a limit in the gateway, which would come after the
//! reading; and a limit in SQL alone, which cannot look into row types without reading them all.
//!
//! A routine beyond the limit takes all newer routines of its owner with it, even those that would fit. So
//! a newer routine is not served merely because it is small, and a new routine never takes the URL of an
//! older one.
//!
//! Not for what something weighs (`sse_proto::route`).

use std::collections::{HashMap, HashSet};

use sse_proto::route::MAX_OWNER_WEIGHT;

use crate::pg::shmem::{self, Shared};

/// What is left to each owner in one reading.
#[derive(Default)]
pub(crate) struct Owners(HashMap<u32, Account>);

/// The account of one owner.
pub(crate) struct Account {
    /// The weight that is left; `None`: a routine did not fit.
    left: Option<usize>,
    /// The types that were weighed with this owner's older routines, with all types within them.
    types: HashSet<u32>,
}

impl Owners {
    /// The account of this role.
    pub(crate) fn account(&mut self, owner: u32) -> &mut Account {
        self.0.entry(owner).or_insert_with(|| Account { left: Some(MAX_OWNER_WEIGHT), types: HashSet::new() })
    }

    /// Those who have half of what they may have, or more.
    pub(crate) fn near(&self) -> impl Iterator<Item = u32> {
        let is_near = |account: &Account| account.left.is_none_or(|left| left <= MAX_OWNER_WEIGHT / 2);
        self.0.iter().filter(move |(_, account)| is_near(account)).map(|(owner, _)| *owner)
    }
}

/// Owners who have half of what they may have, or more: a bit for each, by their oid. One who shares it with
/// another is taken for near, which costs a reading of all routines where one would do, and nothing else.
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
    /// Takes this weight off, and says whether it fits. After the first that does not fit, nothing does.
    pub(crate) fn take(&mut self, weight: usize) -> bool {
        self.left = self.left.and_then(|left| left.checked_sub(weight));
        self.left.is_some()
    }

    /// Whether nothing fits any more.
    pub(crate) fn is_closed(&self) -> bool {
        self.left.is_none()
    }

    /// Whether this type is seen for the first time.
    pub(crate) fn is_new(&mut self, oid: u32) -> bool {
        self.types.insert(oid)
    }
}
