//! What all points of a sweep come to, once nothing is wrong with any of them.
//!
//! Points that agree on everything but what their trainings are given are one [`Set`](Plan::sets): they share what was
//! resolved, the script, and arrays.

use std::collections::{BTreeSet, HashMap};

use serde::{Deserialize, Serialize};

use crate::domain::checkpoint::Goal;
use crate::domain::code::Capture;
use crate::domain::document::Node;
use crate::domain::keys::FromNode as _;
use crate::domain::problem::{At, Place, Problem};
use crate::domain::request::{SpecRequest, set_key};
use crate::domain::resolve::{Context, Outcome, Speller, resolve};
use crate::domain::resolved::Resolved;
use crate::domain::spec::{Sweep, SweepMethod};
use crate::domain::sweep::check::{alike, around, is_handed_on};
use crate::domain::sweep::halving::Rungs;
use crate::domain::sweep::{Family, Point};
use crate::domain::word::Word;

/// A sweep, ready to be recorded.
#[derive(Debug, Clone)]
pub struct Plan {
    pub about: About,
    pub sets: Vec<Resolved>,
    pub points: Vec<PlannedPoint>,
    pub capture: Capture,
}

/// What is kept of a sweep's definition.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct About {
    pub method: SweepMethod,
    /// The parameters' keys, in their order.
    pub parameters: Vec<String>,
    /// How many points it may be told, where they come one by one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_points: Option<u32>,
    /// How many points may be under way at a time.
    pub max_parallel: Option<u32>,
    pub objective: Option<Objective>,
    /// Where points are compared while they train.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub early_stopping: Option<Rungs>,
}

impl About {
    /// The variables of the training that are parameters.
    pub fn varying_variables(&self) -> BTreeSet<String> {
        let name = |key: &String| key.strip_prefix("environment.variables.").map(str::to_owned);
        self.parameters.iter().filter_map(name).collect()
    }
}

/// By what points are compared.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Objective {
    pub metric: String,
    pub goal: Goal,
}

/// One point.
#[derive(Debug, Clone, PartialEq)]
pub struct PlannedPoint {
    pub set: u32,
    pub given: Given,
}

/// What sets a point apart from the others of its set.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Given {
    /// Its parameters, as JSON.
    pub parameters: serde_json::Value,
    /// All arguments, spelled out.
    pub args: Vec<Word>,
    /// The variables that are parameters.
    pub variables: Vec<(String, Word)>,
}

impl Given {
    /// What the point means as a run of its own.
    pub fn apply(&self, resolved: &mut Resolved) {
        resolved.code.args.clone_from(&self.args);
        let variables = &mut resolved.environment.variables;
        variables.retain(|(name, _)| self.variables.iter().all(|(own, _)| own != name));
        variables.extend(self.variables.iter().cloned());
    }
}

/// What a value of a parameter comes to, as words.
#[derive(Debug, Clone, Default)]
struct Spelled {
    args: Vec<Word>,
    variables: Vec<(String, Word)>,
}

struct Planner<'a> {
    family: &'a Family,
    context: Context<'a>,
    speller: Speller<'a>,
    /// The spec's own arguments, in their order, and what each comes to.
    own: Vec<(String, Vec<Word>)>,
    set_of: HashMap<String, u32>,
    sets: Vec<Resolved>,
    capture: Option<Capture>,
    problems: Vec<Problem>,
}

impl Family {
    /// What the points come to. They were checked before ([`Family::check`]); what is wrong with them all the same is that
    /// they differ in what has to be the same for all.
    pub fn plan(&self, about: About, context: Context<'_>) -> Result<Plan, Vec<Problem>> {
        // Of what is told later only the sets are known.
        let examples = self.with_examples();
        let family = examples.as_ref().unwrap_or(self);
        let mut planner = Planner::of(family, HashMap::new(), context);
        let mut points: Vec<PlannedPoint> =
            family.points.points.iter().filter_map(|point| planner.point(point)).collect();
        if self.open.is_some() {
            points.clear();
        }
        let Planner { sets, capture, problems, .. } = planner;
        match capture {
            Some(capture) if problems.is_empty() => Ok(Plan { about, sets, points, capture }),
            _ => Err(problems),
        }
    }

    /// What points come to that were told: they are of sets that are known.
    pub(super) fn plan_known(
        &self,
        context: Context<'_>,
    ) -> Result<Vec<PlannedPoint>, Vec<Problem>> {
        let known = self.known_sets();
        let count = known.len();
        let mut planner = Planner::of(self, known, context);
        let points = self.points.points.iter().filter_map(|point| planner.point(point)).collect();
        if planner.set_of.len() > count {
            let message = "these parameters ask for something that the sweep did not declare";
            planner.problems.push(Problem::nowhere(message));
        }
        if planner.problems.is_empty() { Ok(points) } else { Err(planner.problems) }
    }

    /// What the spec that it was read from says of the sweep as a whole.
    pub fn about(&self, request: &SpecRequest) -> Option<About> {
        let read = request.read();
        let node = read.table.get("sweep")?;
        let sweep = Sweep::from_node(node, "sweep", &mut Vec::new())?;
        Some(About {
            method: sweep.method.map(|method| method.value).unwrap_or_default(),
            parameters: self.points.keys.iter().map(|key| key.value.clone()).collect(),
            max_points: self.open.as_ref().map(|open| open.max_points),
            max_parallel: sweep.max_parallel.map(|most| most.value.get()),
            objective: sweep.objective.and_then(|At { value: objective, .. }| {
                Some(Objective { metric: objective.metric?.value, goal: objective.goal?.value })
            }),
            early_stopping: sweep.early_stopping.and_then(|At { value: said, .. }| {
                Some(Rungs {
                    method: said.method.map(|method| method.value).unwrap_or_default(),
                    min_steps: said.min_steps?.value,
                    max_steps: said.max_steps.map(|steps| steps.value),
                    reduction_factor: said
                        .reduction_factor
                        .map_or(Rungs::FACTOR_DEFAULT, |factor| factor.value),
                })
            }),
        })
    }
}

impl<'a> Planner<'a> {
    fn of(family: &'a Family, set_of: HashMap<String, u32>, context: Context<'a>) -> Self {
        let mut planner = Self {
            family,
            context,
            speller: Speller::new(around(&family.table), context),
            own: Vec::new(),
            set_of,
            sets: Vec::new(),
            capture: None,
            problems: Vec::new(),
        };
        planner.own = planner.own_args();
        planner
    }

    fn point(&mut self, point: &Point) -> Option<PlannedPoint> {
        let set = self.set(point)?;
        let points = &self.family.points;
        let mut args = self.own.clone();
        let mut variables = Vec::new();
        for (key, value) in point.each() {
            let name = points.keys.get(key).filter(|name| is_handed_on(&name.value));
            let Some(name) = name else { continue };
            let of_value = self.words(&name.value, name.place, value);
            variables.extend(of_value.variables);
            let Some(name) = name.value.strip_prefix("args.") else { continue };
            match args.iter_mut().find(|(known, _)| known == name) {
                Some((_, words)) => *words = of_value.args,
                None => args.push((name.to_owned(), of_value.args)),
            }
        }
        let args = args.into_iter().flat_map(|(_, words)| words).collect();
        let given = Given { parameters: points.parameters(point), args, variables };
        Some(PlannedPoint { set, given })
    }

    /// The set of a point; made when it is the first of it.
    fn set(&mut self, point: &Point) -> Option<u32> {
        let of_set = alike(self.family, point);
        if let Some(known) = self.set_of.get(&of_set) {
            return Some(*known);
        }
        let mut table = self.family.table.clone();
        let mut problems = self.family.problems.clone();
        let others = self.family.points.values(point).filter(|(key, _)| !is_handed_on(&key.value));
        for (key, value) in others {
            problems.extend(set_key(&mut table, &key.value, key.place, value.clone()).err());
        }
        let Outcome { resolved, capture, problems, .. } = resolve(&table, problems, self.context);
        self.problems.extend(problems);
        let (resolved, capture) = (resolved?, capture?);
        self.refuse_other(&resolved, &capture);
        self.capture.get_or_insert(capture);
        let number = u32::try_from(self.sets.len()).ok()?;
        self.set_of.insert(of_set, number);
        self.sets.push(resolved);
        Some(number)
    }

    /// What is captured is captured once.
    fn refuse_other(&mut self, resolved: &Resolved, capture: &Capture) {
        let (Some(first), Some(known)) = (self.sets.first(), &self.capture) else { return };
        let (one, other) = (&first.environment, &resolved.environment);
        let differs = [
            ("code", known != capture),
            ("datasets", first.datasets != resolved.datasets),
            ("requirements", one.requirements != other.requirements),
            ("secrets", one.secrets != other.secrets),
            ("run directories", first.run_root != resolved.run_root),
            ("names", first.name != resolved.name),
            ("projects", first.project != resolved.project),
        ];
        for (what, _) in differs.into_iter().filter(|(_, differs)| *differs) {
            let message = format!("the points of a sweep cannot have different {what}");
            let problem = Problem::nowhere(message).help("make it a sweep of its own for each");
            if !self.problems.contains(&problem) {
                self.problems.push(problem);
            }
        }
    }

    fn own_args(&self) -> Vec<(String, Vec<Word>)> {
        let Some(At { value: Node::Table(args), .. }) = self.family.table.get("args") else {
            return Vec::new();
        };
        let each = |(key, value): &(At<String>, At<Node>)| {
            let words = self.words(&format!("args.{}", key.value), key.place, value).args;
            (key.value.clone(), words)
        };
        args.0.iter().map(each).collect()
    }

    fn words(&self, key: &str, place: Place, value: &At<Node>) -> Spelled {
        let (args, variables) = self.speller.spell(key, place, value);
        Spelled { args, variables }
    }
}
