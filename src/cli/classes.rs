//! `classes`: the hardware classes of the site.

use jiff::Timestamp;
use serde::Serialize;

use crate::api::ClassStanding;
use crate::cli::client::Client;
use crate::cli::context::{Context, slurm_is_silent};
use crate::cli::error::{CliError, Exit};
use crate::cli::output::Column;
use crate::cli::text::{TerminalText, length, one_line};
use crate::domain::keys::Named;
use crate::domain::site::{Class, LOCAL, Site};

#[derive(Debug, clap::Args)]
pub struct Args {}

/// One class as it is shown.
#[derive(Debug, Serialize)]
struct ClassView {
    name: String,
    cluster: String,
    partitions: Vec<String>,
    gpus_per_node: u32,
    gpu_type: Option<String>,
    cpus_per_node: Option<u32>,
    memory_per_node: Option<String>,
    max_nodes: Option<u32>,
    max_time_seconds: Option<u64>,
    default_time_seconds: Option<u64>,
    /// What counts now.
    rate: Option<f64>,
    is_default: bool,
    /// Nodes that run its jobs, or can; not known without Slurm.
    nodes_up: Option<u32>,
    /// Those of them that no job has any of.
    nodes_idle: Option<u32>,
    nodes_down: Option<u32>,
    /// How many of our own starts the waits are read off.
    waits: Option<u64>,
    median_wait_seconds: Option<f64>,
    p90_wait_seconds: Option<f64>,
}

pub(super) fn run(context: &Context, _args: &Args) -> Result<Exit, CliError> {
    let loaded = context.site()?;
    if let Some(why) = &loaded.silence {
        context.say(&one_line(&slurm_is_silent(why)));
    }
    let mut classes = views(&loaded.site, context.surroundings.clock.now());
    let client = Client::without_starting(context);
    let standings: Vec<ClassStanding> = Context::block_on(async {
        if client.is_there() { client.get("/classes").await } else { Ok(Vec::new()) }
    })?;
    fill_in(&mut classes, &standings);
    if context.global.json {
        context.output().json(&classes)?;
        return Ok(Exit::Done);
    }
    let is_known = |class: &ClassView| class.nodes_up.is_some() || class.waits.is_some();
    let (mut header, mut rows) = (HEADER.to_vec(), classes.iter().map(row).collect::<Vec<_>>());
    if classes.iter().any(is_known) {
        header.extend([Column::Whole("IDLE"), Column::Whole("WAIT")]);
        for (row, class) in rows.iter_mut().zip(&classes) {
            row.extend(standing(class));
        }
    }
    context.output().table(&header, rows)?;
    Ok(Exit::Done)
}

const HEADER: &[Column] = &[
    Column::Elastic("CLASS"),
    Column::Elastic("CLUSTER"),
    Column::Elastic("GPUS"),
    Column::Whole("CPUS"),
    Column::Whole("MEMORY"),
    Column::Whole("NODES"),
    Column::Whole("TIME"),
    Column::Whole("RATE"),
];

/// What the daemon knows of the classes beside their config; where none serves, nobody looks.
fn fill_in(classes: &mut [ClassView], standings: &[ClassStanding]) {
    for class in classes {
        let Some(standing) = standings.iter().find(|known| known.name == class.name) else {
            continue;
        };
        let nodes = standing.nodes;
        class.nodes_up = nodes.map(|nodes| nodes.up);
        class.nodes_idle = nodes.map(|nodes| nodes.idle);
        class.nodes_down = nodes.map(|nodes| nodes.down);
        class.waits = standing.waits.map(|waits| waits.count);
        class.median_wait_seconds = standing.waits.map(|waits| waits.median_seconds);
        class.p90_wait_seconds = standing.waits.map(|waits| waits.p90_seconds);
    }
}

fn views(site: &Site, now: Timestamp) -> Vec<ClassView> {
    let default = site
        .site
        .as_ref()
        .and_then(|general| general.default_class.as_ref())
        .map(|class| class.value.as_str());
    let defined = site.class.iter().flat_map(|classes| &classes.0);
    let mut views: Vec<ClassView> = defined
        .map(|(name, class)| view(site, (&name.value, class), default == Some(&name.value), now))
        .collect();
    let alone = views.is_empty() && default.is_none();
    views.push(ClassView {
        max_nodes: Some(1),
        ..view(site, (LOCAL, &Class::default()), alone || default == Some(LOCAL), now)
    });
    views
}

fn view(site: &Site, (name, class): (&str, &Class), is_default: bool, now: Timestamp) -> ClassView {
    let only_cluster = || site.cluster.iter().flat_map(Named::names).next();
    let cluster = class.cluster.as_ref().map(|cluster| cluster.value.as_str());
    let cluster =
        if name == LOCAL { LOCAL } else { cluster.or_else(only_cluster).unwrap_or(LOCAL) };
    ClassView {
        name: name.to_owned(),
        cluster: cluster.to_owned(),
        partitions: class
            .partition
            .iter()
            .flat_map(|all| &all.0)
            .map(|at| at.value.clone())
            .collect(),
        gpus_per_node: class.gpus_per_node.as_ref().map_or(0, |gpus| gpus.value),
        gpu_type: class.gpu_type.as_ref().map(|kind| kind.value.clone()),
        cpus_per_node: class.cpus_per_node.as_ref().map(|cpus| cpus.value.get()),
        memory_per_node: class.memory_per_node.as_ref().map(|memory| memory.value.to_string()),
        max_nodes: class.max_nodes.as_ref().map(|nodes| nodes.value.get()),
        max_time_seconds: class.max_time.as_ref().map(|limit| limit.value.0.0),
        default_time_seconds: class.default_time.as_ref().map(|limit| limit.value.0.0),
        rate: class.rate.as_ref().and_then(|rates| rates.value.at(now)),
        is_default,
        nodes_up: None,
        nodes_idle: None,
        nodes_down: None,
        waits: None,
        median_wait_seconds: None,
        p90_wait_seconds: None,
    }
}

fn row(class: &ClassView) -> Vec<String> {
    let dash = || "-".to_owned();
    let gpus = match (&class.gpu_type, class.gpus_per_node) {
        (_, 0) => dash(),
        (Some(kind), count) => format!("{count} {}", TerminalText(kind)),
        (None, count) => count.to_string(),
    };
    let mark = if class.is_default { " (default)" } else { "" };
    vec![
        format!("{}{mark}", TerminalText(&class.name)),
        TerminalText(&class.cluster).to_string(),
        gpus,
        class.cpus_per_node.map_or_else(dash, |cpus| cpus.to_string()),
        class.memory_per_node.clone().unwrap_or_else(dash),
        class.max_nodes.map_or_else(dash, |nodes| nodes.to_string()),
        class
            .max_time_seconds
            .map_or_else(dash, |seconds| crate::domain::units::Seconds(seconds).to_string()),
        class.rate.map_or_else(dash, |rate| rate.to_string()),
    ]
}

/// The nodes that are idle, of those that are up, and the median wait.
fn standing(class: &ClassView) -> [String; 2] {
    let idle = class.nodes_idle.zip(class.nodes_up).map(|(idle, up)| format!("{idle}/{up}"));
    let dash = || "-".to_owned();
    [idle.unwrap_or_else(dash), class.median_wait_seconds.map_or_else(dash, length)]
}
