//! What varies by itself: a parameter, or parameters that are zipped together.

use std::sync::Arc;

use crate::domain::document::Node;
use crate::domain::problem::{At, Place, Problem};
use crate::domain::spec::{Domain, SweepMethod, Values};
use crate::domain::sweep::POINTS_MAX;
use crate::domain::sweep::condition::{Condition, number, same, shown};
use crate::domain::sweep::decimal::{Decimal, Steps};
use crate::domain::sweep::draw::{below, log_uniform, uniform};

/// One loop of the nest.
#[derive(Debug)]
pub(super) struct Axis<'a> {
    /// The first of its parameters; the others follow.
    pub(super) first: usize,
    /// What it is called where it is drawn: its parameters' keys.
    pub(super) name: String,
    pub(super) choices: Choices,
    /// Where it exists.
    pub(super) when: Condition<'a>,
}

#[derive(Debug)]
pub(super) enum Choices {
    /// The values of each of its parameters, as many of each.
    Rows(Vec<Vec<Arc<At<Node>>>>),
    Uniform(At<(f64, f64)>),
    LogUniform(At<(f64, f64)>),
    Integer(At<(i64, i64)>),
}

impl Axis<'_> {
    /// How many values it has; none where they are drawn.
    pub(super) fn len(&self) -> Option<usize> {
        match &self.choices {
            Choices::Rows(columns) => columns.first().map(Vec::len),
            Choices::Uniform(_) | Choices::LogUniform(_) | Choices::Integer(_) => None,
        }
    }

    pub(super) fn columns(&self) -> &[Vec<Arc<At<Node>>>] {
        match &self.choices {
            Choices::Rows(columns) => columns,
            Choices::Uniform(_) | Choices::LogUniform(_) | Choices::Integer(_) => &[],
        }
    }

    /// Whether a parameter is its own, and listed without this value.
    pub(super) fn never_has(&self, parameter: usize, value: &Node) -> bool {
        let column = parameter.checked_sub(self.first).and_then(|at| self.columns().get(at));
        column.is_some_and(|column| !column.iter().any(|listed| same(&listed.value, value)))
    }

    /// The values that it is checked with where it has one parameter: all, or both ends of what is between them.
    pub(super) fn extremes(&self) -> Vec<Arc<At<Node>>> {
        let ends = |low: Node, high: Node, place: Place| {
            [low, high].map(|end| Arc::new(At::new(end, place))).to_vec()
        };
        let float = |value: f64| Node::Float(format!("{value:?}"));
        match &self.choices {
            Choices::Rows(columns) => columns.first().cloned().unwrap_or_default(),
            Choices::Uniform(At { value: (low, high), place })
            | Choices::LogUniform(At { value: (low, high), place }) => {
                ends(float(*low), float(*high), *place)
            }
            Choices::Integer(At { value: (low, high), place }) => {
                ends(Node::Integer(*low), Node::Integer(*high), *place)
            }
        }
    }

    /// A value that somebody chose for its one parameter, as it is written where it is listed; or why it cannot have it.
    pub(super) fn taken(&self, value: &Arc<At<Node>>) -> Result<Arc<At<Node>>, String> {
        let told = || format!("cannot be {}", shown(&value.value));
        match &self.choices {
            Choices::Rows(columns) => {
                let column = columns.first().into_iter().flatten();
                let mut alike = column.filter(|listed| same(&listed.value, &value.value));
                alike.next().cloned().ok_or_else(|| told() + ": that is none of its values")
            }
            Choices::Uniform(At { value: (low, high), .. })
            | Choices::LogUniform(At { value: (low, high), .. }) => {
                let is_between = |number: f64| (*low..=*high).contains(&number);
                match number(&value.value) {
                    Some(number) if is_between(number) => Ok(Arc::clone(value)),
                    Some(_) => Err(told() + &format!(": it is between {low:?} and {high:?}")),
                    None => Err(told() + ": it is a number"),
                }
            }
            Choices::Integer(At { value: (low, high), .. }) => match value.value {
                Node::Integer(number) if (*low..=*high).contains(&number) => Ok(Arc::clone(value)),
                Node::Integer(_) => Err(told() + &format!(": it is between {low} and {high}")),
                Node::Text(_)
                | Node::Float(_)
                | Node::Boolean(_)
                | Node::Datetime(_)
                | Node::List(_)
                | Node::Table(_) => Err(told() + ": it is a whole number"),
            },
        }
    }

    /// What its parameters are, for these random bits.
    pub(super) fn drawn(&self, bits: u64) -> Vec<Arc<At<Node>>> {
        let float = |value: f64| Node::Float(format!("{value:?}"));
        let (node, place) = match &self.choices {
            Choices::Rows(columns) => {
                let row = |column: &Vec<Arc<At<Node>>>| {
                    let row = below(bits, column.len() as u128);
                    column.get(usize::try_from(row).ok()?).cloned()
                };
                return columns.iter().filter_map(row).collect();
            }
            Choices::Uniform(At { value: (low, high), place }) => {
                (float(uniform(bits, *low, *high)), *place)
            }
            Choices::LogUniform(At { value: (low, high), place }) => {
                (float(log_uniform(bits, *low, *high)), *place)
            }
            Choices::Integer(At { value: (low, high), place }) => {
                let count = u128::from(low.abs_diff(*high)) + 1;
                let above = u64::try_from(below(bits, count)).unwrap_or(u64::MAX);
                (Node::Integer(low.saturating_add_unsigned(above)), *place)
            }
        };
        vec![Arc::new(At::new(node, place))]
    }
}

/// Reads what values a parameter takes; what is wrong with them becomes problems.
pub(super) fn choices(
    key: &At<String>,
    domain: &Domain,
    method: SweepMethod,
    problems: &mut Vec<Problem>,
) -> Option<Choices> {
    let name = &key.value;
    let drawn = match &domain.values {
        Values::Listed(items) if items.is_empty() => {
            problems.push(Problem::at(key.place, format!("`{name}` has no values")));
            return None;
        }
        Values::Listed(items) => {
            return Some(Choices::Rows(vec![items.iter().cloned().map(Arc::new).collect()]));
        }
        Values::Range { from, to, step } => {
            let values = range(name, (from, to, step.as_ref()), problems)?;
            return Some(Choices::Rows(vec![values.into_iter().map(Arc::new).collect()]));
        }
        Values::Uniform(ends) => {
            let ends = floats(name, ends, problems)?;
            Choices::Uniform(ends)
        }
        Values::LogUniform(ends) => {
            let At { value: (low, high), place } = floats(name, ends, problems)?;
            if low <= 0.0 || !(high / low).is_finite() {
                let message = if low <= 0.0 {
                    format!("`{name}`: `log_uniform` needs numbers above 0")
                } else {
                    format!("`{name}`: these are too far apart")
                };
                problems.push(Problem::at(place, message));
                return None;
            }
            Choices::LogUniform(At::new((low, high), place))
        }
        Values::Integer(ends) => Choices::Integer(integers(name, ends, problems)?),
    };
    if [SweepMethod::Random, SweepMethod::Open].contains(&method) {
        return Some(drawn);
    }
    let message = format!("`{name}` is drawn at random, and the method is `{method}`");
    let help = "list its values, give a `range`, or write `method = \"random\"`";
    problems.push(Problem::at(key.place, message).help(help));
    None
}

fn range(
    name: &str,
    (from, to, step): (&At<Node>, &At<Node>, Option<&At<Node>>),
    problems: &mut Vec<Problem>,
) -> Option<Vec<At<Node>>> {
    let one = At::new(Node::Integer(1), from.place);
    let step = step.unwrap_or(&one);
    let mut decimal = |node: &At<Node>| {
        let number = Decimal::of(&node.value);
        if number.is_none() {
            let message = format!(
                "`{name}`: a range is made of numbers of at most 18 digits behind the point"
            );
            problems.push(Problem::at(node.place, message));
        }
        number
    };
    let (low, high, width) = (decimal(from), decimal(to), decimal(step));
    let place = joined(from, to);
    let Some(steps) = Steps::of(low?, high?, width?) else {
        let message = format!("`{name}`: the range has no values");
        let help = "it goes up from the first number to before the second one, by a `step` above 0";
        problems.push(Problem::at(place, message).help(help));
        return None;
    };
    if steps.count > POINTS_MAX as u128 {
        let count = steps.count;
        let message = format!("`{name}`: the range has {count} values, more than {POINTS_MAX}");
        problems.push(Problem::at(place, message));
        return None;
    }
    let are_whole = [from, to, step].iter().all(|node| matches!(node.value, Node::Integer(_)));
    Some(steps.nodes(are_whole).map(|node| At::new(node, place)).collect())
}

fn joined(from: &At<Node>, to: &At<Node>) -> Place {
    Place { end: to.place.end, ..from.place }
}

fn floats(name: &str, ends: &[At<Node>; 2], problems: &mut Vec<Problem>) -> Option<At<(f64, f64)>> {
    let read = |node: &At<Node>| number(&node.value).filter(|number| number.is_finite());
    let ends = two(name, ends, "finite numbers", read, problems)?;
    if (ends.value.1 - ends.value.0).is_finite() {
        return Some(ends);
    }
    problems.push(Problem::at(ends.place, format!("`{name}`: these are too far apart")));
    None
}

fn integers(
    name: &str,
    ends: &[At<Node>; 2],
    problems: &mut Vec<Problem>,
) -> Option<At<(i64, i64)>> {
    let read = |node: &At<Node>| match node.value {
        Node::Integer(number) => Some(number),
        Node::Text(_)
        | Node::Float(_)
        | Node::Boolean(_)
        | Node::Datetime(_)
        | Node::List(_)
        | Node::Table(_) => None,
    };
    two(name, ends, "whole numbers", read, problems)
}

/// Two numbers of which the second is the larger.
fn two<T: PartialOrd>(
    name: &str,
    [low, high]: &[At<Node>; 2],
    what: &str,
    read: impl Fn(&At<Node>) -> Option<T>,
    problems: &mut Vec<Problem>,
) -> Option<At<(T, T)>> {
    let mut one = |node: &At<Node>| {
        let value = read(node);
        if value.is_none() {
            problems.push(Problem::at(node.place, format!("`{name}`: these must be {what}")));
        }
        value
    };
    let (first, second) = (one(low), one(high));
    let (first, second, place) = (first?, second?, joined(low, high));
    if first < second {
        return Some(At::new((first, second), place));
    }
    let message = format!("`{name}`: the first number must be less than the second");
    problems.push(Problem::at(place, message));
    None
}
