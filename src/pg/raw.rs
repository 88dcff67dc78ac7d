//! Functions of Postgres that may raise, declared as they are: an error leaves them with siglongjmp, over the
//! caller's frame.
//!
//! pgrx' own bindings turn that jump into a panic, which loses half of the error's fields. The functions here
//! may be called only in a function that `try_catch::run` runs, or that Postgres itself calls without a guard
//! of pgrx (`entry/row_trigger.rs`): there no destructor is in between, and nothing panics.
//!
//! Functions without pointers are declared safe. Apart from the rule above, which holds for all of this file,
//! they only need the state of the process that the comments at their callers name.

use std::ffi::{c_char, c_int, c_void};

use pgrx::pg_sys;

/// timeout.h: `STATEMENT_TIMEOUT`, registered by InitPostgres in every process with a database.
pub(super) const STATEMENT_TIMEOUT: c_int = 3;

/// lock.h: `USER_LOCKMETHOD`, the advisory locks.
pub(super) const USER_LOCKMETHOD: u16 = 2;

// SAFETY: signatures as in the headers of PostgreSQL 15 to 18; the `safe` ones take no pointers.
unsafe extern "C-unwind" {
    // xact.h, snapmgr.h
    pub(super) safe fn StartTransactionCommand();
    pub(super) safe fn CommitTransactionCommand();
    pub(super) safe fn AbortOutOfAnyTransaction();
    pub(super) safe fn GetTransactionSnapshot() -> pg_sys::Snapshot;
    pub(super) fn PushActiveSnapshot(snapshot: pg_sys::Snapshot);
    pub(super) safe fn PopActiveSnapshot();
    pub(super) safe fn SetCurrentStatementStartTimestamp();

    // transam.h
    pub(super) safe fn ReadNextFullTransactionId() -> pg_sys::FullTransactionId;

    // trigger.h
    pub(super) safe fn AfterTriggerFireDeferred();

    // spi.h, plancache.h
    pub(super) safe fn SPI_connect() -> c_int;
    pub(super) safe fn SPI_finish() -> c_int;
    pub(super) fn SPI_prepare(
        source: *const c_char,
        count: c_int,
        types: *mut pg_sys::Oid,
    ) -> pg_sys::SPIPlanPtr;
    pub(super) fn SPI_keepplan(plan: pg_sys::SPIPlanPtr) -> c_int;
    pub(super) fn SPI_freeplan(plan: pg_sys::SPIPlanPtr) -> c_int;
    pub(super) fn SPI_plan_get_plan_sources(plan: pg_sys::SPIPlanPtr) -> *mut pg_sys::List;
    pub(super) fn get_func_name(oid: pg_sys::Oid) -> *mut c_char;
    pub(super) safe fn get_func_namespace(oid: pg_sys::Oid) -> pg_sys::Oid;
    pub(super) fn SPI_fname(descriptor: pg_sys::TupleDesc, number: c_int) -> *mut c_char;
    pub(super) fn SPI_gettypeid(descriptor: pg_sys::TupleDesc, number: c_int) -> pg_sys::Oid;
    pub(super) fn GetCachedPlan(
        source: *mut pg_sys::CachedPlanSource,
        params: pg_sys::ParamListInfo,
        owner: pg_sys::ResourceOwner,
        environment: *mut pg_sys::QueryEnvironment,
    ) -> *mut pg_sys::CachedPlan;

    // portal.h, pquery.h (PortalRun differs between versions: compat.rs)
    pub(super) fn CreatePortal(name: *const c_char, allows_duplicate: bool, silently: bool)
    -> pg_sys::Portal;
    pub(super) fn PortalDefineQuery(
        portal: pg_sys::Portal,
        statement_name: *const c_char,
        source: *const c_char,
        tag: pg_sys::CommandTag::Type,
        statements: *mut pg_sys::List,
        plan: *mut pg_sys::CachedPlan,
    );
    pub(super) fn PortalStart(
        portal: pg_sys::Portal,
        params: pg_sys::ParamListInfo,
        flags: c_int,
        snapshot: pg_sys::Snapshot,
    );
    pub(super) fn PortalDrop(portal: pg_sys::Portal, is_top_commit: bool);
    pub(super) safe fn PortalErrorCleanup();
    pub(super) safe fn PortalHashTableDeleteAll();

    // params.h, builtins.h, fmgr.h, tuptable.h, tupdesc.h, funcapi.h
    pub(super) fn makeParamList(count: c_int) -> pg_sys::ParamListInfo;
    pub(super) fn cstring_to_text_with_len(text: *const c_char, length: c_int) -> *mut pg_sys::text;
    pub(super) fn pg_detoast_datum_packed(datum: *mut pg_sys::varlena) -> *mut pg_sys::varlena;
    pub(super) fn slot_getsomeattrs_int(slot: *mut pg_sys::TupleTableSlot, count: c_int);
    pub(super) safe fn CreateTemplateTupleDesc(count: c_int) -> pg_sys::TupleDesc;
    pub(super) fn TupleDescInitEntry(
        descriptor: pg_sys::TupleDesc,
        number: i16,
        name: *const c_char,
        type_oid: pg_sys::Oid,
        modifier: i32,
        dimensions: c_int,
    );
    pub(super) fn DecrTupleDescRefCount(descriptor: pg_sys::TupleDesc);
    pub(super) fn lookup_rowtype_tupdesc_noerror(
        oid: pg_sys::Oid,
        modifier: i32,
        or_null: bool,
    ) -> pg_sys::TupleDesc;
    pub(super) fn BlessTupleDesc(descriptor: pg_sys::TupleDesc) -> pg_sys::TupleDesc;
    pub(super) fn heap_form_tuple(
        descriptor: pg_sys::TupleDesc,
        values: *mut pg_sys::Datum,
        nulls: *mut bool,
    ) -> pg_sys::HeapTuple;
    pub(super) fn heap_deform_tuple(
        tuple: pg_sys::HeapTuple,
        descriptor: pg_sys::TupleDesc,
        values: *mut pg_sys::Datum,
        nulls: *mut bool,
    );
    pub(super) fn HeapTupleHeaderGetDatum(tuple: pg_sys::HeapTupleHeader) -> pg_sys::Datum;
    pub(super) fn OidFunctionCall1Coll(
        function: pg_sys::Oid,
        collation: pg_sys::Oid,
        argument: pg_sys::Datum,
    ) -> pg_sys::Datum;
    pub(super) fn getTypeInputInfo(
        type_oid: pg_sys::Oid,
        input_function: *mut pg_sys::Oid,
        parameter: *mut pg_sys::Oid,
    );
    pub(super) fn OidInputFunctionCall(
        function: pg_sys::Oid,
        text: *mut c_char,
        parameter: pg_sys::Oid,
        modifier: i32,
    ) -> pg_sys::Datum;
    pub(super) fn pnstrdup(text: *const c_char, length: usize) -> *mut c_char;
    pub(super) fn palloc(bytes: usize) -> *mut c_void;
    pub(super) fn pfree(memory: *mut c_void);
    pub(super) fn MemoryContextStrdup(context: pg_sys::MemoryContext, text: *const c_char) -> *mut c_char;

    // stringinfo.h, json.h (not among pgrx' headers)
    pub(super) safe fn makeStringInfo() -> pg_sys::StringInfo;
    pub(super) fn appendBinaryStringInfo(text: pg_sys::StringInfo, bytes: *const c_void, length: c_int);
    pub(super) fn escape_json(text: pg_sys::StringInfo, string: *const c_char);
    pub(super) fn JsonEncodeDateTime(
        buffer: *mut c_char,
        value: pg_sys::Datum,
        type_oid: pg_sys::Oid,
        zone: *const c_int,
    ) -> *mut c_char;
    pub(super) fn OutputFunctionCall(function: *mut pg_sys::FmgrInfo, value: pg_sys::Datum) -> *mut c_char;

    // detoast.h, datum.h (not among pgrx' headers)
    pub(super) fn toast_raw_datum_size(value: pg_sys::Datum) -> usize;
    pub(super) fn datum_image_eq(
        one: pg_sys::Datum,
        other: pg_sys::Datum,
        is_by_value: bool,
        length: c_int,
    ) -> bool;

    pub(super) fn pg_detoast_datum(datum: *mut pg_sys::varlena) -> *mut pg_sys::varlena;

    // lsyscache.h, miscadmin.h, typcache.h
    pub(super) safe fn getBaseType(oid: pg_sys::Oid) -> pg_sys::Oid;
    pub(super) safe fn get_element_type(oid: pg_sys::Oid) -> pg_sys::Oid;
    pub(super) safe fn type_is_rowtype(oid: pg_sys::Oid) -> bool;
    pub(super) safe fn get_range_subtype(oid: pg_sys::Oid) -> pg_sys::Oid;
    pub(super) safe fn get_multirange_range(oid: pg_sys::Oid) -> pg_sys::Oid;
    pub(super) safe fn get_typlen(oid: pg_sys::Oid) -> i16;
    pub(super) fn getTypeOutputInfo(oid: pg_sys::Oid, output: *mut pg_sys::Oid, is_varying: *mut bool);
    pub(super) fn OidOutputFunctionCall(function: pg_sys::Oid, value: pg_sys::Datum) -> *mut c_char;
    pub(super) safe fn check_stack_depth();
    pub(super) safe fn ProcessInterrupts();
    pub(super) safe fn lookup_type_cache(oid: pg_sys::Oid, flags: c_int) -> *mut pg_sys::TypeCacheEntry;

    // array.h, jsonb.h, rangetypes.h, multirangetypes.h (the last not among pgrx' headers)
    pub(super) fn ArrayGetNItems(depth: c_int, dimensions: *const c_int) -> c_int;
    pub(super) fn deconstruct_array(
        array: *mut pg_sys::ArrayType,
        element: pg_sys::Oid,
        length: c_int,
        is_by_value: bool,
        alignment: c_char,
        values: *mut *mut pg_sys::Datum,
        nulls: *mut *mut bool,
        count: *mut c_int,
    );
    pub(super) fn array_create_iterator(
        array: *mut pg_sys::ArrayType,
        slice_depth: c_int,
        element: *mut pg_sys::ArrayMetaState,
    ) -> pg_sys::ArrayIterator;
    pub(super) fn array_iterate(
        iterator: pg_sys::ArrayIterator,
        value: *mut pg_sys::Datum,
        is_null: *mut bool,
    ) -> bool;
    pub(super) fn array_free_iterator(iterator: pg_sys::ArrayIterator);
    pub(super) fn JsonbIteratorInit(container: *mut pg_sys::JsonbContainer) -> *mut pg_sys::JsonbIterator;
    pub(super) fn JsonbIteratorNext(
        iterator: *mut *mut pg_sys::JsonbIterator,
        found: *mut pg_sys::JsonbValue,
        skips_nested: bool,
    ) -> pg_sys::JsonbIteratorToken::Type;
    pub(super) fn range_deserialize(
        cached: *mut pg_sys::TypeCacheEntry,
        range: *const pg_sys::RangeType,
        lower: *mut pg_sys::RangeBound,
        upper: *mut pg_sys::RangeBound,
        is_empty: *mut bool,
    );
    pub(super) fn multirange_deserialize(
        cached: *mut pg_sys::TypeCacheEntry,
        multirange: *const c_void,
        count: *mut i32,
        ranges: *mut *mut *mut pg_sys::RangeType,
    );

    // mbutils.h, namespace.h
    pub(super) safe fn FindDefaultConversionProc(from: i32, to: i32) -> pg_sys::Oid;
    pub(super) fn pg_do_encoding_conversion_buf(
        function: pg_sys::Oid,
        from: c_int,
        to: c_int,
        text: *mut u8,
        length: c_int,
        converted: *mut u8,
        room: c_int,
        no_error: bool,
    ) -> c_int;
    pub(super) fn pg_any_to_server(text: *const c_char, length: c_int, encoding: c_int) -> *mut c_char;
    pub(super) fn pg_server_to_any(text: *const c_char, length: c_int, encoding: c_int) -> *mut c_char;

    // elog.h
    pub(super) fn errstart(level: c_int, domain: *const c_char) -> bool;
    pub(super) fn errcode(code: c_int) -> c_int;
    pub(super) fn errmsg_internal(format: *const c_char, ...) -> c_int;
    pub(super) fn errfinish(file: *const c_char, line: c_int, function: *const c_char);
    pub(super) fn errhidestmt(hide_stmt: bool) -> c_int;
    pub(super) fn errcontext_msg(format: *const c_char, ...) -> c_int;
    pub(super) fn set_errcontext_domain(domain: *const c_char) -> c_int;
    pub(super) safe fn EmitErrorReport();
    pub(super) safe fn CopyErrorData() -> *mut pg_sys::ErrorData;
    pub(super) safe fn FlushErrorState();
    pub(super) safe fn jit_reset_after_error();

    // tcopprot.h
    pub(super) fn check_log_duration(milliseconds: *mut c_char, was_logged: bool) -> c_int;

    // slot.h, origin.h, port.h
    pub(super) safe fn ReplicationSlotRelease();
    pub(super) safe fn replorigin_session_reset();
    pub(super) fn pg_strong_random(buffer: *mut c_void, length: usize) -> bool;

    // timeout.h (not among pgrx' headers)
    pub(super) safe fn enable_timeout_after(id: c_int, milliseconds: c_int);
    pub(super) safe fn disable_timeout(id: c_int, keeps_indicator: bool);
    pub(super) safe fn disable_all_timeouts(keep_indicators: bool);

    // guc.h, miscadmin.h, namespace.h, prepare.h, lock.h, sequence.h
    pub(super) fn set_config_option(
        name: *const c_char,
        value: *const c_char,
        context: pg_sys::GucContext::Type,
        source: pg_sys::GucSource::Type,
        action: pg_sys::GucAction::Type,
        changes_value: bool,
        level: c_int,
        is_reload: bool,
    ) -> c_int;
    pub(super) safe fn NewGUCNestLevel() -> c_int;
    pub(super) safe fn AtEOXact_GUC(is_commit: bool, level: c_int);
    pub(super) fn SetPGVariable(name: *const c_char, arguments: *mut pg_sys::List, is_local: bool);
    pub(super) safe fn ResetAllOptions();
    pub(super) safe fn superuser() -> bool;
    pub(super) safe fn GetSessionUserId() -> pg_sys::Oid;
    pub(super) safe fn GetAuthenticatedUserId() -> pg_sys::Oid;
    pub(super) safe fn GetCurrentRoleId() -> pg_sys::Oid;
    pub(super) fn GetTempNamespaceState(namespace: *mut pg_sys::Oid, toast: *mut pg_sys::Oid);
    pub(super) safe fn SetTempNamespaceState(namespace: pg_sys::Oid, toast: pg_sys::Oid);
    pub(super) safe fn ResetTempTableNamespace();
    pub(super) safe fn DropAllPreparedStatements();
    pub(super) safe fn LockReleaseAll(method: u16, all: bool);
    pub(super) safe fn ResetSequenceCaches();
}
