//! What the streams of a thread have in common is kept once: what they ask for, and who hears what.
//!
//! Not for what that is: that is `subscribe`.

use std::collections::HashSet;
use std::hash::Hash;
use std::rc::Rc;

use crate::stream::audience::Recipient;
use crate::stream::subscribe::{Ground, Subscription};

#[derive(Default)]
pub(super) struct Same {
    recipients: HashSet<Rc<Recipient>>,
    grounds: HashSet<Rc<Ground>>,
}

impl Same {
    /// Makes a stream that begins share what others have.
    pub(super) fn share(&mut self, subscription: &mut Subscription) {
        share(&mut self.recipients, &mut subscription.recipient);
        share(&mut self.grounds, &mut subscription.ground);
    }

    /// The stream has ended, and nobody else has its subscription.
    pub(super) fn give_back(&mut self, subscription: Subscription) {
        give_back(&mut self.recipients, subscription.recipient);
        give_back(&mut self.grounds, subscription.ground);
    }

    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.recipients.is_empty() && self.grounds.is_empty()
    }
}

fn share<T: Eq + Hash>(all: &mut HashSet<Rc<T>>, own: &mut Rc<T>) {
    match all.get(own) {
        Some(same) => *own = Rc::clone(same),
        None => drop(all.insert(Rc::clone(own))),
    }
}

fn give_back<T: Eq + Hash>(all: &mut HashSet<Rc<T>>, own: Rc<T>) {
    // Itself, and the one in the set.
    if Rc::strong_count(&own) == 2 {
        all.remove(&own);
    }
    // What was large once gives its memory back.
    if all.capacity() > 64 && all.len() < all.capacity() / 4 {
        all.shrink_to(all.len() * 2);
    }
}
