//! A folder of `examples/`, and what its files say.
//!
//! Not for running it: running.rs.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use cluster::workspace_root;

/// What of a folder is for browsers, by the end of its name.
const PAGE: [&str; 5] = ["html", "css", "js", "svg", "png"];

/// Somebody who can log in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    /// The name.
    pub name: String,
    /// The password.
    pub password: String,
    /// What to know of this user; often empty.
    pub note: String,
}

/// One of the applications.
#[derive(Clone, Debug)]
pub struct Example {
    name: String,
    folder: PathBuf,
}

impl Example {
    /// All of them, by name.
    pub fn all() -> Result<Vec<Self>> {
        let mut found = Vec::new();
        for entry in fs::read_dir(root()).context("examples/")? {
            let folder = entry?.path();
            if let Some(name) = folder.file_name().and_then(|name| name.to_str())
                && folder.join("setup.sql").is_file()
            {
                found.push(Self { name: name.to_owned(), folder });
            }
        }
        found.sort_by(|one, other| one.name.cmp(&other.name));
        Ok(found)
    }

    /// The one of this name.
    ///
    /// # Errors
    /// There is none; the message has the names that there are.
    pub fn named(name: &str) -> Result<Self> {
        let all = Self::all()?;
        let names: Vec<&str> = all.iter().map(Self::name).collect();
        let message = format!("there is no example {name:?}, but {}", names.join(", "));
        all.iter().find(|example| example.name == name).cloned().context(message)
    }

    /// Its name, which is its folder's.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Where it is.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Who can log in.
    ///
    /// # Errors
    /// The file cannot be read, or a line of it has no password.
    pub fn users(&self) -> Result<Vec<User>> {
        self.lines("users")?.iter().map(|line| user(line)).collect()
    }

    /// What postgresql.conf needs for it: names and values.
    ///
    /// # Errors
    /// The file cannot be read, or a line of it is no setting.
    pub fn settings(&self) -> Result<Vec<(String, String)>> {
        self.lines("settings.conf")?.iter().map(|line| setting(line)).collect()
    }

    /// Whether the page imports the npm package, so that it takes Node to make the page.
    pub fn uses_package(&self) -> Result<bool> {
        if self.is_built() {
            return Ok(true);
        }
        let page = fs::read_to_string(self.folder.join("index.html"))
            .with_context(|| format!("examples/{}/index.html", self.name))?;
        Ok(page.contains("pg-sse/"))
    }

    /// Whether a bundler makes the page.
    pub fn is_built(&self) -> bool {
        self.folder.join("package.json").is_file()
    }

    /// The files that browsers load as they are, besides the package's.
    pub fn page(&self) -> Result<Vec<PathBuf>> {
        let mut page = Vec::new();
        for entry in fs::read_dir(&self.folder)? {
            let path = entry?.path();
            let extension = path.extension().and_then(|extension| extension.to_str());
            if extension.is_some_and(|extension| PAGE.contains(&extension)) {
                page.push(path);
            }
        }
        page.sort();
        Ok(page)
    }

    /// Lines of a file that need not be there, without comments.
    fn lines(&self, file: &str) -> Result<Vec<String>> {
        let path = self.folder.join(file);
        if !path.is_file() {
            return Ok(Vec::new());
        }
        let text = fs::read_to_string(&path).with_context(|| path.display().to_string())?;
        let lines = text.lines().map(|line| line.split('#').next().unwrap_or("").trim());
        Ok(lines.filter(|line| !line.is_empty()).map(str::to_owned).collect())
    }
}

fn root() -> PathBuf {
    workspace_root().join("examples")
}

fn user(line: &str) -> Result<User> {
    let mut words = line.split_whitespace();
    let (Some(name), Some(password)) = (words.next(), words.next()) else {
        bail!("a user needs a name and a password: {line:?}");
    };
    let note = words.collect::<Vec<_>>().join(" ");
    Ok(User { name: name.to_owned(), password: password.to_owned(), note })
}

/// Without the quotes: whoever writes it into postgresql.conf sets them.
fn setting(line: &str) -> Result<(String, String)> {
    let (name, value) = line.split_once('=').with_context(|| format!("not a setting: {line:?}"))?;
    let value = value.trim();
    let bare = value.strip_prefix('\'').and_then(|rest| rest.strip_suffix('\'')).unwrap_or(value);
    Ok((name.trim().to_owned(), bare.to_owned()))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_folder_with_setup_sql_is_an_example_and_has_a_page_and_ten_lines_about_it() {
        let all = Example::all().unwrap();
        assert!(all.len() > 1);
        for example in all {
            let has = |file: &str| example.folder().join(file).is_file();
            assert!(has("index.html") && has("README.md") && has("settings.conf"), "{}", example.name());
            let readme = fs::read_to_string(example.folder().join("README.md")).unwrap();
            assert!(readme.lines().count() <= 30, "{}: a README to be read at once", example.name());
            assert!(readme.contains(&format!("cargo xtask demo {}", example.name())), "{}", example.name());
        }
    }

    #[test]
    fn an_unknown_name_is_answered_with_those_that_there_are() {
        let message = Example::named("chess").unwrap_err().to_string();
        assert!(message.contains("\"chess\"") && message.contains("chat, counter"), "{message}");
    }

    #[test]
    fn users_and_settings_are_lines() {
        let alice = user("alice secret  may do everything").unwrap();
        assert_eq!((alice.name.as_str(), alice.password.as_str()), ("alice", "secret"));
        assert_eq!(alice.note, "may do everything");
        assert!(user("alice").is_err());
        let of = |line: &str| setting(line).unwrap();
        assert_eq!(of("sse.call_role = 'app'"), ("sse.call_role".to_owned(), "app".to_owned()));
        assert_eq!(of("sse.threads=2"), ("sse.threads".to_owned(), "2".to_owned()));
        assert!(setting("sse.threads 2").is_err());
    }
}
