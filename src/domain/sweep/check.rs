//! The check of all points of a sweep.
//!
//! To work out what a spec means costs far more than to set a value in it. So it is done once for all points that differ
//! only in arguments and variables of the training, and each value of those is looked at once.

use std::collections::{BTreeMap, HashMap, HashSet};

use jiff::Timestamp;

use crate::domain::charge::of_start;
use crate::domain::document::{Node, Table};
use crate::domain::problem::{At, Place, Problem, limited};
use crate::domain::request::{DATASETS, set_key};
use crate::domain::resolve::{Choice, Context, Outcome, check_values, resolve};
use crate::domain::resolved::Resolved;
use crate::domain::sweep::{Family, FamilyOutcome, Point};

/// What a sweep asks for, and the most that it can use.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize)]
pub struct Cost {
    pub points: usize,
    /// How many different jobs the points are, apart from what their trainings are given.
    pub resource_sets: usize,
    /// Nodes × time limit, of all points; none where one has no limit.
    pub node_hours_max: Option<f64>,
    /// What starts that last as long cost by the terms of their classes; none where one has no rate.
    pub charge_max: Option<f64>,
    /// The points are told later, and these are the most that may be.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub open: bool,
}

impl Cost {
    const NOTHING: Self = Self {
        points: 0,
        resource_sets: 0,
        node_hours_max: Some(0.0),
        charge_max: Some(0.0),
        open: false,
    };

    /// What so many points of a set ask for, if they start now.
    pub(super) fn of(resolved: &Resolved, points: usize, now: Timestamp) -> Self {
        let mut cost = Self { resource_sets: 1, ..Self::NOTHING };
        cost.add(resolved, points, now);
        cost
    }

    fn add(&mut self, resolved: &Resolved, points: usize, now: Timestamp) {
        const SECONDS_PER_HOUR: f64 = 3600.0;
        let compute = &resolved.compute;
        self.points += points;
        let seconds = compute.time_limit.map(|limit| limit.0.0);
        #[expect(clippy::cast_precision_loss, reason = "points and seconds have limits below 2^53")]
        let add = |sum: Option<f64>, of_point: Option<f64>| Some(sum? + points as f64 * of_point?);
        #[expect(clippy::cast_precision_loss, reason = "points and seconds have limits below 2^53")]
        let hours =
            seconds.map(|seconds| f64::from(compute.nodes) * seconds as f64 / SECONDS_PER_HOUR);
        self.node_hours_max = add(self.node_hours_max, hours);
        let charge = seconds.and_then(|seconds| of_start(resolved, seconds, now));
        self.charge_max = add(self.charge_max, charge);
    }
}

/// Points of which one problem is.
#[derive(Debug, Clone, Default)]
struct Told {
    first: Vec<usize>,
    count: usize,
}

impl Told {
    /// Points that are told by their numbers.
    const FIRST_MAX: usize = 3;

    fn add(&mut self, index: usize) {
        if self.first.len() < Self::FIRST_MAX {
            self.first.push(index);
        }
        self.count += 1;
    }

    fn add_all(&mut self, other: &Self) {
        self.first.extend(&other.first);
        self.first.sort_unstable();
        self.first.dedup();
        self.first.truncate(Self::FIRST_MAX);
        self.count += other.count;
    }
}

/// Points that mean the same but for what their trainings are given.
struct Set {
    /// The least around an argument or a variable that says what it means.
    around: Table,
    resolved: Option<Resolved>,
    problems: Vec<Problem>,
    points: Told,
}

/// Everything that is looked at while all points are checked.
pub(super) struct Check<'a> {
    family: &'a Family,
    context: Context<'a>,
    sets: Vec<Set>,
    /// By the values that are not only handed on.
    set_of: HashMap<String, usize>,
    /// What is wrong with a value of a parameter in a set.
    values: HashMap<(usize, usize, String), Vec<Problem>>,
    faults: BTreeMap<(Option<Place>, String), (Problem, Told)>,
    outcome: FamilyOutcome,
}

impl<'a> Check<'a> {
    pub(super) fn of_all(
        family: &'a Family,
        context: Context<'a>,
        now: Timestamp,
    ) -> FamilyOutcome {
        let outcome = FamilyOutcome {
            cost: None,
            sets: Vec::new(),
            choice: Choice::Made,
            expectations: Vec::new(),
            problems: Vec::new(),
            warnings: Vec::new(),
        };
        let mut check = Self {
            family,
            context,
            sets: Vec::new(),
            set_of: HashMap::new(),
            values: HashMap::new(),
            faults: BTreeMap::new(),
            outcome,
        };
        for (index, point) in family.points.points.iter().enumerate() {
            check.add(index, point);
        }
        check.finish(now)
    }

    fn add(&mut self, index: usize, point: &Point) {
        let family = self.family;
        let alike = alike(family, point);
        let known = self.set_of.get(&alike).copied();
        let number = known.unwrap_or(self.sets.len());
        if known.is_none() {
            self.set_of.insert(alike, number);
            let set = self.new_set(point);
            self.sets.push(set);
        }
        let mut of_values = Vec::new();
        for (key, value) in point.each().filter(|(key, _)| hands_on(family, *key)) {
            of_values.extend(self.of_value(number, key, value));
        }
        if let Some(set) = self.sets.get_mut(number) {
            set.points.add(index);
            // What is wrong with a value of its first point is no fault of all its points.
            set.problems.retain(|problem| !of_values.contains(problem));
        }
        for problem in of_values {
            self.fault(problem).add(index);
        }
    }

    /// Points that are like this one.
    fn new_set(&mut self, point: &Point) -> Set {
        let mut table = self.family.table.clone();
        let mut problems = self.family.problems.clone();
        problems.extend(self.family.points.apply(point, &mut table));
        let Outcome { resolved, choice, expectations, problems, warnings, .. } =
            resolve(&table, problems, self.context);
        if self.outcome.choice == Choice::Made {
            self.outcome.choice = choice;
        }
        add_new(&mut self.outcome.expectations, expectations);
        add_new(&mut self.outcome.warnings, warnings);
        Set { around: around(&table), resolved, problems, points: Told::default() }
    }

    /// What is wrong with a value that is handed on.
    fn of_value(&mut self, set: usize, key: usize, value: &At<Node>) -> Vec<Problem> {
        // One number is as good as another.
        let meant = match &value.value {
            Node::Integer(_) | Node::Float(_) | Node::Boolean(_) => String::new(),
            Node::Text(_) | Node::Datetime(_) | Node::List(_) | Node::Table(_) => {
                value.value.canonical().to_string()
            }
        };
        let of = (set, key, meant);
        if let Some(problems) = self.values.get(&of) {
            return problems.clone();
        }
        let mut table = self.sets.get(set).map(|set| set.around.clone()).unwrap_or_default();
        let Some(name) = self.family.points.keys.get(key) else { return Vec::new() };
        let mut problems: Vec<Problem> =
            set_key(&mut table, &name.value, name.place, value.clone()).err().into_iter().collect();
        let (wrong, warnings) = check_values(&table, self.context);
        problems.extend(wrong);
        add_new(&mut self.outcome.warnings, warnings);
        self.values.insert(of, problems.clone());
        problems
    }

    /// The points that a problem was found at.
    fn fault(&mut self, problem: Problem) -> &mut Told {
        let of = (problem.place, problem.message.clone());
        &mut self.faults.entry(of).or_insert_with(|| (problem, Told::default())).1
    }

    fn finish(mut self, now: Timestamp) -> FamilyOutcome {
        let sets = std::mem::take(&mut self.sets);
        for set in &sets {
            for problem in &set.problems {
                self.fault(problem.clone()).add_all(&set.points);
            }
        }
        let all = self.family.points.points.len();
        let faults = std::mem::take(&mut self.faults);
        let told = |(problem, told): (Problem, Told)| self.told(problem, &told, all);
        let problems = limited(faults.into_values().map(told).collect());
        let cost = problems.is_empty().then(|| cost(&sets, now));
        let sets = sets.into_iter().filter_map(|set| Some((set.resolved?, set.points.count)));
        FamilyOutcome { cost, sets: sets.collect(), problems, ..self.outcome }
    }

    /// A problem, and at which points it is.
    fn told(&self, mut problem: Problem, told: &Told, all: usize) -> Problem {
        let Some(first) = told.first.first().filter(|_| told.count < all) else { return problem };
        if self.family.open.is_some() {
            // Nobody has numbered what could be told.
            problem.message += &format!(" (where {})", self.family.shown(*first));
            return problem;
        }
        let numbers: Vec<String> = told.first.iter().map(ToString::to_string).collect();
        let (numbers, shown) = (numbers.join(", "), self.family.shown(*first));
        problem.message += &match told.count - told.first.len() {
            0 if told.count == 1 => format!(" (point {first}: {shown})"),
            0 => format!(" (points {numbers}; {first} has {shown})"),
            more => format!(" (points {numbers} and {more} more; {first} has {shown})"),
        };
        problem
    }
}

/// What a point has to have in common with others to be of one set with them: all values that are not only handed on.
pub(super) fn alike(family: &Family, point: &Point) -> String {
    let others = point.each().filter(|(key, _)| !hands_on(family, *key));
    let lines: Vec<String> =
        others.map(|(key, value)| format!("{key} {}", value.value.canonical())).collect();
    lines.join("\n")
}

fn hands_on(family: &Family, key: usize) -> bool {
    family.points.keys.get(key).is_some_and(|key| is_handed_on(&key.value))
}

/// Whether a key is only handed to the training: no resource depends on it.
pub(super) fn is_handed_on(key: &str) -> bool {
    key.starts_with("args.") || key.starts_with("environment.variables.")
}

/// What of a spec has a say in what an argument or a variable means.
pub(super) fn around(table: &Table) -> Table {
    let mut around = Table::default();
    around.0.extend(table.0.iter().filter(|(key, _)| key.value == DATASETS).cloned());
    let style = |code: &At<Node>| match &code.value {
        Node::Table(code) => code.get("args_style").cloned(),
        Node::Text(_)
        | Node::Integer(_)
        | Node::Float(_)
        | Node::Boolean(_)
        | Node::Datetime(_)
        | Node::List(_) => None,
    };
    if let Some(style) = table.get("code").and_then(style) {
        // A table that has nothing in it yet takes every key.
        drop(around.set(&["code", "args_style"], style.place, style));
    }
    around
}

fn add_new<T: PartialEq>(all: &mut Vec<T>, more: Vec<T>) {
    for one in more {
        if !all.contains(&one) {
            all.push(one);
        }
    }
}

/// What sets of points ask for together, if they start now.
fn cost(sets: &[Set], now: Timestamp) -> Cost {
    let mut kinds = HashSet::new();
    let mut cost = Cost::NOTHING;
    for Set { resolved, points, .. } in sets {
        let Some(resolved) = resolved else { continue };
        let Resolved { compute, distributed, .. } = resolved;
        kinds.insert(serde_json::to_string(&(compute, distributed)).unwrap_or_default());
        cost.add(resolved, points.count, now);
    }
    cost.resource_sets = kinds.len();
    cost
}
