//! Lines of postgresql.conf that were refused.
//!
//! A value that is refused at server start silently becomes the default, and a default may be wider than what
//! was meant. So the gateway answers everything with 503 until the line is mended, and the log names the line
//! (C1.3). On a later reload Postgres itself keeps the former value and says so; only the start needs this.

use std::cell::RefCell;
use std::ffi::{CStr, CString, c_char, c_int};

use pgrx::pg_sys;

use super::compat;

/// A setting whose value was refused at server start.
#[derive(Clone, Debug)]
pub(crate) struct RefusedSetting {
    /// Its full name.
    pub name: String,
    value: Option<CString>,
    file: Option<String>,
    line: c_int,
}

thread_local! {
    /// Filled in the postmaster, inherited by the gateway.
    static REFUSED: RefCell<Vec<RefusedSetting>> = const { RefCell::new(Vec::new()) };
}

/// What postgresql.conf says of these settings before they are defined (as placeholders). Call it in
/// `_PG_init` before they are defined; its result goes to [`compare`] afterwards.
pub(crate) fn before_definition(names: impl Iterator<Item = &'static CStr>) -> Vec<RefusedSetting> {
    names.filter_map(describe).collect()
}

/// Notes which of these values are not in force now.
pub(crate) fn compare(before: Vec<RefusedSetting>) {
    let refused = before.into_iter().filter(|setting| {
        let Ok(name) = CString::new(setting.name.as_str()) else { return false };
        compat::guc_variable(&name).is_some_and(|entry| {
            // SAFETY: an entry of guc.c's table.
            let source = unsafe { (*entry).source };
            source == pg_sys::GucSource::PGC_S_DEFAULT
        })
    });
    REFUSED.with_borrow_mut(|list| list.extend(refused));
}

/// The refused settings that are not mended yet: the configuration files still give them the refused value.
/// Called by the gateway at start and after each reload.
pub(crate) fn still_refused() -> Vec<RefusedSetting> {
    REFUSED.with_borrow_mut(|list| {
        if !list.is_empty() {
            let now = parse_files();
            list.retain(|refused| {
                now.iter().any(|(name, value)| *name == refused.name && *value == refused.value)
            });
        }
        list.clone()
    })
}

/// Whether the last call of [`still_refused`] found any.
pub(crate) fn any_refused() -> bool {
    REFUSED.with_borrow(|list| !list.is_empty())
}

impl RefusedSetting {
    /// Where the line is, for people.
    pub(crate) fn place(&self) -> String {
        match &self.file {
            Some(file) => format!("file \"{file}\", line {}", self.line),
            None => "the server's command line".to_owned(),
        }
    }
}

fn describe(name: &CStr) -> Option<RefusedSetting> {
    let entry = compat::guc_variable(name)?;
    // SAFETY: an entry of guc.c's table; what is defined before `define` is a placeholder.
    let generic = unsafe { &*entry };
    // SAFETY: `name` is NUL-terminated; a missing setting is answered by NULL.
    let value = unsafe { pg_sys::GetConfigOption(name.as_ptr(), true, false) };
    Some(RefusedSetting {
        name: name.to_string_lossy().into_owned(),
        value: copy(value),
        file: copy(generic.sourcefile).map(|file| file.to_string_lossy().into_owned()),
        line: generic.sourceline,
    })
}

/// Names and values as the configuration files have them now; the last line of a name counts.
fn parse_files() -> Vec<(String, Option<CString>)> {
    let mut head: *mut pg_sys::ConfigVariable = std::ptr::null_mut();
    let mut tail: *mut pg_sys::ConfigVariable = std::ptr::null_mut();
    // SAFETY: set by the postmaster at its start, never changed.
    let main = unsafe { pg_sys::ConfigFileName };
    for file in [main.cast_const(), c"postgresql.auto.conf".as_ptr()] {
        // SAFETY: guc-file.l parses a file into a palloc'd list; with DEBUG2 its complaints stay out of the
        // log, and a missing file is no error because `strict` is off.
        unsafe {
            pg_sys::ParseConfigFile(
                file,
                false,
                std::ptr::null(),
                0,
                0,
                pg_sys::DEBUG2 as c_int,
                &mut head,
                &mut tail,
            );
        }
    }
    let mut found: Vec<(String, Option<CString>)> = Vec::new();
    let mut item = head;
    // SAFETY: the list that was just made: each item is valid or NULL.
    while let Some(variable) = unsafe { item.as_ref() } {
        if let Some(name) = copy(variable.name) {
            let name = name.to_string_lossy().into_owned();
            found.retain(|(other, _)| *other != name);
            found.push((name, copy(variable.value)));
        }
        item = variable.next;
    }
    // SAFETY: frees what ParseConfigFile allocated.
    unsafe { pg_sys::FreeConfigVariables(head) };
    found
}

fn copy(text: *const c_char) -> Option<CString> {
    if text.is_null() {
        return None;
    }
    // SAFETY: the callers pass NUL-terminated texts of guc.c or NULL.
    Some(unsafe { CStr::from_ptr(text) }.to_owned())
}
