//! The applications of `examples/`, as somebody installs one of them: its SQL in a database, its settings in
//! postgresql.conf, its page in a folder. Here the server is a throwaway one.
//!
//! A folder is an example if it has a `setup.sql`. What else it has says what it needs:
//!
//! - `settings.conf`: lines for postgresql.conf;
//! - `users`: who can log in, a line each: name, password, and perhaps what to know of them;
//! - `index.html`, style sheets, scripts, images: the page. If the page names files in `pg-sse/`, the npm
//!   package is put there, as `npm pack` makes it;
//! - `package.json` with its lock file: a bundler makes the page, with the npm package as `npm pack` makes
//!   it.
//!
//! Not for what an example promises: the tests, and `cargo xtask demo --check`.

#![forbid(unsafe_code)]

mod app;
mod folder;
mod package;
mod running;

pub use folder::{Example, User};
pub use running::Running;
