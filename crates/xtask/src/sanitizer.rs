//! AddressSanitizer in a throwaway server: the extension is built with it, the server runs with its runtime.
//!
//! rustc links a runtime into programs only; a library uses that of the process that loads it. Postgres has
//! none, so the loader is told to bring in the C compiler's (`LD_PRELOAD`), for the server alone.
//!
//! Not for fuzzing: cargo-fuzz does that by itself, its targets are programs.

use std::env::consts::ARCH;
use std::fs;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, bail};
use cluster::{Extension, Install, PgConfig, Profile};

use crate::build;

/// The runtime starts with the first `malloc` of the process. In Debian's server that is a call by a library
/// which meanwhile holds a lock of the C library (p11-kit, in `newlocale`). The runtime wants that lock, too,
/// to have a message translated, and leaves it broken: the next `bindtextdomain` waits forever. So a library
/// whose constructor runs before all others (`-z initfirst`) allocates first.
const FIRST: &str =
    "#include <stdlib.h>\n__attribute__((constructor)) static void first(void) { free(malloc(1)); }\n";

/// `abort_on_error`: to Postgres a process that ended with status 1 would look as if it had ended by itself.
/// `allocator_may_return_null`: want of memory is an answer, not a fault. `detect_stack_use_after_return`:
/// Postgres measures its stack by the addresses of local variables, which must be on it.
/// `quarantine_size_mb`: each process holds back what is freed, and there are dozens of processes. Leaks are
/// no fault in a server, whose processes end with memory in use.
const OPTIONS: &str = "abort_on_error=1:allocator_may_return_null=1:detect_leaks=0:\
                       detect_stack_use_after_return=0:quarantine_size_mb=32";

/// Builds the extension with AddressSanitizer, puts it into the copy, and has its server run with the
/// runtime.
pub(crate) fn put(pg: &PgConfig, install: &Install) -> Result<()> {
    let runtime = runtime()?;
    let mut command = Extension::build_command(pg, Profile::Test);
    // A folder of its own, and a named target, so that build scripts and macros, which are programs of the
    // host, are built without the sanitizer. The switch counts as unstable, hence the bootstrap.
    command.args(["--target", &format!("{ARCH}-unknown-linux-gnu")]).env("RUSTC_BOOTSTRAP", "1");
    command
        .env("RUSTFLAGS", "-Zsanitizer=address")
        .env("CARGO_TARGET_DIR", build::target_folder().join("address"));
    let title = format!("building pg_sse with AddressSanitizer for PostgreSQL {}", pg.major);
    install.put(&build::with(command, &title)?)?;
    let (source, first) = (install.program("first.c"), install.program("first.so"));
    fs::write(&source, FIRST)?;
    let mut compile = Command::new("cc");
    compile.args(["-shared", "-fPIC", "-Wl,-z,initfirst", "-o"]).arg(&first).arg(&source);
    if !compile.status().context("cannot run cc")?.success() {
        bail!("cc cannot make a library");
    }
    let libraries = format!("{} {}", runtime.display(), first.display());
    install.give_environment("postgres", &[("LD_PRELOAD", &libraries), ("ASAN_OPTIONS", OPTIONS)])
}

/// The shared runtime of the C compiler. Its version may differ from rustc's: both name the version of their
/// interface (`__asan_version_mismatch_check_v8`), and if that differs the library does not load.
fn runtime() -> Result<PathBuf> {
    let output = Command::new("cc").arg("-print-file-name=libasan.so").output().context("cannot run cc")?;
    let path = PathBuf::from(String::from_utf8_lossy(&output.stdout).trim());
    // Without a folder: cc did not find it.
    if !path.is_absolute() {
        bail!("cc has no libasan.so; with gcc it is there, on Debian in the package libgcc-…-dev");
    }
    Ok(path.canonicalize()?)
}
