//! From what `[sweep]` says to its points.

use std::sync::Arc;

use crate::domain::document::Node;
use crate::domain::problem::{At, Place, Problem};
use crate::domain::spec::{Domain, Dotted, Sweep, SweepMethod};
use crate::domain::sweep::axis::{Axis, Choices, choices};
use crate::domain::sweep::condition::Condition;
use crate::domain::sweep::draw::Draw;
use crate::domain::sweep::{PARAMETERS_MAX, POINTS_MAX, Point, Points, file, halving};

/// Combinations that are made or drawn where some are left out.
const COMBINATIONS_MAX: usize = 1_000_000;

/// Makes the points of a sweep, or says what is wrong with it. `place` is where it says that it is one; `file` what its file
/// of points holds, by itself.
pub fn points(sweep: &At<Sweep>, file: Option<At<&str>>, problems: &mut Vec<Problem>) -> Points {
    let before = problems.len();
    let method = sweep.value.method.as_ref().map_or(SweepMethod::Grid, |method| method.value);
    refuse_others(sweep, method, problems);
    let points = match method {
        SweepMethod::List => listed(sweep, file, problems),
        SweepMethod::Grid | SweepMethod::Random => combined(sweep, method, problems),
        // They are told later.
        SweepMethod::Open => {
            let keys = Nest::of(&sweep.value, method, problems).keys;
            if keys.is_empty() && problems.len() == before {
                problems.push(no_parameters(sweep));
            }
            Points { keys, points: Vec::new() }
        }
    };
    refuse_keys(&points.keys, problems);
    if problems.len() > before { Points::default() } else { points }
}

/// Refuses what has no meaning with a method.
fn refuse_others(sweep: &At<Sweep>, method: SweepMethod, problems: &mut Vec<Problem>) {
    let said = &sweep.value;
    let start = |table: &Dotted<Domain>| table.0.first().map(|(key, _)| key.place);
    let keys: [(&str, Option<Place>, &[SweepMethod]); 8] = {
        use SweepMethod::{Grid, List, Open, Random};
        [
            ("parameters", said.parameters.as_ref().and_then(start), &[Grid, Random, Open]),
            ("zip", said.zip.as_ref().and_then(|all| Some(all.first()?.place)), &[Grid, Random]),
            (
                "exclude",
                said.exclude.as_ref().and_then(|all| Some(all.first()?.place)),
                &[Grid, Random],
            ),
            ("samples", said.samples.as_ref().map(|at| at.place), &[Random]),
            ("seed", said.seed.as_ref().map(|at| at.place), &[Random]),
            ("points", said.points.as_ref().map(|at| at.place), &[List]),
            ("file", said.file.as_ref().map(|at| at.place), &[List]),
            ("max_points", said.max_points.as_ref().map(|at| at.place), &[Open]),
        ]
    };
    for (key, place, methods) in keys {
        if let Some(place) = place.filter(|_| !methods.contains(&method)) {
            let message = format!("`sweep.{key}` has no meaning with the method `{method}`");
            let of = methods.iter().map(|method| format!("`{method}`")).collect::<Vec<_>>();
            let help = format!("it is for {}", of.join(" and "));
            problems.push(Problem::at(place, message).help(help));
        }
    }
    if let Some(At { value: objective, place }) = &said.objective {
        let metric = objective.metric.as_ref().map(|metric| metric.value.as_str());
        if metric.is_none_or(|name| name.is_empty() || name.chars().any(char::is_control)) {
            problems.push(Problem::at(*place, "`sweep.objective` needs the name of a `metric`"));
        }
        if objective.goal.is_none() {
            let message = "`sweep.objective` needs a `goal`: `minimize` or `maximize`";
            problems.push(Problem::at(*place, message));
        }
    }
    if let Some(stopping) = &said.early_stopping {
        halving::refuse(stopping, said.objective.is_some(), problems);
    }
}

/// Refuses parameters that have to be the same at all points.
fn refuse_keys(keys: &[At<String>], problems: &mut Vec<Problem>) {
    /// What a sweep has once for all its points, and why.
    const FIXED: &[(&str, &str)] = &[
        ("name", "a sweep has one name"),
        ("project", "one project pays for a sweep"),
        ("experiment", "a sweep belongs to one experiment"),
        ("sweep", "a sweep cannot change itself"),
        ("code.path", "the code of a sweep is captured once"),
        ("code.include", "the code of a sweep is captured once"),
        ("code.exclude", "the code of a sweep is captured once"),
        ("code.digest", "the code of a sweep is captured once"),
    ];
    let is_in = |key: &str, table: &str| {
        key.strip_prefix(table).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
    };
    for key in keys {
        // A table as a value would hold what is fixed, or leave it out.
        let is = |fixed: &str| is_in(&key.value, fixed) || is_in(fixed, &key.value);
        if let Some((_, why)) = FIXED.iter().find(|(fixed, _)| is(fixed)) {
            let message = format!("`{}` cannot be a parameter: {why}", key.value);
            problems.push(Problem::at(key.place, message));
        }
    }
    if let Some(more) = keys.get(PARAMETERS_MAX) {
        let message = format!("{} parameters, more than {PARAMETERS_MAX}", keys.len());
        problems.push(Problem::at(more.place, message));
    }
}

fn listed(sweep: &At<Sweep>, text: Option<At<&str>>, problems: &mut Vec<Problem>) -> Points {
    let before = problems.len();
    let points = match (&sweep.value.points, &sweep.value.file) {
        (Some(points), None) => {
            let mut rows = file::Rows::default();
            for point in points.value.iter().take(POINTS_MAX + 1) {
                rows.push(
                    point.value.0.iter().map(|(key, given)| (key.clone(), given.0.clone())),
                    problems,
                );
            }
            rows.points
        }
        (None, Some(named)) => {
            // That it could not be read is told by who tried.
            let Some(text) = text else { return Points::default() };
            file::read(named, &text, problems)
        }
        (Some(_), Some(named)) => {
            let message = "`sweep.file` stands beside `sweep.points`: give one of them";
            problems.push(Problem::at(named.place, message));
            return Points::default();
        }
        (None, None) => {
            let message = "the method `list` needs `points` or a `file`";
            problems.push(Problem::at(sweep.place, message));
            return Points::default();
        }
    };
    if points.points.is_empty() && problems.len() == before {
        problems.push(Problem::at(sweep.place, "the sweep has no points"));
    }
    // What lies behind them was not read.
    if points.points.len() > POINTS_MAX {
        problems.push(Problem::at(sweep.place, too_many()));
    }
    points
}

fn too_many() -> String {
    format!("the sweep has more than {POINTS_MAX} points")
}

fn combined(sweep: &At<Sweep>, method: SweepMethod, problems: &mut Vec<Problem>) -> Points {
    let before = problems.len();
    let said = &sweep.value;
    let nest = Nest::of(said, method, problems);
    if nest.keys.is_empty() && problems.len() == before {
        problems.push(no_parameters(sweep));
    }
    let Nest { keys, axes, .. } = nest;
    let exclude: Vec<Condition<'_>> = said
        .exclude
        .iter()
        .flatten()
        .map(|written| Condition::of(&written.value, (&keys, "of the sweep"), &axes, problems))
        .collect();
    let samples = said.samples.as_ref().map(|samples| samples.value.get());
    if method == SweepMethod::Random && samples.is_none() {
        let help = "write how many points are drawn: `samples = 20`";
        problems.push(Problem::at(sweep.place, "the method `random` needs `samples`").help(help));
    }
    if problems.len() > before || keys.len() > PARAMETERS_MAX {
        return Points { keys, points: Vec::new() };
    }
    let mut expansion =
        Expansion { axes: &axes, exclude: &exclude, points: Vec::new(), left: COMBINATIONS_MAX };
    let made = match samples.filter(|_| method == SweepMethod::Random) {
        Some(samples) => expansion.random(samples, said.seed.as_ref().map_or(0, |seed| seed.value)),
        None => expansion.grid(keys.len()),
    };
    let points = expansion.points;
    problems.extend(made.err().map(|message| Problem::at(sweep.place, message)));
    Points { keys, points }
}

fn no_parameters(sweep: &At<Sweep>) -> Problem {
    let help = "write `[sweep.parameters]`, and below it `\"args.lr\" = [0.1, 0.2]`";
    Problem::at(sweep.place, "the sweep has no parameters").help(help)
}

/// Loops as they are read.
pub(super) struct Nest<'a> {
    method: SweepMethod,
    pub(super) keys: Vec<At<String>>,
    pub(super) axes: Vec<Axis<'a>>,
}

impl<'a> Nest<'a> {
    /// Reads groups and parameters.
    pub(super) fn of(said: &'a Sweep, method: SweepMethod, problems: &mut Vec<Problem>) -> Self {
        let mut nest = Self { method, keys: Vec::new(), axes: Vec::new() };
        for group in said.zip.iter().flatten() {
            nest.add_group(group, problems);
        }
        for (key, domain) in said.parameters.iter().flat_map(|table| &table.0) {
            nest.add(key, domain, problems);
        }
        nest
    }

    /// A parameter by itself.
    fn add(&mut self, key: &At<String>, domain: &'a Domain, problems: &mut Vec<Problem>) {
        let known = (&self.keys[..], "that stands before this");
        let when =
            domain.when.as_ref().map(|when| Condition::of(when, known, &self.axes, problems));
        let first = self.keys.len();
        if self.take_key(key, problems)
            && let Some(choices) = choices(key, domain, self.method, problems)
        {
            let name = key.value.clone();
            self.axes.push(Axis { first, name, choices, when: when.unwrap_or_default() });
        }
    }

    /// Parameters that vary together.
    fn add_group(&mut self, group: &At<Dotted<Domain>>, problems: &mut Vec<Problem>) {
        let first = self.keys.len();
        let mut columns: Vec<Vec<Arc<At<Node>>>> = Vec::new();
        for (key, domain) in &group.value.0 {
            if !self.take_key(key, problems) {
                continue;
            }
            if domain.when.is_some() {
                let message = format!("`{}` is zipped: it has no `when` of its own", key.value);
                problems.push(Problem::at(key.place, message));
            }
            match choices(key, domain, SweepMethod::Grid, problems) {
                Some(Choices::Rows(column)) => columns.extend(column),
                Some(Choices::Uniform(_) | Choices::LogUniform(_) | Choices::Integer(_)) | None => {
                    continue;
                }
            }
            let lengths: Vec<usize> = columns.iter().map(Vec::len).collect();
            if let [expected, .., found] = lengths[..]
                && expected != found
            {
                let message = format!(
                    "`{}` has {found} values, and what it is zipped with has {expected}",
                    key.value
                );
                problems.push(Problem::at(key.place, message));
            }
        }
        if group.value.0.is_empty() {
            problems.push(Problem::at(group.place, "`sweep.zip` has a group without parameters"));
        }
        let keys: Vec<&str> = self.keys.iter().skip(first).map(|key| key.value.as_str()).collect();
        let (name, choices) = (keys.join(","), Choices::Rows(columns));
        self.axes.push(Axis { first, name, choices, when: Condition::default() });
    }

    /// Whether a key is new.
    fn take_key(&mut self, key: &At<String>, problems: &mut Vec<Problem>) -> bool {
        let is_new = !self.keys.iter().any(|known| known.value == key.value);
        if is_new {
            self.keys.push(key.clone());
        } else {
            problems.push(Problem::at(key.place, format!("`{}` is a parameter twice", key.value)));
        }
        is_new
    }
}

/// Points as they are made.
struct Expansion<'a> {
    axes: &'a [Axis<'a>],
    exclude: &'a [Condition<'a>],
    points: Vec<Point>,
    /// Combinations that may still be looked at.
    left: usize,
}

impl Expansion<'_> {
    /// All combinations; how many they are is known before any is made, unless conditions have a say in it.
    fn grid(&mut self, parameters: usize) -> Result<(), String> {
        let is_plain = self.exclude.is_empty() && self.axes.iter().all(|axis| axis.when.is_empty());
        let lengths = self.axes.iter().filter_map(Axis::len);
        let product = lengths.fold(1_u128, |all, one| all.saturating_mul(one as u128));
        if is_plain && product > POINTS_MAX as u128 {
            return Err(format!("the sweep has {product} points, more than {POINTS_MAX}"));
        }
        self.nest(0, &mut vec![None; parameters])?;
        if self.points.is_empty() {
            return Err("the points that are left out leave none".to_owned());
        }
        Ok(())
    }

    fn nest(
        &mut self,
        depth: usize,
        chosen: &mut Vec<Option<Arc<At<Node>>>>,
    ) -> Result<(), String> {
        let axes = self.axes;
        let Some(axis) = axes.get(depth) else {
            self.left = self.left.checked_sub(1).ok_or_else(|| {
                format!(
                    "the sweep has more than {COMBINATIONS_MAX} combinations to leave points out of"
                )
            })?;
            if self.take(chosen) && self.points.len() > POINTS_MAX {
                return Err(too_many());
            }
            return Ok(());
        };
        let exists = axis.when.holds(|parameter| value(chosen, parameter));
        for row in 0..if exists { axis.len().unwrap_or(0) } else { 1 } {
            for (column, values) in axis.columns().iter().enumerate() {
                if let Some(slot) = chosen.get_mut(axis.first + column) {
                    *slot = values.get(row).filter(|_| exists).cloned();
                }
            }
            self.nest(depth + 1, chosen)?;
        }
        Ok(())
    }

    fn random(&mut self, samples: u32, seed: u32) -> Result<(), String> {
        /// How often a point is drawn anew that is left out.
        const AGAIN_MAX: u32 = 1_000;
        let samples = usize::try_from(samples).unwrap_or(usize::MAX);
        if samples > POINTS_MAX {
            return Err(format!("the sweep has {samples} points, more than {POINTS_MAX}"));
        }
        for point in 0..samples {
            let mut again = 0;
            loop {
                self.left = self.left.checked_sub(1).ok_or_else(|| {
                    format!(
                        "{COMBINATIONS_MAX} draws are not enough for {samples} points: nearly all are left out"
                    )
                })?;
                if self.draw(Draw { seed, point, again }) {
                    break;
                }
                again += 1;
                if again == AGAIN_MAX {
                    return Err(format!(
                        "point {point} was drawn {AGAIN_MAX} times, and always left out"
                    ));
                }
            }
        }
        Ok(())
    }

    /// Whether a point came of a draw.
    fn draw(&mut self, draw: Draw) -> bool {
        let mut chosen = Vec::new();
        for axis in self.axes {
            let exists = axis.when.holds(|parameter| value(&chosen, parameter));
            let drawn = axis.drawn(draw.bits(&axis.name));
            chosen.extend(drawn.into_iter().map(|value| Some(value).filter(|_| exists)));
        }
        self.take(&chosen)
    }

    /// Takes a point, unless it is left out.
    fn take(&mut self, chosen: &[Option<Arc<At<Node>>>]) -> bool {
        let is_left_out =
            |left_out: &Condition<'_>| left_out.holds(|parameter| value(chosen, parameter));
        if self.exclude.iter().any(is_left_out) {
            return false;
        }
        let values = chosen.iter().enumerate();
        self.points
            .push(Point(values.filter_map(|(key, value)| Some((key, value.clone()?))).collect()));
        true
    }
}

fn value(chosen: &[Option<Arc<At<Node>>>], parameter: usize) -> Option<&Node> {
    chosen.get(parameter)?.as_ref().map(|value| &value.value)
}
