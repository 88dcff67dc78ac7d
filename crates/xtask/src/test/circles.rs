//! Checks which files of a crate, of every one in the checkout, name each other: there is no circle except
//! between a module and its own children, and the rooms of the gateway name each other in one direction only.
//!
//! A name is followed through `pub use` to the file that has the thing. A name that comes with `pub use …::*`
//! counts for the file that passes it on.
//!
//! Not for crates: between these the compiler allows no circle.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

use super::files::{everything, rust_files};
use super::imports::{Imports, Named, imports};

/// Circles that are right as they are.
const ALLOWED: [(&str, &[&str]); 2] = [
    // The constructors of both sides stand beside the unsafe code, and nowhere else: the wall around it is
    // worth more.
    ("crates/ring/src", &["consumer", "producer", "region"]),
    // The builder starts clusters, and a cluster hands out builders.
    ("pg_test/cluster/src", &["builder", "cluster"]),
];

const GATEWAY: &str = "crates/gateway/src";

/// The rooms of the gateway and the files beside them, from the top down: each may name those below it, and
/// only these.
const ROOMS: [&str; 26] = [
    "fuzzing",
    "gateway",
    "admin",
    "shard",
    "door",
    "router",
    "call",
    "stream",
    "asked",
    "refusals",
    "supervise",
    "priority",
    "shared",
    "settings",
    "auth",
    "tls",
    "entry",
    "content",
    "watched_file",
    "between",
    "room",
    "network",
    "bell",
    "stats",
    "measures",
    "fault",
];

/// `["call", "queue"]`; empty for `lib.rs`.
type Module = Vec<String>;

/// Which module names which.
type Arrows = BTreeMap<Module, BTreeSet<Module>>;

/// Every violation, one line each.
pub(crate) fn violations(root: &Path) -> Result<Vec<String>> {
    let mut found = Vec::new();
    for folder in crates(root)? {
        let mut files = BTreeMap::new();
        for file in rust_files(&root.join(&folder))? {
            let name = file.strip_prefix(root.join(&folder))?.to_string_lossy().into_owned();
            let text = fs::read_to_string(&file).with_context(|| file.display().to_string())?;
            files.insert(name, text);
        }
        let arrows = arrows(&files).with_context(|| folder.clone())?;
        let allowed = ALLOWED.iter().find(|(of, _)| *of == folder).map_or(&[][..], |(_, files)| files);
        for circle in circles(&arrows) {
            let names: Vec<_> = circle.iter().map(|module| module.join("/")).collect();
            if !names.iter().all(|name| allowed.contains(&name.as_str())) {
                found.push(format!("{folder}: a circle of {}", names.join(", ")));
            }
        }
        if folder == GATEWAY {
            found.extend(upward(&arrows, &ROOMS).into_iter().map(|line| format!("{folder}: {line}")));
        }
    }
    Ok(found)
}

/// The folder `src` of every crate: of this workspace, and of those that are apart.
fn crates(root: &Path) -> Result<Vec<String>> {
    let manifests = everything(root)?.into_iter().filter(|path| path.ends_with("Cargo.toml"));
    let folders = manifests.map(|manifest| manifest.with_file_name("src")).filter(|folder| folder.is_dir());
    folders.map(|folder| Ok(folder.strip_prefix(root)?.to_string_lossy().into_owned())).collect()
}

/// Reads the files of a crate, named from its `src/` on.
fn arrows(files: &BTreeMap<String, String>) -> Result<Arrows> {
    let read =
        |(name, text): (&String, &String)| Ok((module(name), imports(text).with_context(|| name.clone())?));
    let mut modules: BTreeMap<Module, Imports> = files.iter().map(read).collect::<Result<_>>()?;
    let tests: Vec<Module> = modules
        .iter()
        .flat_map(|(module, found)| found.test_modules.iter().map(|name| child(module, name)))
        .collect();
    modules.retain(|module, _| !tests.iter().any(|test| module.starts_with(test)));
    let tree = Tree(modules);
    Ok(tree.0.keys().map(|module| (module.clone(), tree.named_by(module))).collect())
}

fn module(file: &str) -> Module {
    let name = file.strip_suffix(".rs").unwrap_or(file);
    let mut module: Module = name.split('/').map(str::to_owned).collect();
    if module.last().is_some_and(|last| last == "mod") || matches!(name, "lib" | "main") {
        module.pop();
    }
    module
}

fn child(module: &[String], name: &str) -> Module {
    module.iter().cloned().chain([name.to_owned()]).collect()
}

/// The files of a crate by their modules.
struct Tree(BTreeMap<Module, Imports>);

impl Tree {
    fn named_by(&self, module: &Module) -> BTreeSet<Module> {
        let found = &self.0[module];
        let mut named = BTreeSet::new();
        // Where a name stands for a module, what is used through it counts, not the import.
        let mut aliases = BTreeMap::new();
        for import in &found.uses {
            let Some(path) = self.absolute(module, &import.named) else { continue };
            let (file, rest) = self.resolve(path, 0);
            match &import.alias {
                Some(alias) if rest.is_empty() => drop(aliases.insert(alias.as_str(), file)),
                _ => drop(named.insert(file)),
            }
        }
        for path in &found.paths {
            let absolute = self.absolute(module, path).or_else(|| {
                let file = aliases.get(path.path[0].as_str())?;
                Some(file.iter().chain(&path.path[1..]).cloned().collect())
            });
            named.extend(absolute.map(|path| self.resolve(path, 0).0));
        }
        named.remove(module);
        named
    }

    /// A path from the crate's root; `None` for one that begins with another crate or with an item of the
    /// file.
    fn absolute(&self, module: &Module, named: &Named) -> Option<Vec<String>> {
        let mut base: Vec<String> = module.iter().chain(&named.inside).cloned().collect();
        let mut path = &named.path[..];
        if path[0] == "crate" {
            return Some(path[1..].to_vec());
        }
        let is_relative = matches!(path[0].as_str(), "self" | "super");
        if !is_relative && !self.0.contains_key(&child(&base, &path[0])) {
            return None;
        }
        while let Some((first, rest)) = path.split_first()
            && matches!(first.as_str(), "self" | "super")
        {
            if first == "super" {
                base.pop();
            }
            path = rest;
        }
        base.extend_from_slice(path);
        Some(base)
    }

    /// The file that has what a path names, and which part of the path is inside it.
    fn resolve(&self, path: Vec<String>, depth: usize) -> (Module, Vec<String>) {
        let is_file = |len: &usize| self.0.contains_key(&path[..*len]);
        let len = (0..=path.len()).rev().find(is_file).unwrap_or(0);
        let (file, rest) = (path[..len].to_vec(), path[len..].to_vec());
        if let (Some(name), Some(found)) = (rest.first(), self.0.get(&file))
            // More steps than this would be a circle of their own.
            && depth < 8
        {
            let passed_on =
                found.uses.iter().find(|import| import.is_public && import.alias.as_ref() == Some(name));
            if let Some(mut path) = passed_on.and_then(|import| self.absolute(&file, &import.named)) {
                path.extend_from_slice(&rest[1..]);
                return self.resolve(path, depth + 1);
            }
        }
        (file, rest)
    }
}

/// Groups of files that lead to each other. A module and what is inside it may do so: the module is taken
/// out, and the others are looked at again.
fn circles(arrows: &Arrows) -> Vec<Vec<Module>> {
    let mut found = Vec::new();
    let mut left: BTreeSet<&Module> = arrows.keys().collect();
    let reach: BTreeMap<&Module, BTreeSet<&Module>> =
        left.iter().map(|module| (*module, reach(arrows, module))).collect();
    while let Some(first) = left.pop_first() {
        let leads_back = |other: &&Module| reach[first].contains(other) && reach[*other].contains(first);
        let mut circle: Vec<&Module> = left.iter().copied().filter(leads_back).collect();
        left.retain(|module| !circle.contains(module));
        if circle.is_empty() {
            continue;
        }
        circle.insert(0, first);
        // In this order a module comes before what is inside it.
        if circle.iter().all(|module| module.starts_with(first)) {
            let within: Arrows =
                circle[1..].iter().map(|module| ((*module).clone(), arrows[*module].clone())).collect();
            found.extend(circles(&within));
        } else {
            found.push(circle.into_iter().cloned().collect());
        }
    }
    found
}

/// Everything that is named from here, directly or not.
fn reach<'a>(arrows: &'a Arrows, from: &Module) -> BTreeSet<&'a Module> {
    let mut found = BTreeSet::new();
    let mut next: Vec<&Module> = arrows[from].iter().collect();
    while let Some(module) = next.pop() {
        if let Some(named) = arrows.get(module)
            && found.insert(module)
        {
            next.extend(named);
        }
    }
    found
}

/// Arrows against the order from the top down, and modules that have no place in it. `lib.rs` is above all.
fn upward(arrows: &Arrows, order: &[&str]) -> Vec<String> {
    let place =
        |module: &Module| order.iter().position(|name| module.first().is_some_and(|first| first == name));
    let mut found = Vec::new();
    for (from, named) in arrows.iter().filter(|(from, _)| !from.is_empty()) {
        let Some(own) = place(from) else {
            found.push(format!("{} has no place in the order of its rooms", from.join("/")));
            continue;
        };
        for to in named.iter().filter(|to| place(to).is_none_or(|other| other < own)) {
            found.push(format!("{} names {}, which is above it", from.join("/"), to.join("/")));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn every_crate_is_looked_at_and_so_are_its_rooms_and_exceptions() {
        let found = crates(cluster::workspace_root()).unwrap();
        for folder in ["src", "crates/client/src", "pg_test/bench/src", "pg_test/rust_interop/src", GATEWAY] {
            assert!(found.iter().any(|found| found == folder), "{folder}: {found:?}");
        }
        assert!(ALLOWED.iter().all(|(folder, _)| found.iter().any(|found| found == folder)));
    }

    fn read(files: &[(&str, &str)]) -> Arrows {
        let files = files.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned()));
        arrows(&files.collect()).unwrap()
    }

    fn found(files: &[(&str, &str)]) -> Vec<String> {
        let told =
            |circle: &Vec<Module>| circle.iter().map(|module| module.join("/")).collect::<Vec<_>>().join(" ");
        circles(&read(files)).iter().map(told).collect()
    }

    #[test]
    fn a_circle_is_found_however_it_is_written() {
        let back = "use crate::a::A;";
        for there in [
            "use crate::b::B;",
            "use crate::{c, b::{self, B}}; fn f() { b::g() }",
            "use super::b::B;",
            "fn f() { crate::b::g() }",
            "fn f() { super::b::g() }",
            "use crate::b as other; fn f() { other::g() }",
            "use crate::b::*;",
            "use crate::B;",
            "mod m { use super::super::b::B; }",
        ] {
            let files = [
                ("lib.rs", "mod a; mod b; mod c; pub use b::B;"),
                ("a.rs", there),
                ("b.rs", back),
                ("c.rs", ""),
            ];
            assert_eq!(found(&files), ["a b"], "{there}");
        }
    }

    #[test]
    fn one_way_is_no_circle() {
        for there in [
            "",
            "use std::b::B;",
            "// crate::b::B",
            "use crate::b;",
            "#[cfg(test)] mod tests { use crate::b::B; }",
        ] {
            assert!(
                found(&[("lib.rs", ""), ("a.rs", there), ("b.rs", "use crate::a::A;")]).is_empty(),
                "{there}"
            );
        }
        let tests = [
            ("a.rs", "#[cfg(test)] mod tests;"),
            ("a/tests.rs", "use crate::b::B;"),
            ("b.rs", "use crate::a::A;"),
        ];
        assert!(found(&tests).is_empty());
    }

    #[test]
    fn a_module_and_its_children_may_name_each_other() {
        let parent = ("a/mod.rs", "mod x; mod y; use x::X;");
        assert!(found(&[parent, ("a/x.rs", "use super::A;"), ("a/y.rs", "use super::x::X;")]).is_empty());
    }

    #[test]
    fn children_may_not_name_each_other_in_a_circle() {
        let files =
            [("a.rs", "use x::X;"), ("a/x.rs", "use super::{A, y::Y};"), ("a/y.rs", "use super::x::X;")];
        assert_eq!(found(&files), ["a/x a/y"]);
    }

    #[test]
    fn a_circle_that_leaves_a_module_and_comes_back_is_one() {
        let files = [("a.rs", "use x::X;"), ("a/x.rs", "use crate::b::B;"), ("b.rs", "use crate::a::A;")];
        assert_eq!(found(&files), ["a a/x b"]);
    }

    #[test]
    fn a_name_counts_for_the_file_that_has_the_thing() {
        let passes_on = ("a/mod.rs", "pub(crate) use x::X; use crate::b::B;");
        assert!(found(&[passes_on, ("a/x.rs", ""), ("b.rs", "use crate::a::X;")]).is_empty());
        assert_eq!(found(&[passes_on, ("a/x.rs", ""), ("b.rs", "use crate::a::A;")]), ["a b"]);
    }

    #[test]
    fn an_arrow_up_is_found_and_so_is_a_file_without_a_place() {
        let arrows = read(&[
            ("lib.rs", "pub use low::L;"),
            ("high/mod.rs", "use crate::low::L;"),
            ("low.rs", ""),
            ("low/x.rs", "use crate::high::H;"),
            ("new.rs", ""),
        ]);
        assert_eq!(
            upward(&arrows, &["high", "low"]),
            ["low/x names high, which is above it", "new has no place in the order of its rooms"]
        );
        assert_eq!(upward(&arrows, &["new", "low", "high"]), ["high names low, which is above it"]);
    }
}
