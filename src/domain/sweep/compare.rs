//! Points of sweeps side by side: by what they reported, best first; and grouped by the value of a parameter.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::domain::checkpoint::Goal;

/// A point, with what it came to.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ComparedPoint {
    pub sweep: i64,
    pub point: u32,
    pub run: i64,
    pub state: String,
    /// What sets it apart, by the keys of the spec.
    pub parameters: Value,
    /// The best finite value of the metric, and the step of it.
    pub best: Option<f64>,
    pub step: Option<i64>,
    /// The newest value, whether it is a number or not.
    #[serde(with = "crate::domain::number::optional")]
    pub last: Option<f64>,
    pub elapsed_seconds: f64,
    pub node_hours: f64,
    /// None where its class has no rate.
    pub charge: Option<f64>,
}

/// Points of one or several sweeps, best first.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Comparison {
    pub metric: String,
    pub goal: Goal,
    pub charge_unit: String,
    /// The parameters of all sweeps, in their order.
    pub parameters: Vec<String>,
    pub points: Vec<ComparedPoint>,
}

/// The points that have one value of a parameter.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Group {
    /// None for the points that do not have the parameter.
    pub value: Option<Value>,
    pub points: usize,
    pub completed: usize,
    /// Of the completed points.
    pub best: Option<f64>,
    /// Of the best values of the completed points.
    pub mean: Option<f64>,
    pub node_hours: f64,
    pub charge: Option<f64>,
}

impl ComparedPoint {
    /// The value of a parameter; none where the point does not have it.
    pub fn value(&self, key: &str) -> Option<&Value> {
        self.parameters.get(key)
    }
}

/// Puts points in order: best first, those without a value last, and of equals the earlier one.
pub fn sort(points: &mut [ComparedPoint], goal: Goal) {
    points.sort_by(|one, other| {
        by_value(one.best, other.best, goal)
            .then_with(|| (one.sweep, one.point).cmp(&(other.sweep, other.point)))
    });
}

/// The better value first. What is no number is no value.
fn by_value(one: Option<f64>, other: Option<f64>, goal: Goal) -> Ordering {
    let number = |value: Option<f64>| value.filter(|value| !value.is_nan());
    match (number(one), number(other)) {
        (Some(one), Some(other)) => match goal {
            Goal::Minimize => one.total_cmp(&other),
            Goal::Maximize => other.total_cmp(&one),
        },
        (Some(_), None) => Ordering::Less,
        (None, Some(_)) => Ordering::Greater,
        (None, None) => Ordering::Equal,
    }
}

impl Comparison {
    /// The parameters that do not have the same value at all points.
    pub fn varying(&self) -> Vec<&str> {
        let varies = |key: &str| {
            let mut values = self.points.iter().map(|point| point.value(key));
            let first = values.next();
            first.is_some_and(|first| values.any(|value| value != first))
        };
        self.parameters.iter().map(String::as_str).filter(|key| varies(key)).collect()
    }

    /// The key of a parameter that is named by it, or by its last part where that is unique.
    pub fn key(&self, named: &str) -> Option<&str> {
        let keys: Vec<&str> = self.parameters.iter().map(String::as_str).collect();
        let whole = keys.iter().find(|key| **key == named).copied();
        whole.or_else(|| {
            let mut names = short_names(&keys).into_iter().zip(&keys);
            names.find_map(|(short, key)| (short == named).then_some(*key))
        })
    }

    /// The points by their value of a parameter, best first.
    pub fn by(&self, key: &str) -> Vec<Group> {
        let mut groups: BTreeMap<Option<String>, Vec<&ComparedPoint>> = BTreeMap::new();
        for point in &self.points {
            groups.entry(point.value(key).map(Value::to_string)).or_default().push(point);
        }
        let group = |points: Vec<&ComparedPoint>| self.group(key, &points);
        let mut groups: Vec<Group> = groups.into_values().map(group).collect();
        groups.sort_by(|one, other| by_value(one.best, other.best, self.goal));
        groups
    }

    fn group(&self, key: &str, points: &[&ComparedPoint]) -> Group {
        let completed = points.iter().filter(|point| point.state == "completed");
        let values: Vec<f64> = completed.clone().filter_map(|point| point.best).collect();
        let better = |one: f64, other: f64| match self.goal {
            Goal::Minimize => one.min(other),
            Goal::Maximize => one.max(other),
        };
        #[expect(clippy::cast_precision_loss, reason = "a sweep has at most 100,000 points")]
        let mean = (!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64);
        Group {
            value: points.first().and_then(|point| point.value(key)).cloned(),
            points: points.len(),
            completed: completed.count(),
            best: values.iter().copied().reduce(better),
            mean,
            node_hours: points.iter().map(|point| point.node_hours).sum(),
            charge: total_charge(points.iter().copied()),
        }
    }
}

/// What points cost together; none where none of them has a rate.
pub fn total_charge<'a>(points: impl Iterator<Item = &'a ComparedPoint>) -> Option<f64> {
    points.filter_map(|point| point.charge).reduce(|one, other| one + other)
}

/// Names of parameters for people: the last part of the key where no other one has the same.
pub fn short_names(keys: &[&str]) -> Vec<String> {
    let last = |key: &str| key.rsplit('.').next().unwrap_or_default().to_owned();
    let of_one = |key: &&str| {
        let short = last(key);
        let is_unique = keys.iter().filter(|other| last(other) == short).count() == 1;
        if is_unique { short } else { (*key).to_owned() }
    };
    keys.iter().map(of_one).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn point(number: u32, best: Option<f64>, parameters: Value) -> ComparedPoint {
        ComparedPoint {
            sweep: 1,
            point: number,
            run: i64::from(number) + 2,
            state: "completed".to_owned(),
            parameters,
            best,
            step: best.map(|_| 1),
            last: best,
            elapsed_seconds: 60.0,
            node_hours: 0.5,
            charge: Some(1.0),
        }
    }

    fn compared(points: Vec<ComparedPoint>) -> Comparison {
        let parameters = ["args.lr", "args.seed", "compute.nodes"].map(str::to_owned).to_vec();
        let (metric, charge_unit) = ("loss".to_owned(), "unit".to_owned());
        Comparison { metric, goal: Goal::Minimize, charge_unit, parameters, points }
    }

    #[test]
    fn the_best_is_first_and_what_has_no_value_last() {
        let values =
            [None, Some(2.0), Some(f64::NAN), Some(-1.0), Some(2.0), Some(-f64::NAN), Some(0.0)];
        let check = |goal: Goal, expected: [u32; 7]| {
            let numbered = (0..7).zip(values).rev();
            let mut points: Vec<ComparedPoint> =
                numbered.map(|(number, best)| point(number, best, json!({}))).collect();
            sort(&mut points, goal);
            let order: Vec<u32> = points.iter().map(|point| point.point).collect();
            assert_eq!(order, expected, "{goal}");
        };
        check(Goal::Minimize, [3, 6, 1, 4, 0, 2, 5]);
        check(Goal::Maximize, [1, 4, 6, 3, 0, 2, 5]);
    }

    #[test]
    fn only_what_varies_is_told() {
        let first = json!({ "args.lr": 0.1, "args.seed": 1 });
        let second = json!({ "args.lr": 0.1, "args.seed": 2, "compute.nodes": 2 });
        let both = compared(vec![point(0, None, first.clone()), point(1, None, second)]);
        assert_eq!(both.varying(), ["args.seed", "compute.nodes"]);
        assert_eq!(compared(vec![point(0, None, first)]).varying(), Vec::<&str>::new());
    }

    #[test]
    fn a_name_is_short_where_it_is_unique() {
        let check = |keys: &[&str], expected: &[&str]| assert_eq!(short_names(keys), expected);
        check(&["args.lr", "compute.nodes"], &["lr", "nodes"]);
        check(
            &["args.a.width", "args.b.width", "args.lr"],
            &["args.a.width", "args.b.width", "lr"],
        );
        let compared = compared(Vec::new());
        assert_eq!(compared.key("lr"), Some("args.lr"));
        assert_eq!(compared.key("args.lr"), Some("args.lr"));
        assert_eq!(compared.key("args"), None);
    }

    #[test]
    fn groups_count_completed_points_alone() {
        let lr = |lr: f64| json!({ "args.lr": lr });
        let failed = ComparedPoint { state: "failed".into(), ..point(2, Some(0.1), lr(0.1)) };
        let points = vec![
            point(0, Some(3.0), lr(0.1)),
            point(1, Some(1.0), lr(0.1)),
            failed,
            point(3, Some(0.5), lr(0.2)),
            point(4, None, json!({})),
        ];
        let shown: Vec<_> = compared(points)
            .by("args.lr")
            .into_iter()
            .map(|group| (group.value, group.points, group.completed, group.best, group.mean))
            .collect();
        assert_eq!(
            shown,
            [
                (Some(json!(0.2)), 1, 1, Some(0.5), Some(0.5)),
                (Some(json!(0.1)), 3, 2, Some(1.0), Some(2.0)),
                (None, 1, 1, None, None),
            ]
        );
    }
}
