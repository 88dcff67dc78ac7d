//! `cargo xtask administrator`: from an empty Debian to a page that is live over HTTPS, a clean scrape, and
//! an upgrade, as docs/debian.md says it. What an administrator types are the blocks of that page, in its
//! order; what is looked at from outside is here.
//!
//! Two stories in one system. The first goes down the page; its upgrade is to another package of the same
//! code, which tells whether the page is live again over HTTPS. The second has the version before in use, and
//! is upgraded by the same commands: that version has no HTTPS, so it gets it afterwards.
//!
//! Not for a package alone: root.rs.

use std::fs;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use cluster::{Account, Scratch, node, node_package, workspace_root};

use super::payload::Payload;
use super::system::{self, Empty};
use super::{VERSION, deb, folder};
use crate::docs::Page;
use crate::packages::{self, Purpose};
use crate::postgres;

const PAGE: &str = "docs/debian.md";

/// What the issue of this command promised to administrators.
const PROMISED: Duration = Duration::from_secs(30 * 60);

/// The revision of the package that the first story upgrades to.
const NEXT: &str = "2";

enum Step {
    /// The commands under this heading of the page.
    Do(&'static str),
    /// What somebody else does or looks at: what, and how.
    Look(&'static str, &'static str),
    /// From now on the page's `DEB` is the package of this revision.
    Have(&'static str),
}

use Step::{Do, Have, Look};

/// The heading of the page's names.
const NAMES: &str = "from-an-empty-debian-to-https";

const STORIES: &[Step] = &[
    Have(deb::REVISION),
    Do("install"),
    Do("certificate"),
    Do("settings"),
    Do("application"),
    Do("is-it-live"),
    Look("the page, its script, and what is not HTTPS", PAGE_IS_SERVED),
    Look("an event arrives over HTTPS, and one from the button in two windows of Chromium", LISTEN_AND_COUNT),
    Do("watch-it"),
    Look("ready, and a scrape that promtool finds clean", SCRAPE),
    Have(NEXT),
    Do("upgrade"),
    Look("listener and windows have come back, and the next events arrive", COUNT_ON),
    Do("remove"),
    Look("nothing of it is left, and the server runs", IS_GONE),
    Look("the version before is in use", OLD_IN_USE),
    Have(deb::REVISION),
    Do("upgrade"),
    Look("it is upgraded, and its listener has come back", OLD_UPGRADED),
    Do("settings"),
    Look("it has HTTPS now, and the page is live", NOW_HTTPS),
];

/// `$root` is the system, `$version` and `$before` are ours and the one before.
const TOOLS: &str = r#"
    set -E
    trap 'echo "failed: $BASH_COMMAND"' ERR
    events=$root/tmp/events ca=$root/etc/postgresql/tls/ca.crt site=https://$NAME:8443
    began=$(date +%s)
    step() { echo "== $(($(date +%s) - began)) s: $1"; }
    query() { chroot "$root" runuser -u postgres -- psql -d app -XAtqc "$1"; }
    fetch() { curl -sS --fail --cacert "$ca" --resolve "$NAME:8443:127.0.0.1" "$@"; }
    # Comes back whenever the stream ends, as a browser does.
    follow() { : > "$events"; (while :; do "$@" >> "$events" 2> /dev/null || :; sleep 0.3; done) & follower=$!; }
    leave() { kill $follower; : > "$events"; }
    eventually() {
        tries=0
        until eval "$1"; do
            tries=$((tries + 1))
            [ $tries -lt 240 ] || { echo "in vain: $1"; cat "$events" "$root"/tmp/browser "$root"/var/log/postgresql/*.log; exit 1; }
            sleep 0.5
        done
    }
    # One more, and whoever listens gets it.
    count() {
        fetch -o /dev/null -X POST -H 'Content-Type: application/json' -d '{}' "$site/api/counter/increment"
        now=$(query 'SELECT n FROM counter.counter')
        [ "$now" = "$1" ] || { echo "the counter is $now"; exit 1; }
        eventually "grep -q '^data: $now\$' '$events'"
    }
"#;

const PAGE_IS_SERVED: &str = r#"
    fetch "$site/" | grep -q '<script type="module" src="counter.js">'
    fetch "$site/counter.js" | grep -q EventSource
    # Nobody trusts the authority who was not told to.
    if curl -sS --resolve "$NAME:8443:127.0.0.1" "$site/healthz"; then echo "it is trusted"; exit 1; fi
    curl -sS "http://127.0.0.1:8443/healthz" -o /dev/null -w '%{http_code}' | grep -q 400
"#;

const LISTEN_AND_COUNT: &str = r#"
    follow fetch -N "$site/api/counter/changed/info"
    eventually "grep -q '^data: 0\$' '$events'"
    count 1
    key=$(openssl x509 -in "$root/etc/postgresql/tls/site.crt" -noout -pubkey \
        | openssl pkey -pubin -outform der | openssl dgst -sha256 -binary | base64)
    "$node" "$browsers/live.mjs" "$site/" "$key" "$root/tmp" > "$root/tmp/browser" 2>&1 &
    eventually '[ -e "$root/tmp/windows-are-live" ]'
    eventually "grep -q '^data: 2\$' '$events'"
"#;

const COUNT_ON: &str = r#"
    dpkg-query --admindir="$root/var/lib/dpkg" -W -f '${Version}' "postgresql-$PG-pg-sse" | grep -q -- '-2$'
    eventually "[ \"\$(grep -c 'event: sse.ready' '$events')\" -ge 2 ]"
    touch "$root/tmp/upgraded"
    eventually '[ -e "$root/tmp/windows-came-back" ]'
    count 4
    leave
"#;

const SCRAPE: &str = r#"
    curl -sS --fail http://127.0.0.1:9187/readyz | grep -q '"ok":true'
    curl -sS --fail http://127.0.0.1:9187/metrics > "$root/tmp/scrape"
    grep -q '^pg_sse_subscribers_open 3' "$root/tmp/scrape"
    for scrape in "$root/tmp/scrape" "$root/tmp/metrics"; do promtool check metrics < "$scrape"; done
"#;

const IS_GONE: &str = r#"
    [ ! -e "$root/usr/lib/postgresql/$PG/lib/pg_sse.so" ]
    if curl -s http://127.0.0.1:9187/livez; then echo "somebody answers"; exit 1; fi
    query 'SELECT n FROM counter.counter' | grep -q '^4$'
"#;

const OLD_IN_USE: &str = r#"
    chroot "$root" apt-get install --yes "/srv/packages/before.deb"
    printf '%s\n' "shared_preload_libraries = 'pg_sse'" "sse.database = 'app'" > "$root/etc/postgresql/$PG/main/conf.d/pg_sse.conf"
    chroot "$root" runuser -u postgres -- dropdb app
    chroot "$root" runuser -u postgres -- createdb app
    chroot "$root" pg_ctlcluster "$PG" main restart
    query 'CREATE EXTENSION pg_sse'
    query "SELECT extversion FROM pg_extension WHERE extname = 'pg_sse'" | grep -qx "$before"
    query "CREATE FUNCTION hello(t text) RETURNS void LANGUAGE plpgsql AS 'BEGIN RAISE INFO ''%'', t; END'"
    query "COMMENT ON FUNCTION hello(text) IS '@sse'"
    follow curl -sN http://127.0.0.1:8080/api/hello/info
    eventually "grep -q 'event: sse.ready' '$events'"
    query "SELECT hello('before')"
    eventually "grep -q '^data: before' '$events'"
    : > "$events"
"#;

const OLD_UPGRADED: &str = r#"
    query "SELECT extversion FROM pg_extension WHERE extname = 'pg_sse'" | grep -qx "$version"
    eventually "grep -q 'event: sse.ready' '$events'"
    query "SELECT hello('after')"
    eventually "grep -q '^data: after' '$events'"
    leave
"#;

const NOW_HTTPS: &str = r#"
    chroot "$root" runuser -u postgres -- psql -d app -f /srv/counter/setup.sql
    eventually 'fetch "$site/healthz" > /dev/null 2>&1'
    follow fetch -N "$site/api/counter/changed/info"
    eventually "grep -q '^data: 0\$' '$events'"
    count 1
    eventually 'curl -sS --fail http://127.0.0.1:9187/readyz > "$root/tmp/ready"'
    leave
"#;

/// Runs beside the new system: `$1` is the folder of packages, `$2` the package of the first step, `$3`
/// what is done without a network. Everything from the archive is fetched before: then the default ports
/// are free whatever this machine runs.
const FETCH: &str = r#"
    mkdir -p "$root/srv/packages"
    cp "$1"/*.deb "$root/srv/packages"
    echo 'Acquire::Retries "0";' > "$root/etc/apt/apt.conf.d/99no-network-soon"
    chroot "$root" apt-get update
    chroot "$root" apt-get install --yes --download-only curl "/srv/packages/$2"
    exec unshare --net /bin/bash -eo pipefail -c "root=$root; ip link set lo up; cd /; $3"
"#;

/// Makes the packages and goes through both stories.
///
/// # Errors
/// A command of the page fails, or what it promises is not so: all that was printed is in the message.
pub(crate) fn run(major: u32) -> Result<()> {
    let release = system::release_of(major).with_context(|| format!("no release of Debian has {major}"))?;
    packages::ensure(None, Purpose::Test)?;
    let pg = postgres::headers(major)?;
    let made = Scratch::create(&Account::for_servers()?)?;
    let payload = Payload::build(&pg)?;
    let first = deb::make(&payload, deb::REVISION, &folder()?)?;
    let file = first.file_name().context("no name")?;
    fs::copy(&first, made.path().join(file))?;
    deb::make(&payload, NEXT, made.path())?;
    let before = Payload::before(&pg)?;
    fs::rename(deb::make(&before, deb::REVISION, made.path())?, made.path().join("before.deb"))?;
    let page = Page::read(&fs::read_to_string(workspace_root().join(PAGE))?);
    let node = node()?;
    let node = node.get_program().to_string_lossy();
    let browsers = node_package("pg_test/browsers")?;
    let walk = format!(
        "version={VERSION} before={} node='{node}' browsers='{}'\n{}",
        before.version,
        browsers.display(),
        walk(&page, major)?
    );
    let began = Instant::now();
    let title = format!("from an empty {release} to HTTPS");
    let done = Empty::of(release)?.run(&title, FETCH, &[made.path().as_os_str(), file, walk.as_ref()])?;
    let took = began.elapsed();
    for line in done.lines.iter().filter(|line| line.starts_with("== ")) {
        println!("  {}", line.trim_start_matches("== "));
    }
    println!("  all of it, with the empty system, and without the builds: {} s", took.as_secs());
    ensure!(took < PROMISED, "that is more than half an hour");
    Ok(())
}

/// One script of bash.
fn walk(page: &Page, major: u32) -> Result<String> {
    let commands = |under: &str| -> Result<String> {
        let blocks = page.blocks.iter().filter(|block| block.info == "sh" && block.under == under);
        let text: String = blocks.map(|block| block.text.as_str()).collect();
        ensure!(!text.is_empty(), "{PAGE} has no commands under #{under}");
        Ok(text)
    };
    for block in page.blocks.iter().filter(|block| block.info == "sh") {
        let is_run = |step: &Step| matches!(step, Do(under) if *under == block.under);
        ensure!(
            block.under == NAMES || STORIES.iter().any(is_run),
            "{PAGE}:{}: no story does it",
            block.line
        );
    }
    let names = commands(NAMES)?.replace("PG=15", &format!("PG={major}"));
    let file = format!("_{VERSION}-{}_", deb::REVISION);
    ensure!(names.contains(&file) && names.contains(&format!("PG={major} ")), "{PAGE} names another package");
    let mut walk = format!("{names}{TOOLS}");
    let mut names = names.clone();
    for step in STORIES {
        match step {
            Have(revision) => {
                names = commands(NAMES)?
                    .replace("PG=15", &format!("PG={major}"))
                    .replace(&file, &format!("_{VERSION}-{revision}_"));
            }
            Do(under) => walk.push_str(&format!(
                "step '{PAGE}#{under}'\ncat > \"$root/tmp/commands\" <<'END OF BLOCK'\ncd /srv/packages\n{names}{}END OF BLOCK\n\
                 chroot \"$root\" /bin/bash -eux /tmp/commands\n",
                commands(under)?
            )),
            Look(what, how) => walk.push_str(&format!("step '{what}'{how}")),
        }
    }
    walk.push_str("step 'the end'\n");
    Ok(walk)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::process::Command;

    use super::*;

    #[test]
    fn every_command_of_the_page_is_in_a_story_and_all_of_it_is_shell() {
        let page = Page::read(&fs::read_to_string(workspace_root().join(PAGE)).unwrap());
        for major in [15, 17] {
            let walk = walk(&page, major).unwrap();
            assert!(walk.contains(&format!("PG={major} ")), "{walk}");
            let checked = Command::new("/bin/bash").args(["-n", "-c", &walk]).status().unwrap();
            assert!(checked.success(), "{walk}");
        }
    }
}
