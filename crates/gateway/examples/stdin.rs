//! The gateway without Postgres: each line of standard input is an event of `/events/info`. For load tests
//! and for work on a page.
//!
//! `cargo run --release -p sse-gateway --example stdin -- --port 8080 --threads 1 [--root FOLDER]`
//!
//! It stops at the end of its input. Not for production: it answers every question about routes with "nothing
//! new".

use std::borrow::Cow;
use std::error::Error;
use std::io::{BufRead, BufReader, stdin};
use std::sync::Arc;
use std::time::Duration;

use sse_gateway::{Batch, Config, Errand, Gateway, Publisher, Settings};
use sse_proto::annotation::Access;
use sse_proto::record::{Envelope, Record, encode_into};
use sse_proto::route::{RouteTable, Routine};
use sse_proto::scope::Scope;
use sse_proto::word::Level;

fn main() -> Result<(), Box<dyn Error>> {
    let mut config = Config {
        listen_addresses: vec!["127.0.0.1".to_owned()],
        port: 8080,
        threads: 1,
        epoch: std::time::UNIX_EPOCH.elapsed()?.as_micros() as u64,
        data_directory: None,
    };
    let mut settings = Settings { max_connections: 20_000, ..Settings::default() };
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        let value = arguments.next().ok_or("every option takes a value")?;
        match &*argument {
            "--port" => config.port = value.parse()?,
            "--threads" => config.threads = value.parse()?,
            "--address" => config.listen_addresses = vec![value],
            "--root" => settings.static_root = Some(value.into()),
            "--window" => settings.window_size = value.parse()?,
            _ => return Err(format!("unknown option {argument}").into()),
        }
    }
    let (gateway, mut publisher) = Gateway::start(config, Arc::new(settings))?;
    let gateway = Arc::new(gateway);
    gateway.set_routes(Arc::new(routes()), 1);
    std::thread::spawn({
        let gateway = Arc::clone(&gateway);
        move || do_errands(&gateway)
    });
    publish_lines(&mut publisher)?;
    // The thread that answers requests holds the gateway, too: dropping it with the process cuts the streams,
    // so they are given a moment to take what was published.
    std::thread::sleep(Duration::from_millis(200));
    Ok(())
}

/// One batch for all lines that are there, as the extension makes one of all records in the ring.
fn publish_lines(publisher: &mut Publisher) -> Result<(), Box<dyn Error>> {
    let mut input = BufReader::with_capacity(1 << 20, stdin().lock());
    let mut batch = Batch::new(1);
    let (mut line, mut record) = (String::new(), Vec::new());
    loop {
        line.clear();
        if input.read_line(&mut line)? == 0 {
            return Ok(());
        }
        let envelope = Envelope {
            scope: Cow::Owned(Scope::All),
            access: Cow::Owned(Access::Unspecified),
            topic: None,
            event: None,
            execution_id: None,
            emitter: None,
            caller: None,
            xid: None,
        };
        record.clear();
        encode_into(&Record::Event { envelope, data: line.trim_end() }, &mut record)?;
        batch.push_record(&record);
        if input.buffer().contains(&b'\n') && batch.bytes.len() < 1 << 20 {
            continue;
        }
        let next = Batch::new(batch.next_sequence());
        let mut full = std::mem::replace(&mut batch, next);
        while let Err(back) = publisher.try_publish(full) {
            full = back;
            std::thread::sleep(Duration::from_micros(100));
        }
    }
}

fn do_errands(gateway: &Gateway) {
    loop {
        match gateway.poll_errand() {
            Some(Errand::RefreshRoutes { question }) => gateway.routes_are_fresh(question),
            Some(Errand::Log { message, .. }) => eprintln!("{message}"),
            Some(Errand::Died(message)) => {
                eprintln!("{message}");
                std::process::exit(1);
            }
            None => std::thread::sleep(Duration::from_millis(5)),
        }
    }
}

fn routes() -> RouteTable {
    let routine = Routine::new(1, "public", "events", "@sse\n@path /events");
    RouteTable::build(&[routine], "/api", Level::Info)
}
