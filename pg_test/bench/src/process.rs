//! What the system says of processes: the processor time of all of their threads, also of those that ended,
//! and their memory.
//!
//! Not for starting them: side.rs.

use std::collections::BTreeMap;
use std::fs;
use std::time::Duration;

use anyhow::{Context, Result};

/// A tick in `/proc`: `USER_HZ` is 100 on every system that this runs on.
const TICK: Duration = Duration::from_millis(10);

/// The numbers of `/proc/PID/stat` after the name: the first is field 4, the parent.
fn numbers(pid: u32) -> Option<Vec<u64>> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, behind) = stat.rsplit_once(')')?;
    // Some are negative, none of those that are used here.
    Some(behind.split_ascii_whitespace().skip(1).map(|field| field.parse().unwrap_or(0)).collect())
}

/// A process and everything below it.
pub(crate) fn tree(root: u32) -> Vec<u32> {
    let mut children = BTreeMap::<u32, Vec<u32>>::new();
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
        let parent = numbers(pid).and_then(|numbers| u32::try_from(*numbers.first()?).ok());
        children.entry(parent.unwrap_or(0)).or_default().push(pid);
    }
    let mut found = vec![root];
    let mut next = 0;
    while let Some(pid) = found.get(next) {
        found.extend(children.get(pid).into_iter().flatten());
        next += 1;
    }
    found
}

/// Processor time of a process until now, and of those of its children that ended.
fn time(pid: u32) -> Duration {
    // Fields 14 to 17 (proc(5)): user and system, then the same of children that were waited for.
    let ticks = numbers(pid).map_or(0, |numbers| numbers.iter().skip(10).take(4).sum());
    TICK * u32::try_from(ticks).unwrap_or(u32::MAX)
}

/// Processor time until now of a process and everything below it, also of what has ended since.
pub(crate) fn tree_time(root: u32) -> Duration {
    tree(root).into_iter().map(time).sum()
}

/// The same of what runs now alone, exactly (Linux, `Documentation/scheduler/sched-stats.rst`), where the
/// system says it.
pub(crate) fn exact_tree_time(root: u32) -> Duration {
    exact_times(root).into_values().sum()
}

/// As [`exact_tree_time`], of each process.
pub(crate) fn exact_times(root: u32) -> BTreeMap<u32, Duration> {
    let nanoseconds = |pid: u32| -> Option<u64> {
        let threads = fs::read_dir(format!("/proc/{pid}/task")).ok()?.flatten();
        let times = threads.filter_map(|thread| {
            let times = fs::read_to_string(thread.path().join("schedstat")).ok()?;
            times.split_whitespace().next()?.parse::<u64>().ok()
        });
        Some(times.sum())
    };
    let tree = tree(root);
    let exact = tree.iter().filter_map(|&pid| Some((pid, Duration::from_nanos(nanoseconds(pid)?))));
    let exact: BTreeMap<_, _> = exact.collect();
    if exact.values().all(Duration::is_zero) {
        return tree.into_iter().map(|pid| (pid, time(pid))).collect();
    }
    exact
}

/// Processor time of this process until now.
pub(crate) fn own_time() -> Duration {
    // Without its children: those are what is measured.
    let ticks = numbers(std::process::id()).map_or(0, |numbers| numbers.iter().skip(10).take(2).sum());
    TICK * u32::try_from(ticks).unwrap_or(u32::MAX)
}

/// Proportional set size of a process and everything below it, in bytes.
pub(crate) fn tree_memory(root: u32) -> Result<u64> {
    let mut sum = 0;
    for pid in tree(root) {
        let rollup = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).context("smaps_rollup")?;
        let line = rollup.lines().find_map(|line| line.strip_prefix("Pss:"));
        let kilobytes: u64 =
            line.and_then(|line| line.trim().strip_suffix(" kB")).context("no Pss")?.trim().parse()?;
        sum += kilobytes << 10;
    }
    Ok(sum)
}

/// Permits as many descriptors as the system allows, and returns how many streams that is room for.
pub(crate) fn raise_descriptor_limit() -> u32 {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    let _ = setrlimit(Resource::Nofile, limit);
    let most = getrlimit(Resource::Nofile).current.unwrap_or(u64::from(u32::MAX));
    // The server has files, too.
    u32::try_from(most.saturating_sub(1500)).unwrap_or(u32::MAX)
}
