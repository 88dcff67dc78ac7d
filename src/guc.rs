//! The settings (contract C1.3). `guc/table.rs` has them all, `guc/kind.rs` what kinds there are, `guc/check.rs` what texts
//! they may hold, `guc/value.rs` and `guc/auth.rs` what is computed from several, or from one in a way of its own.
//!
//! Not for: what is wrong in postgresql.conf (`pg/config_file.rs`).

pub(crate) mod auth;
mod check;
mod kind;
mod table;
mod value;

use std::ffi::CStr;

pub(crate) use table::*;
pub(crate) use value::*;

use crate::pg::guc_text;

/// Their names, in the order of their definition.
pub(crate) fn names() -> impl Iterator<Item = &'static CStr> {
    SETTINGS.iter().map(|setting| setting.name())
}

/// Defines them all. To be called once, from `_PG_init`.
pub(crate) fn define() {
    for setting in SETTINGS {
        setting.define();
    }
    guc_text::reserve_prefix();
}

/// What stands between the commas of a text; nothing empty.
pub(crate) fn list(text: &str) -> Vec<String> {
    text.split(',').map(str::trim).filter(|one| !one.is_empty()).map(str::to_owned).collect()
}
