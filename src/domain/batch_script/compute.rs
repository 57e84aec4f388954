//! What `#SBATCH` lines ask for, as keys of `[compute]`.

use toml::Value;

use crate::domain::batch_script::Fate;
use crate::domain::batch_script::body::Body;
use crate::domain::batch_script::lines::Line;
use crate::domain::resolve::is_run_name;
use crate::domain::resolve::sbatch_options::verbatim;
use crate::domain::site::{Class, Site};
use crate::domain::spec::MailType;
use crate::domain::units::{Mebibytes, TimeLimit};

/// What the directives say, before it is known what the commands need of it.
#[derive(Debug, Default)]
pub(super) struct Asked {
    pub(super) name: Option<String>,
    /// Keys of `[compute]` as they are written.
    pub(super) keys: Vec<(&'static str, Value)>,
    partition: Option<(usize, String)>,
    pub(super) nodes: Option<u32>,
    tasks: Option<u32>,
    tasks_per_node: Option<u32>,
    cpus_per_task: Option<u32>,
    gpus_per_node: Option<u32>,
    mem_per_cpu: Option<u64>,
    mem_per_gpu: Option<u64>,
    sbatch: Vec<String>,
}

/// Short options of sbatch that have a long name here.
const LETTERS: &[(char, &str)] = &[
    ('A', "account"),
    ('C', "constraint"),
    ('D', "chdir"),
    ('G', "gpus"),
    ('J', "job-name"),
    ('L', "licenses"),
    ('N', "nodes"),
    ('a', "array"),
    ('b', "begin"),
    ('c', "cpus-per-task"),
    ('e', "error"),
    ('i', "input"),
    ('n', "ntasks"),
    ('o', "output"),
    ('p', "partition"),
    ('q', "qos"),
    ('t', "time"),
    ('w', "nodelist"),
    ('x', "exclude"),
    ('H', "hold"),
];
/// Options that never have a value in the next word.
const FLAGS: &[&str] =
    &["hold", "exclusive", "requeue", "no-requeue", "contiguous", "overcommit", "parsable"];

pub(super) fn asked(directives: &[Line], fates: &mut Vec<Fate>) -> Asked {
    let mut asked = Asked::default();
    for line in directives {
        let shown = format!("#SBATCH {}", line.text);
        let Some(words) = shlex::split(&line.text) else {
            fates.push(Fate::left(line.number, &shown, "its quotes do not close"));
            continue;
        };
        let mut words = words.into_iter().take_while(|word| !word.starts_with('#')).peekable();
        while let Some(word) = words.next() {
            let (name, mut value) = option(&word);
            if value.is_none() && !FLAGS.contains(&name.as_str()) {
                value = words.next_if(|next| !next.starts_with("--"));
            }
            fates.push(match asked.take(line.number, &name, value.as_deref()) {
                Ok(key) => Fate::taken(line.number, &shown, key),
                Err(why) => Fate::left(line.number, &shown, why),
            });
        }
    }
    asked
}

/// The long name of an option, and its value where that is in the same word.
fn option(word: &str) -> (String, Option<String>) {
    if let Some(long) = word.strip_prefix("--") {
        return match long.split_once('=') {
            Some((name, value)) => (name.to_owned(), Some(value.to_owned())),
            None => (long.to_owned(), None),
        };
    }
    let mut letters = word.strip_prefix('-').unwrap_or(word).chars();
    let letter = letters.next();
    let long = LETTERS.iter().find(|(short, _)| Some(*short) == letter && word.starts_with('-'));
    let rest = letters.as_str().trim_start_matches('=');
    match long {
        Some((_, name)) => ((*name).to_owned(), (!rest.is_empty()).then(|| rest.to_owned())),
        None => (word.to_owned(), None),
    }
}

impl Asked {
    fn take(&mut self, line: usize, name: &str, value: Option<&str>) -> Result<String, String> {
        let text = value.unwrap_or_default();
        let number = || {
            text.parse::<u32>()
                .ok()
                .filter(|n| *n > 0)
                .ok_or_else(|| "its value is no number".to_owned())
        };
        let time = || {
            let limit =
                TimeLimit::parse(text).ok_or("its value is no time limit of this version")?;
            Ok::<Value, String>(Value::from(limit.0.to_string()))
        };
        let memory =
            || Mebibytes::parse(text).ok_or_else(|| "its value is no memory size".to_owned());
        if let Some(why) = ours(name) {
            return Err(why.into());
        }
        if let Some(key) = TEXTS.iter().find(|key| **key == name) {
            self.set(key, Value::from(text));
            return Ok(format!("compute.{key}"));
        }
        match name {
            "job-name" => {
                self.name = Some(run_name(text).ok_or("it cannot be made a run's name")?);
                return Ok("name".into());
            }
            "time" => self.set("time_limit", time()?),
            "time-min" => self.set("time_min", time()?),
            "nodes" => self.nodes = Some(number()?),
            "ntasks" => self.tasks = Some(number()?),
            "ntasks-per-node" => self.tasks_per_node = Some(number()?),
            "cpus-per-task" => self.cpus_per_task = Some(number()?),
            "gpus-per-node" | "gres" if name != "gres" || text.starts_with("gpu") => {
                let count = text.rsplit(':').next().unwrap_or_default();
                let count = if text == "gpu" { Some(1) } else { count.parse().ok() };
                self.gpus_per_node = Some(count.ok_or("its number of GPUs cannot be read")?);
                return Ok("compute.gpus_per_node".into());
            }
            "partition" => {
                self.partition = Some((line, text.to_owned()));
                return Ok("compute.class".into());
            }
            "mem" if text == "0" => return Err("all memory of a node: the class says so".into()),
            "mem" => self.set("memory_per_node", Value::from(memory()?.to_string())),
            "mem-per-cpu" => self.mem_per_cpu = Some(memory()?.0),
            "mem-per-gpu" => self.mem_per_gpu = Some(memory()?.0),
            "nice" => self.set(
                "nice",
                Value::from(i64::from(text.parse::<i32>().map_err(|_| "its value is no number")?)),
            ),
            "hold" => self.set("hold", Value::from(true)),
            "mail-type" => {
                let words: Vec<String> = text.split(',').map(str::to_lowercase).collect();
                if words.iter().any(|word| MailType::from_word(word).is_none()) {
                    return self.keep(name, value);
                }
                self.set("mail", Value::from(words));
            }
            _ => return self.keep(name, value),
        }
        Ok(key_of(name))
    }

    fn set(&mut self, key: &'static str, value: Value) {
        self.keys.retain(|(known, _)| *known != key);
        self.keys.push((key, value));
    }

    fn keep(&mut self, name: &str, value: Option<&str>) -> Result<String, String> {
        let text = match value {
            Some(value) => format!("--{name}={value}"),
            None => format!("--{name}"),
        };
        verbatim(&text)?;
        self.sbatch.push(text);
        Ok("compute.sbatch".into())
    }

    fn per_node(&self) -> Option<u32> {
        let spread = || self.tasks.map(|tasks| tasks.div_ceil(self.nodes.unwrap_or(1)));
        self.tasks_per_node.or_else(spread)
    }

    /// Ranks of each node under srun.
    pub(super) fn processes(&self) -> u32 {
        self.per_node().unwrap_or(1)
    }
}

/// Options whose text is a key's.
const TEXTS: &[&str] =
    &["account", "qos", "constraint", "reservation", "licenses", "nodelist", "exclude", "begin"];

/// Why an option is not needed.
fn ours(name: &str) -> Option<&'static str> {
    Some(match name {
        "exclusive" => "whole nodes: the class says so",
        "array" => "sweeps are not supported by this version: this is one run of the array",
        "output" | "error" | "open-mode" => "Trainyard keeps the logs: `trainyard logs RUN`",
        "requeue" | "no-requeue" => "`[failure] max_restarts` says how often a run is brought back",
        "signal" => "Trainyard warns the training itself",
        "chdir" => "the training starts in its captured code: see `[code] path`",
        "export" => "a job gets no variables of your shell: see `[environment.variables]`",
        _ => return None,
    })
}

fn run_name(text: &str) -> Option<String> {
    let plain = |c: char| if c.is_ascii_alphanumeric() || "._-".contains(c) { c } else { '-' };
    let made: String = text.to_lowercase().chars().map(plain).take(63).collect();
    let made = made.trim_start_matches(['.', '_', '-']).to_owned();
    is_run_name(&made).then_some(made)
}

/// The key that an option's value goes to.
fn key_of(name: &str) -> String {
    match name {
        "time" => "compute.time_limit".to_owned(),
        "ntasks" | "ntasks-per-node" => "distributed.processes_per_node".to_owned(),
        "cpus-per-task" => "compute.cpus_per_node".to_owned(),
        "mem" | "mem-per-cpu" | "mem-per-gpu" => "compute.memory_per_node".to_owned(),
        "mail-type" => "compute.mail".to_owned(),
        other => format!("compute.{}", other.replace('-', "_")),
    }
}

pub(super) fn keys(
    asked: &Asked,
    body: &Body,
    site: Option<&Site>,
    fates: &mut Vec<Fate>,
) -> Vec<(&'static str, Value)> {
    let mut keys = Vec::new();
    if let Some((line, partition)) = &asked.partition {
        if let Some(class) = site.and_then(|site| class_of(site, partition, asked)) {
            keys.push(("class", Value::from(class)));
        } else {
            fates.retain(|fate| {
                !(fate.line == *line && fate.key.as_deref() == Some("compute.class"))
            });
            let why = "no hardware class has this partition: set `class` (`trainyard classes`)";
            fates.push(Fate::left(*line, &format!("#SBATCH --partition={partition}"), why));
        }
    }
    let mut push = |key, number: u32| keys.push((key, Value::from(i64::from(number))));
    if let Some(nodes) = asked.nodes {
        push("nodes", nodes);
    }
    if let Some(gpus) = asked.gpus_per_node {
        push("gpus_per_node", gpus);
    }
    let cpus = asked.cpus_per_task.map(|cpus| cpus.saturating_mul(asked.processes()));
    if let Some(cpus) = cpus {
        push("cpus_per_node", cpus);
    }
    let per_cpu = asked.mem_per_cpu.zip(cpus.or(asked.per_node()));
    let per_gpu = asked.mem_per_gpu.zip(asked.gpus_per_node);
    if let Some((memory, of)) = per_cpu.or(per_gpu) {
        let memory = Mebibytes(memory.saturating_mul(u64::from(of)));
        keys.push(("memory_per_node", Value::from(memory.to_string())));
    }
    keys.extend(asked.keys.iter().cloned());
    let mut sbatch = asked.sbatch.clone();
    if body.keeps_tasks && asked.processes() > 1 {
        sbatch.push(format!("--ntasks-per-node={}", asked.processes()));
        sbatch.extend(asked.cpus_per_task.map(|cpus| format!("--cpus-per-task={cpus}")));
    }
    if !sbatch.is_empty() {
        keys.push(("sbatch", Value::from(sbatch)));
    }
    keys
}

/// The class with this partition whose GPUs fit best.
fn class_of<'a>(site: &'a Site, partition: &str, asked: &Asked) -> Option<&'a str> {
    let gpus = |class: &Class| class.gpus_per_node.as_ref().map_or(0, |gpus| gpus.value);
    let wanted = asked.gpus_per_node.unwrap_or(0);
    let has = |class: &Class| {
        class.partition.as_ref().is_some_and(|all| {
            partition.split(',').any(|one| all.0.iter().any(|at| at.value == one))
        })
    };
    let classes = site.class_names().filter_map(|name| Some((name, site.class(name)?)));
    let fitting = classes.filter(|(_, class)| has(class));
    fitting.min_by_key(|(_, class)| (gpus(class) < wanted, gpus(class))).map(|(name, _)| name)
}
