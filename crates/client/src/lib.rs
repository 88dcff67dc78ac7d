//! What the routines of a database are to whoever calls them and listens to them, the client for them in
//! TypeScript (C7.7), and documents about them for tools (C7.10).
//!
//! [`Model::of`] takes the route table, so that nothing is in it but what a request reaches, and the types,
//! which the catalog has. [`typescript`], [`openapi`] and [`asyncapi`] write it down.
//!
//! Not for reading the catalog. No Postgres, no I/O: every function here gives the same answer for the same
//! input.
#![forbid(unsafe_code)]

mod answer;
mod asyncapi;
mod catalog;
mod declaration;
mod document;
mod function;
mod model;
mod name;
mod openapi;
mod operation;
mod prose;
mod schema;
mod stream;
mod text;
mod typescript;

pub use asyncapi::asyncapi;
pub use catalog::{Catalog, Column, Kind, Shown, Table, TypeDefinition};
pub use model::{Answer, Call, Form, Model, Options, Parameter, Property, Routine, Snapshot, Stream};
pub use openapi::openapi;
pub use typescript::{MAX_CLIENT_BYTES, TooLarge, typescript};
