//! The sides of a comparison: each is started for its turn, with one way to publish to it.
//!
//! Not for calls: calls.rs.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;

use anyhow::{Context, Result, bail};

use crate::drive::Served;
use crate::ground::Ground;
use crate::peers::{Program, foreign};
use crate::publisher::Publisher;

/// Who serves streams.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Side {
    PgSse,
    Floor,
    Broadcast,
    Node,
    FastApi,
    Nchan,
    DurableStreams,
}

impl Side {
    pub(crate) const ALL: [Self; 7] = [
        Self::PgSse,
        Self::Floor,
        Self::Broadcast,
        Self::Node,
        Self::FastApi,
        Self::Nchan,
        Self::DurableStreams,
    ];
}

impl fmt::Display for Side {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::PgSse => "pg_sse",
            Self::Floor => "floor",
            Self::Broadcast => "axum + LISTEN",
            Self::Node => "Node pg + LISTEN",
            Self::FastApi => "FastAPI + sse-starlette",
            Self::Nchan => "nginx + nchan",
            Self::DurableStreams => "durable-streams",
        })
    }
}

/// A side that can be started, with what was installed for it.
pub(crate) struct Installed {
    pub(crate) side: Side,
    files: PathBuf,
}

impl Installed {
    /// Installs what the side needs into `folder`.
    pub(crate) fn new(side: Side, folder: &std::path::Path) -> Result<Self> {
        let files = match side {
            Side::PgSse | Side::Floor | Side::Broadcast => PathBuf::new(),
            Side::Node => foreign::install_node(folder)?,
            Side::FastApi => foreign::install_fastapi(folder)?,
            Side::Nchan => foreign::install_nchan(folder)?,
            Side::DurableStreams => foreign::install_durable_streams(folder)?,
        };
        Ok(Self { side, files })
    }

    /// Starts it beside, or in, this server.
    pub(crate) fn start(&self, ground: &Ground) -> Result<Running> {
        let home = ground.cluster.home();
        let socket = home.to_str().context("the folder's name")?;
        let program = match self.side {
            Side::PgSse => None,
            Side::Floor => Some(Program::start_own(&["floor", socket])?),
            Side::Broadcast => Some(Program::start_own(&["broadcast", socket])?),
            Side::Node => Some(foreign::start_node(&self.files, home)?),
            Side::FastApi => Some(foreign::start_fastapi(&self.files, home)?),
            Side::Nchan => Some(foreign::start_nchan(&self.files)?),
            Side::DurableStreams => Some(foreign::start_durable_streams(&self.files)?),
        };
        let postmaster = ground.cluster.postmaster_pid()?;
        let (address, server) = match &program {
            Some(program) => (SocketAddr::from(([127, 0, 0, 1], program.port)), program.pid()),
            None => (ground.cluster.http()?.address(), ground.gateway()?),
        };
        let path = match self.side {
            Side::PgSse => "/api/raise-all/notice",
            Side::DurableStreams => "/bench?offset=now&live=sse",
            _ => "/events",
        };
        Ok(Running {
            side: self.side,
            address,
            path: path.to_owned(),
            served: Served { server, postmaster },
            socket: home.to_owned(),
            _program: program,
        })
    }
}

/// A side that runs until this is dropped.
pub(crate) struct Running {
    side: Side,
    pub(crate) address: SocketAddr,
    /// Of its stream.
    pub(crate) path: String,
    pub(crate) served: Served,
    socket: PathBuf,
    _program: Option<Program>,
}

impl Running {
    /// Somebody who publishes to it.
    pub(crate) fn publisher(&self) -> Result<Publisher> {
        match self.side {
            Side::PgSse => Publisher::sql(&self.socket, "select raise_all($1)"),
            Side::Floor | Side::Broadcast | Side::Node | Side::FastApi => {
                Publisher::sql(&self.socket, "select notify_all($1)")
            }
            Side::Nchan => Publisher::post(self.address, "/publish", "text/plain"),
            Side::DurableStreams => Publisher::post(self.address, "/bench", "text/plain"),
        }
    }
}

/// The sides that can be had, and why the others cannot.
///
/// # Errors
/// One of this package's own is missing.
pub(crate) fn install(sides: &[Side], folder: &std::path::Path) -> Result<(Vec<Installed>, Vec<String>)> {
    let (mut installed, mut skipped) = (Vec::new(), Vec::new());
    for &side in sides {
        match Installed::new(side, folder) {
            Ok(one) => installed.push(one),
            Err(error) if side > Side::Broadcast => skipped.push(format!("{side}: {error:#}")),
            Err(error) => bail!(error),
        }
    }
    Ok((installed, skipped))
}
