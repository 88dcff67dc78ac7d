//! Which version this library is, for what belongs to one version: its SQL script, its extension.
//!
//! Not for the format of anything: nothing that one version writes to a disk is refused by another.

use std::borrow::Cow;

/// Version of this library, and of the SQL script that belongs to it.
const VERSION: &str = env!("CARGO_PKG_VERSION");

/// [`VERSION`]; in a build for tests, what a file in the data directory says, so that a test can have a
/// library that is older or newer than an extension.
pub(crate) fn version() -> Cow<'static, str> {
    #[cfg(feature = "faults")]
    if let Ok(other) = std::fs::read_to_string(crate::pg::backend::data_directory().join(CLAIMED)) {
        return Cow::Owned(other);
    }
    Cow::Borrowed(VERSION)
}

#[cfg(feature = "faults")]
const CLAIMED: &str = "pg_sse.claimed_version";
