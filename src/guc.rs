//! The settings (contract C1.3). `guc/table.rs` lists them all, `guc/kind.rs` has the kinds, `guc/check.rs`
//! the checks of texts; `guc/value.rs` and `guc/auth.rs` have what is computed from several settings, or from
//! one in its own way.
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

/// The words between the commas of a text, without empty ones.
pub(crate) fn list(text: &str) -> Vec<String> {
    text.split(',').map(str::trim).filter(|one| !one.is_empty()).map(str::to_owned).collect()
}
