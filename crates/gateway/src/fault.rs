//! A way to make a runtime thread panic, for the ledger test; only in builds with the feature `faults`, which
//! no server for people is built with.
//!
//! A user who can write into the data directory can end the gateway in other ways, too: this adds no power.
//!
//! Not for any other fault: those come from outside.

use std::fs;
use std::path::Path;

/// Looked for when new settings come.
const PANIC_FILE: &str = "pg_sse.panic";

/// Panics if the file is there, and takes it away, so that the next gateway lives.
pub(crate) fn panic_if_asked(data_directory: Option<&Path>) {
    let Some(folder) = data_directory else { return };
    if fs::remove_file(folder.join(PANIC_FILE)).is_ok() {
        panic!("asked to by {PANIC_FILE}");
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn the_file_makes_it_panic_once() {
        let folder = tempfile::tempdir().unwrap();
        panic_if_asked(Some(folder.path()));
        fs::write(folder.path().join(PANIC_FILE), "").unwrap();
        assert!(std::panic::catch_unwind(|| panic_if_asked(Some(folder.path()))).is_err());
        panic_if_asked(Some(folder.path()));
    }
}
