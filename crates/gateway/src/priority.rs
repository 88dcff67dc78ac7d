//! Which threads get the processor first: those that carry events.
//!
//! Where groups of processes share the processors (Linux' autogroup makes one of each session, and each
//! process of Postgres has its own), the threads of the gateway compete with each other for one share. The
//! threads that no event waits for give up some of it. More than that share takes a permission, which an
//! administrator gives by `RLIMIT_NICE` (`LimitNICE` of a service) or by the capability `CAP_SYS_NICE`;
//! whoever gives it wants events to be first.
//!
//! Not for the main thread: it takes locks of Postgres, for which others would wait.
//!
//! Elsewhere than on Linux a priority is the whole process's (POSIX, `nice`), so nothing is done there.

/// The thread that calls it does what no event waits for: it lets those that carry events have the processor
/// first. Anybody may give up priority, nobody gets it back.
pub fn yield_to_events() {
    #[cfg(target_os = "linux")]
    {
        // In vain: as before.
        let _ = rustix::process::setpriority_process(None, YIELDING);
    }
}

/// The priority of threads that no event waits for, whatever that of the thread is that has started them.
#[cfg(target_os = "linux")]
const YIELDING: i32 = 10;

/// The priority of threads that carry events, where that is permitted: above a Postgres that computes, below
/// what keeps a machine alive (sched(7): -20 is the highest).
#[cfg(target_os = "linux")]
const PRIORITY: i32 = -10;

/// The thread that calls it carries events: it gets the processor before others, as far as the administrator
/// permits that.
pub fn carry_events() {
    #[cfg(target_os = "linux")]
    for priority in [PRIORITY, limit().max(PRIORITY)] {
        if priority < 0 && rustix::process::setpriority_process(None, priority).is_ok() {
            // In an autogroup (sched(7)) it is the priority of the group that counts beside other processes,
            // and that of a thread only within. The kernel takes such a change once in a tenth of a second,
            // so what one thread asks for in vain the next may get.
            let _ = std::fs::write("/proc/self/autogroup", priority.to_string());
            return;
        }
    }
}

/// The highest priority that `RLIMIT_NICE` permits (getrlimit(2): 1 to 40 stand for 19 to -20).
#[cfg(target_os = "linux")]
fn limit() -> i32 {
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nice).current;
    limit.map_or(-20, |limit| 20 - i32::try_from(limit).unwrap_or(40).min(40))
}
