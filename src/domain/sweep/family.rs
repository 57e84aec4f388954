//! A sweep's spec with its points.

use jiff::Timestamp;

use crate::domain::document::{Node, Table};
use crate::domain::keys::FromNode as _;
use crate::domain::problem::{At, Place, Problem, SourceId, Sources};
use crate::domain::request::SpecRequest;
use crate::domain::resolve::{Choice, Context, Expectation, Outcome, resolve};
use crate::domain::resolved::Resolved;
use crate::domain::spec::Sweep;
use crate::domain::sweep::check::{Check, Cost};
use crate::domain::sweep::condition::shown;
use crate::domain::sweep::{Open, Point, Points, points};

/// A spec that is a sweep.
#[derive(Debug, Clone)]
pub struct Family {
    pub sources: Sources,
    pub points: Points,
    /// What is known of its points where they are told later.
    pub open: Option<Open>,
    /// The spec without `[sweep]`.
    pub(super) table: Table,
    pub(super) problems: Vec<Problem>,
}

/// What all points come to.
#[derive(Debug, Clone)]
pub struct FamilyOutcome {
    /// None when there are problems.
    pub cost: Option<Cost>,
    /// Points that ask for the same: what the first of them means, and how many there are.
    pub sets: Vec<(Resolved, usize)>,
    pub choice: Choice,
    pub expectations: Vec<Expectation>,
    pub problems: Vec<Problem>,
    pub warnings: Vec<Problem>,
}

impl Family {
    /// Reads a spec that is a sweep; none for one that is not.
    pub fn read(request: &SpecRequest) -> Option<Self> {
        let mut read = request.read();
        let (key, node) = read.table.remove("sweep")?;
        let before = read.problems.len();
        let sweep = Sweep::from_node(&node, "sweep", &mut read.problems);
        let file = read.points.as_ref().map(|place| {
            At::new(
                read.sources.get(place.source).map_or("", |source| source.text.as_str()),
                *place,
            )
        });
        // A definition of which a part was refused would come to other points than were meant.
        let mut open = None;
        let points = match sweep {
            Some(sweep) if read.problems.len() == before => {
                let sweep = At::new(sweep, key.place);
                let found = points(&sweep, file, &mut read.problems);
                if read.problems.len() == before {
                    open = Open::read(&sweep, read.table.get("schedule"), &mut read.problems);
                }
                found
            }
            _ => Points::default(),
        };
        refuse_changes(request, &points, &mut read.problems);
        let (sources, table, problems) = (read.sources, read.table, read.problems);
        Some(Self { sources, points, open, table, problems })
    }

    /// What one point means.
    pub fn resolve(&self, point: &Point, context: Context<'_>) -> Outcome {
        let mut table = self.table.clone();
        let mut problems = self.problems.clone();
        problems.extend(self.points.apply(point, &mut table));
        resolve(&table, problems, context)
    }

    /// Checks all points; what they cost is that of starts now.
    pub fn check(&self, context: Context<'_>, now: Timestamp) -> FamilyOutcome {
        if let Some(open) = &self.open {
            return self.check_open(open.max_points, (context, now));
        }
        if self.points.points.is_empty() {
            return self.without_points(context);
        }
        Check::of_all(self, context, now)
    }

    /// What is wrong with the spec itself, where its points are not known; what they would have added is not missed.
    fn without_points(&self, context: Context<'_>) -> FamilyOutcome {
        let Outcome { choice, expectations, mut problems, warnings, .. } =
            resolve(&self.table, self.problems.clone(), context);
        problems.retain(|problem| problem.place.is_some());
        FamilyOutcome { cost: None, sets: Vec::new(), choice, expectations, problems, warnings }
    }

    /// A point's parameters, in short.
    pub fn shown(&self, index: usize) -> String {
        self.points.points.get(index).map_or(String::new(), |point| self.shown_point(point))
    }

    pub fn shown_point(&self, point: &Point) -> String {
        /// Parameters that are named to tell a point.
        const SHOWN_MAX: usize = 8;
        let one = |(key, value): (&At<String>, &At<Node>)| {
            format!("{} = {}", key.value, shown(&value.value))
        };
        let named: Vec<String> = self.points.values(point).take(SHOWN_MAX).map(one).collect();
        named.join(", ")
    }
}

/// Refuses changes of what each point has of its own: the points' values would take their place.
fn refuse_changes(request: &SpecRequest, points: &Points, problems: &mut Vec<Problem>) {
    // The sources are the file and then each change, in order.
    for (source, change) in (1..=u16::MAX).map(SourceId).zip(&request.changes) {
        let is_changed = |key: &&At<String>| change.is_about(&key.value);
        if let Some(At { value: key, .. }) = points.keys.iter().find(is_changed) {
            let place = Place { source, start: 0, end: change.shown.len() };
            let message = format!("`{key}` is a parameter of the sweep: each point has its own");
            problems.push(Problem::at(place, message).help("change it in `[sweep]`"));
        }
    }
}
