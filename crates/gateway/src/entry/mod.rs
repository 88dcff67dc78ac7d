//! Who may come in at all: by name, by origin, by number. Nothing here knows settings, tokens or routes.
//!
//! Not for whose request it is: that is `auth`.

pub(crate) mod admission;
pub(crate) mod busy;
pub(crate) mod cors;
pub(crate) mod host;
pub(crate) mod peer;
pub(crate) mod proxy;
pub(crate) mod sockets;
