//! Row changes (C3.5): what a row that was inserted, updated or deleted becomes, and for whom.
//!
//! A session keeps the plan of each trigger that it fires, until the table, its trigger, its primary key or a
//! schema's name changes. Delivery is always at commit: a row change that is told before it is committed, or
//! told and rolled back, would be no row change.
//!
//! Not for: being called by Postgres (`pg/entry/row_trigger.rs`), rows as JSON (`pg/row.rs`).

pub(crate) mod plan;

use std::borrow::Cow;
use std::cell::{Cell, RefCell};
use std::collections::{HashMap, HashSet};
use std::rc::Rc;
use std::sync::atomic::Ordering::Relaxed;

use sse_proto::annotation::Access;
use sse_proto::encoding::{self, OutOfMemory};
use sse_proto::scope::ScopeError;
use sse_proto::word::Delivery;

use self::plan::{Plan, Unfit};
use super::caller::IdOf;
use super::capture::{self, Outcome, Target};
use super::{mistake, served};
use crate::guc;
use crate::pg::backend;
use crate::pg::entry::invalidation;
use crate::pg::error_room;
use crate::pg::shmem;
use crate::pg::table::{self, Column};
use crate::pg::trigger::Trigger;

/// What was done to a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Operation {
    /// INSERT
    Insert,
    /// UPDATE
    Update,
    /// DELETE
    Delete,
}

impl Operation {
    /// As the data has it, and as the event's name has it.
    fn words(self) -> (&'static str, &'static str) {
        match self {
            Self::Insert => ("INSERT", "insert"),
            Self::Update => ("UPDATE", "update"),
            Self::Delete => ("DELETE", "delete"),
        }
    }
}

/// One event.
pub(crate) struct Change<'a> {
    /// What was done.
    pub operation: Operation,
    /// The rows.
    pub texts: Texts<'a>,
}

/// The rows of a change, as JSON in the database's encoding.
pub(crate) enum Texts<'a> {
    /// Not written down, because they would have this many bytes at the least, more than an event may have.
    TooLarge(usize),
    /// Key, new and old row.
    Written { key: Option<&'a [u8]>, new: Option<&'a [u8]>, old: Option<&'a [u8]> },
}

#[derive(Default)]
struct Cache {
    /// By trigger and table; `None`: it is unfit.
    plans: HashMap<(u32, u32), Option<Rc<Plan>>>,
    /// The tables that these rest on.
    tables: HashSet<u32>,
}

/// A backend that fires more triggers than this empties its cache. An entry takes about a kilobyte and 100
/// bytes for each column.
const MAX_PLANS: usize = 4096;

/// A row of which this much is certain is not written down: text of control characters is six times as long
/// as JSON, and Postgres refuses to make a text of more than a gigabyte (`pg/row_size.rs`).
const MOST_BYTES: usize = 128 * 1024 * 1024;

/// Scratch memory beyond this is given back, as in `capture.rs`.
const KEPT_SCRATCH_BYTES: usize = 256 * 1024;

thread_local! {
    static CACHE: RefCell<Cache> = RefCell::default();
    /// Something that the cache rests on has changed.
    static IS_OUTDATED: Cell<bool> = const { Cell::new(false) };
    /// Number of invalidations so far.
    static INVALIDATIONS: Cell<u64> = const { Cell::new(0) };
    static DATA: RefCell<String> = const { RefCell::new(String::new()) };
    static TEXT: RefCell<String> = const { RefCell::new(String::new()) };
}

/// Whether a trigger can publish; for its author.
///
/// # Errors
/// [`Unfit`]
pub(crate) fn judge(trigger: &Trigger, columns: &[Column]) -> Result<(), Unfit> {
    Plan::new(trigger, columns).map(drop)
}

/// The plan of a trigger, and how many bytes an event may have. `None`: nothing is published, because nothing
/// is served here, because the trigger is unfit, which is counted and said once, or because there is no
/// memory for the plan, which is counted.
pub(crate) fn plan(
    trigger: u32,
    table: u32,
    read: impl FnOnce() -> Result<(Trigger, Vec<Column>), OutOfMemory>,
) -> Option<(Rc<Plan>, usize)> {
    let shared = served::shared_or_warn("sse.publish_change")?;
    if IS_OUTDATED.take() {
        CACHE.with_borrow_mut(|cache| *cache = Cache::default());
    }
    let cached = CACHE.with_borrow(|cache| cache.plans.get(&(trigger, table)).cloned());
    let Ok(plan) = cached.map_or_else(|| error_room::with(|| made(read)), Ok) else {
        let _ = capture::out_of_memory(&shared);
        return None;
    };
    if plan.is_none() {
        shared.header.refusals.unfit_trigger_total.fetch_add(1, Relaxed);
    }
    let most_bytes = guc::MAX_EVENT_SIZE.bytes().min(capture::max_record_bytes(&shared));
    let most_bytes = most_bytes.min(MOST_BYTES);
    Some((plan?, most_bytes))
}

/// Makes a plan, and keeps it unless something has changed meanwhile.
fn made(
    read: impl FnOnce() -> Result<(Trigger, Vec<Column>), OutOfMemory>,
) -> Result<Option<Rc<Plan>>, OutOfMemory> {
    invalidation::watch_tables(invalidate);
    let invalidations = INVALIDATIONS.get();
    let (trigger, columns) = read()?;
    let made_on = trigger.made_on();
    let plan = match Plan::new(&trigger, &columns) {
        Ok(plan) => Some(Rc::new(plan)),
        Err(Unfit::Scope(ScopeError::OutOfMemory)) => return Err(OutOfMemory),
        Err(unfit) => {
            let table =
                table::name(made_on).map_or_else(String::new, |(schema, name)| format!("{schema}.{name}"));
            mistake::say_unfit(trigger.oid, &plan::describe(&trigger, &table), &unfit.to_string());
            None
        }
    };
    // A trigger that a library makes up has no oid, and may be another one next time.
    if trigger.oid != 0 && INVALIDATIONS.get() == invalidations {
        CACHE.with_borrow_mut(|cache| {
            if cache.plans.len() >= MAX_PLANS {
                *cache = Cache::default();
            }
            // Without memory it is made again with the next change.
            if cache.tables.try_reserve(2).is_ok() && cache.plans.try_reserve(1).is_ok() {
                cache.tables.extend([trigger.relation, made_on]);
                cache.plans.insert((trigger.oid, trigger.relation), plan.clone());
            }
        });
    }
    Ok(plan)
}

/// A table has changed; 0: any may have. Called from the invalidation callback, so it neither allocates nor
/// fails.
fn invalidate(table: u32) {
    let _ = INVALIDATIONS.try_with(|count| count.set(count.get().wrapping_add(1)));
    let concerns = CACHE.try_with(|cache| {
        cache.try_borrow().map_or(true, |cache| table == 0 || cache.tables.contains(&table))
    });
    if concerns.unwrap_or(false) {
        let _ = IS_OUTDATED.try_with(|outdated| outdated.set(true));
    }
}

/// Publishes one change. Never fails the statement.
pub(crate) fn publish(plan: &Plan, change: &Change<'_>) {
    let Some(shared) = shmem::shared() else { return };
    let (word, event) = change.operation.words();
    let outcome = IdOf::of(&plan.scope).with(|execution_id| {
        let target = Target {
            scope: Cow::Borrowed(&plan.scope),
            topic: Some(&plan.topic),
            event: Some(event),
            execution_id,
            access: &Access::Unspecified,
            delivery: Delivery::Commit,
        };
        let (key, new, old) = match change.texts {
            Texts::TooLarge(bytes) => return capture::publish_too_large(&shared, &target, bytes),
            Texts::Written { key, new, old } => (key, new, old),
        };
        DATA.with_borrow_mut(|data| {
            data.clear();
            let parts = [("", key), (",\"new\":", new), (",\"old\":", old)];
            let written = TEXT.with_borrow_mut(|text| {
                let written = write(data, ["{\"op\":\"", word, &plan.names], parts, text);
                give_back(text);
                written
            });
            let outcome = match written {
                Ok(replaced) => {
                    shared.header.refusals.replaced_characters_total.fetch_add(replaced as u64, Relaxed);
                    capture::publish(&shared, &target, data)
                }
                Err(OutOfMemory) => capture::out_of_memory(&shared),
            };
            give_back(data);
            outcome
        })
    });
    match outcome {
        Outcome::Unmatched => mistake::say_unmatched(plan.trigger, &plan.description),
        Outcome::Uncalled => mistake::say_uncalled(plan.trigger, &plan.description),
        _ => {}
    }
}

/// Puts the data together. Answers how many characters could not be converted.
fn write(
    data: &mut String,
    head: [&str; 3],
    parts: [(&str, Option<&[u8]>); 3],
    scratch: &mut String,
) -> Result<usize, OutOfMemory> {
    for text in head {
        push(data, text)?;
    }
    let mut replaced = 0;
    for (name, json) in parts {
        push(data, name)?;
        let Some(json) = json else {
            push(data, "null")?;
            continue;
        };
        let (json, of_this) = encoding::to_utf8(json, backend::database_encoding(), scratch)?;
        push(data, json)?;
        replaced += of_this;
    }
    push(data, "}")?;
    Ok(replaced)
}

fn push(data: &mut String, text: &str) -> Result<(), OutOfMemory> {
    data.try_reserve(text.len()).map_err(|_| OutOfMemory)?;
    data.push_str(text);
    Ok(())
}

fn give_back(scratch: &mut String) {
    if scratch.capacity() > KEPT_SCRATCH_BYTES {
        *scratch = String::new();
    }
}

/// Says what publishing has found. Call it where a message may be raised.
pub(crate) fn say_mistakes() {
    mistake::say_if_possible();
}
