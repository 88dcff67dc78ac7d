//! elog.c's `ErrorData` as the log hook gets it, read through borrowed Rust values.
//!
//! Nothing of it outlives the hook's call, and nothing in it is changed except `output_to_server`.

use std::ffi::{CStr, c_char, c_int};

use pgrx::pg_sys;
use sse_proto::word::Level;

/// One message on its way to client and log.
pub(crate) struct Message<'a> {
    edata: &'a mut pg_sys::ErrorData,
}

/// Where a message of level `INFO`, `NOTICE` or `WARNING` comes from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Origin {
    /// The statement for messages (`RAISE`, `plpy.notice`, `elog`) of a procedural language.
    Raise,
    /// The same, raised in a parallel worker and passed on by its leader: the original belonged to another
    /// process.
    RaiseOfParallelWorker,
    /// The server itself, or the language's own warnings (`plpgsql.extra_warnings`).
    Server,
}

/// Text domain and function that every message of a language's message statement carries, and nothing else
/// does (pl_exec.c, plpy_plpymodule.c, plperl.c, pltcl.c). The domain tells the language apart from a leader
/// that passes on a parallel worker's message: that one carries the server's own domain. ASSERT is a
/// statement for errors alone.
const RAISERS: [(&[u8], &[u8]); 5] = [
    (b"plpgsql-", b"exec_stmt_raise"),
    (b"plpgsql-", b"exec_stmt_assert"),
    (b"plpython-", b"PLy_output"),
    (b"plperl-", b"plperl_util_elog"),
    (b"pltcl-", b"pltcl_elog"),
];

impl<'a> Message<'a> {
    /// # Safety
    /// - `edata` is the pointer that elog.c passed to `emit_log_hook`, and the call is still running.
    pub(crate) unsafe fn new(edata: *mut pg_sys::ErrorData) -> Option<Self> {
        // SAFETY: elog.c passes an entry of its own stack, valid and not touched by it until the hook
        // returns.
        unsafe { edata.as_mut() }.map(|edata| Self { edata })
    }

    /// Keeps the message out of the server log. The client gets it as ever.
    pub(crate) fn keep_out_of_server_log(&mut self) {
        self.edata.output_to_server = false;
    }

    /// elog.h's level.
    pub(crate) fn elevel(&self) -> c_int {
        self.edata.elevel
    }

    /// The level, when it is one that can publish.
    pub(crate) fn level(&self) -> Option<Level> {
        match u32::try_from(self.edata.elevel).ok()? {
            pg_sys::INFO => Some(Level::Info),
            pg_sys::NOTICE => Some(Level::Notice),
            pg_sys::WARNING => Some(Level::Warning),
            _ => None,
        }
    }

    /// Which statement the message comes from.
    pub(crate) fn origin(&self) -> Origin {
        origin(self.edata)
    }

    /// Primary message, in the encoding of the database.
    pub(crate) fn text(&self) -> &[u8] {
        bytes(self.edata.message)
    }

    /// Hint, in the encoding of the database; empty without one.
    pub(crate) fn hint(&self) -> &[u8] {
        bytes(self.edata.hint)
    }
}

/// Which statement a message or an error comes from. Its fields are those of a valid `ErrorData`.
pub(super) fn origin(edata: &pg_sys::ErrorData) -> Origin {
    let function = bytes(edata.funcname);
    let domain = bytes(edata.domain);
    let Some((language, _)) = RAISERS.iter().find(|(_, raiser)| function == *raiser) else {
        return Origin::Server;
    };
    if domain.starts_with(language) {
        return Origin::Raise;
    }
    if domain.starts_with(b"postgres-") {
        return Origin::RaiseOfParallelWorker;
    }
    Origin::Server
}

/// Primary message of an error, in the encoding of the database.
pub(super) fn message(edata: &pg_sys::ErrorData) -> &[u8] {
    bytes(edata.message)
}

fn bytes<'a>(text: *const c_char) -> &'a [u8] {
    if text.is_null() {
        return b"";
    }
    // SAFETY: the text fields of an ErrorData are NULL or NUL-terminated, and live as long as the entry,
    // whose borrow the callers above tie the result to.
    unsafe { CStr::from_ptr(text) }.to_bytes()
}
