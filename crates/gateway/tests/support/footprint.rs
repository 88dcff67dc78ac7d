//! What this process takes, of which the gateway is most: memory, and time of the processor. For tests that
//! are alone in their process.

use std::io::Read as _;
use std::net::TcpStream;
use std::path::PathBuf;
use std::time::Duration;

use super::{TestGateway, raise, within};

/// Memory that is no file's, in bytes.
pub fn anonymous_memory() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).unwrap();
    line.split_whitespace().next().unwrap().parse::<u64>().unwrap() * 1024
}

/// What it takes more than `before`, for each of so many.
pub fn memory_of_each(before: u64, many: u64) -> u64 {
    anonymous_memory().saturating_sub(before) / many
}

/// Time of the thread that serves.
pub fn cpu_of_gateway() -> Duration {
    let tasks = std::fs::read_dir("/proc/self/task").unwrap().map(|task| task.unwrap().path());
    let serves = |task: &PathBuf| {
        std::fs::read_to_string(task.join("comm")).is_ok_and(|name| name.starts_with("sse-gateway-0"))
    };
    let task = tasks.into_iter().find(serves).unwrap();
    let schedule = std::fs::read_to_string(task.join("schedstat")).unwrap();
    Duration::from_nanos(schedule.split_whitespace().next().unwrap().parse().unwrap())
}

/// Publishes more than sockets and buffers take, to streams that nobody reads, until nothing moves.
pub fn stall(gateway: &TestGateway) {
    let text = "x".repeat(100_000);
    for _ in 0..40 {
        gateway.publish(&[raise(text.clone())]);
    }
    let delivered = || gateway.count(|stats| &stats.bytes_total);
    let mut last = 0;
    within(Duration::from_secs(60), "all have stalled", || {
        std::thread::sleep(Duration::from_millis(300));
        std::mem::replace(&mut last, delivered()) == delivered()
    });
}

/// What a delivery takes in three cases: small events, many of them at a time, and large ones. For people.
pub fn times_of_delivery(gateway: &TestGateway, streams: &[TcpStream], many: u64) -> String {
    let mut times = Vec::new();
    for (events, bytes) in [(1, 200), (20, 200), (1, 16_000)] {
        let (begin, sent) = (cpu_of_gateway(), gateway.count(|stats| &stats.deliveries_total));
        let rounds = 200 / events;
        for n in 0..rounds {
            // Each has other bytes: what is the same in all of them is shared.
            let text = format!("{n} {}", "x".repeat(bytes));
            gateway.publish(&vec![raise(text); events as usize]);
            let due = sent + (n + 1) * events * many;
            super::eventually("delivered", || {
                empty(streams);
                gateway.count(|stats| &stats.deliveries_total) >= due
            });
        }
        let taken = (cpu_of_gateway() - begin).as_secs_f64() * 1e6 / (rounds * events * many) as f64;
        times.push(format!("{taken:.2} us for {bytes} B, {events} at a time"));
    }
    times.join("; ")
}

/// Takes what has come.
fn empty(sockets: &[TcpStream]) {
    let mut space = [0; 64 << 10];
    for mut socket in sockets {
        socket.set_nonblocking(true).unwrap();
        while socket.read(&mut space).is_ok_and(|n| n > 0) {}
    }
}
