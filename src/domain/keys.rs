//! How typed tables are declared, and how they are read from a [`Node`] tree.
//!
//! [`keys!`] declares a table as a struct: a field is a key, its doc comment is the key's documentation (also in the
//! JSON schema). Reading never stops at a fault: each one becomes a [`Problem`] and the rest is read on. A key that
//! nobody declared is an error with a suggestion; a key that is known but not built yet is listed under `later` and
//! refused as such, never accepted and ignored.

use std::num::NonZeroU32;

use crate::domain::document::{Node, Table};
use crate::domain::problem::{At, Problem};

/// A type that can be read from one TOML value.
pub trait FromNode: Sized {
    /// Reads the value, or says what is wrong with it. `path` is the dotted key, for messages.
    fn from_node(node: &At<Node>, path: &str, problems: &mut Vec<Problem>) -> Option<Self>;
}

/// Longer lists and tables than this are a mistake, not a wish.
const ITEMS_MAX: usize = 10_000;

fn too_many(node: &At<Node>, path: &str, items: usize) -> Problem {
    let message = format!("`{path}` has {items} items, more than {ITEMS_MAX}");
    Problem::at(node.place, message)
}

/// Says that another kind of value was expected.
pub fn wrong_kind<T>(
    node: &At<Node>,
    path: &str,
    expected: &str,
    problems: &mut Vec<Problem>,
) -> Option<T> {
    problems.push(Problem::at(
        node.place,
        format!("`{path}` must be {expected}, not {}", node.value.kind()),
    ));
    None
}

impl FromNode for String {
    fn from_node(node: &At<Node>, path: &str, problems: &mut Vec<Problem>) -> Option<Self> {
        let Node::Text(text) = &node.value else {
            return wrong_kind(node, path, "a string", problems);
        };
        if text.contains('\0') {
            problems.push(Problem::at(node.place, format!("`{path}` holds a NUL character")));
            return None;
        }
        Some(text.clone())
    }
}

impl FromNode for bool {
    fn from_node(node: &At<Node>, path: &str, problems: &mut Vec<Problem>) -> Option<Self> {
        let Node::Boolean(flag) = &node.value else {
            return wrong_kind(node, path, "true or false", problems);
        };
        Some(*flag)
    }
}

impl FromNode for f64 {
    fn from_node(node: &At<Node>, path: &str, problems: &mut Vec<Problem>) -> Option<Self> {
        let number = match &node.value {
            #[expect(clippy::cast_precision_loss, reason = "rates and factors are small")]
            Node::Integer(number) => Some(*number as f64),
            Node::Float(text) => text.parse::<f64>().ok(),
            Node::Text(_)
            | Node::Boolean(_)
            | Node::Datetime(_)
            | Node::List(_)
            | Node::Table(_) => {
                return wrong_kind(node, path, "a number", problems);
            }
        };
        match number {
            Some(number) if number.is_finite() && number >= 0.0 => Some(number),
            _ => {
                problems.push(Problem::at(
                    node.place,
                    format!("`{path}` must be a finite number, 0 or more"),
                ));
                None
            }
        }
    }
}

/// Reads a whole number between bounds.
fn whole(
    node: &At<Node>,
    path: &str,
    bounds: std::ops::RangeInclusive<i64>,
    problems: &mut Vec<Problem>,
) -> Option<i64> {
    let Node::Integer(number) = node.value else {
        return wrong_kind(node, path, "a whole number", problems);
    };
    if !bounds.contains(&number) {
        let (low, high) = bounds.into_inner();
        problems
            .push(Problem::at(node.place, format!("`{path}` is {number}, outside {low} … {high}")));
        return None;
    }
    Some(number)
}

impl FromNode for u32 {
    fn from_node(node: &At<Node>, path: &str, problems: &mut Vec<Problem>) -> Option<Self> {
        whole(node, path, 0..=i64::from(u32::MAX), problems)
            .and_then(|number| u32::try_from(number).ok())
    }
}

impl FromNode for i32 {
    fn from_node(node: &At<Node>, path: &str, problems: &mut Vec<Problem>) -> Option<Self> {
        whole(node, path, i64::from(i32::MIN)..=i64::from(i32::MAX), problems)
            .and_then(|number| i32::try_from(number).ok())
    }
}

impl FromNode for NonZeroU32 {
    fn from_node(node: &At<Node>, path: &str, problems: &mut Vec<Problem>) -> Option<Self> {
        /// No cluster has more nodes, and no node more processors or GPUs, than this.
        const COUNT_MAX: i64 = 1_000_000;
        whole(node, path, 1..=COUNT_MAX, problems)
            .and_then(|number| u32::try_from(number).ok())
            .and_then(NonZeroU32::new)
    }
}

impl<T: FromNode> FromNode for At<T> {
    fn from_node(node: &At<Node>, path: &str, problems: &mut Vec<Problem>) -> Option<Self> {
        T::from_node(node, path, problems).map(|value| At::new(value, node.place))
    }
}

impl<T: FromNode> FromNode for Vec<T> {
    fn from_node(node: &At<Node>, path: &str, problems: &mut Vec<Problem>) -> Option<Self> {
        let Node::List(items) = &node.value else {
            return wrong_kind(node, path, "an array", problems);
        };
        if items.len() > ITEMS_MAX {
            problems.push(too_many(node, path, items.len()));
            return None;
        }
        let read = |(index, item)| T::from_node(item, &format!("{path}[{index}]"), problems);
        Some(items.iter().enumerate().filter_map(read).collect())
    }
}

/// One value, or a list of them: `partition = "gpu"` and `partition = ["gpu", "gpu-long"]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OneOrMany<T>(pub Vec<At<T>>);

impl<T: FromNode> FromNode for OneOrMany<T> {
    fn from_node(node: &At<Node>, path: &str, problems: &mut Vec<Problem>) -> Option<Self> {
        if matches!(node.value, Node::List(_)) {
            return Vec::from_node(node, path, problems).map(OneOrMany);
        }
        At::from_node(node, path, problems).map(|one| OneOrMany(vec![one]))
    }
}

/// A table whose keys are names that people choose, such as `[class.NAME]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Named<T>(pub Vec<(At<String>, T)>);

impl<T> Default for Named<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<T> Named<T> {
    pub fn get(&self, name: &str) -> Option<&T> {
        self.0.iter().find(|(key, _)| key.value == name).map(|(_, value)| value)
    }

    pub fn iter(&self) -> impl Iterator<Item = (&str, &T)> {
        self.0.iter().map(|(key, value)| (key.value.as_str(), value))
    }

    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|(key, _)| key.value.as_str())
    }
}

impl<T: FromNode> FromNode for Named<T> {
    fn from_node(node: &At<Node>, path: &str, problems: &mut Vec<Problem>) -> Option<Self> {
        let Node::Table(table) = &node.value else {
            return wrong_kind(node, path, "a table", problems);
        };
        if table.0.len() > ITEMS_MAX {
            problems.push(too_many(node, path, table.0.len()));
            return None;
        }
        let entries = table.0.iter().filter_map(|(key, node)| {
            if key.value.contains('\0') {
                problems.push(Problem::at(key.place, "a name holds a NUL character"));
                return None;
            }
            T::from_node(node, &join(path, &key.value), problems).map(|value| (key.clone(), value))
        });
        Some(Self(entries.collect()))
    }
}

/// `table.key`, or `key` at the top.
pub fn join(path: &str, key: &str) -> String {
    if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") }
}

/// A place in a document where one table's declared keys are looked up.
pub struct TableReader<'a> {
    pub table: &'a Table,
    pub path: &'a str,
    pub problems: &'a mut Vec<Problem>,
}

impl TableReader<'_> {
    pub fn key<T: FromNode>(&mut self, key: &str) -> Option<T> {
        let node = self.table.get(key)?;
        T::from_node(node, &join(self.path, key), self.problems)
    }

    /// Refuses keys that are not built yet and keys that nobody knows.
    pub fn refuse_others(&mut self, known: &[&str], later: &[&str]) {
        for (key, _) in &self.table.0 {
            let word = key.value.as_str();
            let full = join(self.path, word);
            if later.contains(&word) {
                self.problems.push(not_supported(key, &full));
            } else if !known.contains(&word) {
                let message = format!("unknown key `{full}`");
                self.problems
                    .push(Problem::at(key.place, message).suggest(word, known.iter().copied()));
            }
        }
    }
}

/// The answer to a key or value that INTERFACE promises and this version has not built.
pub fn not_supported<T>(at: &At<T>, what: &str) -> Problem {
    Problem::at(at.place, format!("`{what}` is not supported by this version"))
        .help("remove it, or wait for a version that has it: it is refused so that it is not silently ignored")
}

/// Declares a table: a struct with one optional field per key, its reader and its JSON schema.
macro_rules! keys {
    (
        $(#[$meta:meta])*
        pub struct $name:ident { $( $(#[$field_meta:meta])* $field:ident : $type:ty, )* }
        later { $($later:literal),* $(,)? }
    ) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Default, PartialEq, schemars::JsonSchema)]
        #[schemars(deny_unknown_fields)]
        pub struct $name { $( $(#[$field_meta])* pub $field: Option<$type>, )* }

        impl $crate::domain::keys::FromNode for $name {
            fn from_node(
                node: &$crate::domain::problem::At<$crate::domain::document::Node>,
                path: &str,
                problems: &mut Vec<$crate::domain::problem::Problem>,
            ) -> Option<Self> {
                let $crate::domain::document::Node::Table(table) = &node.value else {
                    return $crate::domain::keys::wrong_kind(node, path, "a table", problems);
                };
                let mut reader = $crate::domain::keys::TableReader { table, path, problems };
                // A key that is a word of Rust's too: `r#where`.
                let word = |field: &'static str| field.trim_start_matches("r#");
                reader.refuse_others(&[$(word(stringify!($field))),*], &[$($later),*]);
                Some(Self { $( $field: reader.key(word(stringify!($field))), )* })
            }
        }
    };
}
pub(crate) use keys;

/// Declares a closed set of words as an enum; words that are promised but not built are listed under `later`.
macro_rules! choice {
    (
        $(#[$meta:meta])*
        pub enum $name:ident { $( $(#[$variant_meta:meta])* $variant:ident = $word:literal, )* }
        later { $($later:literal),* $(,)? }
    ) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
        pub enum $name { $( $(#[$variant_meta])* #[serde(rename = $word)] $variant, )* }

        impl $name {
            pub const WORDS: &[&str] = &[$($word),*];

            pub fn as_str(self) -> &'static str {
                match self { $( Self::$variant => $word, )* }
            }

            pub fn from_word(word: &str) -> Option<Self> {
                match word { $( $word => Some(Self::$variant), )* _ => None }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.as_str())
            }
        }

        impl $crate::domain::keys::FromNode for $name {
            fn from_node(
                node: &$crate::domain::problem::At<$crate::domain::document::Node>,
                path: &str,
                problems: &mut Vec<$crate::domain::problem::Problem>,
            ) -> Option<Self> {
                let word = String::from_node(node, path, problems)?;
                let parsed = Self::from_word(&word);
                if parsed.is_none() {
                    let later: &[&str] = &[$($later),*];
                    problems.push(if later.contains(&word.as_str()) {
                        $crate::domain::keys::not_supported(node, &format!("{path} = \"{word}\""))
                    } else {
                        $crate::domain::problem::Problem::at(node.place, format!("`{path}` cannot be `{word}`"))
                            .suggest(&word, Self::WORDS.iter().copied())
                    });
                }
                parsed
            }
        }
    };
}
pub(crate) use choice;

#[cfg(test)]
#[expect(unreachable_pub, reason = "the macros under test declare public types")]
mod tests {
    use super::*;
    use crate::domain::document::parse;
    use crate::domain::problem::SourceId;

    choice! {
        /// Colours.
        pub enum Colour { Red = "red", Green = "green", }
        later { "blue" }
    }

    keys! {
        /// A table of the test.
        pub struct Sample {
            /// How many.
            nodes: At<NonZeroU32>,
            colour: At<Colour>,
            partition: OneOrMany<String>,
            rate: At<f64>,
        }
        later { "sweep" }
    }

    fn read(text: &str) -> (Sample, Vec<String>) {
        let (table, mut problems) = parse(text, SourceId(0));
        let place = crate::domain::problem::Place { source: SourceId(0), start: 0, end: 0 };
        let sample = Sample::from_node(&At::new(Node::Table(table), place), "", &mut problems);
        let told = problems.into_iter().map(|p| match p.help {
            Some(help) => format!("{} ({help})", p.message),
            None => p.message,
        });
        (sample.expect("a table is always read"), told.collect())
    }

    #[test]
    fn all_faults_are_told_at_once() {
        let (sample, told) = read(
            "nodse = 2\nnodes = 0\ncolour = 'gren'\nsweep = 1\nrate = -1\npartition = ['a', 2]\n",
        );
        assert_eq!(
            told,
            vec![
                "unknown key `nodse` (did you mean `nodes`?)",
                "`sweep` is not supported by this version (remove it, or wait for a version that has it: it is \
                 refused so that it is not silently ignored)",
                "`nodes` is 0, outside 1 … 1000000",
                "`colour` cannot be `gren` (did you mean `green`?)",
                "`partition[1]` must be a string, not an integer",
                "`rate` must be a finite number, 0 or more",
            ]
        );
        assert_eq!(sample.partition.map(|many| many.0.len()), Some(1), "what can be read is read");
    }

    #[test]
    fn a_promised_word_is_told_from_a_wrong_one() {
        let (_, told) = read("colour = 'blue'\n");
        assert!(
            told[0].starts_with("`colour = \"blue\"` is not supported by this version"),
            "{told:?}"
        );
    }
}
