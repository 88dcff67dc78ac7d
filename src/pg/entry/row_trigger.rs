//! `sse.publish_change()`: the trigger function that Postgres calls for each changed row, and the check of a
//! trigger that was just made to call it (C3.5).
//!
//! The function has three parts. The first and the last are guarded and safe code does what they do. The
//! middle one calls functions of types, which may raise anything: it owns nothing with a destructor and is
//! not guarded, so such an error jumps over it as over a C function, and loses nothing.
//!
//! Not for: what is published (`publish/changes.rs`), and how a row becomes JSON (`pg/row.rs`).

use std::ffi::{c_int, c_void};
use std::ptr::{null, null_mut};
use std::rc::Rc;

use pgrx::prelude::*;
use pgrx::{pg_guard, pg_sys};

use crate::pg::error_room;
use crate::pg::raw;
use crate::pg::row::{self, Json, Row};
use crate::pg::table;
use crate::pg::text::for_message;
use crate::pg::trigger::{self, Trigger};
use crate::pg::want_of_memory::or_raise;
use crate::publish::changes::plan::Plan;
use crate::publish::changes::{self, Change, Operation, Texts};

/// The name under which the SQL script knows the function, and [`trigger::is_of_library`] recognises it.
const SYMBOL: &str = "publish_change_wrapper";

/// One call of the function, on its way through the three parts. Plain data.
struct Call {
    /// Kept by the memory of the call (see [`begin`]); NULL: nothing is to be published.
    plan: *const Plan,
    /// Room for what [`keep`] enters.
    claim: *mut pg_sys::MemoryContextCallback,
    operation: Operation,
    old: pg_sys::HeapTuple,
    new: pg_sys::HeapTuple,
    descriptor: pg_sys::TupleDesc,
    /// Bytes of a change that is certainly too large, so that its rows need not be written down.
    most_bytes: usize,
    told: Told,
}

/// What is told of a change: an UPDATE of the key is told as a DELETE and an INSERT.
#[derive(Clone, Copy)]
enum Told {
    Nothing,
    One(Part),
    Two(Part, Part),
}

#[derive(Clone, Copy)]
struct Part {
    operation: Operation,
    texts: Written,
}

#[derive(Clone, Copy)]
enum Written {
    /// Too large: this many bytes at the least.
    Not(usize),
    Down {
        key: Option<Json>,
        new: Option<Json>,
        old: Option<Json>,
    },
}

/// By this Postgres knows how to call the function (fmgr.c, `fetch_finfo_record`).
#[unsafe(no_mangle)]
extern "C" fn pg_finfo_publish_change_wrapper() -> &'static pg_sys::Pg_finfo_record {
    const VERSION_1: pg_sys::Pg_finfo_record = pg_sys::Pg_finfo_record { api_version: 1 };
    &VERSION_1
}

#[unsafe(no_mangle)]
unsafe extern "C-unwind" fn publish_change_wrapper(call: pg_sys::FunctionCallInfo) -> pg_sys::Datum {
    // SAFETY: fmgr.c passes a valid call.
    let context = unsafe { (*call).context };
    // SAFETY: NULL, or a node, of which every one begins with its tag.
    let is_trigger = !context.is_null() && unsafe { (*context).type_ } == pg_sys::NodeTag::T_TriggerData;
    if !is_trigger {
        // SAFETY: guarded; raises.
        unsafe { not_a_trigger() };
    }
    // SAFETY: the node's tag says that it is one.
    let data = unsafe { &*context.cast::<pg_sys::TriggerData>() };
    let mut call = Call::new(data);
    // Not by guarded code, which would need memory for the error.
    // SAFETY: no frame here owns anything with a destructor.
    call.claim = unsafe { raw::palloc(size_of::<pg_sys::MemoryContextCallback>()) }.cast();
    // SAFETY: guarded; valid for this call.
    unsafe { begin(data, &mut call) };
    if !call.plan.is_null() {
        // SAFETY: no frame here owns anything with a destructor; `begin` has set the plan.
        unsafe { write_down(&mut call) };
        // SAFETY: guarded; written down above.
        unsafe { end(&call) };
    }
    // What a trigger of another kind must answer so that its row is not left out; an AFTER trigger's answer
    // is not looked at. Only triggers that were made without the check below are of another kind.
    pg_sys::Datum::from(if data.tg_newtuple.is_null() { data.tg_trigtuple } else { data.tg_newtuple })
}

#[pg_guard]
unsafe extern "C-unwind" fn not_a_trigger() {
    ereport!(
        ERROR,
        PgSqlErrorCode::ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED,
        "sse.publish_change() can be called by a trigger only"
    );
}

impl Call {
    fn new(data: &pg_sys::TriggerData) -> Self {
        let (operation, old, new) = match data.tg_event & pg_sys::TRIGGER_EVENT_OPMASK {
            pg_sys::TRIGGER_EVENT_INSERT => (Operation::Insert, null_mut(), data.tg_trigtuple),
            pg_sys::TRIGGER_EVENT_DELETE => (Operation::Delete, data.tg_trigtuple, null_mut()),
            _ => (Operation::Update, data.tg_trigtuple, data.tg_newtuple),
        };
        let (descriptor, claim, told) = (null_mut(), null_mut(), Told::Nothing);
        Self { plan: null(), claim, operation, old, new, descriptor, most_bytes: 0, told }
    }
}

/// Finds out what the trigger is to publish.
///
/// # Safety
/// - `data` is that of a running trigger.
#[pg_guard]
unsafe extern "C-unwind" fn begin(data: *const pg_sys::TriggerData, call: *mut Call) {
    // SAFETY: the caller's promise.
    let data = unsafe { &*data };
    // SAFETY: the caller's own.
    let call = unsafe { &mut *call };
    let (relation, definition) = (data.tg_relation, data.tg_trigger);
    // SAFETY: the trigger is valid for this call.
    let oid = unsafe { (*definition).tgoid };
    // SAFETY: its table, too.
    let table = unsafe { (*relation).rd_id };
    let read = || {
        // SAFETY: as above.
        let trigger = unsafe { Trigger::of(definition, relation) }?;
        // SAFETY: as above; Postgres has it open.
        Ok((trigger, unsafe { table::columns(relation) }))
    };
    let Some((plan, most_bytes)) = changes::plan(oid.to_u32(), table.to_u32(), read) else { return };
    // However this call ends, its memory is emptied afterwards, and with it this claim to the plan: a type's
    // function may change the table's definition while a row of it is written down.
    // SAFETY: allocated for this call.
    call.plan = unsafe { keep(plan, call.claim) };
    // SAFETY: as above.
    call.descriptor = unsafe { (*relation).rd_att };
    call.most_bytes = most_bytes;
}

/// Gives a claim to a plan to the current memory.
///
/// # Safety
/// - `callback` is of that memory, and of this size.
unsafe fn keep(plan: Rc<Plan>, callback: *mut pg_sys::MemoryContextCallback) -> *const Plan {
    #[pg_guard]
    unsafe extern "C-unwind" fn let_go(plan: *mut c_void) {
        // SAFETY: the claim that was given to the memory, which is emptied once.
        drop(unsafe { Rc::from_raw(plan.cast_const().cast::<Plan>()) });
    }
    // SAFETY: a variable of this backend's one Postgres thread.
    let memory = unsafe { pg_sys::CurrentMemoryContext };
    let plan = Rc::into_raw(plan);
    let arg = plan.cast_mut().cast::<c_void>();
    // SAFETY: the caller's promise.
    unsafe { callback.write(pg_sys::MemoryContextCallback { func: Some(let_go), arg, next: null_mut() }) };
    // SAFETY: both are of this memory; allocates nothing.
    unsafe { pg_sys::MemoryContextRegisterResetCallback(memory, callback) };
    plan
}

/// Writes the rows down as JSON. Not guarded: see the head of this file.
///
/// # Safety
/// - `begin` has set the plan; the rows are those of the running trigger.
/// - The caller owns nothing with a destructor.
unsafe fn write_down(call: &mut Call) {
    // SAFETY: the caller's promise.
    let plan = unsafe { &*call.plan };
    // SAFETY: as above.
    let old = unsafe { read(call.old, call.descriptor) };
    // SAFETY: as above.
    let new = unsafe { read(call.new, call.descriptor) };
    call.told = match (call.operation, plan.key(), old, new) {
        (Operation::Update, Some(key), Some(before), Some(after))
            // SAFETY: rows of the plan's table; nothing here has a destructor.
            if unsafe { row::differ(key, before, after) } =>
        {
            // SAFETY: as above.
            let deleted = unsafe { part(plan, Operation::Delete, old, None, call.most_bytes) };
            // SAFETY: as above.
            let inserted = unsafe { part(plan, Operation::Insert, None, new, call.most_bytes) };
            Told::Two(deleted, inserted)
        }
        // SAFETY: as above.
        _ => Told::One(unsafe { part(plan, call.operation, old, new, call.most_bytes) }),
    };
}

/// # Safety
/// - `tuple` is NULL or a row of `descriptor`; the caller owns nothing with a destructor.
unsafe fn read(tuple: pg_sys::HeapTuple, descriptor: pg_sys::TupleDesc) -> Option<Row> {
    if tuple.is_null() {
        return None;
    }
    // SAFETY: the caller's promise.
    Some(unsafe { Row::read(tuple, descriptor) })
}

/// # Safety
/// - The rows are of the plan's table; the caller owns nothing with a destructor.
unsafe fn part(plan: &Plan, operation: Operation, old: Option<Row>, new: Option<Row>, most: usize) -> Part {
    let mut least = 0_usize;
    for row in [old, new].into_iter().flatten() {
        // SAFETY: the caller's promise.
        least = least.saturating_add(unsafe { row::least_bytes(plan.shown(), row) });
    }
    if least > most {
        return Part { operation, texts: Written::Not(least) };
    }
    let rows = [(plan.key(), new.or(old)), (Some(plan.shown()), new), (Some(plan.shown()), old)];
    // SAFETY: the caller's promise.
    if let Some(least) = unsafe { row::excess_bytes(rows, most) } {
        return Part { operation, texts: Written::Not(least) };
    }
    let written = |shape, row: Option<Row>, like| {
        // SAFETY: the caller's promise.
        row.map(|row| unsafe { row::json(shape, row, like) })
    };
    let key = plan.key().and_then(|key| written(key, new.or(old), None));
    let new = written(plan.shown(), new, None);
    // Most of what an UPDATE does not change is written down once, and copied.
    let old = written(plan.shown(), old, new);
    Part { operation, texts: Written::Down { key, new, old } }
}

/// Publishes what was written down.
///
/// # Safety
/// - `write_down` has filled it, and its memory is as it was.
#[pg_guard]
unsafe extern "C-unwind" fn end(call: *const Call) {
    // SAFETY: the caller's own.
    let call = unsafe { &*call };
    // SAFETY: set by `begin`; kept by the memory of the call.
    let plan = unsafe { &*call.plan };
    let publish = |part: &Part| {
        // SAFETY: made in this call, whose memory is as it was.
        let bytes = |json: Json| unsafe { json.bytes() };
        let texts = match part.texts {
            Written::Not(bytes) => Texts::TooLarge(bytes),
            Written::Down { key, new, old } => {
                Texts::Written { key: key.map(bytes), new: new.map(bytes), old: old.map(bytes) }
            }
        };
        changes::publish(plan, &Change { operation: part.operation, texts });
    };
    match &call.told {
        Told::Nothing => {}
        Told::One(part) => publish(part),
        Told::Two(first, second) => {
            publish(first);
            publish(second);
        }
    }
    changes::say_mistakes();
}

/// Called after a successful CREATE TRIGGER, CREATE CONSTRAINT TRIGGER included: a trigger of ours that could
/// not publish is refused, which rolls it back. Triggers that partitions get from their parent are made of
/// one that has passed this.
///
/// # Safety
/// - `statement` points to the parse tree of the statement that core has just carried out.
#[pg_guard]
pub(super) unsafe extern "C-unwind" fn created(statement: *mut pg_sys::CreateTrigStmt) {
    // SAFETY: the caller's promise.
    let statement = unsafe { &*statement };
    or_raise(error_room::with(|| {
        look_at_trigger(statement);
        Ok(())
    }));
}

fn look_at_trigger(statement: &pg_sys::CreateTrigStmt) {
    // Core has locked the table; but its name may mean another one by now.
    let (lock, flags) = (pg_sys::AccessShareLock as c_int, pg_sys::RVROption::RVR_MISSING_OK);
    // SAFETY: resolves the name again, which core has just resolved, and locks what it means.
    let table =
        unsafe { pg_sys::RangeVarGetRelidExtended(statement.relation, lock, flags, None, null_mut()) };
    if table == pg_sys::InvalidOid {
        return;
    }
    let held = pg_sys::NoLock as c_int;
    // SAFETY: locked above, until the end of the transaction.
    let relation = unsafe { pg_sys::relation_open(table, held) };
    // SAFETY: open; the name of the parse tree is NUL-terminated.
    let definition = unsafe { trigger::find(relation, statement.trigname) };
    // Copied before the catalog is asked about the function: that may take in an invalidation, and relcache.c
    // then frees the triggers of an open table, and makes new ones.
    // SAFETY: NULL, or in the cache of the open table; nothing has been looked up since.
    let found = unsafe { definition.as_ref() }.map(|definition| {
        // SAFETY: as above.
        (definition.tgfoid, unsafe { Trigger::of(definition, relation) })
    });
    let ours = found.filter(|(function, _)| trigger::is_of_library(*function, SYMBOL));
    let judged = ours.map(|(_, trigger)| {
        // SAFETY: open.
        changes::judge(&or_raise(trigger), &unsafe { table::columns(relation) })
    });
    // SAFETY: opened above.
    unsafe { pg_sys::relation_close(relation, held) };
    if let Some(Err(unfit)) = judged {
        ereport!(ERROR, unfit.code(), for_message(&unfit.to_string()), for_message(&unfit.detail()));
    }
}
