//! Starts servers from one thread that never ends.
//!
//! The kernel ties a child's parent-death signal to the *thread* that forked it (prctl(2), PR_SET_PDEATHSIG).
//! Test runners start a thread per test, so a cluster shared by several tests would die with the test that
//! happened to make it.
//!
//! Not for short commands: those are waited for by the thread that runs them.

use std::process::{Child, Command};
use std::sync::OnceLock;
use std::sync::mpsc::{Sender, channel};
use std::thread;

use anyhow::{Context, Result};

struct Order {
    command: Command,
    answer: Sender<std::io::Result<Child>>,
}

/// Spawns `command` from the thread that never ends.
pub(crate) fn spawn(command: Command) -> Result<Child> {
    static LAUNCHER: OnceLock<Sender<Order>> = OnceLock::new();
    let launcher = LAUNCHER.get_or_init(|| {
        let (orders, inbox) = channel::<Order>();
        thread::spawn(move || {
            for mut order in inbox {
                let _ = order.answer.send(order.command.spawn());
            }
        });
        orders
    });
    let program = command.get_program().to_string_lossy().into_owned();
    let (answer, started) = channel();
    launcher.send(Order { command, answer }).ok().context("the launcher thread is gone")?;
    started.recv().context("the launcher thread is gone")?.with_context(|| format!("cannot start {program}"))
}
