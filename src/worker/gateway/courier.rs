//! The courier as the main thread sees it: what it is told, and what it says.
//!
//! The courier is the thread that carries events from the ring to the runtime threads
//! (`courier/carrying.rs`). It never calls Postgres and waits for nobody, so events go on whatever the main
//! thread waits for: a lock, a file, a full pipe of the server log. What else comes out of the ring, and what
//! is worth a line in the log, it hands to the main thread.
//!
//! Not for: what the courier does (`courier/carrying.rs`).

mod carrying;
mod drain;
mod local;
mod order;
mod source;
mod stall;

use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, TryRecvError, bounded, unbounded};
use sse_gateway::Publisher;
use sse_ring::Consumer;

use super::Worker;
use super::between::{Instruction, Report, Reports};
use super::messages;
use super::routing::{Routing, Rules, Task, Tasks};
use crate::pg::shmem::Shared;
use crate::pg::{bgworker, futex};
use carrying::Carrier;
use source::Source;

/// How long the main thread waits for the courier, beyond the time it gives it, when the courier must do
/// something before the main thread goes on. The courier answers within milliseconds, unless the machine does
/// not run it.
const PATIENCE: Duration = Duration::from_secs(1);

/// The main thread's handle.
pub(crate) struct Courier {
    shared: Shared,
    instructions: Sender<Instruction>,
    reports: Receiver<Report>,
    wake: UnixStream,
    marked: u64,
    reached: u64,
    thread: JoinHandle<()>,
    tasks: Tasks,
}

impl Courier {
    /// Starts the thread.
    ///
    /// # Errors
    /// When the process has no descriptor or thread left.
    pub(super) fn start(shared: Shared, consumer: Consumer<'static>, ring_bytes: usize) -> io::Result<Self> {
        let (instructions, instructed) = unbounded();
        let (sender, reports) = unbounded();
        let (wake, writer) = UnixStream::pair()?;
        wake.set_nonblocking(true)?;
        writer.set_nonblocking(true)?;
        let (tasks, given) = unbounded();
        let of_routing = Reports::new(sender.clone(), writer.try_clone()?);
        let says = Reports::new(sender, writer);
        let to_routing = tasks.clone();
        let run = move || {
            sse_gateway::carry_events();
            let source = Source::Ring(shared, consumer);
            let carry = || Carrier::new(shared, source, ring_bytes, &instructed, &says, &to_routing).run();
            // Nothing is used after a panic, so nothing half changed is seen.
            match catch_unwind(AssertUnwindSafe(carry)) {
                Ok(Ok(())) => {}
                Ok(Err(corrupt)) => says.say(Report::Corrupt(corrupt)),
                Err(panic) => says.died(&*panic),
            }
        };
        let rules = Rules::present();
        let route = move || {
            sse_gateway::yield_to_events();
            let routing = || Routing::new(given, &of_routing, rules).run();
            // As above.
            if let Err(panic) = catch_unwind(AssertUnwindSafe(routing)) {
                of_routing.died(&*panic);
            }
        };
        let builder = thread::Builder::new().name("sse-courier".to_owned());
        let thread = bgworker::with_signals_blocked(|| builder.spawn(run))?;
        let builder = thread::Builder::new().name("sse-routes".to_owned());
        bgworker::with_signals_blocked(|| builder.spawn(route))?;
        Ok(Self { shared, instructions, reports, wake, marked: 0, reached: 0, thread, tasks })
    }

    /// Makes the courier hand events on to this publisher. When this returns, no event misses it.
    pub(super) fn open(&self, publisher: Publisher) {
        let (done, is_done) = bounded(1);
        self.tell(Instruction::Open { publisher, done });
        wait_for(&is_done, PATIENCE);
    }

    /// Makes the courier hand on what was published before this, for at most this long, and drop the
    /// publisher.
    pub(super) fn close(&self, last_drain: Duration) {
        let (done, is_done) = bounded(1);
        self.tell(Instruction::Close { until: Instant::now() + last_drain, done });
        wait_for(&is_done, last_drain + PATIENCE);
    }

    /// A mark: when [`Courier::has_reached`] is true of it, everything that was pushed before this call has
    /// been handed to the main thread.
    pub(crate) fn mark(&mut self) -> u64 {
        self.marked += 1;
        self.tell(Instruction::Mark(self.marked));
        self.marked
    }

    /// See [`Courier::mark`].
    pub(crate) fn has_reached(&self, mark: u64) -> bool {
        self.reached >= mark
    }

    /// Readable when [`Courier::poll`] has something.
    pub(super) fn wake_fd(&self) -> BorrowedFd<'_> {
        self.wake.as_fd()
    }

    /// The next report. `None` makes [`Courier::wake_fd`] unreadable again. The wake bytes are taken out only
    /// when no report waits, and the queue is looked at once more after that, so that no wake is lost.
    pub(super) fn poll(&mut self) -> Option<Report> {
        futex::pass_on(self.thread.thread());
        let report = self.reports.try_recv().ok().or_else(|| {
            let mut bytes = [0; 512];
            while matches!((&self.wake).read(&mut bytes), Ok(n) if n > 0) {}
            self.reports.try_recv().ok()
        });
        if let Some(Report::Reached(mark)) = report {
            self.reached = mark;
        }
        report
    }

    #[cfg(feature = "faults")]
    pub(super) fn panic(&self) {
        self.tell(Instruction::Panic);
    }

    #[cfg(feature = "faults")]
    pub(super) fn tell_transactions(&self) {
        self.tell(Instruction::TellTransactions);
    }

    /// Ends it.
    pub(super) fn stop(self) {
        self.tell(Instruction::Stop);
        // A panic of the thread was reported.
        let _ = self.thread.join();
        // The thread that makes routes is not waited for: a table that it is making may take a second, and
        // the server is stopping.
        let _ = self.tasks.send(Task::Stop);
    }

    /// Hands a task to the thread that makes routes.
    pub(super) fn give(&self, task: Task) {
        // Fails when that thread has ended, which it has reported.
        let _ = self.tasks.send(task);
    }

    fn tell(&self, instruction: Instruction) {
        // Fails when the courier has ended, which it has reported.
        let _ = self.instructions.send(instruction);
        futex::wake_if(self.shared.ring.producer().take_wake_duty(), &self.shared);
        futex::pass_on(self.thread.thread());
    }
}

fn wait_for(is_done: &Receiver<()>, limit: Duration) {
    // Done on a message, and when nobody is left to send one: the courier has ended then, which it has
    // reported.
    bgworker::wait_until(limit, || !matches!(is_done.try_recv(), Err(TryRecvError::Empty)));
}

/// The result of hearing the courier.
#[derive(PartialEq, Eq)]
pub(super) enum Heard {
    /// Everything was dealt with.
    All,
    /// A thread has ended, and the gateway cannot go on.
    ItHasEnded,
}

impl Worker {
    /// Takes what the courier and the thread that makes routes report.
    pub(super) fn hear_courier(&mut self) -> Heard {
        while let Some(report) = self.courier.poll() {
            match report {
                Report::Routes { reading, generation, work, role } => {
                    if self.reader.loaded(reading, generation, work) {
                        self.calls.take_role(role.as_ref(), generation);
                    }
                }
                Report::Reached(_) => {}
                Report::GivenUp { pid } => messages::given_up(pid),
                Report::Hole(age) => messages::hole(age),
                #[cfg(feature = "faults")]
                Report::Transaction(xid) => messages::transaction(xid),
                Report::Corrupt(corrupt) => {
                    messages::corrupt(&corrupt);
                    return Heard::ItHasEnded;
                }
                Report::Died(message) => {
                    messages::died(&message);
                    return Heard::ItHasEnded;
                }
            }
        }
        Heard::All
    }
}
