//! How long the gateway's threads were ready to run and got no processor.
//!
//! The control is a process that does nothing else, so a scheduler runs it at once. The gateway's threads
//! have more to do, so on a shared machine they wait longer for the same processor. That is the machine's
//! delay, and the kernel measures it. What a thread waits for otherwise (a lock, a file, another thread) is
//! not included. Short runs allow for it; long ones, which have a machine for themselves, do not.
//!
//! Not for the main thread of the gateway: no event waits for that.

use std::fs;

/// The longest wait that is blamed on the machine, in microseconds: a gateway that starves for longer should
/// be noticed.
const MOST: u64 = 200_000;

/// A look at the sum of the event's threads, in microseconds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Look {
    pub(crate) at: u64,
    pub(crate) waited: u64,
}

/// The threads between ring and sockets of process `pid`, as far as the system says anything of them (Linux,
/// `Documentation/scheduler/sched-stats.rst`: the second number of schedstat).
pub(crate) fn waited(pid: &str) -> u64 {
    let Ok(threads) = fs::read_dir(format!("/proc/{pid}/task")) else { return 0 };
    let waited = |thread: fs::DirEntry| -> Option<u64> {
        let path = thread.path();
        if !fs::read_to_string(path.join("comm")).ok()?.starts_with("sse-") {
            return None;
        }
        fs::read_to_string(path.join("schedstat")).ok()?.split(' ').nth(1)?.parse().ok()
    };
    let total: u64 = threads.flatten().filter_map(waited).sum();
    total / 1000
}

/// The longest wait around a time: what was added between two neighbouring looks, of all pairs that touch it.
pub(crate) fn longest(looks: &[Look], from: u64, until: u64) -> u64 {
    let around = looks.windows(3).filter(|looks| looks[2].at >= from && looks[0].at <= until);
    // Less than before: this is another process.
    let added = around.map(|looks| looks[2].waited.saturating_sub(looks[0].waited));
    added.max().unwrap_or(0).min(MOST)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_wait_is_that_of_two_looks_that_touch_the_time() {
        let looks: Vec<Look> = [0, 0, 30, 70, 70, 70, 70]
            .into_iter()
            .enumerate()
            .map(|(number, waited)| Look { at: number as u64 * 100, waited })
            .collect();
        assert_eq!(longest(&looks, 150, 250), 70);
        assert_eq!(longest(&looks, 501, 600), 0);
        assert_eq!(longest(&[], 0, 100), 0);
    }

    #[test]
    fn what_is_longer_than_a_machine_should_take_is_cut() {
        let look = |at, waited| Look { at, waited };
        for (waited, allowed) in [(MOST - 1, MOST - 1), (MOST, MOST), (MOST + 1, MOST)] {
            assert_eq!(longest(&[look(0, 0), look(1, 0), look(2, waited)], 0, 2), allowed);
        }
    }
}
