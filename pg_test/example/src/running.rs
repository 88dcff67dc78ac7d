//! An example on a server of its own.
//!
//! Not for a server that is to stay: everything is gone when it is dropped.

use std::fs::{self, File};
use std::io::Read;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use cluster::{Account, Builder, Cluster, PATIENCE, Scratch};

use crate::app;
use crate::folder::Example;
use crate::package;

/// An example that is served.
#[derive(Debug)]
pub struct Running {
    /// The server.
    pub cluster: Cluster,
    _page: Scratch,
}

impl Example {
    /// Installs it as its README says, on a server with the properties of `builder`.
    ///
    /// # Errors
    /// Something on the way fails; the end of the server's log is in the message where it helps.
    pub fn start(&self, builder: Builder) -> Result<Running> {
        // A copy, because the server's account may not be able to read the checkout.
        let page = Scratch::create(&Account::for_servers()?)?;
        self.put_page(page.path())?;
        let mut builder = builder
            .setting("sse.static_root", page.path().display())
            // Here, and in settings.conf the name of a file, because nothing of this server stays.
            .setting("sse.jwt_secret", secret()?);
        for (name, value) in self.settings()? {
            if name != "sse.jwt_secret_file" && name != "sse.static_root" {
                builder = builder.setting(&name, value);
            }
        }
        let running = Running { cluster: builder.start()?, _page: page };
        running.install(self).and_then(|()| running.wait_for_calls()).with_context(|| running.log())?;
        Ok(running)
    }

    fn put_page(&self, to: &Path) -> Result<()> {
        if self.is_built() {
            return app::put(self, to);
        }
        for file in self.page()? {
            let name = file.file_name().context("a file without a name")?;
            fs::copy(&file, to.join(name)).with_context(|| file.display().to_string())?;
        }
        if self.uses_package()? { package::put(&to.join("pg-sse")) } else { Ok(()) }
    }
}

impl Running {
    /// The address of the page. Browsers take `localhost` for a secure context.
    pub fn url(&self) -> Result<String> {
        Ok(format!("http://localhost:{}/", self.cluster.http()?.address().port()))
    }

    /// Waits until calls are taken: their workers start once the role is there.
    pub fn wait_for_calls(&self) -> Result<()> {
        self.cluster.comes_to(PATIENCE, "calls are taken", "select calls from sse.stat_gateway", "ready")
    }

    /// What the server has logged, for messages.
    pub fn log(&self) -> String {
        format!("the server's log:\n{}", self.cluster.log().unwrap_or_default())
    }

    /// Any output means that it failed, and so does a routine with a problem.
    fn install(&self, example: &Example) -> Result<()> {
        let script = example.folder().join("setup.sql");
        let mut psql = self.cluster.psql();
        let output = psql.args(["-X", "-q", "-f"]).arg(&script).output().context("cannot run psql")?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success() && said.is_empty(), "{} got {said}", script.display());
        let problems =
            self.cluster.sql("select routine, problem from sse.endpoints where problem is not null")?;
        ensure!(problems.is_empty(), "{problems}");
        Ok(())
    }
}

/// A key for the sessions of this run.
fn secret() -> Result<String> {
    let mut bytes = [0; 32];
    File::open("/dev/urandom").and_then(|mut file| file.read_exact(&mut bytes)).context("/dev/urandom")?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}
