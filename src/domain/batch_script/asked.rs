//! What `#SBATCH` lines ask for.

use toml::Value;

use crate::domain::batch_script::Fate;
use crate::domain::batch_script::options::{Asking, FLAGS};
use crate::domain::resolve::is_run_name;
use crate::domain::resolve::sbatch_options::verbatim;
use crate::domain::spec::MailType;
use crate::domain::units::{Mebibytes, TimeLimit};

/// What the directives say, before it is known what the commands need of it.
#[derive(Debug, Default)]
pub(super) struct Asked {
    pub(super) name: Option<String>,
    /// The job's name as it is written.
    pub(super) job_name: Option<String>,
    /// Where the job starts.
    pub(super) directory: Option<String>,
    /// The first index of an array.
    pub(super) index: Option<String>,
    pub(super) partition: Option<String>,
    pub(super) gpu_type: Option<String>,
    pub(super) time: Option<TimeLimit>,
    pub(super) nodes: Option<u32>,
    pub(super) tasks: Option<u32>,
    pub(super) cpus_per_task: Option<u32>,
    tasks_per_node: Option<u32>,
    tasks_per_gpu: Option<u32>,
    cpus_per_gpu: Option<u32>,
    gpus: Option<u32>,
    gpus_on_node: Option<u32>,
    gpus_per_task: Option<u32>,
    memory: Option<u64>,
    mem_per_cpu: Option<u64>,
    mem_per_gpu: Option<u64>,
    /// Keys of `[compute]` as they are written.
    pub(super) keys: Vec<(&'static str, Value)>,
    pub(super) sbatch: Vec<String>,
    /// Options whose key depends on the others, on the commands or on the class.
    pub(super) later: Vec<Asking>,
}

/// Options whose text is a key's.
const TEXTS: &[&str] =
    &["account", "qos", "constraint", "reservation", "licenses", "nodelist", "exclude", "begin"];

pub(super) fn asked(options: Vec<Asking>, fates: &mut Vec<Fate>) -> Asked {
    let mut asked = Asked::default();
    for option in options {
        match asked.take(&option) {
            Ok(Some(key)) => fates.push(option.taken(key)),
            Ok(None) => asked.later.push(option),
            Err(why) => fates.push(option.left(why)),
        }
    }
    asked
}

impl Asked {
    /// The key that an option goes to; `None` where that is decided when all is known.
    fn take(&mut self, option: &Asking) -> Result<Option<String>, String> {
        let (name, text) = (option.name.as_str(), option.text());
        if let Some(why) = ours(name) {
            return Err(why.into());
        }
        if text.is_empty() && !FLAGS.contains(&name) && !name.starts_with("no-") {
            return Err("it has no value".into());
        }
        if let Some(key) = TEXTS.iter().find(|key| **key == name) {
            self.keys.push((key, Value::from(text)));
            return Ok(Some(format!("compute.{key}")));
        }
        match name {
            "job-name" => {
                self.job_name = Some(text.to_owned());
                self.name = Some(run_name(text).ok_or("it cannot be made a run's name")?);
                return Ok(Some("name".into()));
            }
            "chdir" => self.directory = Some(text.to_owned()),
            "array" => {
                self.index = text.split([',', '-', ':', '%']).next().map(str::to_owned);
            }
            "partition" => self.partition = Some(text.to_owned()),
            "time" => self.time = Some(time(text)?),
            "time-min" => {
                self.keys.push(("time_min", Value::from(time(text)?.0.to_string())));
                return Ok(Some("compute.time_min".into()));
            }
            "nice" => {
                // Slurm's own default, where none is said.
                let text = if text.is_empty() { "100" } else { text };
                let nice = text.parse::<i32>().map_err(|_| "its value is no number")?;
                self.keys.push(("nice", Value::from(i64::from(nice))));
                return Ok(Some("compute.nice".into()));
            }
            "hold" => {
                self.keys.push(("hold", Value::from(true)));
                return Ok(Some("compute.hold".into()));
            }
            "mail-type" => return self.mail(option).map(Some),
            "exclusive" => {}
            _ => {
                return if self.count(name, text)? {
                    Ok(None)
                } else {
                    self.keep(option).map(Some)
                };
            }
        }
        Ok(None)
    }

    /// Takes a number; false for what is none.
    fn count(&mut self, name: &str, text: &str) -> Result<bool, String> {
        let number = || {
            text.parse::<u32>().ok().filter(|n| *n > 0).ok_or_else(|| {
                if name == "nodes" && text.contains(['-', ',']) {
                    "a run has a fixed number of nodes: set `nodes`".to_owned()
                } else {
                    "its value is no number".to_owned()
                }
            })
        };
        let memory =
            || Mebibytes::parse(text).map(|memory| memory.0).ok_or("its value is no memory size");
        match name {
            "nodes" => self.nodes = Some(number()?),
            "ntasks" => self.tasks = Some(number()?),
            "ntasks-per-node" => self.tasks_per_node = Some(number()?),
            "ntasks-per-gpu" => self.tasks_per_gpu = Some(number()?),
            "cpus-per-task" => self.cpus_per_task = Some(number()?),
            "cpus-per-gpu" => self.cpus_per_gpu = Some(number()?),
            "gpus" => self.gpus = Some(self.gpus_of(text)?),
            "gpus-per-node" => self.gpus_on_node = Some(self.gpus_of(text)?),
            "gpus-per-task" => self.gpus_per_task = Some(self.gpus_of(text)?),
            "gres" => {
                let is_gpus = |one: &&str| *one == "gpu" || one.starts_with("gpu:");
                let (gpus, others): (Vec<&str>, Vec<&str>) = text.split(',').partition(is_gpus);
                match (gpus.as_slice(), others.as_slice()) {
                    ([one], []) => {
                        let count = one.strip_prefix("gpu:").unwrap_or("1");
                        self.gpus_on_node = Some(self.gpus_of(count)?);
                    }
                    ([], _) => return Ok(false),
                    _ => return Err(
                        "several resources in one: set `gpus_per_node`, and the others in `sbatch`"
                            .into(),
                    ),
                }
            }
            "mem" if text == "0" => return Err("all memory of a node: the class says so".into()),
            "mem" => self.memory = Some(memory()?),
            "mem-per-cpu" => self.mem_per_cpu = Some(memory()?),
            "mem-per-gpu" => self.mem_per_gpu = Some(memory()?),
            _ => return Ok(false),
        }
        Ok(true)
    }

    /// `4`, `a100` or `a100:4`.
    fn gpus_of(&mut self, text: &str) -> Result<u32, String> {
        let (kind, count) = match text.rsplit_once(':') {
            Some((kind, count)) => (Some(kind), count),
            None if text.starts_with(|c: char| c.is_ascii_digit()) => (None, text),
            None => (Some(text), "1"),
        };
        self.gpu_type = kind.map(str::to_owned);
        count.parse().map_err(|_| "its number of GPUs cannot be read".to_owned())
    }

    fn mail(&mut self, option: &Asking) -> Result<String, String> {
        let words: Vec<String> = option.text().split(',').map(str::to_lowercase).collect();
        if words.iter().any(|word| MailType::from_word(word).is_none()) {
            return self.keep(option);
        }
        self.keys.push(("mail", Value::from(words)));
        Ok("compute.mail".into())
    }

    pub(super) fn keep(&mut self, option: &Asking) -> Result<String, String> {
        if !option.name.starts_with(|c: char| c.is_ascii_alphabetic()) {
            return Err("it is no option of sbatch's".into());
        }
        let text = match &option.value {
            Some(value) => format!("--{}={value}", option.name),
            None => format!("--{}", option.name),
        };
        verbatim(&text)?;
        self.sbatch.push(text);
        Ok("compute.sbatch".into())
    }

    /// Nodes, where one is meant by silence.
    pub(super) fn node_count(&self) -> u32 {
        self.nodes.unwrap_or(1)
    }

    fn said_tasks(&self) -> Option<u32> {
        let spread = || self.tasks.map(|tasks| tasks.div_ceil(self.node_count()));
        self.tasks_per_node.or_else(spread)
    }

    /// Tasks of each node, where something says so.
    pub(super) fn tasks_on_node(&self) -> Option<u32> {
        let by_gpus = || Some(self.tasks_per_gpu?.saturating_mul(self.gpus_per_node()?));
        self.said_tasks().or_else(by_gpus)
    }

    /// Ranks of each node under srun.
    pub(super) fn processes(&self) -> u32 {
        self.tasks_on_node().unwrap_or(1)
    }

    pub(super) fn gpus_per_node(&self) -> Option<u32> {
        let nodes = self.node_count();
        let share = || self.gpus.filter(|gpus| gpus.is_multiple_of(nodes)).map(|gpus| gpus / nodes);
        let by_tasks = || Some(self.gpus_per_task?.saturating_mul(self.said_tasks().unwrap_or(1)));
        self.gpus_on_node.or_else(share).or_else(by_tasks)
    }

    pub(super) fn cpus_per_node(&self) -> Option<u32> {
        let by_gpus = || Some(self.cpus_per_gpu?.saturating_mul(self.gpus_per_node()?));
        self.cpus_per_task.map(|cpus| cpus.saturating_mul(self.processes())).or_else(by_gpus)
    }

    pub(super) fn memory_per_node(&self) -> Option<Mebibytes> {
        let of = |memory: u64, count: u32| memory.saturating_mul(u64::from(count));
        // A task has one CPU where nothing else is said.
        let by_cpus =
            || Some(of(self.mem_per_cpu?, self.cpus_per_node().or(self.tasks_on_node())?));
        let by_gpus = || Some(of(self.mem_per_gpu?, self.gpus_per_node()?));
        self.memory.or_else(by_cpus).or_else(by_gpus).map(Mebibytes)
    }
}

fn time(text: &str) -> Result<TimeLimit, String> {
    // A number alone is minutes.
    TimeLimit::parse(text).ok_or_else(|| "its value is no time limit of this version".to_owned())
}

/// Why an option is not needed.
fn ours(name: &str) -> Option<&'static str> {
    Some(match name {
        "output" | "error" | "open-mode" => "Trainyard keeps the logs: `trainyard logs RUN`",
        "requeue" | "no-requeue" => "`[failure] max_restarts` says how often a run is brought back",
        "signal" => "`[failure] warn_before_end` and `warn_signal` say how the training is warned",
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
