//! `[sweep]`: many runs from one spec.

use std::num::NonZeroU32;

use crate::domain::checkpoint::Goal;
use crate::domain::document::{Node, Table};
use crate::domain::keys::{FromNode, TableReader, choice, join, keys, wrong_kind};
use crate::domain::problem::{At, Problem};

keys! {
    /// Many runs from one spec. Each point is the spec with other values for some of its keys.
    pub struct Sweep {
        /// How points come of the parameters. Default: `grid`.
        method: At<SweepMethod>,
        /// Which keys of the spec vary, and their values: `"args.lr" = [0.1, 0.2]`.
        parameters: Dotted<Domain>,
        /// Parameters that vary together: all their first values, all their second values, and so on. They vary slower than
        /// `parameters`.
        zip: Vec<At<Dotted<Domain>>>,
        /// Points that are left out: those that have all of these values.
        exclude: Vec<At<Dotted<OneOf>>>,
        /// How many points `random` draws.
        samples: At<NonZeroU32>,
        /// Another number makes `random` draw other points. Default: 0.
        seed: At<u32>,
        /// The points of `list`, in this file.
        points: At<Vec<At<Dotted<Given>>>>,
        /// The points of `list`, in another file: `.csv` or `.jsonl`, relative to the spec's own file.
        file: At<String>,
        /// How many points an `open` sweep may be told, all in all.
        max_points: At<NonZeroU32>,
        /// How many points may be under way at a time. Default: all.
        max_parallel: At<NonZeroU32>,
        /// By what the points are compared.
        objective: At<Objective>,
        /// Points that fall behind are stopped before their end.
        early_stopping: At<EarlyStopping>,
    }
    later {}
}

keys! {
    /// Which point is the best.
    pub struct Objective {
        /// The metric's name.
        metric: At<String>,
        /// Whether less or more of it is better.
        goal: At<Goal>,
    }
    later {}
}

keys! {
    /// When points are compared, and how many of them go on.
    pub struct EarlyStopping {
        /// How points are compared. Default: `asha`.
        method: At<StoppingMethod>,
        /// The step of the first rung, as the training counts its steps. The next ones are `reduction_factor` times as far
        /// each.
        min_steps: At<u32>,
        /// There is no rung from this step on. Default: there is no end of rungs.
        max_steps: At<u32>,
        /// Of so many points at a rung one goes on. Default: 3.
        reduction_factor: At<u32>,
    }
    later {}
}

choice! {
    /// How points are compared.
    #[derive(Default)]
    pub enum StoppingMethod {
        /// Asynchronous successive halving: each point that comes to a rung is compared with all that came there before.
        #[default]
        Asha = "asha",
    }
    later {}
}

choice! {
    /// How points come of the parameters.
    #[derive(Default)]
    pub enum SweepMethod {
        /// Every combination of all values.
        #[default]
        Grid = "grid",
        /// As many points as `samples` says, drawn at random; the same ones whenever they are drawn.
        Random = "random",
        /// Points that are listed, one by one.
        List = "list",
        /// Points that `sweep tell` gives the sweep while it runs, within the declared parameters.
        Open = "open",
    }
    later {}
}

/// Keys of the spec, each with something. They may be written with dots in quotes, without quotes, or as tables.
#[derive(Debug, Clone, PartialEq)]
pub struct Dotted<T>(pub Vec<(At<String>, T)>);

/// Tables of the spec: what stands behind one of these is not a value, but more keys.
pub(crate) const TABLES: &[&str] = &[
    "args",
    "checkpoint",
    "checkpoint.keep_best",
    "code",
    "compute",
    "distributed",
    "environment",
    "environment.variables",
    "failure",
    "metrics",
    "sweep",
];

impl<T: FromNode> FromNode for Dotted<T> {
    fn from_node(node: &At<Node>, path: &str, problems: &mut Vec<Problem>) -> Option<Self> {
        let Node::Table(table) = &node.value else {
            return wrong_kind(node, path, "a table of keys of the spec", problems);
        };
        let mut found = Vec::new();
        flatten(table, "", &mut |key, node| {
            found.extend(T::from_node(node, &key.value, problems).map(|value| (key, value)));
        });
        Some(Self(found))
    }
}

fn flatten(table: &Table, path: &str, found: &mut impl FnMut(At<String>, &At<Node>)) {
    for (key, node) in &table.0 {
        let full = join(path, &key.value);
        match &node.value {
            Node::Table(inner) if TABLES.contains(&full.as_str()) => flatten(inner, &full, found),
            Node::Table(_)
            | Node::Text(_)
            | Node::Integer(_)
            | Node::Float(_)
            | Node::Boolean(_)
            | Node::Datetime(_)
            | Node::List(_) => found(At::new(full, key.place), node),
        }
    }
}

/// The value of a key at one point.
#[derive(Debug, Clone, PartialEq)]
pub struct Given(pub At<Node>);

impl FromNode for Given {
    fn from_node(node: &At<Node>, _: &str, _: &mut Vec<Problem>) -> Option<Self> {
        Some(Self(node.clone()))
    }
}

/// One value, or several of which one has to be there.
#[derive(Debug, Clone, PartialEq)]
pub struct OneOf(pub Vec<At<Node>>);

impl FromNode for OneOf {
    fn from_node(node: &At<Node>, _: &str, _: &mut Vec<Problem>) -> Option<Self> {
        Some(Self(match &node.value {
            Node::List(items) => items.clone(),
            Node::Text(_)
            | Node::Integer(_)
            | Node::Float(_)
            | Node::Boolean(_)
            | Node::Datetime(_)
            | Node::Table(_) => vec![node.clone()],
        }))
    }
}

/// What values a parameter takes, and where it exists.
#[derive(Debug, Clone, PartialEq)]
pub struct Domain {
    pub values: Values,
    /// It exists only at points that have all of these values.
    pub when: Option<Dotted<OneOf>>,
}

/// What values a parameter takes.
#[derive(Debug, Clone, PartialEq)]
pub enum Values {
    /// `[…]`, or `{ choice = […] }`.
    Listed(Vec<At<Node>>),
    /// `{ range = [from, to], step = 1 }`: without its end.
    Range { from: At<Node>, to: At<Node>, step: Option<At<Node>> },
    /// `{ uniform = [low, high] }`.
    Uniform([At<Node>; 2]),
    /// `{ log_uniform = [low, high] }`.
    LogUniform([At<Node>; 2]),
    /// `{ integer = [low, high] }`: with both ends.
    Integer([At<Node>; 2]),
}

const KINDS: [&str; 5] = ["choice", "range", "uniform", "log_uniform", "integer"];
const EXPECTED: &str = "an array of values, or a table such as { range = [0, 10] }";

impl FromNode for Domain {
    fn from_node(node: &At<Node>, path: &str, problems: &mut Vec<Problem>) -> Option<Self> {
        let table = match &node.value {
            Node::List(items) => {
                return Some(Self { values: Values::Listed(items.clone()), when: None });
            }
            Node::Table(table) => table,
            Node::Text(_)
            | Node::Integer(_)
            | Node::Float(_)
            | Node::Boolean(_)
            | Node::Datetime(_) => return wrong_kind(node, path, EXPECTED, problems),
        };
        let mut reader = TableReader { table, path, problems };
        reader.refuse_others(&[&KINDS[..], &["step", "when"]].concat(), &[]);
        let when = reader.key("when");
        let given: Vec<&str> =
            KINDS.iter().copied().filter(|kind| table.get(kind).is_some()).collect();
        let [kind] = given[..] else {
            let problem =
                Problem::at(node.place, format!("`{path}` needs one of {}", KINDS.join(", ")));
            // A table that is none of the spec's.
            let is_table = !path.contains('.');
            problems.push(if is_table {
                problem.suggest(path, TABLES.iter().copied())
            } else {
                problem
            });
            return None;
        };
        if let (Some(step), true) = (table.get("step"), kind != "range") {
            let message = format!("`{path}.step` stands only beside `range`");
            problems.push(Problem::at(step.place, message));
        }
        let said = table.get(kind)?;
        let path = join(path, kind);
        let values = match kind {
            "choice" => match &said.value {
                Node::List(items) => Values::Listed(items.clone()),
                Node::Text(_)
                | Node::Integer(_)
                | Node::Float(_)
                | Node::Boolean(_)
                | Node::Datetime(_)
                | Node::Table(_) => return wrong_kind(said, &path, "an array", problems),
            },
            "range" => {
                let [from, to] = ends(said, &path, problems)?;
                Values::Range { from, to, step: table.get("step").cloned() }
            }
            "uniform" => Values::Uniform(ends(said, &path, problems)?),
            "log_uniform" => Values::LogUniform(ends(said, &path, problems)?),
            _ => Values::Integer(ends(said, &path, problems)?),
        };
        Some(Self { values, when })
    }
}

/// `[low, high]`.
fn ends(node: &At<Node>, path: &str, problems: &mut Vec<Problem>) -> Option<[At<Node>; 2]> {
    if let Node::List(items) = &node.value
        && let [low, high] = &items[..]
    {
        return Some([low.clone(), high.clone()]);
    }
    wrong_kind(node, path, "two numbers, as in [0, 10]", problems)
}
