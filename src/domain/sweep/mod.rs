//! What a sweep comes to: its points, and what is wrong with any of them.
//!
//! `[sweep]` ([`crate::domain::spec::Sweep`]) is made into [`Points`] by [`points`]; each point is the spec with the point's
//! values set in it, as `--set` would. [`Family`] has both, and checks all points without working through all of them.
//!
//! The order is that of nested loops: groups of `zip` outside, as they are written, then the parameters; the last one varies
//! fastest. Points that are left out are not counted.

mod alone;
mod axis;
mod check;
pub mod compare;
mod condition;
mod decimal;
mod draw;
mod expand;
mod family;
mod file;
pub mod halving;
mod open;
mod plan;
pub mod slots;
mod standing;
mod view;

pub use alone::alone;
pub use check::Cost;
pub use expand::points;
pub use family::{Family, FamilyOutcome};
pub use open::{Open, SETS_MAX, TOLD_BYTES_MAX, TOLD_MAX};
pub use plan::{About, Given, Objective, Plan, PlannedPoint};
pub use standing::Standing;
pub use view::{SweepView, state};

use std::fmt;
use std::sync::Arc;

use crate::domain::document::{Node, Table};
use crate::domain::ids::RunId;
use crate::domain::problem::{At, Problem};
use crate::domain::request::set_key;

/// Points of one sweep.
pub const POINTS_MAX: usize = 100_000;
/// Parameters of one sweep.
pub const PARAMETERS_MAX: usize = 64;
/// Bytes of a file of points.
pub const POINTS_FILE_BYTES_MAX: usize = 16 << 20;

/// Which point of which sweep a run is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct PointId {
    pub sweep: RunId,
    pub point: u32,
    /// Which of the sweep's sets it belongs to.
    pub set: u32,
}

impl fmt::Display for PointId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.sweep, self.point)
    }
}

/// The points of a sweep, in their order: the place in it is a point's number.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Points {
    /// The parameters' keys, in their order.
    pub keys: Vec<At<String>>,
    pub points: Vec<Point>,
}

/// The values of one point. Points that have the same value of a parameter share it.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Point(Vec<(usize, Arc<At<Node>>)>);

impl Point {
    /// The places of its parameters' keys, and their values.
    fn each(&self) -> impl Iterator<Item = (usize, &At<Node>)> {
        self.0.iter().map(|(key, value)| (*key, &**value))
    }
}

impl Points {
    /// A point's parameters, in their order; those that do not exist there are left out.
    pub fn values<'a>(
        &'a self,
        point: &'a Point,
    ) -> impl Iterator<Item = (&'a At<String>, &'a At<Node>)> {
        point.0.iter().filter_map(|(key, value)| Some((self.keys.get(*key)?, &**value)))
    }

    /// The same as JSON, with numbers as numbers.
    pub fn parameters(&self, point: &Point) -> serde_json::Value {
        let one = |(key, value): (&At<String>, &At<Node>)| (key.value.clone(), json(&value.value));
        serde_json::Value::Object(self.values(point).map(one).collect())
    }

    /// Sets a point's values in the spec.
    fn apply(&self, point: &Point, table: &mut Table) -> Vec<Problem> {
        let set = |(key, value): (&At<String>, &At<Node>)| {
            set_key(table, &key.value, key.place, value.clone()).err()
        };
        self.values(point).filter_map(set).collect()
    }
}

fn json(node: &Node) -> serde_json::Value {
    match node {
        Node::Text(text) | Node::Datetime(text) => text.as_str().into(),
        Node::Integer(number) => (*number).into(),
        // What JSON has no number for is told as it is written.
        Node::Float(text) => text
            .parse::<f64>()
            .ok()
            .and_then(serde_json::Number::from_f64)
            .map_or_else(|| text.as_str().into(), serde_json::Value::Number),
        Node::Boolean(flag) => (*flag).into(),
        Node::List(items) => items.iter().map(|item| json(&item.value)).collect(),
        Node::Table(table) => {
            let entries = table.0.iter().map(|(key, node)| (key.value.clone(), json(&node.value)));
            serde_json::Value::Object(entries.collect())
        }
    }
}

#[cfg(test)]
mod tests;
