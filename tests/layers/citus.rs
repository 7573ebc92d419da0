//! What the migrations may say so that Citus can take them too. docs/SCALE.md tells why; this needs no server.

use std::collections::BTreeMap;
use std::fs;

use crate::metadata::root;
use crate::sql::{Statement, items, names_after, signature, statements};

/// Where the rows of a table are on Citus.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// In shards, by host_id: what grows with the fleet.
    Distributed,
    /// Whole on every node: what distributed tables are joined to.
    Reference,
    /// On the coordinator only.
    Local,
}
use Place::{Distributed, Local, Reference};

/// Every table of the platform. A new one states its place here.
const TABLES: &[(&str, Place)] = &[
    ("store.host", Reference),
    ("store.join_token", Local),
    ("store.user_account", Local),
    ("store.web_session", Local),
    ("store.boot", Distributed),
    ("store.sample", Distributed),
    ("store.host_state", Distributed),
    ("store.source_state", Distributed),
    ("store.event", Distributed),
    ("store.refusal", Distributed),
    ("store.assessment", Distributed),
    ("store.finding", Local),
    ("store.alert", Local),
    ("store.alert_transition", Local),
    ("store.outbox", Local),
    ("store.delivery_attempt", Local),
    ("store.epoch", Distributed),
    ("fleet.log_line", Local), // store.log_line since 0016
    ("store.tier_mark", Reference),
    ("store.sample_late", Distributed),
    ("store.sample_block", Distributed),
    ("store.rollup_minute", Distributed),
    ("store.minute_block", Distributed),
    ("store.rollup_hour", Distributed),
    ("store.rollup_dirty", Distributed),
    ("store.fleet_minute", Local),
    ("store.tier", Local),
    ("store.backup", Local),
    ("store.writer_lock", Local),
    ("store.writer_group", Local),
    ("store.job", Local),
    ("store.seat", Local),
    ("store.housekeeping", Local),
];

/// Tables of before this migration are distributed in it: before, there was no Citus.
const FIRST: u32 = 6;

/// What is wrong with migrations, given by number and text, in order.
fn faults(migrations: &[(u32, String)], places: &[(&str, Place)]) -> Vec<String> {
    let mut check = Check { places: places.iter().copied().collect(), ..Check::default() };
    for (number, text) in migrations {
        for statement in statements(text) {
            check.statement(*number, &statement);
        }
        if *number >= FIRST {
            check.end_of(*number);
        }
    }
    check.nested_questions();
    for table in check.places.keys().filter(|table| !check.made.contains_key(**table)) {
        check.faults.push(format!("{table} is in the list, but no migration makes it"));
    }
    check.faults
}

#[derive(Default)]
struct Check<'a> {
    places: BTreeMap<&'a str, Place>,
    /// Tables that were made, and whether they are where they belong by now.
    made: BTreeMap<String, bool>,
    /// The last text of every function, with the migration, by its name and parameters.
    functions: BTreeMap<(String, String), (u32, String)>,
    faults: Vec<String>,
}

impl Check<'_> {
    fn place(&self, table: &str) -> Place {
        self.places.get(table).copied().unwrap_or(Local)
    }

    fn fault(&mut self, number: u32, what: impl std::fmt::Display) {
        self.faults.push(format!("migration {number}: {what}"));
    }

    fn statement(&mut self, number: u32, statement: &Statement) {
        let text = &statement.text;
        let words: Vec<&str> = text.split(' ').collect();
        match words.as_slice() {
            ["create", "table", name, ..] => self.table(number, name, text),
            ["create", "unique", "index", ..] => self.unique_index(number, text),
            ["create", "index", ..] => self.late_index(number, statement),
            ["alter", "table", name, ..] => self.alteration(number, name, statement),
            ["create", "trigger" | "constraint", ..]
            | ["create", "or", "replace", "trigger", ..] => {
                for table in names_after(text, "on") {
                    if self.place(&table) != Local {
                        self.fault(number, format!("a trigger on {table}"));
                    }
                }
            }
            ["create", "function", ..] | ["create", "or", "replace", "function", ..] => {
                self.function(number, text);
            }
            ["select", call, ..] => self.placed(number, call),
            _ => {}
        }
    }

    fn table(&mut self, number: u32, name: &str, text: &str) {
        if !self.places.contains_key(name) {
            self.fault(number, format!("{name} is not in the list of tables"));
        }
        self.made.insert(name.to_owned(), self.place(name) == Local);
        for item in items(text) {
            self.key(number, name, &item);
            self.foreign_keys(number, name, &item);
        }
    }

    /// A unique or primary key, of the table or of one column.
    fn key(&mut self, number: u32, table: &str, item: &str) {
        if self.place(table) != Distributed {
            return;
        }
        let is_key = item.contains("primary key") || item.contains("unique");
        if is_key && !item.contains("host_id") {
            self.fault(number, format!("a unique key of {table} without host_id: {item}"));
        }
    }

    fn foreign_keys(&mut self, number: u32, table: &str, item: &str) {
        for other in names_after(item, "references") {
            let fits = match (self.place(table), self.place(&other)) {
                (Distributed, Distributed) => {
                    item.starts_with("foreign key") && item.contains("host_id")
                }
                (Distributed, Local) | (Reference | Local, Distributed) | (Reference, Local) => {
                    false
                }
                (_, Reference) | (Local, Local) => true,
            };
            if !fits {
                self.fault(number, format!("{table} cannot refer to {other}"));
            }
        }
    }

    fn unique_index(&mut self, number: u32, text: &str) {
        for table in names_after(text, "on") {
            if self.place(&table) == Distributed
                && !items(text).iter().any(|i| i.starts_with("host_id"))
            {
                self.fault(number, format!("a unique index of {table} without host_id"));
            }
        }
    }

    /// Several commands in one string, as a migration is sent, are not for tables that are distributed.
    fn late_index(&mut self, number: u32, statement: &Statement) {
        for table in names_after(&statement.text, "on") {
            if self.is_distributed_by_now(&table) && !statement.within_do {
                self.fault(
                    number,
                    format!("an index of {table} after it was distributed: put it into a DO block"),
                );
            }
        }
    }

    fn is_distributed_by_now(&self, table: &str) -> bool {
        self.place(table) == Distributed && self.made.get(table) == Some(&true)
    }

    fn alteration(&mut self, number: u32, table: &str, statement: &Statement) {
        let text = &statement.text;
        self.foreign_keys(number, table, text);
        if text.contains("unique") || text.contains("primary key") {
            self.key(number, table, text);
        }
        let one_plain_column = text.matches(" add ").count() == 1
            && !["constraint", "default", "not null", " alter ", " set ", " drop ", " rename "]
                .iter()
                .any(|word| text.contains(word));
        if self.is_distributed_by_now(table) && !statement.within_do && !one_plain_column {
            self.fault(
                number,
                format!("{text}: put it into a DO block, with one change to each command"),
            );
        }
    }

    fn function(&mut self, number: u32, text: &str) {
        let (name, head) = signature(text);
        let key = (name.to_owned(), head.split(')').next().unwrap_or_default().to_owned());
        self.functions.insert(key, (number, text.to_owned()));
        for (table, place) in self.places.clone() {
            if place != Distributed {
                continue;
            }
            if head.split([' ', ',', '(', ')']).any(|word| word == table) {
                self.fault(number, format!("{name} takes or gives the row type of {table}"));
            }
            let parameters = head.split(')').next().is_some_and(|list| !list.trim().is_empty());
            let reads = text.split([' ', ',', '(', ')']).any(|word| word == table);
            if text.contains("language sql") && parameters && reads {
                self.fault(
                    number,
                    format!("{name} is LANGUAGE sql, has parameters and reads {table}"),
                );
            }
        }
    }

    /// Where one expression has a distributed table of one host and a function, Citus may call the function on that
    /// host's shard, and there it may ask nothing.
    fn nested_questions(&mut self) {
        let reads = |text: &str| {
            ["from", "join", "into", "update"]
                .iter()
                .any(|word| names_after(text, word).iter().any(|t| self.place(t) == Distributed))
        };
        // Those that ask, themselves or by others.
        let mut asking: Vec<&str> = Vec::new();
        loop {
            let before = asking.len();
            for ((name, _), (_, text)) in &self.functions {
                let body = text.split_once("$$").map_or("", |(_, body)| body);
                if !asking.contains(&name.as_str()) && (reads(body) || calls(body, &asking)) {
                    asking.push(name);
                }
            }
            if asking.len() == before {
                break;
            }
        }
        let mut found = Vec::new();
        for ((name, _), (number, text)) in &self.functions {
            let body = text.split_once("$$").map_or("", |(_, body)| body);
            let parts = body.split(';').flat_map(|part| part.split(" then "));
            for part in parts.flat_map(|part| part.split(" loop ")) {
                if reads(part) && calls(part, &asking) {
                    found.push((*number, format!("{name} asks within a question: {part}")));
                }
            }
        }
        for (number, fault) in found {
            self.fault(number, fault);
        }
    }

    /// `SELECT store.distribute('boot')`.
    fn placed(&mut self, number: u32, call: &str) {
        let Some((function, name)) = call.split_once("('") else { return };
        let place = match function {
            "store.distribute" => Distributed,
            "store.replicate" => Reference,
            _ => return,
        };
        let table = format!("store.{}", name.trim_end_matches("')"));
        if self.place(&table) != place {
            self.fault(number, format!("{table} is put where the list does not say"));
        }
        match self.made.get_mut(&table) {
            Some(placed) => *placed = true,
            None => self.fault(number, format!("{table} is not there yet")),
        }
    }

    fn end_of(&mut self, number: u32) {
        let left: Vec<String> = self
            .made
            .iter()
            .filter(|(_, placed)| !**placed)
            .map(|(name, _)| name.clone())
            .collect();
        for table in left {
            self.fault(number, format!("{table} is made but not put where it belongs"));
            self.made.insert(table, true);
        }
    }
}

fn calls(text: &str, functions: &[&str]) -> bool {
    functions.iter().any(|name| text.contains(&format!("{name}(")))
}

fn migrations() -> Vec<(u32, String)> {
    let folder = fs::read_dir(root().join("migrations")).unwrap();
    let mut files: Vec<_> = folder.map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
        .into_iter()
        .map(|path| {
            let name = path.file_name().unwrap().to_str().unwrap();
            (name[..4].parse().unwrap(), fs::read_to_string(&path).unwrap())
        })
        .collect()
}

/// Proves that nothing in the migrations is known to fail on Citus, and that every table has its place there.
#[test]
fn migrations_suit_citus() {
    let faults = faults(&migrations(), TABLES);
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

/// Proves that each kind of fault is found, and that what is right is not.
#[test]
fn bad_migrations_are_found() {
    const PLACES: &[(&str, Place)] =
        &[("store.host", Reference), ("store.seen", Distributed), ("store.note", Local)];
    let good = "CREATE TABLE store.host (host_id int8 PRIMARY KEY, name text UNIQUE);
        SELECT store.replicate('host');
        CREATE TABLE store.seen ( -- each; one
            host_id int8 NOT NULL REFERENCES store.host, n int4, what text DEFAULT 'a, unique; thing',
            PRIMARY KEY (host_id, n));
        CREATE UNIQUE INDEX seen_n ON store.seen (host_id, what) WHERE n > 0;
        CREATE INDEX seen_what ON store.seen (what);
        SELECT store.distribute('seen');
        CREATE TABLE store.note (note_id int8 PRIMARY KEY, host_id int8 REFERENCES store.host);
        CREATE FUNCTION store.twice(int8) RETURNS int8 LANGUAGE sql AS $$ SELECT 2 * $1 $$;
        CREATE FUNCTION store.all_seen() RETURNS int8 LANGUAGE sql AS $$ SELECT count(*) FROM store.seen $$;
        CREATE FUNCTION store.seen_of(host int8) RETURNS int8 LANGUAGE plpgsql AS $$
            DECLARE s store.seen; BEGIN RETURN (SELECT count(*) FROM store.seen); END $$;
        CREATE FUNCTION store.was_seen(host int8) RETURNS bool LANGUAGE plpgsql AS $$
            BEGIN
                IF host = 0 OR EXISTS (SELECT FROM store.seen) THEN RETURN store.seen_of(host) > 0; END IF;
                RETURN false;
            END $$;
        ALTER TABLE store.seen ADD later int8;
        DO $$ BEGIN CREATE INDEX seen_later ON store.seen (later); END $$;";
    let found = |text: &str| faults(&[(6, text.to_owned())], PLACES);
    assert_eq!(found(good), Vec::<String>::new());

    let worse = [
        ("PRIMARY KEY (host_id, n)", "PRIMARY KEY (n)", "without host_id"),
        ("n int4,", "n int4 UNIQUE,", "without host_id"),
        ("(host_id, what) WHERE", "(what) WHERE", "without host_id"),
        ("host_id int8 REFERENCES store.host)", "n int4 REFERENCES store.seen)", "cannot refer to"),
        ("n int4,", "n int8 REFERENCES store.note,", "cannot refer to"),
        ("SELECT store.distribute('seen');", "", "not put where it belongs"),
        ("store.distribute('seen')", "store.replicate('seen')", "where the list does not say"),
        ("CREATE TABLE store.note", "CREATE TABLE store.notes", "not in the list"),
        ("CREATE TABLE store.note", "CREATE TABLE store.notes", "no migration makes it"),
        ("RETURNS int8 LANGUAGE plpgsql", "RETURNS SETOF store.seen LANGUAGE plpgsql", "row type"),
        ("store.seen_of(host int8)", "store.seen_of(s store.seen)", "row type"),
        ("store.all_seen()", "store.all_seen(n int8)", "is LANGUAGE sql"),
        (") THEN RETURN store", ") OR store.twice(host) + store", "asks within a question"),
        ("ADD later int8", "ADD later int8 NOT NULL DEFAULT 0", "DO block"),
        (
            "DO $$ BEGIN CREATE INDEX seen_later ON store.seen (later); END $$;",
            "CREATE INDEX seen_later ON store.seen (later);",
            "DO block",
        ),
        (
            "ALTER TABLE store.seen ADD later int8;",
            "CREATE TRIGGER t AFTER INSERT ON store.seen FOR EACH ROW EXECUTE FUNCTION f();",
            "trigger",
        ),
        (
            "CREATE INDEX seen_later ON store.seen (later)",
            "CREATE UNIQUE INDEX seen_later ON store.seen (later)",
            "without host_id",
        ),
    ];
    for (right, wrong, fault) in worse {
        assert!(good.contains(right), "{right}");
        let found = found(&good.replacen(right, wrong, 1));
        assert!(found.iter().any(|f| f.contains(fault)), "{wrong}: {found:?}");
    }
}
