//! `cargo xtask call-rate`: calls of routines through pg_sse, beside a hand-written axum and tokio-postgres
//! endpoint that does the same against the same server.
//!
//! Three calls (one row, ten rows, a procedure that writes), at one and at eight requests in flight, over
//! connections that are kept. Both sides set the same nine settings for each call, and have as many database
//! sessions as there are call workers.
//!
//! Not a test: what comes out depends on the machine. The ratios are what counts.

#![forbid(unsafe_code)]

mod endpoint;
mod load;

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use clap::{Parser, Subcommand};
use cluster::{Cluster, PATIENCE, wait_for};

use load::{Call, Sample};

/// What is called, on both sides.
const APPLICATION: &str = r#"
    create role app login;
    create extension pg_sse;
    create table items (id int primary key, title text not null, created_at timestamptz not null);
    insert into items select n, 'item ' || n, '2026-01-02 03:04:05Z'::timestamptz + n * interval '1 minute' from generate_series(1, 10000) n;
    create table notes (note_id bigint generated always as identity, item_id int not null, note text not null);
    grant select on items to app;
    grant insert on notes to app;
    create function get_one(_id int) returns table (id int, title text, created_at timestamptz) language sql stable
        as 'select id, title, created_at from items where id = _id';
    comment on function get_one(int) is 'HTTP';
    create function get_ten(_id int) returns table (id int, title text, created_at timestamptz) language sql stable
        as 'select id, title, created_at from items where id >= _id order by id limit 10';
    comment on function get_ten(int) is 'HTTP';
    create procedure add_note(_item_id int, _note text) language plpgsql
        as $$ begin insert into notes (item_id, note) values (_item_id, _note); end $$;
    comment on procedure add_note(int, text) is 'HTTP POST';
    analyze items;
"#;

/// Requests in flight.
const FLIGHTS: [usize; 2] = [1, 8];

/// How often the two sides take turns: the machine is not equally quiet all the time.
const ROUNDS: u32 = 5;

#[derive(Parser)]
struct Arguments {
    /// For how long each side is measured in each of the six cases.
    #[arg(long, default_value_t = 5.0)]
    seconds: f64,
    /// Call workers, and connections of the endpoint.
    #[arg(long, default_value_t = 2)]
    workers: usize,
    #[command(subcommand)]
    side: Option<Side>,
}

#[derive(Subcommand)]
enum Side {
    /// The hand-written endpoint; started by the program itself.
    #[command(hide = true)]
    Endpoint { socket: String },
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    match &arguments.side {
        Some(Side::Endpoint { socket }) => endpoint::serve(socket, arguments.workers),
        None => compare(&arguments),
    }
}

fn compare(arguments: &Arguments) -> Result<()> {
    let cluster = Cluster::builder()
        .without_extension()
        .setting("sse.call_role", "app")
        .setting("sse.call_workers", arguments.workers)
        .setting("autovacuum", "off")
        .start()?;
    cluster.sql(APPLICATION)?;
    let gateway = cluster.http()?;
    wait_for(PATIENCE, "calls are taken", || {
        Ok((gateway.get("/api/get-one?id=1")?.status() == 200).then_some(()))
    })?;
    let endpoint = Endpoint::start(&cluster, arguments.workers)?;
    let sides = [gateway.address().port(), endpoint.port];
    same_answers(sides)?;
    println!("calls per second, p50 and p99 in microseconds; {} workers and connections", arguments.workers);
    println!(
        "{:<11} {:>9} | {:>9} {:>7} {:>7} | {:>9} {:>7} {:>7} | {:>6} {:>6}",
        "", "in flight", "pg_sse", "p50", "p99", "axum", "p50", "p99", "rate", "p50"
    );
    let slice = Duration::from_secs_f64(arguments.seconds / f64::from(ROUNDS));
    for call in Call::ALL {
        for flight in FLIGHTS {
            let mut samples = [Sample::default(), Sample::default()];
            for round in 0..ROUNDS {
                for side in 0..2 {
                    // The two sides alternate in going first.
                    let side = (side + round as usize) % 2;
                    samples[side].add(load::run(sides[side], call, flight, slice)?);
                }
            }
            let [ours, theirs] = &mut samples;
            let (p50, p99) = (ours.percentile(50), ours.percentile(99));
            let (other_p50, other_p99) = (theirs.percentile(50), theirs.percentile(99));
            println!(
                "{:<11} {flight:>9} | {:>9.0} {p50:>7} {p99:>7} | {:>9.0} {other_p50:>7} {other_p99:>7} | {:>5.2}x {:>5.2}x",
                call.name(),
                ours.rate(),
                theirs.rate(),
                ours.rate() / theirs.rate(),
                f64::from(p50) / f64::from(other_p50),
            );
        }
    }
    println!("rate above 1: pg_sse is ahead; p50 below 1: it answers sooner");
    Ok(())
}

/// Both sides must answer alike, or the comparison says nothing.
fn same_answers([ours, theirs]: [u16; 2]) -> Result<()> {
    for call in Call::ALL {
        let [one, other] = [ours, theirs].map(|port| load::ask(port, call));
        let ((one, our_body), (other, their_body)) = (one?, other?);
        // Blanks between the members do not matter.
        let [ours, theirs] =
            [&our_body, &their_body].map(|body| serde_json::from_str::<serde_json::Value>(body).ok());
        ensure!(
            (one, &ours) == (other, &theirs),
            "{}: pg_sse answers {one} {our_body:?}, the endpoint {other} {their_body:?}",
            call.name()
        );
    }
    Ok(())
}

/// The other side, a process of its own.
struct Endpoint {
    child: Child,
    port: u16,
}

impl Endpoint {
    fn start(cluster: &Cluster, workers: usize) -> Result<Self> {
        let mut command = Command::new(std::env::current_exe()?);
        command.args(["--workers", &workers.to_string(), "endpoint"]).arg(cluster.home());
        let mut child = command.stdout(Stdio::piped()).spawn()?;
        let mut line = String::new();
        BufReader::new(child.stdout.take().context("no output")?).read_line(&mut line)?;
        let port = line.trim().parse().context("the endpoint does not start")?;
        Ok(Self { child, port })
    }
}

impl Drop for Endpoint {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
