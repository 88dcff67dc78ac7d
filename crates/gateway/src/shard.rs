//! One runtime thread: a current-thread runtime with its slab, its acceptors and its connections.
//!
//! Everything in it is single-threaded (`Rc`, `RefCell`); what crosses threads is in `shared` and in the
//! channel of batches. Not a work-stealing runtime: the work is one system call per subscriber, equal for
//! all, and stealing was measured to cost more than it gains.

use std::io;
use std::os::fd::OwnedFd;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::sync::Arc;
use std::thread::{Builder, JoinHandle};
use std::time::Duration;

use crossbeam_channel::Receiver;
use tokio::task::{LocalSet, spawn_local, unconstrained};

use crate::between::batch::Batch;
use crate::between::home;
use crate::call::answers::CallBell;
use crate::call::snapshot;
use crate::door::bind::{Listeners, bind};
use crate::door::listener;
use crate::door::setting_files;
use crate::priority::{carry_events, yield_to_events};
use crate::router::Context;
use crate::shared::Shared;
use crate::stream::slab::{Incoming, Slab};
use crate::supervise::{BLOCKING_THREADS_NAME, BLOCKING_THREADS_STAY, message, supervised};

/// Threads for reading files and resolving names, per runtime thread.
const BLOCKING_THREADS: usize = 2;

/// Starts runtime thread `number`; the first one binds for all.
pub(crate) fn spawn(
    number: usize,
    shared: Arc<Shared>,
    batches: Receiver<Arc<Batch>>,
    listeners: Listeners,
    call_bell: Option<Arc<OwnedFd>>,
) -> io::Result<JoinHandle<()>> {
    Builder::new().name(format!("sse-gateway-{number}")).spawn(move || {
        let outcome = catch_unwind(AssertUnwindSafe(|| run(number, &shared, batches, listeners, call_bell)));
        match outcome {
            Ok(Ok(())) => {}
            Ok(Err(error)) => shared.outbox.died(format!("a runtime thread could not start: {error}")),
            Err(panic) => shared.outbox.died(message(&*panic)),
        }
    })
}

fn run(
    number: usize,
    shared: &Arc<Shared>,
    batches: Receiver<Arc<Batch>>,
    listeners: Listeners,
    call_bell: Option<Arc<OwnedFd>>,
) -> io::Result<()> {
    carry_events();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .enable_time()
        .max_blocking_threads(BLOCKING_THREADS)
        .thread_name(BLOCKING_THREADS_NAME)
        .thread_keep_alive(BLOCKING_THREADS_STAY)
        .on_thread_start(yield_to_events)
        .build()?;
    // The first of them.
    drop(runtime.spawn_blocking(|| ()));
    let tasks = LocalSet::new();
    let served = tasks.block_on(&runtime, serve(number, shared, batches, listeners, call_bell));
    drop(tasks);
    // A file on a hanging disk must not keep the server from stopping.
    runtime.shutdown_timeout(Duration::from_millis(100));
    served
}

async fn serve(
    number: usize,
    shared: &Arc<Shared>,
    batches: Receiver<Arc<Batch>>,
    listeners: Listeners,
    call_bell: Option<Arc<OwnedFd>>,
) -> io::Result<()> {
    let incoming = Incoming::new(Arc::clone(&shared.bells[number]), batches.clone());
    let context =
        Rc::new(Context { shared: Arc::clone(shared), incoming: Rc::clone(&incoming), busy: Rc::default() });
    if number == 0 {
        spawn_local(supervised(Arc::clone(shared), bind(listeners.clone(), Arc::clone(shared))));
        spawn_local(supervised(Arc::clone(shared), setting_files::look(Arc::clone(shared))));
        spawn_local(supervised(Arc::clone(shared), snapshot::serve(Arc::clone(shared))));
    }
    if let Some(bell) = call_bell {
        let bell = CallBell::new(bell)?;
        home::set(number);
        let answers = bell.take_answers(number, Arc::clone(shared));
        spawn_local(supervised(Arc::clone(shared), answers));
    }
    let accepting = listener::listen(listeners, Rc::clone(&context));
    spawn_local(supervised(Arc::clone(shared), accepting));
    // Unconstrained: the slab polls a socket per subscriber in one go, and yields by itself.
    let slab = Slab::new(number, Arc::clone(shared), batches, incoming)?;
    let slab = spawn_local(unconstrained(supervised(Arc::clone(shared), slab.run())));
    // It only ends when the gateway stops (or has died, which was told).
    let _ = slab.await;
    if let Some(until) = shared.stopping() {
        context.busy.idle(until).await;
    }
    Ok(())
}
