//! TOML as a tree that remembers where each key and value was written.
//!
//! Specs and site files are read through this tree and [`crate::domain::keys`], not through serde: serde stops at the
//! first fault and loses places under `flatten` and `untagged`, and a typo in a spec costs GPU hours. Layers and
//! `--set` flags are merged as trees, so a problem points at the text that really holds the faulty value.

use std::collections::HashMap;

use toml::de::{DeTable, DeValue};

use crate::domain::problem::{At, Place, Problem, SourceId, limited};

/// The largest spec or site file that is read.
pub const DOCUMENT_BYTES_MAX: usize = 1 << 20;

/// Parts of a dotted key that is set. Tables nest, and what works through them must not nest without end; the parser of
/// whole documents has a limit of its own.
pub const KEY_PARTS_MAX: usize = 32;

/// A TOML value. Numbers keep their spelling: `1e-4` must reach the training program as `1e-4`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Node {
    Text(String),
    Integer(i64),
    /// As written, without underscores.
    Float(String),
    Boolean(bool),
    Datetime(String),
    List(Vec<At<Node>>),
    Table(Table),
}

/// A table's entries in the order they were written.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Table(pub Vec<(At<String>, At<Node>)>);

impl Table {
    pub fn get(&self, key: &str) -> Option<&At<Node>> {
        self.0.iter().find(|(name, _)| name.value == key).map(|(_, node)| node)
    }

    pub fn get_mut(&mut self, key: &str) -> Option<&mut At<Node>> {
        self.0.iter_mut().find(|(name, _)| name.value == key).map(|(_, node)| node)
    }

    /// Takes a key out, with what stands behind it.
    pub fn remove(&mut self, key: &str) -> Option<(At<String>, At<Node>)> {
        let at = self.0.iter().position(|(name, _)| name.value == key)?;
        Some(self.0.remove(at))
    }

    /// Lays `over` on top: its values win, tables are merged key by key.
    pub fn merge(&mut self, over: Table) {
        let named = |(place, (key, _)): (usize, &(At<String>, _))| (key.value.clone(), place);
        let mut places: HashMap<String, usize> = self.0.iter().enumerate().map(named).collect();
        for (key, node) in over.0 {
            let below = places.get(&key.value).and_then(|place| self.0.get_mut(*place));
            match (below.map(|(_, node)| node), node) {
                (
                    Some(At { value: Node::Table(below), .. }),
                    At { value: Node::Table(above), .. },
                ) => {
                    below.merge(above);
                }
                (Some(slot), node) => *slot = node,
                (None, node) => {
                    places.insert(key.value.clone(), self.0.len());
                    self.0.push((key, node));
                }
            }
        }
    }

    /// Sets a dotted key, making the tables on its way.
    ///
    /// # Errors
    /// When a part of the way is a value, not a table, and when the way leads deeper than any table is.
    pub fn set(&mut self, way: &[&str], place: Place, node: At<Node>) -> Result<(), Problem> {
        if way.len() > KEY_PARTS_MAX {
            let message =
                format!("a key of {} parts, and none has more than {KEY_PARTS_MAX}", way.len());
            return Err(Problem::at(place, message));
        }
        let Some((first, rest)) = way.split_first() else { return Ok(()) };
        if rest.is_empty() {
            match self.get_mut(first) {
                Some(slot) => *slot = node,
                None => self.0.push((At::new((*first).to_owned(), place), node)),
            }
            return Ok(());
        }
        if self.get(first).is_none() {
            let empty = At::new(Node::Table(Table::default()), place);
            self.0.push((At::new((*first).to_owned(), place), empty));
        }
        match self.get_mut(first) {
            Some(At { value: Node::Table(table), .. }) => table.set(rest, place, node),
            _ => Err(Problem::at(place, format!("`{first}` is a value, not a table"))),
        }
    }

    /// The table in a form that depends on its meaning alone, not on order or spelling of keys: what digests are made of.
    pub fn canonical(&self) -> serde_json::Value {
        let entries = self.0.iter().map(|(key, node)| (key.value.clone(), node.value.canonical()));
        serde_json::Value::Object(entries.collect())
    }
}

impl Node {
    /// What this is, in TOML's words, with its article.
    pub fn kind(&self) -> &'static str {
        match self {
            Node::Text(_) => "a string",
            Node::Integer(_) => "an integer",
            Node::Float(_) => "a float",
            Node::Boolean(_) => "a boolean",
            Node::Datetime(_) => "a datetime",
            Node::List(_) => "an array",
            Node::Table(_) => "a table",
        }
    }

    /// The value in a form that depends on its meaning alone.
    pub(crate) fn canonical(&self) -> serde_json::Value {
        match self {
            Node::Text(text) => text.as_str().into(),
            Node::Integer(number) => (*number).into(),
            Node::Float(text) => serde_json::json!({ "float": text }),
            Node::Boolean(flag) => (*flag).into(),
            Node::Datetime(text) => serde_json::json!({ "datetime": text }),
            Node::List(items) => items.iter().map(|item| item.value.canonical()).collect(),
            Node::Table(table) => table.canonical(),
        }
    }
}

/// Reads a whole TOML text. What could be read is returned beside every fault of its syntax.
pub fn parse(text: &str, source: SourceId) -> (Table, Vec<Problem>) {
    if text.len() > DOCUMENT_BYTES_MAX {
        let whole = Place { source, start: 0, end: 0 };
        let message = format!(
            "is {} bytes long, more than the {DOCUMENT_BYTES_MAX} that are read",
            text.len()
        );
        return (Table::default(), vec![Problem::at(whole, message)]);
    }
    let (table, errors) = DeTable::parse_recoverable(text);
    let mut problems: Vec<Problem> = errors
        .iter()
        .map(|error| {
            let span = error.span().unwrap_or(0..0);
            Problem::at(Place { source, start: span.start, end: span.end }, error.message())
        })
        .collect();
    let mut tree = Tree { source, problems: &mut problems };
    let table = tree.table(table.get_ref());
    (table, limited(problems))
}

/// Reads the value of `--set key=VALUE`: TOML, or plain text where TOML fails.
pub fn parse_value(text: &str, place: Place) -> At<Node> {
    let mut ignored = Vec::new();
    // The parser of documents knows how deep is too deep; that of values alone goes on until the stack is gone.
    let is_bounded = DeTable::parse(&format!("value = {text}\n")).is_ok();
    if !is_bounded {
        return At::new(Node::Text(text.to_owned()), place);
    }
    let node = match DeValue::parse(text) {
        Ok(value) => Tree { source: place.source, problems: &mut ignored }.node(value.get_ref()),
        Err(_) => Node::Text(text.to_owned()),
    };
    if ignored.is_empty() {
        At::new(relocate(node, place), place)
    } else {
        At::new(Node::Text(text.to_owned()), place)
    }
}

/// Gives every part of a value the one place that a flag has.
fn relocate(node: Node, place: Place) -> Node {
    match node {
        Node::List(items) => Node::List(
            items.into_iter().map(|item| At::new(relocate(item.value, place), place)).collect(),
        ),
        Node::Table(table) => Node::Table(Table(
            table
                .0
                .into_iter()
                .map(|(key, node)| {
                    (At::new(key.value, place), At::new(relocate(node.value, place), place))
                })
                .collect(),
        )),
        leaf @ (Node::Text(_)
        | Node::Integer(_)
        | Node::Float(_)
        | Node::Boolean(_)
        | Node::Datetime(_)) => leaf,
    }
}

/// Turns the TOML crate's values into ours.
struct Tree<'a> {
    source: SourceId,
    problems: &'a mut Vec<Problem>,
}

impl Tree<'_> {
    fn place(&self, span: std::ops::Range<usize>) -> Place {
        Place { source: self.source, start: span.start, end: span.end }
    }

    fn table(&mut self, table: &DeTable<'_>) -> Table {
        let entries = table.iter().map(|(key, value)| {
            let place = self.place(value.span());
            let node = At::new(self.node_at(value.get_ref(), place), place);
            (At::new(key.get_ref().to_string(), self.place(key.span())), node)
        });
        Table(entries.collect())
    }

    fn node(&mut self, value: &DeValue<'_>) -> Node {
        self.node_at(value, Place { source: self.source, start: 0, end: 0 })
    }

    fn node_at(&mut self, value: &DeValue<'_>, place: Place) -> Node {
        match value {
            DeValue::String(text) => Node::Text(text.to_string()),
            DeValue::Integer(number) => {
                let parsed =
                    i64::from_str_radix(number.as_str(), number.radix()).unwrap_or_else(|_| {
                        self.problems
                            .push(Problem::at(place, "this integer does not fit into 64 bits"));
                        0
                    });
                Node::Integer(parsed)
            }
            DeValue::Float(number) => Node::Float(number.as_str().replace('_', "")),
            DeValue::Boolean(flag) => Node::Boolean(*flag),
            DeValue::Datetime(datetime) => Node::Datetime(datetime.to_string()),
            DeValue::Array(items) => Node::List(
                items
                    .iter()
                    .map(|item| {
                        let place = self.place(item.span());
                        At::new(self.node_at(item.get_ref(), place), place)
                    })
                    .collect(),
            ),
            DeValue::Table(table) => Node::Table(self.table(table)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HERE: SourceId = SourceId(0);

    fn read(text: &str) -> Table {
        let (table, problems) = parse(text, HERE);
        assert_eq!(problems, vec![], "{text}");
        table
    }

    #[test]
    fn numbers_keep_their_spelling_and_order_is_kept() {
        let table = read("b = 1e-4\na = 0x10\nc = 1_000\n");
        let shown: Vec<_> =
            table.0.iter().map(|(key, node)| (key.value.as_str(), node.value.clone())).collect();
        assert_eq!(
            shown,
            vec![
                ("b", Node::Float("1e-4".into())),
                ("a", Node::Integer(16)),
                ("c", Node::Integer(1000))
            ]
        );
    }

    #[test]
    fn every_fault_of_syntax_is_reported() {
        let (_, problems) = parse("a = \nb = 1\nc = [1, \nd = 2\nd = 3\n", HERE);
        assert!(problems.len() >= 2, "{problems:?}");
    }

    #[test]
    fn layers_merge_key_by_key() {
        let mut below = read("[class.a]\nrate = 1\ngpu_type = 'x'\n");
        let above = "[class.a]\nrate = 2\n[class.b]\nrate = 3\n[site]\nname = 's'\n";
        below.merge(read(above));
        below.merge(read("site.name = 't'\n"));
        assert_eq!(
            below.canonical(),
            serde_json::json!({
                "class": {"a": {"rate": 2, "gpu_type": "x"}, "b": {"rate": 3}},
                "site": {"name": "t"},
            })
        );
    }

    #[test]
    fn a_set_flag_is_toml_or_text() {
        let place = Place { source: HERE, start: 0, end: 0 };
        let check =
            |text: &str, node: Node| assert_eq!(parse_value(text, place).value, node, "{text}");
        check("4", Node::Integer(4));
        check("1e-4", Node::Float("1e-4".into()));
        check("true", Node::Boolean(true));
        check("\"4\"", Node::Text("4".into()));
        check("12h", Node::Text("12h".into()));
        check("a100-4x", Node::Text("a100-4x".into()));
        check("", Node::Text(String::new()));
        let mut table = read("[compute]\nnodes = 1\n");
        table.set(&["compute", "nodes"], place, parse_value("4", place)).expect("a table");
        table.set(&["args", "lr"], place, parse_value("0.1", place)).expect("made on the way");
        assert_eq!(
            table.canonical(),
            serde_json::json!({"compute": {"nodes": 4}, "args": {"lr": {"float": "0.1"}}})
        );
        assert!(table.set(&["compute", "nodes", "x"], place, parse_value("1", place)).is_err());
        let deep = ["a"; KEY_PARTS_MAX + 1];
        assert!(table.set(&deep[1..], place, parse_value("1", place)).is_ok());
        assert!(table.set(&deep, place, parse_value("1", place)).is_err());
    }
}
