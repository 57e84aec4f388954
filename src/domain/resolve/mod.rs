//! What a spec means at this site: every default filled in, every fault reported.
//!
//! Pure: what must be looked up in a file system is returned as [`Expectation`]s, which the caller verifies.

mod checkpoint;
mod code;
mod compute;
mod container;
mod data;
mod expected;
mod failure;
pub(super) mod program;
mod requirements;
pub(super) mod sbatch_options;
mod secrets;
mod values;

pub use expected::{Expectation, Expected};
pub use program::check_variable_name;
pub use values::{Speller, check_values};

use std::path::{Component, Path, PathBuf};

use crate::domain::code::Capture;
use crate::domain::dataset::Dataset;
use crate::domain::document::{Node, Table};
use crate::domain::keys::{FromNode, not_supported};
use crate::domain::problem::{At, Place, Problem, SourceId, limited};
use crate::domain::resolved::{Resolved, Script, Target};
use crate::domain::schedule::Plan;
use crate::domain::site::{self, Mode, Site};
use crate::domain::spec::Spec;
use crate::domain::units::Seconds;

/// Who asks: everything about a person that decides what a spec means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asker {
    pub user: String,
    pub uid: u32,
    /// The primary group.
    pub group: String,
    /// All groups, the primary one included.
    pub groups: Vec<String>,
    pub home: PathBuf,
}

/// What is known while a spec is resolved.
#[derive(Debug, Clone, Copy)]
pub struct Context<'a> {
    pub site: &'a Site,
    pub asker: &'a Asker,
    /// The spec file's directory: relative paths start here.
    pub base: &'a Path,
    /// The spec file's name without its ending: the default name of the run.
    pub stem: &'a str,
}

/// How a spec came to where it executes: what a caller must know who is not sure to know the whole site.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Choice {
    /// By what the spec says, or by the site's default.
    Made,
    /// On this machine, since the site has nothing else.
    OnlyLocal,
    /// The site does not have what the spec asks for.
    NotThere,
}

/// A spec that could be resolved, with what is still to be verified.
#[derive(Debug, Clone, PartialEq)]
pub struct Outcome {
    /// `None` when there are problems.
    pub resolved: Option<Resolved>,
    pub choice: Choice,
    pub expectations: Vec<Expectation>,
    /// What is to be captured when the run is accepted.
    pub capture: Option<Capture>,
    pub problems: Vec<Problem>,
    /// What is better mended, and stops nobody.
    pub warnings: Vec<Problem>,
}

/// Reads a spec's tree and resolves it.
pub fn resolve(table: &Table, mut problems: Vec<Problem>, context: Context<'_>) -> Outcome {
    let place = Place { source: SourceId(0), start: 0, end: 0 };
    let whole = At::new(Node::Table(table.clone()), place);
    let is_readable = problems.is_empty();
    let spec = Spec::from_node(&whole, "", &mut problems).unwrap_or_default();
    let mut resolver = Resolver { is_readable, ..Resolver::new(&spec, context, problems) };
    let resolved = resolver.resolve();
    let Resolver { problems, warnings, expectations, capture, choice, .. } = resolver;
    let resolved = resolved.filter(|_| problems.is_empty());
    let (problems, warnings) = (limited(problems), limited(warnings));
    Outcome { resolved, choice, expectations, capture, problems, warnings }
}

/// Collects problems while it works through a spec; each step gives its best value and goes on.
struct Resolver<'a> {
    spec: &'a Spec,
    context: Context<'a>,
    /// No part of the text was lost to a fault of syntax.
    is_readable: bool,
    problems: Vec<Problem>,
    warnings: Vec<Problem>,
    expectations: Vec<Expectation>,
    capture: Option<Capture>,
    /// Resolved first, since words may refer to them.
    datasets: Vec<Dataset>,
    choice: Choice,
}

impl<'a> Resolver<'a> {
    fn new(spec: &'a Spec, context: Context<'a>, problems: Vec<Problem>) -> Self {
        Self {
            spec,
            context,
            is_readable: true,
            problems,
            warnings: Vec::new(),
            expectations: Vec::new(),
            capture: None,
            datasets: Vec::new(),
            choice: Choice::Made,
        }
    }

    fn resolve(&mut self) -> Option<Resolved> {
        let spec = self.spec;
        if let Some(sweep) = &spec.sweep {
            // What comes here is one run: points are made of a sweep before.
            self.problems.push(not_supported(sweep, "sweep"));
        }
        if let Some(schedule) = &spec.schedule {
            // Nothing of a run depends on it, but whoever wrote it is told at once.
            let read = Plan::read(schedule, "UTC");
            self.problems.extend(read.err().into_iter().flatten());
        }
        let name = self.name();
        let project = self.project();
        let chosen = self.choose_class();
        self.datasets = self.data(chosen.as_ref().map(|chosen| &chosen.target));
        let program = self.program();
        let distributed = self.distributed(program.as_ref(), chosen.as_ref());
        let code = self.code(program);
        let mut environment = self.environment(chosen.as_ref());
        environment.container = self.container(chosen.as_ref(), &environment);
        let class = chosen.as_ref().map(|chosen| chosen.name.as_str());
        let run_root = self.run_root(project.as_deref(), class);
        let directory =
            spec.checkpoint.as_ref().and_then(|checkpoint| checkpoint.directory.as_ref());
        let checkpoint_directory = self.inside(directory, "checkpoints");
        let checkpoint = self.checkpoint(run_root.as_deref());
        let metrics = spec.metrics.as_ref().and_then(|metrics| metrics.file.as_ref());
        let metrics_file = self.inside(metrics, "metrics.jsonl");
        let compute =
            chosen.as_ref().map(|chosen| self.compute(chosen, &distributed, project.as_deref()));
        if chosen.as_ref().is_none_or(|chosen| chosen.target == Target::Local) {
            self.check_verbatim();
        }
        let failure = self.failure(compute.as_ref().and_then(|compute| compute.time_limit));
        Some(Resolved {
            name: name?,
            project,
            experiment: spec.experiment.as_ref().map(|experiment| experiment.value.clone()),
            code: code?,
            datasets: std::mem::take(&mut self.datasets),
            environment,
            script: self.script(&chosen.as_ref()?.target, chosen.as_ref()),
            compute: compute?,
            distributed,
            checkpoint_directory,
            checkpoint,
            metrics_file,
            failure,
            run_root: run_root?,
            run_dir_mode: self
                .general(|general| general.run_dir_mode.as_ref())
                .unwrap_or(Mode(0o700)),
            repeats: None,
        })
    }

    fn at(&mut self, place: Place, message: impl Into<String>) {
        self.problems.push(Problem::at(place, message));
    }

    fn general<T: Copy>(&self, key: impl Fn(&site::General) -> Option<&At<T>>) -> Option<T> {
        self.context.site.site.as_ref().and_then(key).map(|at| at.value)
    }

    fn name(&mut self) -> Option<String> {
        let (name, place) = match &self.spec.name {
            Some(name) => (name.value.as_str(), Some(name.place)),
            None => (self.context.stem, None),
        };
        if is_run_name(name) {
            return Some(name.to_owned());
        }
        let problem = match place {
            Some(place) => Problem::at(place, format!("`{name}` cannot be a run's name")),
            None => {
                Problem::nowhere(format!("the file's name, `{name}`, cannot be the run's name"))
            }
        };
        let help = "a name is 1 to 63 of a-z, 0-9, `.`, `_` and `-`, begins with a letter or digit and is not all digits";
        self.problems.push(problem.help(if place.is_some() {
            help.to_owned()
        } else {
            format!("add `name = \"…\"`; {help}")
        }));
        None
    }

    fn project(&mut self) -> Option<String> {
        let asked = self.spec.project.as_ref()?;
        let projects = self.context.site.project.as_ref();
        let Some(project) = projects.and_then(|projects| projects.get(&asked.value)) else {
            let message = format!("project `{}` is not defined at this site", asked.value);
            let known = projects.iter().flat_map(|projects| projects.names());
            self.problems.push(Problem::at(asked.place, message).suggest(&asked.value, known));
            return None;
        };
        let asker = self.context.asker;
        if !project.has_member(asker) {
            self.at(
                asked.place,
                format!("{} is not a member of project `{}`", asker.user, asked.value),
            );
        }
        Some(asked.value.clone())
    }

    fn run_root(&mut self, project: Option<&str>, class: Option<&str>) -> Option<PathBuf> {
        let asker = self.context.asker;
        let of_project = project
            .and_then(|name| self.context.site.project.as_ref()?.get(name))
            .and_then(|project| project.run_root.as_ref());
        let general = self.context.site.site.as_ref().and_then(|general| general.run_root.as_ref());
        let Some(template) = of_project.or(general) else {
            return Some(default_run_root(&asker.home));
        };
        let account = self.account(project, class);
        let root = match filled_root(&template.value, asker, project, account.as_deref()) {
            Ok(root) => root,
            Err(missing) => {
                let message =
                    format!("the site's run_root holds {missing}, and this spec has none");
                self.problems
                    .push(Problem::nowhere(message).help("add `project = \"…\"` to the spec"));
                return None;
            }
        };
        let climbs = Path::new(&root).components().any(|part| part == Component::ParentDir);
        let fine = root.starts_with('/')
            && !climbs
            && root.len() <= PATH_BYTES_MAX
            && !root.chars().any(char::is_control);
        if !fine {
            self.problems
                .push(Problem::nowhere(format!("the site's run_root is no absolute path: {root}")));
        }
        fine.then(|| PathBuf::from(root))
    }

    /// The Slurm account: the spec's, the project's for the class, the project's, the class's.
    fn account(&self, project: Option<&str>, class: Option<&str>) -> Option<String> {
        let compute = self.spec.compute.as_ref();
        let project = project.and_then(|name| self.context.site.project.as_ref()?.get(name));
        let of_class = || project?.accounts.as_ref()?.get(class?);
        compute
            .and_then(|compute| compute.account.as_ref())
            .or_else(of_class)
            .or_else(|| project.and_then(|project| project.account.as_ref()))
            .or_else(|| self.context.site.class(class?)?.account.as_ref())
            .map(|account| account.value.clone())
    }

    /// A path inside the run directory, or an absolute one.
    fn inside(&mut self, asked: Option<&At<String>>, default: &str) -> String {
        let Some(asked) = asked else { return default.to_owned() };
        let path = Path::new(&asked.value);
        let climbs = path.components().any(|part| part == Component::ParentDir);
        if asked.value.is_empty()
            || climbs
            || asked.value.len() > PATH_BYTES_MAX
            || asked.value.chars().any(char::is_control)
        {
            let message = format!(
                "`{}` is no path inside the run directory, nor an absolute one",
                asked.value
            );
            self.at(asked.place, message);
        }
        asked.value.clone()
    }

    fn script(&self, target: &Target, chosen: Option<&compute::Chosen<'_>>) -> Script {
        /// As Slurm's `KillWait`.
        const KILL_WAIT: Seconds = Seconds(30);
        let site = self.context.site;
        let of_target = match target {
            Target::Local => site.local.as_ref().and_then(|local| local.script.as_ref()),
            Target::Slurm { cluster } => {
                site.cluster.as_ref().and_then(|clusters| clusters.get(cluster)?.script.as_ref())
            }
        };
        // A cluster's pieces replace the site's: `[script]` is the default for all clusters.
        let piece = |key: fn(&site::Script) -> Option<&At<String>>| {
            of_target
                .and_then(key)
                .or_else(|| site.script.as_ref().and_then(key))
                .map(|piece| piece.value.clone())
        };
        let of_class = chosen
            .and_then(|chosen| chosen.class?.prologue.as_ref())
            .map(|piece| piece.value.clone());
        Script {
            prologue: piece(|script| script.prologue.as_ref())
                .into_iter()
                .chain(of_class)
                .collect(),
            epilogue: piece(|script| script.epilogue.as_ref()).into_iter().collect(),
            umask: self.general(|general| general.umask.as_ref()).unwrap_or(Mode(0o077)),
            kill_wait: KILL_WAIT,
        }
    }
}

pub use data::DATASET_NAME;

/// Longer paths are refused by Linux (`PATH_MAX` is 4096, the final NUL included).
pub const PATH_BYTES_MAX: usize = 4095;

/// A site's run root with its placeholders filled in, or the one that nothing is known for.
pub fn filled_root(
    template: &str,
    asker: &Asker,
    project: Option<&str>,
    account: Option<&str>,
) -> Result<String, &'static str> {
    let template = match template.strip_prefix("~/") {
        Some(rest) => format!("{{home}}/{rest}"),
        None => template.to_owned(),
    };
    let uid = asker.uid.to_string();
    let home = asker.home.display().to_string();
    let values = [
        ("{user}", Some(asker.user.as_str())),
        ("{uid}", Some(uid.as_str())),
        ("{group}", Some(asker.group.as_str())),
        ("{project}", project),
        ("{account}", account),
        ("{home}", Some(home.as_str())),
    ];
    let mut root = String::new();
    let mut rest = template.as_str();
    // In one go: what is put in may look like a placeholder, and is none.
    while let Some(at) = rest.find('{') {
        let (before, from) = rest.split_at(at);
        root.push_str(before);
        let found = values.iter().find(|(placeholder, _)| from.starts_with(placeholder));
        let (written, value) = found.map_or(("{", Some("{")), |(name, value)| (*name, *value));
        root.push_str(value.ok_or(written)?);
        rest = from.get(written.len()..).unwrap_or_default();
    }
    root.push_str(rest);
    Ok(root)
}

/// Where run directories go when no site file says so.
pub fn default_run_root(home: &Path) -> PathBuf {
    home.join("trainyard")
}

/// `[a-z0-9][a-z0-9._-]{0,62}`, not all digits (those are run numbers).
pub fn is_run_name(name: &str) -> bool {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    (1..=63).contains(&name.len())
        && name.starts_with(plain)
        && name.chars().all(|c| plain(c) || "._-".contains(c))
        && !name.chars().all(|c| c.is_ascii_digit())
}

#[cfg(test)]
mod tests;
