//! The HTTP call that an event was raised in: who is behind scope `caller` (C4.2).
//!
//! Fixed when the gateway queues the call, and carried with the call to its worker and from there with each
//! of its events. Nothing of it comes from settings of the session: whoever may run SQL could set those
//! (C3.8).
//!
//! Not for who gets such an event: [`crate::admission`].

/// A call, as the events that it raises carry it. Empty texts are absent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Caller<'a> {
    /// The call's number, which no other call ever has.
    pub call: u64,
    /// Whether the request had a token that was believed.
    pub is_authenticated: bool,
    /// The user's id, of an authenticated caller that has one.
    pub user_id: Option<&'a str>,
    /// The call's execution id (C4.4).
    pub execution_id: Option<&'a str>,
    /// Whether the gateway itself made that id, so that nobody else can have chosen the same (C7.9).
    pub has_made_id: bool,
}

impl Caller<'_> {
    /// Whether a stream can prove by the execution id that it is the caller's (C4.2): by its user id beside
    /// it, or because the gateway has made the id.
    pub fn can_be_followed(&self) -> bool {
        let is_there = |text: Option<&str>| text.is_some_and(|text| !text.is_empty());
        let is_known = if self.is_authenticated { is_there(self.user_id) } else { self.has_made_id };
        is_known && is_there(self.execution_id)
    }
}
