//! What is said of a call while it runs, to the inspector of the admin port (C8.2).
//!
//! Not for what the routine can know of its call: `call/context.rs`.

/// A call. Its texts are cut.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct About {
    pub(crate) method: String,
    /// Without the query.
    pub(crate) path: String,
    /// Name, or else id.
    pub(crate) user: Option<String>,
}
