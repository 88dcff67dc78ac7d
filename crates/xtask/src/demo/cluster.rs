//! `cargo xtask demo cluster`: the counter on a primary and a standby behind a proxy, for people, who see
//! what happens when the primary is killed; or with `--check`, for a machine.
//!
//! Not for a cluster that is to stay: nothing decides by itself that a primary is gone, and everything is
//! gone when this ends.

mod check;
mod counting;
mod tree;

use std::io::stdin;
use std::net::TcpListener;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use cluster::{Install, Proxy, lasting_port};

use counting::Counting;
use tree::{NAMES, Tree};

/// What the visitor wants.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Wish {
    Kill,
    Stop,
}

/// What it is for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum For {
    People,
    Check,
}

/// Runs it until Ctrl-C, or the check to its end. `port` is the proxy's; 0 picks a free one.
///
/// # Errors
/// Something on the way fails; the ends of the servers' logs are in the message where they help.
pub(super) fn run(install: Arc<Install>, port: u16, who: For) -> Result<()> {
    let (sender, wishes) = channel();
    // A check ends by the signal, at once, and what it has made goes with it (`cluster::Scratch`).
    if who == For::People {
        let on_signal = sender.clone();
        ctrlc::set_handler(move || on_signal.send(Wish::Stop).unwrap_or_default())
            .context("cannot catch signals")?;
    }
    let port = if port == 0 { lasting_port()? } else { free(port)? };
    let mut tree = Tree::plant(install, &format!("http://localhost:{port}"))?;
    let servers = [tree.http(0), tree.http(1)].map(|http| http.address());
    let proxy = Proxy::of_servers(port, &servers)?;
    let counting = Counting::begin(proxy.http);
    if who == For::Check {
        check::check(&mut tree, proxy.http).with_context(|| tree.logs())?;
        println!("the cluster works");
        return Ok(());
    }
    thread::spawn(move || {
        for _ in stdin().lines().map_while(Result::ok) {
            if sender.send(Wish::Kill).is_err() {
                break;
            }
        }
    });
    tell(&tree, port);
    let served = serve(&mut tree, &wishes).with_context(|| tree.logs());
    drop((counting, proxy, tree));
    served?;
    println!("\nstopped, removed");
    Ok(())
}

/// A port that nobody listens on. HAProxy does not ask: it would share the port of another one of the same
/// user (`SO_REUSEPORT`), and each would get some of the other's visitors.
fn free(port: u16) -> Result<u16> {
    TcpListener::bind(("127.0.0.1", port)).with_context(|| format!("port {port} cannot be had"))?;
    Ok(port)
}

fn tell(tree: &Tree, port: u16) {
    let psql = tree.primary().install().original().bindir.join("psql");
    println!(
        "\nopen     http://localhost:{port}/cluster.html\n         through HAProxy, as docs/servers.md configures it\n"
    );
    for (number, name) in NAMES.iter().enumerate() {
        println!(
            "look     {} -h {} -U postgres    server {name}",
            psql.display(),
            tree.server(number).home().display()
        );
    }
    println!("\nEnter kills the primary. Ctrl-C stops everything and removes it.");
}

fn serve(tree: &mut Tree, wishes: &Receiver<Wish>) -> Result<()> {
    loop {
        match wishes.recv_timeout(Duration::from_millis(500)) {
            Ok(Wish::Kill) => fail_over(tree)?,
            Err(RecvTimeoutError::Timeout) => {}
            Ok(Wish::Stop) | Err(RecvTimeoutError::Disconnected) => return Ok(()),
        }
        for (number, name) in NAMES.iter().enumerate() {
            ensure!(tree.server(number).is_running(), "server {name} has ended by itself");
        }
    }
}

fn fail_over(tree: &mut Tree) -> Result<()> {
    let [old, new] = [tree.head, 1 - tree.head].map(|number| NAMES[number]);
    let begun = Instant::now();
    let tell = |what: String| println!("{:5.1} s  {what}", begun.elapsed().as_secs_f64());
    tree.primary().kill_postmaster()?;
    tell(format!("server {old}, the primary, was killed (kill -9)"));
    tree.promote()?;
    tell(format!("server {new} is the primary"));
    tree.return_of_the_other()?;
    tell(format!("server {old} is back, as the standby (pg_rewind). Enter kills the primary again"));
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_port_is_free_if_nobody_listens_on_it_and_stays_so() {
        let taken = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let port = taken.local_addr().unwrap().port();
        assert!(free(port).unwrap_err().to_string().contains(&port.to_string()));
        let port = lasting_port().unwrap();
        assert_eq!((free(port).unwrap(), free(port).unwrap()), (port, port));
    }
}
