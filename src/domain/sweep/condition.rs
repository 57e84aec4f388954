//! `when` and `exclude`: values that a point must have.

use std::cmp::Ordering;

use crate::domain::document::Node;
use crate::domain::problem::{At, Problem};
use crate::domain::spec::{Dotted, OneOf};
use crate::domain::sweep::axis::Axis;

/// All of these parameters have one of their values.
#[derive(Debug, Clone, Default)]
pub(super) struct Condition<'a>(Vec<(usize, &'a [At<Node>])>);

impl<'a> Condition<'a> {
    /// Reads what was written; `known` are the parameters that it may name, which are `which`, `axes` where their values
    /// come from.
    pub(super) fn of(
        written: &'a Dotted<OneOf>,
        (known, which): (&[At<String>], &str),
        axes: &[Axis<'_>],
        problems: &mut Vec<Problem>,
    ) -> Self {
        let mut all = Vec::new();
        for (key, OneOf(values)) in &written.0 {
            let Some(parameter) = known.iter().position(|known| known.value == key.value) else {
                let message = format!("`{}` is no parameter {which}", key.value);
                let names = known.iter().map(|known| known.value.as_str());
                problems.push(Problem::at(key.place, message).suggest_key(&key.value, names));
                continue;
            };
            for value in values {
                let never = |axis: &Axis<'_>| axis.never_has(parameter, &value.value);
                if axes.iter().any(never) {
                    let message = format!("`{}` never is {}", key.value, shown(&value.value));
                    problems.push(Problem::at(value.place, message));
                }
            }
            all.push((parameter, &values[..]));
        }
        Self(all)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether it asks for a value of this parameter.
    pub(super) fn is_about(&self, parameter: usize) -> bool {
        self.0.iter().any(|(asked, _)| *asked == parameter)
    }

    /// Whether a point has all of the values; `value` tells what it has.
    pub(super) fn holds<'b>(&self, value: impl Fn(usize) -> Option<&'b Node>) -> bool {
        let has = |(parameter, values): &(usize, &[At<Node>])| {
            value(*parameter).is_some_and(|has| values.iter().any(|one| same(has, &one.value)))
        };
        self.0.iter().all(has)
    }
}

/// Whether two values mean the same: `1` and `1.0` do.
pub(super) fn same(one: &Node, other: &Node) -> bool {
    if let (Node::List(one), Node::List(other)) = (one, other) {
        let mut pairs = one.iter().zip(other);
        return one.len() == other.len()
            && pairs.all(|(one, other)| same(&one.value, &other.value));
    }
    let ordered = number(one).zip(number(other)).and_then(|(a, b)| a.partial_cmp(&b));
    one == other || ordered == Some(Ordering::Equal)
}

/// A number as a float.
pub(super) fn number(node: &Node) -> Option<f64> {
    match node {
        #[expect(clippy::cast_precision_loss, reason = "beyond 2^53 only equality is lost")]
        Node::Integer(number) => Some(*number as f64),
        Node::Float(text) => text.parse().ok(),
        Node::Text(_) | Node::Boolean(_) | Node::Datetime(_) | Node::List(_) | Node::Table(_) => {
            None
        }
    }
}

/// A value as TOML has it, cut where it is long.
pub(super) fn shown(node: &Node) -> String {
    /// A value is quoted to be recognised, not to be read whole.
    const SHOWN_MAX: usize = 60;
    let mut text = match node {
        Node::Text(text) => format!("{text:?}"),
        Node::Integer(number) => number.to_string(),
        Node::Float(text) | Node::Datetime(text) => text.clone(),
        Node::Boolean(flag) => flag.to_string(),
        Node::List(items) => {
            let items: Vec<String> =
                items.iter().take(SHOWN_MAX).map(|item| shown(&item.value)).collect();
            format!("[{}]", items.join(", "))
        }
        Node::Table(_) => "a table".to_owned(),
    };
    if text.len() > SHOWN_MAX {
        text.truncate(text.floor_char_boundary(SHOWN_MAX));
        text.push('…');
    }
    text
}
