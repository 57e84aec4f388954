//! The keys of `[compute]`, and what became of the options that they come from.

use toml::Value;

use crate::domain::batch_script::Fate;
use crate::domain::batch_script::asked::Asked;
use crate::domain::batch_script::body::Body;
use crate::domain::batch_script::options::Asking;
use crate::domain::site::{Class, ContainerRuntime, Site};

/// The hardware class that a script's run goes to.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Chosen<'a> {
    /// Its name, and the class.
    pub(super) class: Option<(&'a str, &'a Class)>,
    /// The spec has to name it: it is the partition's, not the site's default.
    is_named: bool,
    /// Its cluster starts images as apptainer does.
    pub(super) runs_images: bool,
}

pub(super) fn chosen<'a>(asked: &Asked, site: Option<&'a Site>) -> Chosen<'a> {
    let Some(site) = site else { return Chosen::default() };
    let of_partition =
        asked.partition.as_deref().and_then(|partition| class_of(site, partition, asked));
    let default = || {
        let name = site.site.as_ref()?.default_class.as_ref()?.value.as_str();
        site.class(name).filter(|_| asked.partition.is_none()).map(|class| (name, class))
    };
    let class = of_partition.or_else(default);
    let cluster = class.and_then(|(_, class)| match &class.cluster {
        Some(name) => site.cluster.as_ref()?.get(&name.value),
        None => site.cluster.as_ref()?.get(site.cluster.as_ref()?.names().next()?),
    });
    let runtime = cluster.and_then(|cluster| cluster.container_runtime.as_ref());
    let runs_images = runtime.is_some_and(|runtime| {
        matches!(runtime.value, ContainerRuntime::Apptainer | ContainerRuntime::Singularity)
    });
    Chosen { class, is_named: of_partition.is_some(), runs_images }
}

/// The class with this partition whose GPUs fit best.
fn class_of<'a>(site: &'a Site, partition: &str, asked: &Asked) -> Option<(&'a str, &'a Class)> {
    let gpus = |class: &Class| class.gpus_per_node.as_ref().map_or(0, |gpus| gpus.value);
    let wanted = asked.gpus_per_node().unwrap_or(0);
    let has = |class: &Class| {
        class.partition.as_ref().is_some_and(|all| {
            partition.split(',').any(|one| all.0.iter().any(|at| at.value == one))
        })
    };
    let classes = site.class_names().filter_map(|name| Some((name, site.class(name)?)));
    let fitting = classes.filter(|(_, class)| has(class));
    fitting.min_by_key(|(_, class)| (gpus(class) < wanted, !has_type(class, asked), gpus(class)))
}

fn has_type(class: &Class, asked: &Asked) -> bool {
    let label = class.gpu_type.as_ref().map(|kind| kind.value.to_lowercase());
    asked.gpu_type.as_ref().is_none_or(|kind| Some(kind.to_lowercase()) == label)
}

pub(super) fn keys(
    asked: &mut Asked,
    body: &Body,
    chosen: &Chosen<'_>,
    fates: &mut Vec<Fate>,
) -> Vec<(&'static str, Value)> {
    for option in std::mem::take(&mut asked.later) {
        fates.push(match key(asked, body, chosen, &option) {
            Ok(key) => option.taken(key).but(note(asked, chosen, &option)),
            Err(why) => option.left(why),
        });
    }
    let number = |number: u32| Value::from(i64::from(number));
    let mut keys = Vec::new();
    let named = chosen.class.filter(|_| chosen.is_named);
    keys.extend(named.map(|(name, _)| ("class", Value::from(name))));
    keys.extend(asked.nodes.map(|nodes| ("nodes", number(nodes))));
    keys.extend(asked.time.map(|time| ("time_limit", Value::from(time.0.to_string()))));
    keys.extend(asked.gpus_per_node().map(|gpus| ("gpus_per_node", number(gpus))));
    keys.extend(asked.cpus_per_node().map(|cpus| ("cpus_per_node", number(cpus))));
    let memory = asked.memory_per_node().map(|memory| Value::from(memory.to_string()));
    keys.extend(memory.map(|memory| ("memory_per_node", memory)));
    keys.append(&mut asked.keys);
    if body.keeps_tasks && asked.processes() > 1 {
        asked.sbatch.push(format!("--ntasks-per-node={}", asked.processes()));
        asked.sbatch.extend(asked.cpus_per_task.map(|cpus| format!("--cpus-per-task={cpus}")));
    }
    if !asked.sbatch.is_empty() {
        keys.push(("sbatch", Value::from(std::mem::take(&mut asked.sbatch))));
    }
    keys
}

/// The key that an option went to, or why to none.
fn key(
    asked: &mut Asked,
    body: &Body,
    chosen: &Chosen<'_>,
    option: &Asking,
) -> Result<String, String> {
    let no_gpus = "there is no number of GPUs to multiply it with";
    let class = chosen.class.map(|(_, class)| class);
    Ok(match option.name.as_str() {
        "partition" if chosen.is_named => "compute.class",
        "partition" => {
            return Err(
                "no hardware class has this partition: set `class` (`trainyard classes`)".into()
            );
        }
        "array" => {
            let index = asked.index.as_deref().unwrap_or_default();
            return Err(format!(
                "this is the run of index {index}; a `[sweep]` makes many of one spec"
            ));
        }
        "exclusive" => {
            let exclusive = class.map(|class| class.exclusive.as_ref().is_some_and(|at| at.value));
            return match exclusive {
                Some(false) => asked.keep(option),
                Some(true) | None => Err("whole nodes: the class says so".into()),
            };
        }
        "chdir" => "code.path",
        "time" => "compute.time_limit",
        "nodes" => "compute.nodes",
        "ntasks" | "ntasks-per-node" | "ntasks-per-gpu" => match body.launcher {
            "srun" => "distributed.processes_per_node",
            "none" if body.keeps_tasks && asked.processes() > 1 => "compute.sbatch",
            _ => "distributed.launcher",
        },
        "gpus" if asked.gpus_per_node().is_none() => {
            return Err("it does not spread evenly over the nodes: set `gpus_per_node`".into());
        }
        "gpus" | "gpus-per-node" | "gpus-per-task" | "gres" => "compute.gpus_per_node",
        "cpus-per-gpu" if asked.gpus_per_node().is_none() => return Err(no_gpus.into()),
        "cpus-per-task" | "cpus-per-gpu" => "compute.cpus_per_node",
        "mem-per-gpu" if asked.gpus_per_node().is_none() => return Err(no_gpus.into()),
        "mem-per-cpu" if asked.memory_per_node().is_none() => {
            return Err("there is no number of CPUs to multiply it with".into());
        }
        "mem" | "mem-per-cpu" | "mem-per-gpu" => "compute.memory_per_node",
        other => return Err(format!("`--{other}` has no key")),
    }
    .to_owned())
}

/// What somebody should know of an option that was taken.
fn note(asked: &Asked, chosen: &Chosen<'_>, option: &Asking) -> Option<String> {
    over(asked, chosen, option).or_else(|| reading(asked, chosen, option))
}

/// That the class does not give so much.
fn over(asked: &Asked, chosen: &Chosen<'_>, option: &Asking) -> Option<String> {
    let (name, class) = chosen.class?;
    let (is_over, most, what) = match option.name.as_str() {
        "nodes" => {
            let most = class.max_nodes.as_ref()?.value.get();
            (asked.node_count() > most, most.to_string(), " nodes")
        }
        "time" => {
            let most = class.max_time.as_ref()?.value;
            (asked.time > Some(most), most.0.to_string(), "")
        }
        "gpus" | "gpus-per-node" | "gpus-per-task" | "gres" => {
            let most = class.gpus_per_node.as_ref().map_or(0, |gpus| gpus.value);
            (asked.gpus_per_node() > Some(most), most.to_string(), " GPUs on a node")
        }
        "cpus-per-task" | "cpus-per-gpu" => {
            let most = class.cpus_per_node.as_ref()?.value.get();
            (asked.cpus_per_node() > Some(most), most.to_string(), " CPUs on a node")
        }
        "mem" | "mem-per-cpu" | "mem-per-gpu" => {
            let most = class.memory_per_node.as_ref()?.value;
            (asked.memory_per_node() > Some(most), most.to_string(), " of memory on a node")
        }
        _ => return None,
    };
    is_over.then(|| format!("class `{name}` gives at most {most}{what}"))
}

/// How an option was read that could be read in another way.
fn reading(asked: &Asked, chosen: &Chosen<'_>, option: &Asking) -> Option<String> {
    let one = || "without `--nodes` Slurm chooses how many nodes it takes; a run has 1".to_owned();
    match option.name.as_str() {
        "chdir" => Some(CAPTURED.to_owned()),
        "ntasks" if !asked.tasks?.is_multiple_of(asked.node_count()) => {
            let each = asked.processes();
            Some(format!("it does not spread evenly over the nodes: {each} on each"))
        }
        "ntasks" => (asked.nodes.is_none() && asked.tasks > Some(1)).then(one),
        "gpus" if asked.node_count() > 1 => {
            let each = asked.gpus_per_node()?;
            Some(format!("it counts for the whole job: {each} on each node"))
        }
        "gpus" if asked.nodes.is_none() && asked.gpus_per_node() > Some(1) => Some(one()),
        "gpus" | "gpus-per-node" | "gpus-per-task" | "gres" => {
            let kind = asked.gpu_type.as_ref()?;
            let (_, class) = chosen.class.filter(|(_, class)| !has_type(class, asked))?;
            let label = class.gpu_type.as_ref().map_or("", |label| label.value.as_str());
            Some(format!("the class says which GPUs they are: not `{kind}`, but `{label}`"))
        }
        _ => None,
    }
}

/// What `code.path` does that the script did not.
pub(super) const CAPTURED: &str =
    "what is there is captured; the run works in a directory of its own";
