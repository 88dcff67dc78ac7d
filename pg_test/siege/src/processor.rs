//! How long the gateway's threads were ready to run and got no processor, and how much of the processors
//! somebody else used.
//!
//! The control is a process that does nothing else, so a scheduler runs it at once. The gateway's threads
//! have more to do, so on a shared machine they wait longer for the same processor. The kernel measures that.
//! What a thread waits for otherwise (a lock, a file, another thread) is not included. Whether anything is
//! allowed for what they wait, and who used the machine meanwhile, is for the run to judge.
//!
//! Not for the main thread of the gateway: no event waits for that.

use std::fs;
use std::process;
use std::thread;

/// The longest wait that excuses anything, in microseconds: a gateway that starves for longer should be
/// noticed.
const MOST: u64 = 500_000;

/// How the names of the threads between ring and sockets begin: no event waits for the others.
const EVENT_THREADS: [&str; 2] = ["sse-courier", "sse-gateway-"];

/// Microseconds of a tick in `/proc`: `USER_HZ` is 100 on every system that this runs on.
const TICK: u64 = 10_000;

/// A look at the sum of the event's threads, in microseconds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Look {
    pub(crate) at: u64,
    pub(crate) waited: u64,
}

/// How much of all processors was used so far, in microseconds of one.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Usage {
    pub(crate) at: u64,
    /// By anybody, other guests of the host included.
    pub(crate) all: u64,
    /// By the server and by ourselves.
    pub(crate) own: u64,
}

/// All that was seen.
#[derive(Clone, Debug, Default)]
pub(crate) struct Machine {
    pub(crate) looks: Vec<Look>,
    pub(crate) usages: Vec<Usage>,
}

impl Machine {
    /// The longest wait around a time: what was added between two neighbouring looks, of all pairs that touch
    /// it.
    pub(crate) fn longest_wait(&self, from: u64, until: u64) -> u64 {
        let around = self.looks.windows(3).filter(|looks| looks[2].at >= from && looks[0].at <= until);
        // Less than before: this is another process.
        let added = around.map(|looks| looks[2].waited.saturating_sub(looks[0].waited));
        added.max().unwrap_or(0).min(MOST)
    }

    /// How much of the processors others used around a time, in percent.
    pub(crate) fn others_percent(&self, from: u64, until: u64) -> u64 {
        let before = self.usages.iter().rev().find(|usage| usage.at <= from).or(self.usages.first());
        let after = self.usages.iter().find(|usage| usage.at >= until).or(self.usages.last());
        let (Some(before), Some(after)) = (before, after) else { return 0 };
        let processors = thread::available_parallelism().map_or(1, usize::from) as u64;
        let own = after.own.saturating_sub(before.own);
        let others = after.all.saturating_sub(before.all).saturating_sub(own);
        others * 100 / (after.at.saturating_sub(before.at) * processors).max(1)
    }
}

/// The threads between ring and sockets of process `pid`, as far as the system says anything of them (Linux,
/// `Documentation/scheduler/sched-stats.rst`: the second number of schedstat).
pub(crate) fn waited(pid: &str) -> u64 {
    let Ok(threads) = fs::read_dir(format!("/proc/{pid}/task")) else { return 0 };
    let waited = |thread: fs::DirEntry| -> Option<u64> {
        let path = thread.path();
        let name = fs::read_to_string(path.join("comm")).ok()?;
        if !EVENT_THREADS.iter().any(|begin| name.starts_with(begin)) {
            return None;
        }
        fs::read_to_string(path.join("schedstat")).ok()?.split(' ').nth(1)?.parse().ok()
    };
    let total: u64 = threads.flatten().filter_map(waited).sum();
    total / 1000
}

/// What the processors did until now; `gateway` is a process of the server. `None` where the system does not
/// say (proc(5)).
pub(crate) fn usage(at: u64, gateway: &str) -> Option<Usage> {
    let stat = fs::read_to_string("/proc/stat").ok()?;
    let numbers = stat.lines().next()?.split_ascii_whitespace().skip(1).map(str::parse);
    // user, nice, system, (idle, iowait,) irq, softirq, steal
    let numbers: Vec<u64> = numbers.collect::<Result<_, _>>().ok()?;
    let all = [0, 1, 2, 5, 6, 7].iter().filter_map(|place| numbers.get(*place)).sum::<u64>() * TICK;
    let server = process_of(gateway)?.parent;
    let processes = fs::read_dir("/proc").ok()?.flatten();
    let own = processes.filter_map(|entry| {
        let name = entry.file_name();
        let pid = name.to_str().filter(|name| name.starts_with(|first: char| first.is_ascii_digit()))?;
        let found = process_of(pid)?;
        match pid.parse::<u32>().ok()? {
            // With all of its processes that have ended.
            id if id == server => Some(found.own + found.ended),
            id if found.parent == server || id == process::id() => Some(found.own),
            _ => None,
        }
    });
    Some(Usage { at, all, own: own.sum::<u64>() * TICK })
}

struct Process {
    parent: u32,
    /// Ticks of its own, and of its children that have ended.
    own: u64,
    ended: u64,
}

fn process_of(pid: &str) -> Option<Process> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // After the name, which may have anything in it.
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_ascii_whitespace().collect();
    let number = |place: usize| -> Option<u64> { fields.get(place)?.parse().ok() };
    let parent = u32::try_from(number(1)?).ok()?;
    Some(Process { parent, own: number(11)? + number(12)?, ended: number(13)? + number(14)? })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn machine(waited: &[u64]) -> Machine {
        let looks = waited.iter().enumerate();
        let looks = looks.map(|(number, waited)| Look { at: number as u64 * 100, waited: *waited });
        Machine { looks: looks.collect(), usages: Vec::new() }
    }

    #[test]
    fn the_longest_wait_is_that_of_two_looks_that_touch_the_time() {
        let machine = machine(&[0, 0, 30, 70, 70, 70, 70]);
        assert_eq!(machine.longest_wait(150, 250), 70);
        assert_eq!(machine.longest_wait(501, 600), 0);
        assert_eq!(Machine::default().longest_wait(0, 100), 0);
    }

    #[test]
    fn what_is_longer_than_a_machine_should_take_is_cut() {
        for (waited, allowed) in [(MOST - 1, MOST - 1), (MOST, MOST), (MOST + 1, MOST)] {
            assert_eq!(machine(&[0, 0, waited]).longest_wait(0, 200), allowed);
        }
    }

    #[test]
    fn others_are_those_who_are_neither_the_server_nor_we() {
        let processors = thread::available_parallelism().map_or(1, usize::from) as u64;
        let usage = |at: u64, others: u64, own: u64| Usage {
            at,
            all: (others + own) * processors,
            own: own * processors,
        };
        let usages = vec![usage(0, 0, 0), usage(100, 30, 50), usage(200, 30, 150)];
        let machine = Machine { looks: Vec::new(), usages };
        assert_eq!(machine.others_percent(0, 100), 30);
        assert_eq!(machine.others_percent(100, 200), 0);
        assert_eq!(machine.others_percent(50, 150), 15);
        assert_eq!(Machine::default().others_percent(0, 100), 0);
    }
}
