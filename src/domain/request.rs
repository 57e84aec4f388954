//! A spec as it is handed in: its text, where it lies, and what the flags change in it.

use std::fmt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::domain::code::{Capture, CodeSource};
use crate::domain::dataset::name_of;
use crate::domain::document::{Node, Table, parse, parse_value};
use crate::domain::keys::{FromNode as _, choice};
use crate::domain::problem::{At, Place, Problem, Source, SourceId, Sources};
use crate::domain::resolve::{Asker, Context, Outcome, resolve};
use crate::domain::schedule::Plan;
use crate::domain::site::Site;
use crate::domain::spec::Schedule;

choice! {
    /// What `submit` does when a run of the same name is active.
    pub enum IfActive {
        /// Goes ahead.
        Submit = "submit",
        /// Gives the newest active one instead.
        Skip = "skip",
        /// Waits until they are final.
        Queue = "queue",
        /// Cancels them, and waits until they are final.
        Replace = "replace",
    }
    later {}
}

impl IfActive {
    /// Whether it may have to wait for active runs.
    pub fn may_wait(self) -> bool {
        matches!(self, Self::Queue | Self::Replace)
    }
}

/// One `--set key=value`, or a flag that stands for one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Change {
    /// As the person wrote it: `--set compute.nodes=4`, `--nodes 4`.
    pub shown: String,
    /// Dotted.
    pub key: String,
    /// TOML; where that fails, text.
    pub value: String,
}

/// A spec handed in for checking, rendering or submission.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct SpecRequest {
    /// The file's name, as the person wrote it.
    pub file: String,
    pub text: String,
    /// The spec file's directory, absolute.
    pub base: PathBuf,
    /// The file's name without its ending.
    pub stem: String,
    pub changes: Vec<Change>,
    /// What the file of a sweep's points held, or why it could not be read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub points: Option<Result<String, String>>,
    /// The point that is meant where a point of a sweep is a run of its own: the text has the sweep, which does not count
    /// then, and the changes have the point's values.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub point: Option<RepeatedPoint>,
}

/// The point of a sweep that a run of its own repeats.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct RepeatedPoint {
    pub sweep: i64,
    pub point: u32,
}

impl fmt::Display for RepeatedPoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.sweep, self.point)
    }
}

/// A spec as it is read, before it means anything.
pub(crate) struct Read {
    pub(crate) table: Table,
    pub(crate) sources: Sources,
    pub(crate) problems: Vec<Problem>,
    /// Where the file of points is among the sources.
    pub(crate) points: Option<Place>,
}

/// What a request comes to.
#[derive(Debug, Clone)]
pub struct Checked {
    pub sources: Sources,
    pub outcome: Outcome,
    /// Digest of what was asked: the spec after its changes, whatever its order and comments.
    pub digest: String,
}

impl SpecRequest {
    /// The text with its changes.
    pub(crate) fn read(&self) -> Read {
        let mut sources = Sources::default();
        let own =
            Source { name: self.file.clone(), text: self.text.clone(), base: self.base.clone() };
        let (mut table, mut problems) = parse(&self.text, sources.add(own));
        if self.point.is_some() {
            table.remove("sweep");
        }
        for change in &self.changes {
            apply(change, &mut table, &mut sources, &mut problems, &self.base);
        }
        let points = self.points.as_ref().and_then(|points| {
            let file = points_file(&table)?;
            let text = match points {
                Ok(text) => text.clone(),
                Err(why) => {
                    problems.push(Problem::at(
                        file.place,
                        format!("cannot read `{}`: {why}", file.value),
                    ));
                    return None;
                }
            };
            let source = sources.add(Source { name: file.value, text, base: self.base.clone() });
            Some(Place { source, start: 0, end: 0 })
        });
        Read { table, sources, problems, points }
    }

    /// Whether it is a sweep.
    pub fn is_sweep(&self) -> bool {
        self.read().table.get("sweep").is_some()
    }

    /// The file that has a sweep's points, as it is named.
    pub fn points_file(&self) -> Option<String> {
        points_file(&self.read().table).map(|file| file.value)
    }

    /// Digest of what was asked: the spec after its changes, whatever its order and comments, and the file that has the
    /// points of a sweep.
    pub fn digest(&self) -> String {
        let mut hasher = blake3::Hasher::new();
        hasher.update(self.read().table.canonical().to_string().as_bytes());
        if let Some(Ok(points)) = &self.points {
            hasher.update(points.as_bytes());
        }
        if let Some(point) = self.point {
            hasher.update(point.to_string().as_bytes());
        }
        hasher.finalize().to_hex().to_string()
    }

    /// What its `[schedule]` says, where nothing is wrong with that; `timezone` counts where it names none, and is asked
    /// for only where there is one: to find out that of a machine takes a while.
    pub fn plan(&self, timezone: impl FnOnce() -> String) -> Option<Plan> {
        self.schedule(timezone)?.ok()
    }

    /// The same, or what is wrong with it; none only where it has none.
    pub fn schedule(
        &self,
        timezone: impl FnOnce() -> String,
    ) -> Option<Result<Plan, (Sources, Vec<Problem>)>> {
        let Read { table, sources, .. } = self.read();
        let mut problems = Vec::new();
        let node = table.get("schedule")?;
        let read = match At::<Schedule>::from_node(node, "schedule", &mut problems) {
            Some(asked) => Plan::read(&asked, &timezone()),
            None => Err(Vec::new()),
        };
        Some(read.map_err(|more| {
            problems.extend(more);
            (sources, problems)
        }))
    }

    /// What it is resolved with.
    pub fn context<'a>(&'a self, site: &'a Site, asker: &'a Asker) -> Context<'a> {
        Context { site, asker, base: &self.base, stem: &self.stem }
    }

    /// Reads, changes and resolves the spec.
    pub fn check(&self, site: &Site, asker: &Asker) -> Checked {
        let Read { table, sources, problems, .. } = self.read();
        let digest = self.digest();
        let mut outcome = resolve(&table, problems, self.context(site, asker));
        if let Some(resolved) = &mut outcome.resolved {
            resolved.repeats = self.point;
        }
        Checked { sources, outcome, digest }
    }

    /// As it may be recorded: without the query of an address that code is taken from.
    #[must_use]
    pub fn without_secrets(&self, capture: &Capture) -> Self {
        let mut request = self.clone();
        let CodeSource::Address { url, .. } = &capture.source else { return request };
        let Some(place) = capture.place else { return request };
        let shown = url.to_string();
        // The sources are the file and then each change, in order.
        match usize::from(place.source.0).checked_sub(1) {
            None => {
                let written = serde_json::Value::from(shown).to_string();
                request.text.replace_range(place.start..place.end, &written);
            }
            Some(change) => {
                if let Some(change) = request.changes.get_mut(change) {
                    change.shown = format!("--set {}={shown}", change.key);
                    change.value = shown;
                }
            }
        }
        request
    }

    /// Its text, with its changes as comments.
    pub fn recorded(&self) -> String {
        let mut text = self.text.clone();
        for change in &self.changes {
            // A line break inside a value must not end the comment.
            text.push_str("\n# ");
            text.extend(change.shown.escape_debug());
        }
        if let Some(point) = self.point {
            text.push_str(&format!("\n# point {point} as a run of its own: without [sweep]"));
        }
        text
    }
}

fn apply(
    change: &Change,
    table: &mut Table,
    sources: &mut Sources,
    problems: &mut Vec<Problem>,
    base: &std::path::Path,
) {
    let name = "the command line".to_owned();
    let source = sources.add(Source { name, text: change.shown.clone(), base: base.to_owned() });
    let place = Place { source, start: 0, end: change.shown.len() };
    problems.extend(set_key(table, &change.key, place, parse_value(&change.value, place)).err());
}

/// The parts of a dotted key. What an argument or a variable is called may have dots of its own.
fn parts(key: &str) -> Vec<&str> {
    for table in ["args.", "environment.variables."] {
        if let Some(name) = key.strip_prefix(table) {
            return table.split_terminator('.').chain([name]).collect();
        }
    }
    key.split('.').collect()
}

impl Change {
    /// Whether it says something about a key of the spec: that key, one of its table, or the table.
    pub(crate) fn is_about(&self, key: &str) -> bool {
        let place = Place { source: SourceId(0), start: 0, end: 0 };
        let mut table = Table::default();
        let set = set_key(&mut table, &self.key, place, parse_value(&self.value, place));
        let mut inner = Some(&table);
        set.is_ok()
            && parts(key).iter().all(|part| {
                let found = inner.and_then(|table| table.get(part));
                inner = found.and_then(|found| match &found.value {
                    Node::Table(table) => Some(table),
                    Node::Text(_)
                    | Node::Integer(_)
                    | Node::Float(_)
                    | Node::Boolean(_)
                    | Node::Datetime(_)
                    | Node::List(_) => None,
                });
                found.is_some()
            })
    }
}

/// Sets a key of the spec, as `--set` does.
pub(crate) fn set_key(
    table: &mut Table,
    key: &str,
    place: Place,
    value: At<Node>,
) -> Result<(), Problem> {
    let way = parts(key);
    if way.iter().any(|part| part.is_empty()) {
        let problem = Problem::at(place, format!("`{key}` is no key"));
        return Err(problem.help("a key is written as in --set compute.nodes=4"));
    }
    match &value.value {
        Node::Text(said) if key == DATASETS => take_data(table, said, place),
        Node::Text(_)
        | Node::Integer(_)
        | Node::Float(_)
        | Node::Boolean(_)
        | Node::Datetime(_)
        | Node::List(_)
        | Node::Table(_) => table.set(&way, place, value),
    }
}

/// `sweep.file` of a spec.
fn points_file(table: &Table) -> Option<At<String>> {
    let Node::Table(sweep) = &table.get("sweep")?.value else { return None };
    let file = sweep.get("file")?;
    let Node::Text(name) = &file.value else { return None };
    Some(At::new(name.clone(), file.place))
}

/// The key of a spec's datasets. They are tables, so a text that is given for it is a name or a path.
pub const DATASETS: &str = "dataset";

/// Whether a text says where data is, and not what the catalogue calls it.
pub fn is_data_path(text: &str) -> bool {
    text.contains('/') || ["", ".", "..", "~"].contains(&text)
}

/// Lets the run use this data: instead of what the spec calls by the same name, instead of the only dataset that it names
/// by itself, else beside the others. What the spec says of the one that it replaces holds for it.
fn take_data(table: &mut Table, said: &str, place: Place) -> Result<(), Problem> {
    let text = |text: &str| At::new(Node::Text(text.to_owned()), place);
    if table.get(DATASETS).is_none() {
        table.set(&[DATASETS], place, At::new(Node::List(Vec::new()), place))?;
    }
    let Some(At { value: Node::List(all), .. }) = table.get_mut(DATASETS) else {
        return Err(Problem::at(place, "`dataset` is no array of tables"));
    };
    let called = if is_data_path(said) { name_of(Path::new(said)) } else { said.to_owned() };
    let is_called = |known: &At<Node>| {
        let Node::Table(known) = &known.value else { return false };
        let (name, path) = (known.get("name"), known.get("path"));
        match (name.map(|name| &name.value), path.map(|path| &path.value)) {
            (Some(Node::Text(name)), _) => *name == called,
            (None, Some(Node::Text(path))) => name_of(Path::new(path)) == called,
            _ => false,
        }
    };
    let of_spec = |known: &At<Node>| {
        let Node::Table(known) = &known.value else { return false };
        known.0.iter().all(|(_, value)| value.place.source == SourceId(0))
    };
    let same = all.iter().position(is_called);
    let only = (all.len() == 1 && all.iter().all(of_spec)).then_some(0);
    let at = same.or(only).unwrap_or_else(|| {
        all.push(At::new(Node::Table(Table::default()), place));
        all.len() - 1
    });
    let Some(At { value: Node::Table(one), .. }) = all.get_mut(at) else {
        return Err(Problem::at(place, "`dataset` is no array of tables"));
    };
    one.0.retain(|(key, _)| !["name", "path", "version"].contains(&key.value.as_str()));
    let key = if is_data_path(said) { "path" } else { "name" };
    one.set(&[key], place, text(said))
}
