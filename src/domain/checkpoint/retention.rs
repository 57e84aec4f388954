//! Which checkpoints of a run stay, and which may go.
//!
//! Nothing goes unless it was asked for, and what is not certain stays. All checkpoints of one step stay or go together:
//! ranks may save a file each.

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroU32;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::domain::checkpoint::{Branch, CatalogueView, CheckpointView, Found, State, newest};
use crate::domain::keys::choice;

choice! {
    /// Which values of a metric are better.
    pub enum Goal {
        /// Lower ones.
        Minimize = "minimize",
        /// Higher ones.
        Maximize = "maximize",
    }
    later {}
}

/// What a run keeps of its checkpoints; the others go.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Retention {
    /// So many of the newest.
    pub keep_last: NonZeroU32,
    /// Those whose step is a multiple of this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keep_every_steps: Option<NonZeroU32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keep_best: Option<KeepBest>,
    /// Where those that go are moved to; they are deleted without one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub archive: Option<PathBuf>,
}

/// The best by what was reported at their step.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeepBest {
    pub metric: String,
    pub goal: Goal,
    pub count: NonZeroU32,
}

/// What must not go whatever the rules say: paths, and who holds each, in words that end a sentence about it.
pub type Held = BTreeMap<String, String>;

/// What stays and what goes.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    /// Newest first.
    pub keep: Vec<Keep>,
    /// Oldest first.
    pub go: Vec<Go>,
}

/// A checkpoint that stays.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Keep {
    pub step: Option<i64>,
    pub path: String,
    pub why: String,
}

/// A checkpoint that goes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Go {
    pub step: Option<i64>,
    pub path: String,
    /// Where all its files were looked at.
    pub bytes: Option<u64>,
    pub why: String,
}

/// What would become of a run's checkpoints now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlanView {
    pub directory: String,
    /// None where all are kept.
    pub rules: Option<Retention>,
    /// Where those that go are moved to; they are deleted without one.
    pub to: Option<PathBuf>,
    pub keep: Vec<Keep>,
    pub go: Vec<Go>,
}

/// Says of each checkpoint of a catalogue whether it stays. Of a catalogue that does not show everything nothing goes: what
/// was not seen might be what the others are compared with.
pub fn plan(
    catalogue: &CatalogueView,
    retention: &Retention,
    held: &Held,
    branch: Option<&Branch>,
) -> Plan {
    let complete = || catalogue.checkpoints.iter().filter(|one| one.complete);
    let kept = Kept {
        retention,
        held: held_steps(catalogue, held),
        last: last(complete(), retention.keep_last, branch),
        best: retention.keep_best.as_ref().map(|best| Best::of(best, complete())),
    };
    let mut plan = Plan::default();
    for one in &catalogue.checkpoints {
        let why = match &catalogue.cut {
            Some(cut) => Some(format!("not everything was looked at: {cut}")),
            None => itself(one, &catalogue.directory, held).or_else(|| kept.why(one.step)),
        };
        let (step, path) = (one.step, one.path.clone());
        match why {
            Some(why) => plan.keep.push(Keep { step, path, why }),
            None => plan.go.push(Go { step, path, bytes: one.bytes, why: kept.why_not() }),
        }
    }
    plan.go.reverse();
    plan
}

/// Why a checkpoint stays whatever its step is.
fn itself(one: &CheckpointView, directory: &str, held: &Held) -> Option<String> {
    match one.state {
        State::Writing => return Some("it is being written".to_owned()),
        State::Incomplete => return Some("it is not complete".to_owned()),
        State::Complete => {}
    }
    // Bash passes over the former, and the latter may stand for other bytes.
    let is_odd = |c: char| c.is_control() || c == char::REPLACEMENT_CHARACTER;
    if one.path.chars().any(is_odd) {
        return Some("its name has characters that are not plain text".to_owned());
    }
    if one.path == directory {
        return Some("it is the checkpoint directory itself".to_owned());
    }
    if one.step.is_none() {
        return Some("its name tells no step".to_owned());
    }
    held.get(&one.path).cloned()
}

/// The steps of what is held, and of what is being written.
fn held_steps(catalogue: &CatalogueView, held: &Held) -> BTreeMap<i64, String> {
    let why = |one: &CheckpointView| match one.state {
        State::Writing => Some("another of its step is being written".to_owned()),
        State::Complete | State::Incomplete => {
            held.get(&one.path).map(|why| format!("another of its step stays: {why}"))
        }
    };
    catalogue.checkpoints.iter().filter_map(|one| Some((one.step?, why(one)?))).collect()
}

/// The newest steps: those that a training would go on from one after the other, and those that were written last. They are
/// the same but where a training began anew among what an earlier one had left.
fn last<'a>(
    complete: impl Iterator<Item = &'a CheckpointView>,
    count: NonZeroU32,
    branch: Option<&Branch>,
) -> BTreeSet<i64> {
    let mut left: Vec<Found> = complete.filter(|one| one.step.is_some()).map(found_again).collect();
    left.sort_by_key(|one| std::cmp::Reverse((one.modified, one.step)));
    let count = usize::try_from(count.get()).unwrap_or(usize::MAX);
    let mut written = BTreeSet::new();
    for step in left.iter().filter_map(|one| one.step) {
        if written.len() < count {
            written.insert(step);
        }
    }
    let mut last = BTreeSet::new();
    while last.len() < count
        && let Some(step) =
            newest(&left, branch).or_else(|| newest(&left, None)).and_then(|one| one.step)
    {
        last.insert(step);
        left.retain(|one| one.step != Some(step));
    }
    last.extend(written);
    last
}

fn found_again(one: &CheckpointView) -> Found {
    Found {
        path: one.path.clone(),
        format: one.format,
        step: one.step,
        lacks: None,
        bytes: one.bytes,
        files: one.files,
        modified: one.created_at,
        // Nothing that orders them.
        is_directory: false,
    }
}

/// The best, and from where on a step may still become one of them.
struct Best<'a> {
    rule: &'a KeepBest,
    steps: BTreeMap<i64, f64>,
    /// The newest step that has the metric. A training may evaluate a while after it has saved.
    known_up_to: Option<i64>,
}

impl<'a> Best<'a> {
    fn of(rule: &'a KeepBest, complete: impl Iterator<Item = &'a CheckpointView>) -> Self {
        let mut reported: BTreeMap<i64, f64> = BTreeMap::new();
        for one in complete {
            let value = one.metrics.get(&rule.metric).filter(|value| value.is_finite());
            reported.extend(one.step.zip(value.copied()));
        }
        let known_up_to = reported.last_key_value().map(|(step, _)| *step);
        let mut ranked: Vec<(i64, f64)> = reported.into_iter().collect();
        ranked.sort_by(|(step, value), (other_step, other)| {
            let by_value = match rule.goal {
                Goal::Minimize => value.total_cmp(other),
                Goal::Maximize => other.total_cmp(value),
            };
            by_value.then(other_step.cmp(step))
        });
        ranked.truncate(usize::try_from(rule.count.get()).unwrap_or(usize::MAX));
        Self { rule, steps: ranked.into_iter().collect(), known_up_to }
    }

    fn why(&self, step: i64) -> Option<String> {
        let metric = &self.rule.metric;
        if let Some(value) = self.steps.get(&step) {
            return Some(format!("it is among the best: `{metric}` {value}"));
        }
        let may_come = self.known_up_to.is_none_or(|known| step > known);
        may_come.then(|| format!("its `{metric}` may still be reported"))
    }
}

/// The rules, applied to a catalogue.
struct Kept<'a> {
    retention: &'a Retention,
    held: BTreeMap<i64, String>,
    last: BTreeSet<i64>,
    best: Option<Best<'a>>,
}

impl Kept<'_> {
    /// Why the checkpoints of a step stay.
    fn why(&self, step: Option<i64>) -> Option<String> {
        let step = step?;
        if self.last.contains(&step) {
            return Some(match self.retention.keep_last.get() {
                1 => "it is the newest".to_owned(),
                count => format!("it is one of the newest {count}"),
            });
        }
        if let Some(every) = self.retention.keep_every_steps
            && step % i64::from(every.get()) == 0
        {
            return Some(format!("its step is a multiple of {every}"));
        }
        let best = self.best.as_ref().and_then(|best| best.why(step));
        best.or_else(|| self.held.get(&step).cloned())
    }

    /// Why one goes for which there is no reason to stay.
    fn why_not(&self) -> String {
        let mut why = match self.retention.keep_last.get() {
            1 => "not the newest".to_owned(),
            count => format!("not one of the newest {count}"),
        };
        if let Some(every) = self.retention.keep_every_steps {
            why.push_str(&format!(", no multiple of {every}"));
        }
        if let Some(best) = &self.best {
            why.push_str(&format!(", not the best `{}`", best.rule.metric));
        }
        why
    }
}
