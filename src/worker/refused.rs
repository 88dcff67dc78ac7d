//! Whose tokens are refused (`sse.disconnect`, `@logout`), as far as the gateway has been told of them.
//!
//! Not for the file itself: `revocation.rs`.

use std::time::SystemTime;

use sse_gateway::Gateway;

use super::messages;
use crate::pg::shmem::Shared;
use crate::revocation;

/// What the runtime threads know.
#[derive(Default)]
pub(super) struct Refused {
    /// Calls of `sse.disconnect` that they have been told of; `None` before they were told of any.
    told: Option<u64>,
    is_unreadable: bool,
}

/// What a look at the file came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// Nothing that the caller has to act on.
    Nothing,
    /// It could not be read before; what else keeps the gateway from serving decides again.
    ReadableAgain,
}

impl Refused {
    /// Tells the runtime threads all of the file when they are new, and after each `sse.disconnect`. While the file cannot
    /// be read nobody can say who is refused, so nobody is let in.
    pub(super) fn tend(&mut self, shared: &Shared, gateway: &Gateway) -> Found {
        let announced = shared.revocations();
        if self.told == Some(announced) {
            return Found::Nothing;
        }
        match revocation::read() {
            Ok(refusals) => {
                refusals.users.iter().for_each(|(user_id, before)| gateway.disconnect(user_id, *before));
                refusals.tokens.iter().for_each(|(digest, until)| gateway.refuse_token(digest, *until));
                self.told = Some(announced);
                if std::mem::take(&mut self.is_unreadable) { Found::ReadableAgain } else { Found::Nothing }
            }
            Err(error) => {
                gateway.set_unavailable(Some("the file of refused users cannot be read".to_owned()));
                if !std::mem::replace(&mut self.is_unreadable, true) {
                    messages::revocations_unreadable(&error);
                }
                Found::Nothing
            }
        }
    }

    /// Keeps that somebody has logged out with a token: the runtime threads refuse it already.
    pub(super) fn log_out(digest: &str, until: SystemTime) {
        if let Err(error) = revocation::add_token(digest, until) {
            messages::logout_not_kept(&error);
        }
    }

    /// Whether nothing is served because the file cannot be read.
    pub(super) fn is_unreadable(&self) -> bool {
        self.is_unreadable
    }
}
