//! `docs/typescript.md`: each block of TypeScript is a whole file, and compiles against the client that the
//! server makes of the SQL of the documentation, and against the npm package.
//!
//! Not for the SQL and the commands of the page (pages.rs), nor for docs/javascript.md
//! (clients/js/test/units/snippets.test.ts).

mod common;

use std::fs;

use anyhow::{Result, ensure};
use cluster::{has_node, node_package, skip, workspace_root};
use common::calls;
use common::node;
use common::recipe::{block, run};

#[test]
fn every_block_of_the_page_of_typescript_compiles_against_the_client_of_its_sql() -> Result<()> {
    if !has_node() {
        return skip(env!("CARGO_CRATE_NAME"), "Node with npm");
    }
    let cluster = calls::start(calls::builder())?;
    // Its own, and what it shows of other pages.
    for page in ["../typescript.md", "../javascript.md", "../long-calls.md"] {
        run(&cluster, &block(page, "sql", 0)?)?;
    }
    let package = node_package("clients/js")?;
    let folder = package.join("test/page");
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(&folder)?;
    fs::write(folder.join("client.ts"), cluster.sql("select sse.typescript_client()")?)?;
    fs::write(
        folder.join("tsconfig.json"),
        r#"{ "extends": "../tsconfig.json", "include": ["."], "exclude": [],
             "compilerOptions": { "allowImportingTsExtensions": true, "noUnusedLocals": false } }"#,
    )?;
    let page = fs::read_to_string(workspace_root().join("docs/typescript.md"))?;
    let blocks = page.matches("\n```ts\n").count();
    ensure!(blocks >= 4, "{blocks} blocks");
    for index in 0..blocks {
        let text = block("../typescript.md", "ts", index)?;
        fs::write(folder.join(format!("block{index}.ts")), format!("{text}\nexport {{}};\n"))?;
    }
    // The package as it is published, which the blocks import.
    for project in [".", "test/page"] {
        node::run(&package, &["node_modules/typescript/bin/tsc", "-p", project])?;
    }
    Ok(())
}
