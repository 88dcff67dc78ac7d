//! What the write-ahead log of a server has of ours: `pg_waldump` says which records there are, the files
//! have their bytes. Reads them as any reader has to, without the library.

use std::fs;

use anyhow::{Context, Result, bail, ensure};
use cluster::Cluster;
use sse_proto::log_record::{
    self, Assembler, Complete, Content, Delivery, Limits, LogRecord, MAX_PART_BYTES, PART_HEAD_BYTES,
};
use sse_proto::record::{Record, decode};

const PAGE_BYTES: u64 = 8192;
const SEGMENT_BYTES: u64 = 16 << 20;

/// `SizeOfXLogRecord`
const RECORD_HEADER_BYTES: usize = 24;

/// The log from here on.
pub(crate) fn mark(cluster: &Cluster) -> Result<String> {
    cluster.sql("select pg_current_wal_insert_lsn()")
}

/// What was written since a [`mark`].
pub(crate) struct Log {
    /// What `pg_waldump` says of it.
    pub(crate) dump: String,
    /// What is told, in its order.
    pub(crate) told: Vec<Told>,
    /// The deliveries of all parts.
    pub(crate) parts: Vec<Delivery>,
    /// Logical messages that are not ours.
    pub(crate) foreign: usize,
}

/// What one body says.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Told {
    /// Of the commit record; 0: there is none.
    pub(crate) xid: u32,
    /// The data of its events.
    pub(crate) data: Vec<String>,
    /// The transaction that its events name, 0: none.
    pub(crate) xid_of_events: u64,
}

impl Log {
    /// Reads what has been written since `mark`.
    pub(crate) fn since(cluster: &Cluster, mark: &str) -> Result<Self> {
        // What is lazy is not flushed: a commit after it is, and all before it.
        let end = cluster
            .sql("create table if not exists flushed(); drop table flushed; select pg_current_wal_lsn()")?;
        let mut waldump = cluster.tool("pg_waldump");
        let output = waldump.arg("-p").arg(cluster.data_dir().join("pg_wal")).args(["-s", mark, "-e", &end]);
        let output = output.output().context("cannot run pg_waldump")?;
        let dump = String::from_utf8_lossy(&output.stdout).into_owned();
        ensure!(!dump.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
        let mut log = Self { dump, told: Vec::new(), parts: Vec::new(), foreign: 0 };
        let mut assembler = Assembler::new(Limits { body_bytes: usize::MAX, all_bytes: usize::MAX });
        for line in log.dump.clone().lines() {
            let complete = log.take(cluster, line, &mut assembler).with_context(|| line.to_owned())?;
            log.told.extend(complete.map(told).transpose()?);
        }
        Ok(log)
    }

    fn take(&mut self, cluster: &Cluster, line: &str, assembler: &mut Assembler) -> Result<Option<Complete>> {
        let xid: u32 = field(line, "tx:")?.parse()?;
        let lsn = position(field(line, "lsn:")?)?;
        if line.starts_with("rmgr: Transaction") {
            if line.contains("desc: COMMIT ") {
                return Ok(assembler.commit(xid, lsn));
            }
            assembler.abort(xid);
        }
        if !line.starts_with("rmgr: LogicalMessage") {
            return Ok(None);
        }
        let message = message(cluster, lsn)?;
        let Some(payload) = log_record::payload(&message) else {
            self.foreign += 1;
            return Ok(None);
        };
        ensure!(payload.len() <= MAX_PART_BYTES + PART_HEAD_BYTES, "{} bytes", payload.len());
        match log_record::decode(payload)? {
            LogRecord::Events(part) => {
                self.parts.push(part.delivery);
                Ok(assembler.part(xid, lsn, &part))
            }
            LogRecord::Mark { .. } => Ok(None),
        }
    }

    /// The data of all events, in their order.
    pub(crate) fn data(&self) -> Vec<&str> {
        self.told.iter().flat_map(|told| &told.data).map(String::as_str).collect()
    }
}

fn told(complete: Complete) -> Result<Told> {
    let Content::Events(events) = complete.content else { bail!("{complete:?}") };
    let mut told = Told { xid: complete.xid, data: Vec::new(), xid_of_events: 0 };
    for (_, record) in events.records() {
        let Record::Event { envelope, data } = decode(record)? else { bail!("not an event: {record:?}") };
        told.xid_of_events = envelope.xid.map_or(0, |xid| xid.get());
        told.data.push(data.to_owned());
    }
    Ok(told)
}

fn field<'a>(line: &'a str, name: &str) -> Result<&'a str> {
    let (_, rest) = line.split_once(name).context("no such field")?;
    Ok(rest.split(',').next().unwrap_or_default().trim())
}

fn position(text: &str) -> Result<u64> {
    let (high, low) = text.split_once('/').context("not a position")?;
    Ok(u64::from_str_radix(high, 16)? << 32 | u64::from_str_radix(low, 16)?)
}

/// The data of the logical message that begins at this position.
fn message(cluster: &Cluster, lsn: u64) -> Result<Vec<u8>> {
    let header = bytes(cluster, lsn, RECORD_HEADER_BYTES)?;
    let length = u32::from_ne_bytes(*header.first_chunk().context("no length")?) as usize;
    let record = bytes(cluster, lsn, length)?;
    let data = &record[RECORD_HEADER_BYTES..];
    // `XLR_BLOCK_ID_DATA_SHORT`, `XLR_BLOCK_ID_DATA_LONG`: there is nothing before the data.
    Ok(match data[0] {
        255 => data[2..].to_vec(),
        254 => data[5..].to_vec(),
        other => bail!("what is {other}?"),
    })
}

/// This many bytes of the log, over pages and segments, without the headers of the pages.
fn bytes(cluster: &Cluster, lsn: u64, count: usize) -> Result<Vec<u8>> {
    let mut found = Vec::new();
    let mut position = lsn;
    let mut segment = (u64::MAX, Vec::new());
    while found.len() < count {
        let number = position / SEGMENT_BYTES;
        if segment.0 != number {
            let per_file = (1 << 32) / SEGMENT_BYTES;
            let name = format!("{:08X}{:08X}{:08X}", 1, number / per_file, number % per_file);
            segment = (number, fs::read(cluster.data_dir().join("pg_wal").join(name))?);
        }
        let offset = position % SEGMENT_BYTES;
        if offset.is_multiple_of(PAGE_BYTES) {
            position += if offset == 0 { 40 } else { 24 };
            continue;
        }
        let rest_of_page = PAGE_BYTES - offset % PAGE_BYTES;
        let take = rest_of_page.min((count - found.len()) as u64);
        found.extend_from_slice(&segment.1[offset as usize..(offset + take) as usize]);
        position += take;
    }
    Ok(found)
}
