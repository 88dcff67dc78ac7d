//! Fails a test that lacks something on this machine, unless the environment names it: a test that did not
//! run proves nothing, and libtest has no word for that.
//!
//! Not for slow tests, which are `#[ignore = "slow"]`, nor for what is run by hand: that is ignored, and its
//! name begins with `by_hand_`.

use std::env;
use std::io::{self, Write};

use anyhow::{Result, bail};

/// Names, with commas between them, of what may be skipped.
pub const MAY_SKIP: &str = "PG_SSE_MAY_SKIP";

/// Begins a line that reports a skipped test; `cargo xtask test` counts these.
pub const SKIPPED: &str = "SKIPPED ";

/// Call it where a test cannot go on because the machine `lacks` something. `name` is the name that the
/// environment must have: the test's file (`env!("CARGO_CRATE_NAME")`).
///
/// # Errors
/// [`MAY_SKIP`] does not name it.
pub fn skip(name: &str, lacks: &str) -> Result<()> {
    let named = env::var(MAY_SKIP).unwrap_or_default();
    if !is_named(&named, name) {
        bail!("{name} needs {lacks}, which is not here; to go without it, say so: {MAY_SKIP}={name}");
    }
    tell_skipped(name, &format!("there is no {lacks}"))
}

/// Counts a test as skipped that makes no sense here: one of a feature that this PostgreSQL does not have.
pub fn tell_skipped(name: &str, why: &str) -> Result<()> {
    // Not with eprintln!, whose output libtest hides when a test passes.
    writeln!(io::stderr().lock(), "{SKIPPED}{name}: {why}")?;
    Ok(())
}

fn is_named(list: &str, name: &str) -> bool {
    list.split(',').any(|named| named.trim() == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_named_whole_may_be_skipped() {
        for (list, name, may) in [
            ("", "order", false),
            ("order", "order", true),
            ("activations, order", "order", true),
            ("order_late", "order", false),
            ("order", "order_late", false),
            ("all", "order", false),
        ] {
            assert_eq!(is_named(list, name), may, "{list:?} {name:?}");
        }
    }
}
