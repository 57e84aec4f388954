//! Sweeps whose points are told one by one while they run: what may be told, and what is known of it before.
//!
//! Nothing that a point asks of a scheduler is left to be found out when it is told. Parameters that are not only handed on
//! have few values, and whatever those can be together is a set of the sweep from its acceptance on.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use jiff::Timestamp;

use crate::domain::document::Node;
use crate::domain::problem::{At, Place, Problem, Source, SourceId};
use crate::domain::resolve::Context;
use crate::domain::spec::{Sweep, SweepMethod};
use crate::domain::sweep::axis::{Axis, Choices};
use crate::domain::sweep::check::{Check, Cost, alike, is_handed_on};
use crate::domain::sweep::expand::Nest;
use crate::domain::sweep::{Family, FamilyOutcome, POINTS_MAX, PlannedPoint, Point, Points, file};

/// Sets of resources that points of one open sweep may have: each is a script in its directory.
pub const SETS_MAX: usize = 64;
/// Points that are told at once.
pub const TOLD_MAX: usize = 1_000;
/// Bytes of the parameters of one point.
pub const TOLD_BYTES_MAX: usize = 64 << 10;

/// A sweep that has no points of its own.
#[derive(Debug, Clone)]
pub struct Open {
    /// How many it may be told.
    pub max_points: u32,
    sweep: At<Sweep>,
    /// Points that could be told. The first ones have each set of resources once, in the order of the sets, which must never
    /// become another; then come all other values of what is handed on.
    examples: Vec<Point>,
}

impl Open {
    /// A sweep that says that it is open; none for another one, and where something is wrong. `schedule` is that of the spec.
    pub(super) fn read(
        sweep: &At<Sweep>,
        schedule: Option<&At<Node>>,
        problems: &mut Vec<Problem>,
    ) -> Option<Self> {
        if sweep.value.method.as_ref()?.value != SweepMethod::Open {
            return None;
        }
        let before = problems.len();
        if let Some(schedule) = schedule {
            let message = "an open sweep has no `[schedule]`: whoever tells it points submits it";
            problems.push(Problem::at(schedule.place, message));
        }
        let max_points = max_points(sweep, problems);
        let nest = Nest::of(&sweep.value, SweepMethod::Open, problems);
        let resources: Vec<&Axis<'_>> =
            nest.axes.iter().filter(|axis| !is_handed_on(&axis.name)).collect();
        let columns: Vec<Vec<Arc<At<Node>>>> =
            resources.iter().map(|axis| listed(axis, &nest.keys, problems)).collect();
        let sets = columns.iter().fold(1, |all: usize, column| all.saturating_mul(column.len()));
        if sets > SETS_MAX {
            let names: Vec<String> =
                resources.iter().map(|axis| format!("`{}`", axis.name)).collect();
            let names = names.join(" and ");
            let message = format!("{names}: {sets} sets of resources, more than {SETS_MAX}");
            let help = "what is told to an open sweep may have few values of what is asked of the scheduler";
            problems.push(Problem::at(sweep.place, message).help(help));
        }
        if problems.len() > before {
            return None;
        }
        let examples = examples(&nest.axes, &columns);
        Some(Self { max_points: max_points?, sweep: sweep.clone(), examples })
    }
}

fn max_points(sweep: &At<Sweep>, problems: &mut Vec<Problem>) -> Option<u32> {
    let Some(most) = &sweep.value.max_points else {
        let help = "write how many points it may be told: `max_points = 100`";
        let message = "the method `open` needs `max_points`";
        problems.push(Problem::at(sweep.place, message).help(help));
        return None;
    };
    let count = most.value.get();
    if usize::try_from(count).is_ok_and(|count| count > POINTS_MAX) {
        let message = format!("`sweep.max_points` is {count}, more than {POINTS_MAX}");
        problems.push(Problem::at(most.place, message));
    }
    Some(count)
}

/// All values of a parameter that is not only handed on.
fn listed(axis: &Axis<'_>, keys: &[At<String>], problems: &mut Vec<Problem>) -> Vec<Arc<At<Node>>> {
    let name = &axis.name;
    let place = keys.get(axis.first).map(|key| key.place);
    let mut refuse = |why: &str, help: &str| {
        let message = format!("`{name}` is asked of the scheduler, and in an open sweep {why}");
        problems.push(Problem::new(place, message).help(help));
        Vec::new()
    };
    if !axis.when.is_empty() {
        return refuse("all points have it", "leave `when` out");
    }
    match &axis.choices {
        Choices::Rows(columns) => columns.first().cloned().unwrap_or_default(),
        Choices::Integer(At { value: (low, high), place }) => {
            let last = (*high).min(low.saturating_add_unsigned(SETS_MAX as u64));
            (*low..=last).map(|n| Arc::new(At::new(Node::Integer(n), *place))).collect()
        }
        Choices::Uniform(_) | Choices::LogUniform(_) => {
            refuse("its values are listed", "list them, or give a `range`")
        }
    }
}

/// Points that could be told; `resources` has the values of each parameter that is not only handed on.
fn examples(axes: &[Axis<'_>], resources: &[Vec<Arc<At<Node>>>]) -> Vec<Point> {
    let mut base: Vec<(usize, Arc<At<Node>>)> = Vec::new();
    for axis in axes.iter().filter(|axis| is_handed_on(&axis.name)) {
        let known = |key: usize| base.iter().find(|(at, _)| *at == key).map(|(_, it)| &it.value);
        if axis.when.holds(known) {
            base.extend(axis.extremes().into_iter().next().map(|value| (axis.first, value)));
        }
    }
    let keys = axes.iter().filter(|axis| !is_handed_on(&axis.name)).map(|axis| axis.first);
    let mut rows = vec![base];
    for (key, column) in keys.zip(resources) {
        let with = |row: &Vec<(usize, Arc<At<Node>>)>, value: &Arc<At<Node>>| {
            row.iter().cloned().chain([(key, Arc::clone(value))]).collect()
        };
        rows =
            rows.iter().flat_map(|row| column.iter().map(move |value| with(row, value))).collect();
    }
    let first = rows.first().cloned().unwrap_or_default();
    for axis in axes.iter().filter(|axis| is_handed_on(&axis.name)) {
        for value in axis.extremes() {
            let mut row = first.clone();
            row.retain(|(key, _)| *key != axis.first);
            row.push((axis.first, value));
            rows.push(row);
        }
    }
    let point = |mut row: Vec<(usize, Arc<At<Node>>)>| {
        row.sort_by_key(|(key, _)| *key);
        Point(row)
    };
    rows.into_iter().map(point).collect()
}

impl Family {
    /// The first point, or one that could be told.
    pub fn first(&self) -> Option<&Point> {
        let examples = self.open.as_ref().and_then(|open| open.examples.first());
        self.points.points.first().or(examples)
    }

    /// The same, with the points that could be told as its points.
    pub(super) fn with_examples(&self) -> Option<Self> {
        let examples = self.open.as_ref()?.examples.clone();
        let points = Points { keys: self.points.keys.clone(), points: examples };
        Some(Self { points, ..self.clone() })
    }

    /// Checks what could be told; the costs are those of as many of the most expensive one as may be told.
    pub(super) fn check_open(
        &self,
        max_points: u32,
        (context, now): (Context<'_>, Timestamp),
    ) -> FamilyOutcome {
        let family = self.with_examples().unwrap_or_else(|| self.clone());
        let mut outcome = Check::of_all(&family, context, now);
        let count = usize::try_from(max_points).unwrap_or(usize::MAX);
        let dearest = |one: &Cost, other: &Cost| {
            let of = |cost: &Cost| (cost.charge_max, cost.node_hours_max);
            of(one).partial_cmp(&of(other)).unwrap_or(std::cmp::Ordering::Equal)
        };
        let each = |(resolved, _): (_, usize)| (Cost::of(&resolved, count, now), resolved);
        let most =
            outcome.sets.drain(..).map(each).max_by(|(one, _), (other, _)| dearest(one, other));
        if let Some((cost, resolved)) = most {
            let sets = outcome.cost.map_or(1, |cost| cost.resource_sets);
            outcome.cost = outcome.cost.map(|_| Cost { resource_sets: sets, open: true, ..cost });
            outcome.sets = vec![(resolved, count)];
        }
        outcome
    }

    /// The sets of the points that could be told: their numbers, by what such points have in common.
    pub(super) fn known_sets(&self) -> HashMap<String, u32> {
        let mut known = HashMap::new();
        for point in self.open.iter().flat_map(|open| &open.examples) {
            let next = u32::try_from(known.len()).unwrap_or(u32::MAX);
            known.entry(alike(self, point)).or_insert(next);
        }
        known
    }

    /// This sweep with the points that it is told, one on each line of the text, and what is wrong with any of them.
    pub fn told(&self, text: &str) -> (Self, Vec<Problem>) {
        let mut told = self.clone();
        let Some(open) = &self.open else { return (told, Vec::new()) };
        let source = Source {
            name: "the points".to_owned(),
            text: text.to_owned(),
            base: self.sources.get(SourceId(0)).map(|own| own.base.clone()).unwrap_or_default(),
        };
        let place = Place { source: told.sources.add(source), start: 0, end: 0 };
        let mut problems = Vec::new();
        let nest = Nest::of(&open.sweep.value, SweepMethod::Open, &mut Vec::new());
        let rows = file::json_lines(&At::new(text, place), &mut problems);
        if !problems.is_empty() {
            return (told, problems);
        }
        let mut points = Vec::new();
        for (row, place) in rows.points.iter().zip(file::lines(&At::new(text, place))) {
            let named: Vec<(&At<String>, &Arc<At<Node>>)> = row
                .0
                .iter()
                .filter_map(|(key, value)| Some((rows.keys.get(*key)?, value)))
                .collect();
            points.push(point(&nest, &named, place, &mut problems));
        }
        told.points.points = points;
        (told, problems)
    }

    /// What points come to that were told ([`Family::told`]), as the site is now.
    pub fn plan_told(
        &self,
        (context, now): (Context<'_>, Timestamp),
    ) -> Result<Vec<PlannedPoint>, Vec<Problem>> {
        let family = Self { open: None, ..self.clone() };
        let problems = Check::of_all(&family, context, now).problems;
        if problems.is_empty() { self.plan_known(context) } else { Err(problems) }
    }
}

/// A point that is told, if it is one of the sweep.
fn point(
    nest: &Nest<'_>,
    told: &[(&At<String>, &Arc<At<Node>>)],
    place: Place,
    problems: &mut Vec<Problem>,
) -> Point {
    for (key, _) in told {
        if nest.keys.iter().all(|known| known.value != key.value) {
            let message = format!("`{}` is no parameter of the sweep", key.value);
            let known = nest.keys.iter().map(|known| known.value.as_str());
            problems.push(Problem::at(place, message).suggest_key(&key.value, known));
        }
    }
    let mut values: Vec<(usize, Arc<At<Node>>)> = Vec::new();
    let mut unclear = BTreeSet::new();
    for axis in &nest.axes {
        let name = &axis.name;
        let said = told.iter().find(|(key, _)| key.value == *name).map(|(_, value)| *value);
        // What hangs on a wrong value is not told as well.
        if unclear.iter().any(|key| axis.when.is_about(*key)) {
            unclear.insert(axis.first);
            continue;
        }
        let exists = axis
            .when
            .holds(|key| values.iter().find(|(at, _)| *at == key).map(|(_, value)| &value.value));
        let refused = match said {
            None if exists => format!("`{name}` is missing"),
            None => continue,
            Some(_) if !exists => format!("this point has no `{name}`: its `when` does not hold"),
            Some(value) => match axis.taken(value) {
                Ok(value) => {
                    values.push((axis.first, value));
                    continue;
                }
                Err(why) => format!("`{name}` {why}"),
            },
        };
        unclear.insert(axis.first);
        problems.push(Problem::at(place, refused));
    }
    Point(values)
}
