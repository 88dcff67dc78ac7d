//! `cargo xtask package` and `cargo xtask release`: what is given to people. Debian packages, the source for
//! PGXN, a folder for CloudNativePG's image volumes, a list of all that is in the library, checksums.
//!
//! All of it is made with the tools of the system that it is for: dpkg-deb and dpkg-shlibdeps, tar, git.
//! cargo-deb was rejected: it builds one package of one manifest, and here one library is built for four
//! servers, against headers of four places; what it spares is a page of code, what it costs is a build of it.
//!
//! Two runs of one commit with the same compiler give the same bytes: times are those of the commit, paths of
//! the machine are mapped away ([`payload`]), and archives are sorted.
//!
//! Not for a server of this machine: `cargo xtask install`.

mod administrator;
mod deb;
mod hears;
mod image;
mod licenses;
mod payload;
mod pgxn;
mod root;
mod sbom;
mod system;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};
use clap::{Args, ValueEnum};
use cluster::{MAJORS, PgConfig, workspace_root};

use crate::build::target_folder;
use crate::postgres;
pub(crate) use administrator::run as administrator;
use payload::Payload;

/// The version of everything that is made here.
const VERSION: &str = env!("CARGO_PKG_VERSION");

/// The server of the image: the first that looks for extensions in folders of our choice.
const IMAGE_MAJOR: u32 = 18;

/// What to make.
#[derive(Args)]
pub(crate) struct Options {
    #[arg(value_enum, default_value = "deb")]
    what: What,
    /// For these major versions (default: all); their headers are had as `cargo xtask test --pg` has them.
    #[arg(long, value_name = "LIST", value_delimiter = ',', conflicts_with = "pg_config")]
    #[arg(value_parser = clap::value_parser!(u32).range(15..=18))]
    pg: Vec<u32>,
    /// Against the headers of this PostgreSQL instead.
    #[arg(long, value_name = "PATH")]
    pg_config: Option<PathBuf>,
    /// Install what was made into an empty system, and receive an event there. Root, Debian. Where no release
    /// has the server: put its files into one from elsewhere.
    #[arg(long)]
    check: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum What {
    /// `postgresql-NN-pg-sse_….deb`.
    Deb,
    /// A folder for CloudNativePG's image volumes, packed.
    Image,
    /// The source as PGXN wants it.
    Pgxn,
    /// A list of what is linked into the library, CycloneDX.
    Sbom,
}

/// Makes one kind of thing, in `target/packages`.
///
/// # Errors
/// A server's headers cannot be had, it does not build, or what was made does not pass its check.
pub(crate) fn run(options: &Options) -> Result<()> {
    let folder = folder()?;
    match options.what {
        What::Deb => {
            for pg in servers(options)? {
                let made = deb::make(&Payload::build(&pg)?, deb::REVISION, &folder)?;
                tell(&made)?;
                if options.check && system::release_of(pg.major).is_some() {
                    root::check(&made, pg.major)?;
                } else if options.check {
                    println!("  no release of Debian has PostgreSQL {}", pg.major);
                    deb::check(&made, &pg)?;
                }
            }
        }
        What::Image => {
            let pg = postgres::headers(IMAGE_MAJOR)?;
            let made = image::make(&Payload::build(&pg)?, &folder)?;
            tell(&made)?;
            if options.check {
                image::check(&made, &pg)?;
            }
        }
        What::Pgxn => tell(&pgxn::make(&folder)?)?,
        What::Sbom => tell(&sbom::make(&folder)?)?,
    }
    Ok(())
}

/// Everything, from a tree without changes, and `SHA256SUMS` beside it.
///
/// # Errors
/// As [`run`], or something is not committed.
pub(crate) fn release(majors: &[u32]) -> Result<()> {
    let changed = git(&["status", "--porcelain"])?;
    ensure!(changed.is_empty(), "a release is made from what is committed, and this is not:\n{changed}");
    let folder = folder()?;
    fs::remove_dir_all(&folder)?;
    fs::create_dir_all(&folder)?;
    let majors = if majors.is_empty() { all() } else { majors.to_vec() };
    let mut made = vec![pgxn::make(&folder)?, sbom::make(&folder)?];
    for major in majors {
        let payload = Payload::build(&postgres::headers(major)?)?;
        made.push(deb::make(&payload, deb::REVISION, &folder)?);
        if major == IMAGE_MAJOR {
            made.push(image::make(&payload, &folder)?);
        }
    }
    made.iter().try_for_each(|path| tell(path))?;
    let mut sums = Command::new("/bin/sh");
    sums.args(["-ec", "export LC_ALL=C; sha256sum -- * > ../SHA256SUMS; mv ../SHA256SUMS ."])
        .current_dir(&folder);
    succeed(sums)?;
    tell(&folder.join("SHA256SUMS"))
}

fn servers(options: &Options) -> Result<Vec<PgConfig>> {
    if let Some(path) = &options.pg_config {
        let pg = PgConfig::read(path)?;
        ensure!(pg.has_headers(), "{} has no server headers", path.display());
        return Ok(vec![pg]);
    }
    let majors = if options.pg.is_empty() { all() } else { options.pg.clone() };
    majors.into_iter().map(postgres::headers).collect()
}

fn all() -> Vec<u32> {
    let mut majors = MAJORS.to_vec();
    majors.sort_unstable();
    majors
}

/// Where everything that is made lies.
fn folder() -> Result<PathBuf> {
    let folder = workspace_root().join(target_folder()).join("packages");
    fs::create_dir_all(&folder).with_context(|| folder.display().to_string())?;
    Ok(folder)
}

fn tell(made: &Path) -> Result<()> {
    println!("  {} ({} kB)", made.display(), fs::metadata(made)?.len().div_ceil(1024));
    Ok(())
}

/// When the commit was made, in seconds since 1970: the time of everything in a package (SOURCE_DATE_EPOCH of
/// reproducible-builds.org).
fn epoch() -> Result<String> {
    git(&["log", "-1", "--format=%ct"])
}

fn git(arguments: &[&str]) -> Result<String> {
    let output = Command::new("git").args(arguments).current_dir(workspace_root()).output()?;
    ensure!(output.status.success(), "git: {}", String::from_utf8_lossy(&output.stderr));
    Ok(String::from_utf8(output.stdout)?.trim().to_owned())
}

/// Runs a short command; what it prints is the answer.
fn succeed(mut command: Command) -> Result<String> {
    let name = command.get_program().to_string_lossy().into_owned();
    let output = command.output().with_context(|| format!("cannot run {name}"))?;
    if !output.status.success() {
        bail!("{name} failed: {}", String::from_utf8_lossy(&output.stderr));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Packs what is in `from` so that the same files give the same bytes.
fn pack(from: &Path, to: &Path) -> Result<()> {
    let mut tar = Command::new("tar");
    tar.args([
        "--sort=name",
        "--owner=0",
        "--group=0",
        "--numeric-owner",
        "--format=gnu",
        "--mode=u=rwX,go=rX",
    ]);
    tar.arg(format!("--mtime=@{}", epoch()?)).args(["--use-compress-program", "gzip -9n", "-cf"]);
    tar.arg(to).arg("-C").arg(from).arg(".");
    succeed(tar).map(drop)
}
