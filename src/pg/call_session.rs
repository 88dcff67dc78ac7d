//! A call worker's session: runs one call after the other, and cleans up between them (`call_cleanup.rs`).
//!
//! One call takes these steps: its settings, outside of any transaction, so that neither a COMMIT nor a
//! ROLLBACK of a procedure undoes them; a transaction; the statement, through a portal (`portal.rs`); the
//! commit. An error is handled as PostgresMain handles it. Then comes the clean-up, outside of any
//! transaction where that is enough.
//!
//! Every step is a function without destructors that `try_catch::run` runs; the Rust between the steps calls
//! nothing that may raise. If handling an error fails, the process ends. A process that cannot clean up
//! serves no other call.
//!
//! Not for: which call comes next (`worker/call.rs`).

use std::collections::HashMap;
use std::ffi::{CStr, c_int};
use std::ptr::null_mut;
use std::time::{Duration, Instant};

use pgrx::pg_sys;
use sse_proto::call::{CANCELLED, CallRequest, Cut, OUT_OF_TIME, Outcome, StatementRef, ValueType};

use super::call_cut;
use super::call_log::Logged;
use super::call_outcome::{outdated_row, refused, unknown_failure};
use super::call_recovery::{
    Logging, Recovery, ShownStatement, handle_error, may_be_outdated, of_value, sqlstate,
};
use super::call_transaction::{Beginning, begin, commit};
use super::error_data::{self, Origin};
use super::portal::{self, Execution, Plan, Preparation};
use super::receiver::{self, Rows, Shape};
use super::try_catch::{self, Ended, Raised, raised};
use super::{backend, bgworker, call_cleanup, effects, own_transaction, raw, stale_plans};
use crate::pg::call_texts::{Texts, Unconverted};
use crate::pg::text::from_server;
use crate::pg::want_of_memory::ask_for;

/// At most this many prepared statements are kept; beyond it all are dropped. Each takes some tens of
/// kilobytes, and a routine has one for each set of arguments that it is called with.
const MAX_PLANS: usize = 500;

/// SQLSTATE 40001, which a standby also gives to what it cancels (postgres.c, ProcessInterrupts).
const SERIALIZATION_FAILURE: &[u8; 5] = b"40001";

/// At most this many bytes of an error's message are looked at: more than the gateway tells (16 kB).
const MAX_MESSAGE_BYTES: usize = 64 * 1024;

/// Something of a call is still in the session.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct NotClean;

/// See the head of this file.
pub(crate) struct Session {
    /// What one call allocates outside of its transactions.
    memory: pg_sys::MemoryContext,
    /// The prepared statements, by their text and the types of their parameters.
    plans: HashMap<(String, Vec<ValueType>), Plan>,
    /// Whether the database's encoding is not UTF-8, so that texts must be converted.
    converts: bool,
    /// The place of the parameter whose input function has raised the last error.
    failed_reading: Option<u32>,
    /// What the last call saw, if it was a snapshot and is committed.
    cut: Option<Cut>,
    /// Makes the transaction that runs tell its end in the order of events (C7.6). `false`: it could not.
    keep_end: fn(u64) -> bool,
    /// Is told that the statement of a call is about to run (C7.8).
    tell_begin: fn(u64),
}

impl Session {
    /// Call this when the worker is connected.
    pub(crate) fn new(keep_end: fn(u64) -> bool, tell_begin: fn(u64)) -> Self {
        // SAFETY: set up at the start of the process.
        let parent = unsafe { pg_sys::TopMemoryContext };
        let (smallest, initial, largest) = (0, 8 * 1024, 8 * 1024 * 1024);
        // SAFETY: a child of a context that is never reset, with a literal for its name.
        let memory = unsafe {
            pg_sys::AllocSetContextCreateInternal(parent, c"pg_sse call".as_ptr(), smallest, initial, largest)
        };
        // SAFETY: reads a variable of mbutils.c.
        let encoding = unsafe { pg_sys::GetDatabaseEncoding() };
        Self {
            memory,
            plans: HashMap::new(),
            converts: encoding != pg_sys::pg_enc::PG_UTF8 as c_int,
            failed_reading: None,
            cut: None,
            keep_end,
            tell_begin,
        }
    }

    /// Takes in changes of the catalog, and says whether this session's user is now a superuser. Ends the
    /// process when it cannot say.
    pub(crate) fn is_superuser(&mut self) -> bool {
        let mut answer = false;
        self.enter();
        // SAFETY: the function owns nothing.
        if unsafe { try_catch::run(look_at_user, &mut answer) } == Ended::ByError {
            self.recover();
            return true;
        }
        answer
    }

    /// See [`Session::cut`].
    pub(crate) fn take_cut(&mut self) -> Option<Cut> {
        self.cut.take()
    }

    /// Runs a call to its end, committed or rolled back.
    pub(crate) fn call(&mut self, request: &CallRequest<'_>) -> Outcome {
        self.cut = None;
        let mut texts = match Texts::of(request) {
            Ok(texts) => texts,
            Err(why) => return refused(why),
        };
        self.enter();
        if self.converts
            && let Err(Unconverted { parameter }) = texts.convert()
        {
            let mut outcome = self.recover();
            if let Outcome::Failed { argument, .. } = &mut outcome {
                *argument = parameter;
            }
            return outcome;
        }
        let mut attempt = Attempt::default();
        let outcome = self.attempt(request, &texts, &mut attempt);
        if attempt.differs {
            return outdated_row();
        }
        if is_cancelled_by_replay(&outcome, request) {
            return self.attempt(request, &texts, &mut Attempt { is_last: true, ..Attempt::default() });
        }
        if !self.is_outdated(&outcome, &attempt) {
            return outcome;
        }
        // What the statement rests on has changed: it is planned anew, once, within the same call.
        stale_plans::mark();
        let mut attempt = Attempt { is_last: true, ..Attempt::default() };
        let mut outcome = self.attempt(request, &texts, &mut attempt);
        if attempt.differs {
            return outdated_row();
        }
        let is_outdated = self.is_outdated(&outcome, &attempt);
        if let Outcome::Failed { outdated, .. } = &mut outcome {
            *outdated = is_outdated;
        }
        outcome
    }

    fn attempt(&mut self, request: &CallRequest<'_>, texts: &Texts, attempt: &mut Attempt) -> Outcome {
        // Both outlive the handling of an error, because the log shows the statement with the error.
        let shown = ShownStatement::new(&texts.sql);
        let since = Instant::now();
        let mut outcome = self.run(request, texts, attempt).unwrap_or_else(|Raised| {
            // Nothing has happened, and the call is tried again, so there is nothing to log.
            let is_quiet = attempt.differs || !attempt.is_last;
            let is_quiet = is_quiet && !attempt.has_begun && self.failed_reading.is_none();
            self.recover_from(
                if is_quiet { Logging::UnlessOutdated } else { Logging::Always },
                !request.read_only,
            )
        });
        drop(shown);
        self.enter();
        attempt.say_why_cancelled(&mut outcome, since.elapsed(), request.timeout_ms);
        outcome
    }

    /// Whether a failed attempt may be repeated: the catalog is no longer what the statement was made for,
    /// and nothing that the attempt did is in force or was sent. An error of these classes that the routine
    /// itself raises does not count unless something has changed meanwhile.
    fn is_outdated(&mut self, outcome: &Outcome, attempt: &Attempt) -> bool {
        let Outcome::Failed { sqlstate, raised: false, .. } = outcome else { return false };
        if !may_be_outdated(sqlstate) || effects::count() != attempt.effects {
            return false;
        }
        if attempt.has_begun {
            // Takes in changes of the catalog.
            self.is_superuser();
        }
        !attempt.has_begun || stale_plans::is_due()
    }

    /// Undoes what a call may have left in the session (`call_cleanup.rs`).
    ///
    /// # Errors
    /// The clean-up failed: this session must not serve another call.
    pub(crate) fn clean_up(&mut self) -> Result<(), NotClean> {
        let mut nothing = ();
        self.enter();
        // SAFETY: the function owns nothing.
        if unsafe { try_catch::run(call_cleanup::clean, &mut nothing) } == Ended::ByError {
            self.recover();
            // SAFETY: as above. Nothing in it raises; what it could not do is done by the end of the session,
            // which may wait.
            let _ = unsafe { try_catch::run(call_cleanup::leave_tables, &mut nothing) };
            return Err(NotClean);
        }
        // SAFETY: what the call allocated there is not used any more.
        unsafe { pg_sys::MemoryContextReset(self.memory) };
        Ok(())
    }

    fn enter(&self) {
        // SAFETY: a variable of this process' one Postgres thread; the context lives as long as the process.
        unsafe { pg_sys::CurrentMemoryContext = self.memory };
    }

    fn run(
        &mut self,
        request: &CallRequest<'_>,
        texts: &Texts,
        attempt: &mut Attempt,
    ) -> Result<Outcome, Raised> {
        let statement = &request.statement;
        let mut beginning = Beginning {
            settings: &texts.settings,
            logged: Logged { label: &texts.label, sql: &texts.sql },
            was_logged: false,
            timeout: c_int::try_from(request.timeout_ms).unwrap_or(c_int::MAX),
            read_only: request.read_only,
            is_snapshot: request.is_snapshot,
        };
        // SAFETY: the function owns nothing.
        raised(unsafe { try_catch::run(begin, &mut beginning) })?;
        attempt.limit = beginning.timeout;
        attempt.effects = effects::count();
        let cut = if request.is_snapshot { call_cut::take()? } else { None };
        if stale_plans::take() {
            self.drop_plans()?;
        }
        let plan = self.plan(&texts.sql, statement)?;
        let rows = Rows::new(Shape::of(statement.answer), &texts.columns, self.converts);
        let mut rows = self.execute(plan, texts, request, rows, attempt)?;
        rows.close();
        let Ok(body) = statement.keys.exchange(std::mem::take(&mut rows.body)) else {
            return Err(receiver::no_memory());
        };
        rows.body = body;
        let cut = cut.filter(|_| (self.keep_end)(request.id));
        // SAFETY: the function owns nothing.
        raised(unsafe { try_catch::run(commit, &mut beginning) })?;
        self.cut = cut;
        let is_null = rows.is_null || (rows.count == 0 && rows.shape != Shape::Array);
        Ok(Outcome::Done { rows: rows.count, body: rows.body, is_null })
    }

    /// The prepared statement of this text and these types.
    fn plan(&mut self, c_sql: &CStr, statement: &StatementRef<'_>) -> Result<Plan, Raised> {
        let wanted = statement.sql.len() + TYPE_BYTES * statement.types.len();
        if ask_for(2 * wanted).is_err() || self.plans.try_reserve(1).is_err() {
            return Err(receiver::no_memory());
        }
        let key = (statement.sql.to_owned(), statement.types.clone());
        if let Some(plan) = self.plans.get(&key) {
            return Ok(*plan);
        }
        if self.plans.len() >= MAX_PLANS {
            self.drop_plans()?;
        }
        let mut types: Vec<pg_sys::Oid> =
            statement.types.iter().map(|of| pg_sys::Oid::from(of.oid)).collect();
        let mut preparation = Preparation { sql: c_sql, types: &mut types, plan: None };
        // SAFETY: the function owns nothing, and a transaction is running.
        raised(unsafe { try_catch::run(portal::prepare, &mut preparation) })?;
        let plan = preparation.plan.ok_or(Raised)?;
        self.plans.insert(key, plan);
        Ok(plan)
    }

    fn drop_plans(&mut self) -> Result<(), Raised> {
        let mut plans = Vec::new();
        plans.try_reserve_exact(self.plans.len()).map_err(|_| receiver::no_memory())?;
        plans.extend(self.plans.drain().map(|(_, plan)| plan));
        // SAFETY: the function owns nothing; none of them runs, and the cache has forgotten them.
        raised(unsafe { try_catch::run(portal::free, &mut plans.as_slice()) })
    }

    fn execute<'a>(
        &mut self,
        plan: Plan,
        texts: &'a Texts,
        request: &'a CallRequest<'_>,
        rows: Rows<'a>,
        attempt: &mut Attempt,
    ) -> Result<Rows<'a>, Raised> {
        let statement = &request.statement;
        let (parameters, label) = (&texts.parameters, &texts.label);
        let row_versions = &statement.rows;
        let mut execution = Execution {
            plan,
            parameters,
            types: &statement.types,
            row_versions,
            differs: false,
            label,
            rows,
            begins: request.tells_begin.then_some((self.tell_begin, request.id)),
            has_begun: false,
            reads: None,
        };
        // SAFETY: the function owns nothing, and a transaction is running.
        let ended = unsafe { try_catch::run(portal::run, &mut execution) };
        attempt.has_begun = execution.has_begun;
        attempt.differs = execution.differs;
        self.failed_reading = execution.reads;
        raised(ended)?;
        Ok(execution.rows)
    }

    /// Handles an error as PostgresMain does: logs it and rolls back. Ends the process when that fails.
    fn recover(&mut self) -> Outcome {
        self.recover_from(Logging::Always, false)
    }

    /// The same, with a choice of what is logged.
    fn recover_from(&mut self, logging: Logging, may_write: bool) -> Outcome {
        let memory = self.memory;
        let mut recovery = Recovery { memory, logging, may_write, error: null_mut(), origin: Origin::Server };
        // SAFETY: the function owns nothing.
        if unsafe { try_catch::run(handle_error, &mut recovery) } == Ended::ByError {
            bgworker::leave(1);
        }
        // SAFETY: NULL, or a copy in this session's memory, which is reset after the call.
        let Some(error) = (unsafe { recovery.error.as_ref() }) else { return unknown_failure() };
        let found = sqlstate(error.sqlerrcode);
        let argument = self.failed_reading.take();
        let is_value = argument.is_some() && recovery.origin == Origin::Server;
        Outcome::Failed {
            sqlstate: if is_value { of_value(found) } else { found },
            message: from_server(beginning(error_data::message(error))),
            raised: recovery.origin != Origin::Server,
            outdated: false,
            argument,
        }
    }
}

/// A type of a parameter, in two lists; a statement is copied.
const TYPE_BYTES: usize = 32;

/// What became of one attempt to run a call.
#[derive(Default)]
struct Attempt {
    /// Its statement was about to run, so it may have had effects.
    has_begun: bool,
    /// `effects::count` when it began.
    effects: u64,
    /// It was made for other columns of a row type, and was not run.
    differs: bool,
    /// No other attempt follows.
    is_last: bool,
    /// Milliseconds that it was given, by the request or by a setting of the role; 0: any time.
    limit: c_int,
}

impl Attempt {
    /// The server has one SQLSTATE for a time that is over and for somebody's cancel, and its messages are
    /// translated. So the time tells.
    fn say_why_cancelled(&self, outcome: &mut Outcome, took: Duration, of_call: u32) {
        let Outcome::Failed { sqlstate, message, raised: false, .. } = outcome else { return };
        if sqlstate != b"57014" {
            return;
        }
        let limit = u32::try_from(self.limit).unwrap_or_default();
        if limit == 0 || took < Duration::from_millis(u64::from(limit)) {
            CANCELLED.clone_into(message);
        } else if limit == of_call {
            OUT_OF_TIME.clone_into(message);
        }
    }
}

/// Whether a standby has ended the statement because it was in the way of what is replayed. Then it is tried
/// once more if the method promises that this does no harm (RFC 9110 §9.2.2).
fn is_cancelled_by_replay(outcome: &Outcome, request: &CallRequest<'_>) -> bool {
    let Outcome::Failed { sqlstate, raised: false, .. } = outcome else { return false };
    sqlstate == SERIALIZATION_FAILURE && request.read_only && backend::in_recovery()
}

fn beginning(message: &[u8]) -> &[u8] {
    message.get(..MAX_MESSAGE_BYTES).unwrap_or(message)
}

unsafe extern "C-unwind" fn look_at_user(answer: *mut bool) {
    let waits = own_transaction::begin();
    let is_superuser = raw::superuser();
    // SAFETY: `try_catch::run` passes its borrow.
    unsafe { *answer = is_superuser };
    own_transaction::commit(waits);
}
