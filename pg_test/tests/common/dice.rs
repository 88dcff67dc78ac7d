//! Draws at random that can be repeated.

use anyhow::{Context, Result};

/// What a test draws.
pub(crate) struct Dice(pub(crate) fastrand::Rng);

impl Dice {
    /// Those of the seed that `PG_SSE_SEED` says, or of a new one; it is printed, and returned for messages.
    pub(crate) fn new() -> Result<(Self, String)> {
        let seed = match std::env::var("PG_SSE_SEED") {
            Ok(seed) => seed.parse().context("PG_SSE_SEED is no number")?,
            Err(_) => fastrand::u64(..),
        };
        let said = format!("PG_SSE_SEED={seed}");
        println!("{said}");
        Ok((Self(fastrand::Rng::with_seed(seed)), said))
    }

    pub(crate) fn roll(&mut self, sides: usize) -> usize {
        self.0.usize(..sides)
    }

    pub(crate) fn one_in(&mut self, n: usize) -> bool {
        self.roll(n) == 0
    }

    pub(crate) fn pick<T: Clone>(&mut self, from: &[T]) -> T {
        from[self.roll(from.len())].clone()
    }
}
