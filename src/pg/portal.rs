//! Runs one statement as the server runs a client's: through a portal, so that a procedure may commit.
//!
//! SPI is used to prepare only. If a procedure ran through SPI, its first expression after a COMMIT would
//! find no portal and no snapshot. A portal at top level, which is what exec_bind_message and
//! exec_execute_message make, has neither restriction.
//!
//! Both functions here run inside `try_catch::run`, in a transaction. Not for: the transaction itself, and
//! what becomes of an error (`call_session.rs`).

use std::ffi::{CStr, CString, c_char, c_int, c_long, c_void};
use std::ptr::{null, null_mut};

use pgrx::pg_sys;
use sse_proto::call::{RowVersion, ValueType};

use super::{compat, raw, receiver, row_versions, setting};

/// A statement that is prepared and kept. Postgres' plan cache decides when it is planned anew.
#[derive(Clone, Copy)]
pub(super) struct Plan(pg_sys::SPIPlanPtr);

/// Input and result of [`prepare`].
pub(super) struct Preparation<'a> {
    /// In the database's encoding.
    pub sql: &'a CStr,
    /// One for each parameter; mutable because SPI asks for it.
    pub types: &'a mut [pg_sys::Oid],
    /// The plan. `None` before, and when SPI refuses.
    pub plan: Option<Plan>,
}

/// Prepares a statement for the life of the process.
///
/// # Safety
/// - Run by `try_catch::run`, in a transaction.
pub(super) unsafe extern "C-unwind" fn prepare(job: *mut Preparation<'_>) {
    // SAFETY: `try_catch::run` passes its borrow.
    let job = unsafe { &mut *job };
    raw::SPI_connect();
    let snapshot = raw::GetTransactionSnapshot();
    // SAFETY: a snapshot of this transaction.
    unsafe { raw::PushActiveSnapshot(snapshot) };
    let count = c_int::try_from(job.types.len()).unwrap_or(c_int::MAX);
    // SAFETY: NUL-terminated, and as many types as are counted.
    let plan = unsafe { raw::SPI_prepare(job.sql.as_ptr(), count, job.types.as_mut_ptr()) };
    if !plan.is_null() {
        // SAFETY: just prepared; it is moved into memory that lasts.
        unsafe { raw::SPI_keepplan(plan) };
        job.plan = Some(Plan(plan));
    }
    raw::PopActiveSnapshot();
    raw::SPI_finish();
}

/// Frees kept plans.
///
/// # Safety
/// - Run by `try_catch::run`; nothing runs any of them, and nobody uses them afterwards.
pub(super) unsafe extern "C-unwind" fn free(plans: *mut &[Plan]) {
    // SAFETY: `try_catch::run` passes its borrow.
    for plan in unsafe { &**plans } {
        // SAFETY: kept by `prepare`; not used any more, as the caller promises.
        unsafe { raw::SPI_freeplan(plan.0) };
    }
}

/// Input and result of [`run`].
pub(super) struct Execution<'a> {
    /// The plan that [`prepare`] made.
    pub plan: Plan,
    /// The values, as texts for the input functions of their types, in the database's encoding, without NUL.
    pub parameters: &'a [Option<Vec<u8>>],
    /// The types of the values.
    pub types: &'a [ValueType],
    /// The row types that must not have changed.
    pub row_versions: &'a [RowVersion],
    /// Whether one of them has changed.
    pub differs: bool,
    /// The name of the call, for the CONTEXT of errors.
    pub label: &'a CStr,
    /// Where the rows go.
    pub rows: receiver::Rows<'a>,
    /// Is told, with this number, that the statement is about to run. Must not fail.
    pub begins: Option<(fn(u64), u64)>,
    /// Set when the statement is about to run: before that nothing of it can have had an effect.
    pub has_begun: bool,
    /// The place of the parameter that an input function is reading.
    pub reads: Option<u32>,
}

/// Runs a statement to its end. Long because it is one sequence, that of exec_bind_message and
/// exec_execute_message, in which each step uses what the one before has made.
///
/// # Safety
/// - Run by `try_catch::run`, in a transaction that is no transaction block, with no snapshot active.
pub(super) unsafe extern "C-unwind" fn run(job: *mut Execution<'_>) {
    // SAFETY: `try_catch::run` passes its borrow.
    let job = unsafe { &mut *job };
    let mut context = pg_sys::ErrorContextCallback {
        // SAFETY: a plain variable of elog.c that only this thread uses.
        previous: unsafe { pg_sys::error_context_stack },
        callback: Some(describe),
        arg: job.label.as_ptr().cast_mut().cast(),
    };
    // SAFETY: as above; taken out below, and by `try_catch::run` after an error.
    unsafe { pg_sys::error_context_stack = &raw mut context };

    // SAFETY: a kept plan of one statement has one source.
    let sources = unsafe { raw::SPI_plan_get_plan_sources(job.plan.0) };
    // SAFETY: as above.
    let source: *mut pg_sys::CachedPlanSource = unsafe { first(sources) }.cast();
    // SAFETY: the unnamed portal; one that a failed call left behind is replaced.
    let portal = unsafe { raw::CreatePortal(c"".as_ptr(), true, true) };
    // SAFETY: just created. It is not for pg_cursors.
    unsafe { (*portal).visible = false };
    // SAFETY: as above. Parameters must outlive the commits of a procedure, as the portal does.
    let memory = unsafe { (*portal).portalContext };
    // Also for the input functions: a domain's check may be a query.
    let snapshot = raw::GetTransactionSnapshot();
    // SAFETY: a snapshot of this transaction.
    unsafe { raw::PushActiveSnapshot(snapshot) };
    // First, because with changed columns an input function might call a correct value wrong.
    // SAFETY: in a transaction, as the caller promises.
    unsafe { row_versions::require(job.row_versions, &mut job.differs) };
    // SAFETY: that memory lasts as long as the portal.
    let params = unsafe { parameters_in(memory, job.parameters, job.types, &mut job.reads) };
    // SAFETY: the source stays as long as the plan is kept.
    let text = unsafe { (*source).query_string };
    // A copy, as exec_bind_message makes one: a plan may be dropped before the portal that runs it.
    // SAFETY: NUL-terminated; that memory lasts as long as the portal.
    let text = unsafe { raw::MemoryContextStrdup(memory, text) };
    // SAFETY: as above.
    let tag = unsafe { (*source).commandTag };
    // Nothing may fail from here to PortalDefineQuery (postgres.c, exec_bind_message): nothing would release
    // the plan.
    // SAFETY: the source above, with parameters of its types; no owner, as the portal releases it.
    let plan = unsafe { raw::GetCachedPlan(source, params, null_mut(), null_mut()) };
    // SAFETY: just got; its list lives as long as the portal's reference to it.
    let statements = unsafe { (*plan).stmt_list };
    // SAFETY: all of them live at least as long as the portal.
    unsafe { raw::PortalDefineQuery(portal, null(), text, tag, statements, plan) };
    // Once more, so that no value was read with other columns than those that were required.
    // SAFETY: in a transaction, as the caller promises.
    unsafe { row_versions::require(job.row_versions, &mut job.differs) };
    raw::PopActiveSnapshot();

    // SAFETY: defined above, and takes its own snapshots.
    unsafe { raw::PortalStart(portal, params, 0, null_mut()) };
    let mut receiver = receiver::Receiver::new(&mut job.rows);
    let destination = receiver.destination();
    let all = c_long::MAX;
    job.has_begun = true;
    if let Some((tell, call)) = job.begins {
        tell(call);
    }
    // SAFETY: started above; the receiver is this frame's and outlives the run.
    unsafe { compat::portal_run(portal, all, destination) };
    // SAFETY: it has run.
    unsafe { raw::PortalDrop(portal, false) };
    // SAFETY: as above.
    unsafe { pg_sys::error_context_stack = context.previous };
}

/// # Safety
/// - `list` is a list of pointers with at least one.
unsafe fn first(list: *mut pg_sys::List) -> *mut c_void {
    // SAFETY: the caller's promise.
    let cells = unsafe { (*list).elements };
    // SAFETY: as above.
    let cell = unsafe { *cells };
    // SAFETY: as above.
    unsafe { cell.ptr_value }
}

/// Reads the parameters as exec_bind_message does. Raises what the input functions raise; owns nothing.
///
/// # Safety
/// - `memory` is a memory context that outlives the result's use; a snapshot is active.
unsafe fn parameters_in(
    memory: pg_sys::MemoryContext,
    parameters: &[Option<Vec<u8>>],
    types: &[ValueType],
    reads: &mut Option<u32>,
) -> pg_sys::ParamListInfo {
    if parameters.is_empty() {
        return null_mut();
    }
    // SAFETY: a plain variable of this process' one Postgres thread.
    let before = unsafe { pg_sys::CurrentMemoryContext };
    // SAFETY: as above; set back below, or by the error's handling.
    unsafe { pg_sys::CurrentMemoryContext = memory };
    let level = raw::NewGUCNestLevel();
    // SAFETY: a plain variable of arrayfuncs.c.
    if !unsafe { pg_sys::Array_nulls } {
        // Else NULL as an element, which literals here may contain, would be a text of four letters.
        // SAFETY: NUL-terminated; undone below, or with the transaction after an error.
        unsafe { setting::set_for_now(c"array_nulls", c"on") };
    }
    let count = c_int::try_from(parameters.len()).unwrap_or(c_int::MAX);
    // SAFETY: makes a list of this many places.
    let list = unsafe { raw::makeParamList(count) };
    // SAFETY: just made; the places follow its fixed part.
    let places = unsafe { (*list).params.as_mut_ptr() };
    for (index, (value, of)) in parameters.iter().zip(types).enumerate() {
        let place = u32::try_from(index).ok();
        let parameter = pg_sys::ParamExternData {
            // SAFETY: the caller's promise.
            value: unsafe { value_in(value.as_deref(), *of, place, reads) },
            isnull: value.is_none(),
            pflags: pg_sys::PARAM_FLAG_CONST as u16,
            ptype: pg_sys::Oid::from(of.oid),
        };
        // SAFETY: `index` is below the number of places.
        let place = unsafe { places.add(index) };
        // SAFETY: as above.
        unsafe { place.write(parameter) };
    }
    raw::AtEOXact_GUC(true, level);
    // SAFETY: as above.
    unsafe { pg_sys::CurrentMemoryContext = before };
    list
}

/// A text as a value of a type. The input function is called for NULL, too, because that of a domain may
/// refuse it. Meanwhile `reads` is its place: what fails before and after is not the value's fault.
///
/// # Safety
/// - A snapshot is active; memory is the current context's.
unsafe fn value_in(
    text: Option<&[u8]>,
    of: ValueType,
    place: Option<u32>,
    reads: &mut Option<u32>,
) -> pg_sys::Datum {
    if of.is_output {
        return pg_sys::Datum::from(0);
    }
    let type_oid = pg_sys::Oid::from(of.oid);
    if let (Some(bytes), pg_sys::TEXTOID) = (text, type_oid) {
        let length = c_int::try_from(bytes.len()).unwrap_or(c_int::MAX);
        // SAFETY: this many bytes are there; copied.
        let text = unsafe { raw::cstring_to_text_with_len(bytes.as_ptr().cast(), length) };
        return pg_sys::Datum::from(text);
    }
    let (mut function, mut parameter) = (pg_sys::InvalidOid, pg_sys::InvalidOid);
    // SAFETY: two places to write to; raises when there is no such type.
    unsafe { raw::getTypeInputInfo(type_oid, &mut function, &mut parameter) };
    let text = match text {
        None => null_mut(),
        // SAFETY: this many bytes are there; a NUL-terminated copy.
        Some(bytes) => unsafe { raw::pnstrdup(bytes.as_ptr().cast(), bytes.len()) },
    };
    *reads = place;
    // SAFETY: the type's own function, with a NUL-terminated text or none.
    let value = unsafe { raw::OidInputFunctionCall(function, text, parameter, -1) };
    *reads = None;
    value
}

/// Adds the last line of an error's CONTEXT: which call it was.
unsafe extern "C-unwind" fn describe(label: *mut c_void) {
    // SAFETY: no text domain.
    unsafe { raw::set_errcontext_domain(null()) };
    // SAFETY: the label is NUL-terminated and outlives the call (`run`).
    unsafe { raw::errcontext_msg(c"%s".as_ptr(), label.cast::<c_char>().cast_const()) };
}

/// A text for Postgres; `None` when it has a NUL.
pub(super) fn c_text(bytes: Vec<u8>) -> Option<CString> {
    CString::new(bytes).ok()
}
