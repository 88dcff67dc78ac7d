//! What the routines of a database are to whoever calls them and listens to them, and the client for them in
//! TypeScript (C7.7).
//!
//! [`Model::of`] takes the route table, so that nothing is in it but what a request reaches, and the types,
//! which the catalog has. [`typescript`] writes it down. Documents of other kinds can be written from the
//! same model.
//!
//! Not for reading the catalog. No Postgres, no I/O: every function here gives the same answer for the same
//! input.
#![forbid(unsafe_code)]

mod answer;
mod catalog;
mod declaration;
mod function;
mod model;
mod name;
mod stream;
mod text;
mod typescript;

pub use catalog::{Catalog, Column, Kind, Shown, Table, TypeDefinition};
pub use model::{Answer, Call, Form, Model, Options, Parameter, Property, Routine, Snapshot, Stream};
pub use typescript::{MAX_CLIENT_BYTES, TooLarge, typescript};
