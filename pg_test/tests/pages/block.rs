//! The blocks of a page that are run, and the commands in them.
//!
//! Not for running them: pages.rs.

use anyhow::{Result, bail};

/// A block that is to be run.
pub(crate) struct Block {
    pub(crate) line: usize,
    pub(crate) language: String,
    pub(crate) text: String,
}

pub(crate) fn blocks(page: &str) -> Vec<Block> {
    let (mut found, mut open): (Vec<Block>, Option<(Block, usize)>) = (Vec::new(), None);
    for (line, number) in page.lines().zip(1..) {
        let indent = line.len() - line.trim_start().len();
        if let Some(info) = line.trim_start().strip_prefix("```") {
            match open.take() {
                Some((block, _)) if ["sql", "console", "conf"].contains(&block.language.as_str()) => {
                    found.push(block);
                }
                Some(_) => {}
                None => {
                    let block = Block { line: number, language: info.trim().to_owned(), text: String::new() };
                    open = Some((block, indent));
                }
            }
        } else if let Some((block, indent)) = &mut open {
            block.text.push_str(line.get(*indent..).unwrap_or_default());
            block.text.push('\n');
        }
    }
    found
}

/// A command of a `console` block, and what the page says that it prints.
pub(crate) struct Step {
    /// `$` or `=>`.
    pub(crate) prompt: &'static str,
    pub(crate) command: String,
    pub(crate) output: Vec<String>,
}

pub(crate) fn steps(text: &str) -> Result<Vec<Step>> {
    let mut steps: Vec<Step> = Vec::new();
    let mut is_whole = true;
    for line in text.lines() {
        let begun = [("$", "$ "), ("=>", "=> ")]
            .into_iter()
            .find_map(|(prompt, mark)| line.strip_prefix(mark).map(|command| (prompt, command)));
        match (begun, steps.last_mut()) {
            (Some((prompt, command)), _) => {
                steps.push(Step { prompt, command: command.to_owned(), output: Vec::new() });
            }
            (None, Some(step)) if !is_whole => {
                step.command.push('\n');
                step.command.push_str(line);
            }
            (None, Some(step)) => step.output.push(line.trim_end().to_owned()),
            (None, None) => bail!("no command: {line}"),
        }
        if let Some(step) = steps.last() {
            let command = step.command.trim_end();
            is_whole = if step.prompt == "=>" { command.ends_with(';') } else { !command.ends_with('\\') };
        }
    }
    for step in &mut steps {
        while step.output.last().is_some_and(String::is_empty) {
            step.output.pop();
        }
    }
    Ok(steps)
}
