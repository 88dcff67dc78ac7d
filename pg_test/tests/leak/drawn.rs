//! What is drawn at random: people, scopes, routines, callers.
//!
//! Not for what they do with each other: leak.rs.

use std::fmt::Write as _;

use anyhow::{Result, ensure};
use cluster::Cluster;

use crate::common::dice::Dice;
use crate::common::tokens::{mint_for, quoted};
use crate::oracle::{Listed, Person, Raiser, Scope};

/// So few values that they meet, in the same kind and in another. `\u{212a}` is a letter whose lower case is
/// an ASCII `k`.
pub(crate) const VALUES: [&str; 14] = [
    "1",
    "2",
    "42",
    "alice",
    "Alice",
    "bob",
    "admin",
    "ADMIN",
    "all",
    "k",
    "\u{212a}",
    "a, \"b\"",
    "sales team",
    "é'",
];

pub(crate) const TOPICS: [&str; 4] = ["t", "T", "room 1", "räume/2"];
pub(crate) const IDS: [&str; 3] = ["x", "X", "a b"];

impl Dice {
    pub(crate) fn maybe(&mut self, from: &[&str], one_in: usize) -> String {
        if self.one_in(one_in) { self.pick(from).to_owned() } else { String::new() }
    }

    pub(crate) fn person(&mut self) -> Person {
        let (id, name) = (self.maybe(&VALUES, 2), self.maybe(&VALUES, 2));
        let roles = (0..self.roll(4)).map(|_| self.pick(&VALUES).to_owned()).collect();
        Person { id, name, roles }
    }

    pub(crate) fn list(&mut self) -> Vec<Listed> {
        let count = self.roll(4);
        (0..count).map(|_| (self.pick(&["", "id", "name", "role"]), self.pick(&VALUES).to_owned())).collect()
    }

    pub(crate) fn scope(&mut self) -> Scope {
        match self.roll(9) {
            0 | 1 => Scope::All,
            2..=4 => Scope::Authorize(self.list()),
            5 | 6 => Scope::Matching,
            _ => Scope::Caller,
        }
    }

    pub(crate) fn raiser(&mut self) -> Raiser {
        match self.roll(6) {
            0 | 1 => Raiser::Nobody,
            2 => Raiser::Garbled,
            _ => Raiser::Somebody(self.person()),
        }
    }
}

/// In the syntax of annotations and hints: each value in double quotes where it needs them, its kind inside
/// or before them.
pub(crate) fn written(dice: &mut Dice, list: &[Listed]) -> String {
    let mut text = String::new();
    for (index, (kind, value)) in list.iter().enumerate() {
        if index > 0 {
            text.push_str(dice.pick(&[", ", " ", ",", "  ,\t"]));
        }
        let kind = if kind.is_empty() { String::new() } else { format!("{kind}:") };
        let must = value.contains([' ', ',', '"']);
        let doubled = value.replace('"', "\"\"");
        text += &match (must || dice.one_in(4), dice.one_in(2)) {
            (false, _) => format!("{kind}{value}"),
            (true, true) => format!("\"{kind}{doubled}\""),
            (true, false) => format!("{kind}\"{doubled}\""),
        };
    }
    text
}

pub(crate) fn scope_text(dice: &mut Dice, scope: &Scope) -> String {
    match scope {
        Scope::All => dice.pick(&["all", "ALL"]).to_owned(),
        Scope::Matching => "matching".to_owned(),
        Scope::Caller => "caller".to_owned(),
        Scope::Nobody => "authorize \"\"".to_owned(),
        Scope::Authorize(list) => format!("authorize {}", written(dice, list)).trim_end().to_owned(),
    }
}

/// An annotated routine, as the oracle sees it.
pub(crate) struct Routine {
    pub(crate) scope: Scope,
    pub(crate) rule: Option<Vec<Listed>>,
    pub(crate) topic: String,
}

impl Routine {
    pub(crate) fn create(dice: &mut Dice, cluster: &Cluster, number: usize) -> Result<Self> {
        let mut comment = String::from("HTTP POST\n@sse_publish");
        let rule = dice.one_in(3).then(|| dice.list());
        if let Some(rule) = &rule {
            write!(comment, "\n@authorize {}", written(dice, rule))?;
        }
        // C4.2, last sentence: the default is the rule, else `all`.
        let mut scope = rule.clone().map_or(Scope::All, Scope::Authorize);
        if dice.one_in(2) {
            scope = dice.scope();
            write!(comment, "\n@sse_scope {}", scope_text(dice, &scope))?;
        }
        let topic = dice.maybe(&TOPICS[..2], 3);
        if !topic.is_empty() {
            write!(comment, "\n@sse_topic {topic}")?;
        }
        let created = cluster.session()?.run(&format!(
            "create function f{number}(message text, hint text default null, forged text default null)
             returns void language plpgsql as $f$
             begin
             if forged is not null then
                 perform set_config(name, forged, false) from unnest(array['request.user_id', 'sse.execution_id']) as name;
             end if;
             if hint is null then raise info '%', message; else raise info '%', message using hint = hint; end if; end $f$;
             comment on function f{number} is {};",
            quoted(&comment)
        ))?;
        ensure!(created.messages.is_empty(), "{comment:?}: {:?}", created.messages);
        Ok(Self { scope, rule, topic })
    }
}

/// Who calls.
pub(crate) struct Caller {
    pub(crate) person: Option<Person>,
    pub(crate) token: Option<String>,
}

impl Caller {
    pub(crate) fn new(dice: &mut Dice, cluster: &Cluster) -> Result<Self> {
        let person = (!dice.one_in(4)).then(|| dice.person());
        let token = person.as_ref().map(|person| token_of(person, cluster)).transpose()?;
        Ok(Self { person, token })
    }
}

pub(crate) fn token_of(person: &Person, cluster: &Cluster) -> Result<String> {
    mint_for(cluster, &person.id, &person.name, &person.roles)
}
