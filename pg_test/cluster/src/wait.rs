//! Waits for something to become true, with a deadline instead of a sleep.
//!
//! Not for measuring time: the step between two looks is 10 ms.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

/// The pause between two looks. A look is often a `psql`, so a shorter pause would only use up the processor.
const STEP: Duration = Duration::from_millis(10);

/// Returns as soon as `is_true` is.
///
/// # Errors
/// After `within`, naming `what`.
pub fn wait_until(within: Duration, what: &str, mut is_true: impl FnMut() -> bool) -> Result<()> {
    wait_for(within, what, || Ok(is_true().then_some(())))
}

/// Returns the first `Some` that `look` answers.
///
/// # Errors
/// After `within`, naming `what`; an error of `look` at once.
pub fn wait_for<T>(within: Duration, what: &str, mut look: impl FnMut() -> Result<Option<T>>) -> Result<T> {
    let deadline = Instant::now() + within;
    loop {
        if let Some(found) = look()? {
            return Ok(found);
        }
        if Instant::now() >= deadline {
            bail!("waited {within:?} in vain for: {what}");
        }
        thread::sleep(STEP);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn waiting_in_vain_names_what_was_waited_for() {
        let error = wait_until(Duration::from_millis(20), "the moon", || false).unwrap_err();
        assert!(error.to_string().contains("the moon"));
    }

    #[test]
    fn the_last_look_is_after_the_deadline() {
        let mut looks = 0;
        wait_until(Duration::ZERO, "one look", || {
            looks += 1;
            true
        })
        .unwrap();
        assert_eq!(looks, 1);
    }
}
