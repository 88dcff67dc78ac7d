//! `contrib/`: the alert rules and the dashboard are right, by the public tools, and by a Prometheus that
//! scrapes a server.
//!
//! Not for what the figures mean: docs/metrics.md, and `admin_metrics.rs`.

mod common;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result, ensure};
use cluster::http::Client;
use cluster::{find_program, lasting_port, skip, wait_for, workspace_root};
use common::admin::{Admin, open};
use common::calls::Api;
use common::{Corner, SOON, calls};
use serde_json::Value;

fn contrib(file: &str) -> PathBuf {
    workspace_root().join("contrib").join(file)
}

/// Whether the tool is there; else the test is skipped.
fn has(program: &str) -> Result<bool> {
    let found = find_program(program).is_some();
    if !found {
        skip("admin_rules", &format!("{program} (Debian's package prometheus)"))?;
    }
    Ok(found)
}

fn promtool(arguments: &[&str], folder: &Path) -> Result<String> {
    let output = Command::new("promtool").args(arguments).current_dir(folder).output()?;
    let text =
        String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{arguments:?}: {text}");
    Ok(text)
}

/// Every expression of the rules and of the dashboard, with where it is from.
fn expressions() -> Result<Vec<(String, String)>> {
    let mut found = Vec::new();
    let rules = fs::read_to_string(contrib("prometheus/pg_sse.rules.yml"))?;
    let mut lines = rules.lines().map(str::trim).peekable();
    let mut alert = "";
    while let Some(line) = lines.next() {
        alert = line.strip_prefix("- alert: ").unwrap_or(alert);
        let Some(first) = line.strip_prefix("expr: ") else { continue };
        let mut expression = first.trim_start_matches('>').to_owned();
        while let Some(more) =
            lines.next_if(|more| first == ">" && !more.starts_with("for:") && !more.starts_with("labels:"))
        {
            expression = format!("{expression} {more}");
        }
        found.push((alert.to_owned(), expression.trim().to_owned()));
    }
    let dashboard: Value = serde_json::from_str(&fs::read_to_string(contrib("grafana/pg_sse.json"))?)?;
    for panel in dashboard["panels"].as_array().context("no panels")? {
        for target in panel["targets"].as_array().into_iter().flatten() {
            let expression = target["expr"].as_str().context("no expr")?;
            found.push((
                panel["title"].to_string(),
                expression.replace("$__rate_interval", "5s").replace("$instance", ".*"),
            ));
        }
    }
    Ok(found)
}

#[test]
fn the_rules_are_valid_and_their_own_tests_pass() -> Result<()> {
    if !has("promtool")? {
        return Ok(());
    }
    let folder = contrib("prometheus");
    promtool(&["check", "rules", "pg_sse.rules.yml"], &folder)?;
    promtool(&["test", "rules", "pg_sse.rules.test.yml"], &folder).map(drop)
}

#[test]
fn every_alert_is_explained_and_fires_in_a_test() -> Result<()> {
    let tests = fs::read_to_string(contrib("prometheus/pg_sse.rules.test.yml"))?;
    let documentation = include_str!("../../docs/metrics.md");
    let rules = fs::read_to_string(contrib("prometheus/pg_sse.rules.yml"))?;
    let alerts: Vec<&str> = rules.lines().filter_map(|line| line.trim().strip_prefix("- alert: ")).collect();
    ensure!(alerts.len() > 10, "{alerts:?}");
    for alert in &alerts {
        ensure!(
            documentation.contains(&format!("\n### {alert}\n")),
            "{alert} is not explained in docs/metrics.md"
        );
        let fires = format!("alertname: {alert}\n        exp_alerts:");
        ensure!(tests.contains(&fires), "{alert} fires in no test of pg_sse.rules.test.yml");
    }
    let headings = documentation.lines().filter_map(|line| line.strip_prefix("### PgSse"));
    assert_eq!(headings.count(), alerts.len(), "a heading without an alert");
    Ok(())
}

/// A server with everything in its figures: events, streams, calls, a snapshot that fails.
fn busy() -> Result<Admin> {
    // Whose reader of the log has figures, too.
    let admin = open(calls::builder().setting("sse.durability", "wal"), calls::start)?;
    let api = Api::of(&admin.cluster, "busy")?;
    api.sql(
        "create function add(a int) returns int language sql as 'select a + 1';
         comment on function add(int) is 'HTTP POST'",
    )?;
    Ok(admin)
}

/// Something happens.
fn act(admin: &Admin, corner: &Corner<'_>) -> Result<()> {
    corner.sql("select f(n::text) from generate_series(1, 3) n")?;
    admin.cluster.http()?.request(
        &cluster::http::Request::new("POST", "/api/busy/add").json(&serde_json::json!({ "a": 1 })),
    )?;
    Ok(())
}

#[test]
fn a_scrape_passes_promtool_and_has_every_metric_that_rules_and_dashboard_name() -> Result<()> {
    if !has("promtool")? {
        return Ok(());
    }
    let admin = busy()?;
    let corner = Corner::of(&admin.cluster, "corner")?;
    corner.announcer("f", "@sse")?;
    let _stream = corner.stream("f/info")?;
    act(&admin, &corner)?;
    let text = wait_for(SOON, "the call is in the scrape", || {
        let text = admin.http.get("/metrics")?.text();
        Ok(text.contains("pg_sse_call_duration_seconds_count").then_some(text))
    })?;
    let mut check = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    std::io::Write::write_all(&mut check.stdin.take().context("stdin")?, text.as_bytes())?;
    let output = check.wait_with_output()?;
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    ensure!(output.status.success(), "promtool: {told}");
    let samples: BTreeSet<&str> = text
        .lines()
        .filter(|line| !line.starts_with('#'))
        .filter_map(|line| line.split([' ', '{']).next())
        .collect();
    for (place, expression) in expressions()? {
        let is_of_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
        for name in expression.split(|c| !is_of_name(c)).filter(|word| word.starts_with("pg_sse_")) {
            ensure!(samples.contains(name), "{place}: {name} is in no scrape");
        }
    }
    Ok(())
}

/// A Prometheus that ends with the test.
struct Prometheus {
    child: Child,
    http: Client,
    _folder: tempfile::TempDir,
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Prometheus {
    fn watch(port: u16) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let rules = contrib("prometheus/pg_sse.rules.yml");
        let config = format!(
            "global: {{ scrape_interval: 1s, evaluation_interval: 1s }}\nrule_files: [{}]\n\
             scrape_configs: [{{ job_name: pg_sse, static_configs: [{{ targets: ['127.0.0.1:{port}'] }}] }}]\n",
            rules.display()
        );
        let file = folder.path().join("prometheus.yml");
        fs::write(&file, config)?;
        let own = lasting_port()?;
        let child = Command::new("prometheus")
            .arg(format!("--config.file={}", file.display()))
            .arg(format!("--storage.tsdb.path={}", folder.path().join("data").display()))
            .arg(format!("--web.listen-address=127.0.0.1:{own}"))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;
        Ok(Self { child, http: Client::new(own), _folder: folder })
    }

    fn query(&self, expression: &str) -> Result<Value> {
        let escaped: String = expression.bytes().map(|byte| format!("%{byte:02x}")).collect();
        self.http.get(&format!("/api/v1/query?query={escaped}"))?.json()
    }

    /// When the rules were evaluated last.
    fn evaluated(&self) -> Result<String> {
        let rules = self.http.get("/api/v1/rules")?.json()?;
        Ok(rules["data"]["groups"][0]["lastEvaluation"].to_string())
    }
}

#[test]
fn a_prometheus_scrapes_it_and_every_expression_of_rules_and_dashboard_evaluates() -> Result<()> {
    if !has("prometheus")? {
        return Ok(());
    }
    let admin = busy()?;
    let corner = Corner::of(&admin.cluster, "watched")?;
    corner.announcer("f", "@sse")?;
    let _stream = corner.stream("f/info")?;
    let prometheus = Prometheus::watch(admin.port)?;
    wait_for(SOON * 6, "the target is up, and its calls are there at two times", || {
        act(&admin, &corner)?;
        let found = prometheus.query("rate(pg_sse_call_duration_seconds_count[30s]) > 0");
        Ok(found
            .ok()
            .filter(|found| found["data"]["result"].as_array().is_some_and(|rows| !rows.is_empty()))
            .map(drop))
    })?;
    for (place, expression) in expressions()? {
        // Rates need two scrapes within their time.
        let expression = expression.replace("[5s]", "[30s]");
        let answer = prometheus.query(&expression)?;
        ensure!(answer["status"] == "success", "{place}: {expression}: {answer}");
        let is_of_dashboard = place.starts_with('"');
        let rows = answer["data"]["result"].as_array().map_or(0, Vec::len);
        ensure!(!is_of_dashboard || rows > 0, "{place} shows nothing: {expression}");
    }
    // What was asked for above was there; the rules have to look at it.
    for _ in 0..2 {
        let last = prometheus.evaluated()?;
        wait_for(SOON, "the rules are evaluated again", || {
            Ok((prometheus.evaluated()? != last).then_some(()))
        })?;
    }
    let alerts = prometheus.http.get("/api/v1/alerts")?.json()?;
    assert_eq!(alerts["data"]["alerts"], serde_json::json!([]), "a server that is well alerts nobody");
    Ok(())
}
