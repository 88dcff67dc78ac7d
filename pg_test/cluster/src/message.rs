//! Takes apart what `psql` prints on its error output.
//!
//! Not exact for messages that themselves contain a line like `DETAIL:  …`, because the text has no frame. A
//! test about such a message compares the whole output ([`crate::Cluster::script`]).

/// The words a message can begin with, in the C locale (elog.c, error_severity).
const SEVERITIES: [&str; 8] = ["DEBUG", "LOG", "INFO", "NOTICE", "WARNING", "ERROR", "FATAL", "PANIC"];

/// One message of the server, or, with severity `psql`, of psql itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Message {
    /// `NOTICE`, `ERROR`, …, or `psql`.
    pub severity: String,
    /// Five characters; `None` unless VERBOSITY is `verbose`.
    pub sqlstate: Option<String>,
    /// The primary message.
    pub text: String,
    /// `DETAIL`, `HINT`, `CONTEXT`, `LOCATION`, … in order.
    pub fields: Vec<(String, String)>,
}

impl Message {
    /// A field by its name.
    pub fn field(&self, name: &str) -> Option<&str> {
        self.fields.iter().find(|(known, _)| known == name).map(|(_, text)| text.as_str())
    }

    /// Does it say that the statement failed?
    pub fn is_error(&self) -> bool {
        matches!(self.severity.as_str(), "ERROR" | "FATAL" | "PANIC" | "psql")
    }

    pub(crate) fn parse_all(output: &str) -> Vec<Self> {
        let mut messages: Vec<Self> = Vec::new();
        for line in output.lines() {
            if let Some(message) = Self::start(line) {
                messages.push(message);
                continue;
            }
            let Some(message) = messages.last_mut() else {
                messages.push(Self { severity: "psql".to_owned(), text: line.to_owned(), ..Self::default() });
                continue;
            };
            match field_start(line) {
                Some((name, text)) => message.fields.push((name.to_owned(), text.to_owned())),
                None => message.continue_with(line),
            }
        }
        messages
    }

    fn start(line: &str) -> Option<Self> {
        let (severity, rest) = line.split_once(":  ")?;
        if !SEVERITIES.contains(&severity) {
            return None;
        }
        let (sqlstate, text) = match rest.split_once(": ") {
            Some((state, text)) if is_sqlstate(state) => (Some(state.to_owned()), text),
            _ => (None, rest),
        };
        Some(Self { severity: severity.to_owned(), sqlstate, text: text.to_owned(), fields: Vec::new() })
    }

    fn continue_with(&mut self, line: &str) {
        let open = self.fields.last_mut().map_or(&mut self.text, |(_, text)| text);
        open.push('\n');
        open.push_str(line);
    }
}

impl std::fmt::Display for Message {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: ", self.severity)?;
        if let Some(sqlstate) = &self.sqlstate {
            write!(f, "{sqlstate}: ")?;
        }
        f.write_str(&self.text)?;
        for (name, text) in &self.fields {
            write!(f, "\n{name}: {text}")?;
        }
        Ok(())
    }
}

fn is_sqlstate(text: &str) -> bool {
    text.len() == 5 && text.bytes().all(|byte| byte.is_ascii_digit() || byte.is_ascii_uppercase())
}

/// `DETAIL:  …`, `SCHEMA NAME:  …`, `LINE 1: …`.
fn field_start(line: &str) -> Option<(&str, &str)> {
    let (name, text) = line.split_once(": ")?;
    let is_label =
        name.starts_with("LINE ") || name.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b' ');
    (is_label && !name.is_empty()).then(|| (name, text.strip_prefix(' ').unwrap_or(text)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_verbose_message_is_taken_apart() {
        let output = "NOTICE:  00000: first\nsecond\nDETAIL:  more\nHINT:  all\nLOCATION:  exec_stmt_raise, pl_exec.c:1\n\
                      ERROR:  P0001: no\nCONTEXT:  PL/pgSQL function f() line 1 at RAISE\nSQL statement \"x\"\n";
        let messages = Message::parse_all(output);
        assert_eq!(messages.len(), 2);
        assert_eq!(messages[0].sqlstate.as_deref(), Some("00000"));
        assert_eq!(messages[0].text, "first\nsecond");
        assert_eq!(messages[0].field("HINT"), Some("all"));
        assert!(messages[1].is_error());
        assert!(messages[1].field("CONTEXT").is_some_and(|text| text.ends_with("SQL statement \"x\"")));
    }

    #[test]
    fn a_message_of_psql_itself_is_told_apart() {
        assert_eq!(Message::parse_all("invalid command \\x1\n")[0].severity, "psql");
    }
}
