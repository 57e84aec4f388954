//! The site config: what a sysadmin writes, the layers it comes in, and the effective [`Site`].

use std::num::NonZeroU32;

use crate::domain::document::{Node, Table};
use crate::domain::keys::{FromNode, Named, choice, join, keys};
use crate::domain::problem::{At, Place, Problem, SourceId};
use crate::domain::spec::{ArgValue, Interval, Partitions, ScriptPiece};
use crate::domain::units::{Mebibytes, Seconds, TimeLimit};

keys! {
    /// One installation.
    pub struct Site {
        site: General,
        /// Slurm clusters.
        cluster: Named<Cluster>,
        /// Hardware classes: named kinds of node share.
        class: Named<Class>,
        /// Projects: who pays.
        project: Named<Project>,
        /// Pieces of every script.
        script: Script,
        /// The local target.
        local: Local,
    }
    later { "build", "dataset" }
}

keys! {
    /// The site itself.
    pub struct General {
        name: At<String>,
        /// Where run directories are made; may hold {user} {uid} {group} {project} {account} {home}.
        run_root: At<String>,
        /// The class of runs that name none.
        default_class: At<String>,
        /// Users and groups (`group:NAME`) who administer the site.
        admins: At<Vec<At<String>>>,
        /// Mode of new run directories, octal.
        run_dir_mode: At<Mode>,
        /// Umask of scripts, octal.
        umask: At<Mode>,
        /// Lets a user's file override what /etc defines; counts only in a file that root owns.
        allow_override: At<bool>,
    }
    later {}
}

keys! {
    /// A Slurm cluster.
    pub struct Cluster {
        /// Directory of sbatch, squeue and the others.
        commands: At<String>,
        /// Path of one command, where it is elsewhere.
        sbatch: At<String>,
        squeue: At<String>,
        sacct: At<String>,
        scancel: At<String>,
        scontrol: At<String>,
        sinfo: At<String>,
        sacctmgr: At<String>,
        /// `SLURM_CONF`, when it must be set.
        conf: At<String>,
        /// `SLURM_CLUSTERS`, when it must be set.
        slurm_cluster: At<String>,
        /// Variables kept for the Slurm commands, beside the fixed few.
        keep_environment: Vec<At<String>>,
        /// How often Slurm is asked, whoever asks.
        poll_interval: Interval,
        /// Polls that may be made early, earned back one per interval.
        poll_burst: At<NonZeroU32>,
        poll_interval_max: Interval,
        in_doubt_wait: Interval,
        /// How a node's name becomes its address, with `{node}`.
        node_address: At<String>,
        /// First and last port for the ranks to meet at.
        rendezvous_ports: At<Vec<At<NonZeroU32>>>,
        /// More words for every srun.
        srun_args: Vec<At<String>>,
        /// Where conda is installed.
        conda_root: At<String>,
        script: Script,
    }
    later {}
}

keys! {
    /// Pieces of bash and directives for every script.
    pub struct Script {
        /// Run before modules and the environment; its failure is judged by what follows.
        prologue: ScriptPiece,
        /// Run after the training, whatever it ended with.
        epilogue: ScriptPiece,
        /// More #SBATCH options.
        directives: Vec<At<String>>,
    }
    later {}
}

keys! {
    /// The local target: processes on this machine.
    pub struct Local {
        script: Script,
        /// How many local runs may run at once; the others wait.
        max_running: At<NonZeroU32>,
    }
    later {}
}

keys! {
    /// A hardware class.
    pub struct Class {
        cluster: At<String>,
        partition: Partitions,
        gpus_per_node: At<u32>,
        /// A label; part of the request when `gpu_typed` is true.
        gpu_type: At<String>,
        gpu_typed: At<bool>,
        gpu_request: At<GpuRequest>,
        /// Taken verbatim as --gres.
        gres: At<String>,
        cpus_per_node: At<NonZeroU32>,
        memory_per_node: At<Mebibytes>,
        memory_request: At<MemoryRequest>,
        exclusive: At<bool>,
        min_nodes: At<NonZeroU32>,
        max_nodes: At<NonZeroU32>,
        max_time: At<TimeLimit>,
        default_time: At<TimeLimit>,
        /// Charge units per node-hour.
        rate: At<f64>,
        preemptible: At<bool>,
        local_scratch: At<String>,
        environment: Named<At<ArgValue>>,
        account: At<String>,
        qos: At<String>,
        constraint: At<String>,
        reservation: At<String>,
        licenses: At<String>,
        exclude: At<String>,
        nodelist: At<String>,
        wckey: At<String>,
        modules: Vec<At<String>>,
        prologue: ScriptPiece,
        directives: Vec<At<String>>,
        srun_args: Vec<At<String>>,
    }
    later { "max_running" }
}

keys! {
    /// Who pays.
    pub struct Project {
        /// Slurm account.
        account: At<String>,
        qos: At<String>,
        wckey: At<String>,
        run_root: At<String>,
        run_group: At<String>,
        /// Slurm account by class.
        accounts: Named<At<String>>,
        /// Users and groups (`group:NAME`); nobody else may name the project.
        members: At<Vec<At<String>>>,
    }
    later { "budget", "period", "on_exhausted", "max_running" }
}

choice! {
    /// How GPUs are asked for.
    pub enum GpuRequest {
        GpusPerNode = "gpus_per_node",
        Gres = "gres",
        None = "none",
    }
    later {}
}

choice! {
    /// How memory is asked for.
    pub enum MemoryRequest {
        Node = "node",
        All = "all",
        PerGpu = "per_gpu",
        PerCpu = "per_cpu",
        None = "none",
    }
    later {}
}

/// Permission bits, written in octal as a string.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Mode(pub u32);

impl FromNode for Mode {
    fn from_node(node: &At<Node>, path: &str, problems: &mut Vec<Problem>) -> Option<Self> {
        let text = String::from_node(node, path, problems)?;
        let mode = u32::from_str_radix(&text, 8).ok().filter(|mode| *mode <= 0o7777);
        if mode.is_none() {
            problems.push(
                Problem::at(node.place, format!("`{path}`: `{text}` is no octal mode"))
                    .help("write \"0700\""),
            );
        }
        mode.map(Self)
    }
}

impl schemars::JsonSchema for Mode {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Mode".into()
    }
    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({ "type": "string", "pattern": "^[0-7]{1,4}$", "description": "octal mode: 0700" })
    }
}

/// The name of the local target's cluster and class.
pub const LOCAL: &str = "local";

/// How many local runs run at once when the site does not say.
pub const LOCAL_RUNNING_MAX: u32 = 16;

/// Where one layer of the site config came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LayerKind {
    /// `/etc/trainyard/site.toml` and `conf.d`: what it defines, users may not loosen.
    System { root_owned: bool },
    /// `--site`, `$TRAINYARD_SITE` or the user's own file.
    User,
}

/// One file of the site config, read but not yet interpreted.
#[derive(Debug, Clone)]
pub struct Layer {
    pub kind: LayerKind,
    pub source: SourceId,
    pub table: Table,
}

/// Lays the files over each other in order, refusing what a user's file may not loosen, and reads the result.
pub fn effective(layers: Vec<Layer>) -> (Site, Table, Vec<Problem>) {
    let mut problems = Vec::new();
    let mut merged = Table::default();
    let mut system = Table::default();
    let mut override_allowed = false;
    for layer in layers {
        match layer.kind {
            LayerKind::System { root_owned } => {
                override_allowed |= root_owned && allows_override(&layer.table);
                system.merge(layer.table.clone());
                merged.merge(layer.table);
            }
            LayerKind::User => {
                if !override_allowed {
                    refuse_loosening(&system, &layer.table, "", &mut problems);
                }
                merged.merge(layer.table);
            }
        }
    }
    let place = Place { source: SourceId(0), start: 0, end: 0 };
    let whole = At::new(Node::Table(merged.clone()), place);
    let site = Site::from_node(&whole, "", &mut problems).unwrap_or_default();
    site.check(&mut problems);
    (site, merged, problems)
}

fn allows_override(table: &Table) -> bool {
    let Some(At { value: Node::Table(site), .. }) = table.get("site") else { return false };
    matches!(site.get("allow_override"), Some(At { value: Node::Boolean(true), .. }))
}

/// What `/etc` says about these stands: a user's own file may not say it again in its own favour.
const PROTECTED: &[&str] = &[
    "admins",
    "allow_override",
    "rate",
    "members",
    "budget",
    "period",
    "on_exhausted",
    "max_running",
    "max_nodes",
    "max_time",
    "poll_burst",
];

fn refuse_loosening(system: &Table, user: &Table, path: &str, problems: &mut Vec<Problem>) {
    for (key, node) in &user.0 {
        let Some(ours) = system.get(&key.value) else { continue };
        let full = join(path, &key.value);
        let word = key.value.as_str();
        let refused = PROTECTED.contains(&word)
            || (word == "poll_interval" && is_shorter(&node.value, &ours.value));
        if refused {
            problems.push(
                Problem::at(
                    key.place,
                    format!("`{full}` is set by the administrators and cannot be changed here"),
                )
                .help("remove it; an administrator can lift this with `allow_override = true`"),
            );
        } else if let (Node::Table(ours), Node::Table(theirs)) = (&ours.value, &node.value) {
            refuse_loosening(ours, theirs, &full, problems);
        }
    }
}

/// Whether a poll interval is shorter than the administrator's; what cannot be read counts as shorter.
fn is_shorter(user: &Node, system: &Node) -> bool {
    let read = |node: &Node| {
        let Node::Text(text) = node else { return None };
        Seconds::parse(text)
    };
    match (read(user), read(system)) {
        (Some(user), Some(system)) => user < system,
        _ => true,
    }
}

impl Site {
    /// Checks what one key alone cannot tell.
    fn check(&self, problems: &mut Vec<Problem>) {
        let clusters = self.cluster.as_ref();
        for (name, class) in self.class.iter().flat_map(|classes| &classes.0) {
            if name.value == LOCAL {
                problems.push(Problem::at(
                    name.place,
                    "the class name `local` belongs to the local target",
                ));
            }
            match &class.cluster {
                Some(cluster)
                    if clusters.is_none_or(|known| known.get(&cluster.value).is_none()) =>
                {
                    let message = format!(
                        "class `{}` is on cluster `{}`, which is not defined",
                        name.value, cluster.value
                    );
                    let known = clusters.iter().flat_map(|clusters| clusters.names());
                    problems
                        .push(Problem::at(cluster.place, message).suggest(&cluster.value, known));
                }
                None if clusters.is_none_or(|clusters| clusters.0.len() != 1) => {
                    let message =
                        format!("class `{}` does not say on which cluster it is", name.value);
                    problems
                        .push(Problem::at(name.place, message).help("add `cluster = \"NAME\"`"));
                }
                Some(_) | None => {}
            }
            if let (Some(min), Some(max)) = (&class.min_nodes, &class.max_nodes)
                && min.value > max.value
            {
                problems.push(Problem::at(
                    min.place,
                    format!("`min_nodes` is more than `max_nodes` ({})", max.value),
                ));
            }
            if let (Some(default), Some(max)) = (&class.default_time, &class.max_time)
                && default.value > max.value
            {
                let message = format!("`default_time` is longer than `max_time` ({})", max.value.0);
                problems.push(Problem::at(default.place, message));
            }
        }
        if let Some(default) = self.site.as_ref().and_then(|general| general.default_class.as_ref())
            && default.value != LOCAL
            && self.class(&default.value).is_none()
        {
            let message =
                format!("`site.default_class` is `{}`, which is not defined", default.value);
            problems.push(
                Problem::at(default.place, message).suggest(&default.value, self.class_names()),
            );
        }
        for (name, cluster) in self.cluster.iter().flat_map(|clusters| &clusters.0) {
            cluster.check(name, problems);
        }
        if let Some(root) = self.site.as_ref().and_then(|general| general.run_root.as_ref()) {
            check_run_root(root, problems);
        }
    }

    pub fn class(&self, name: &str) -> Option<&Class> {
        self.class.as_ref().and_then(|classes| classes.get(name))
    }

    pub fn class_names(&self) -> impl Iterator<Item = &str> {
        self.class.iter().flat_map(Named::names)
    }

    /// How many local runs may run at once.
    pub fn local_running_max(&self) -> u32 {
        let said = self.local.as_ref().and_then(|local| local.max_running.as_ref());
        said.map_or(LOCAL_RUNNING_MAX, |max| max.value.get())
    }
}

impl Cluster {
    fn check(&self, name: &At<String>, problems: &mut Vec<Problem>) {
        if name.value == LOCAL {
            problems.push(Problem::at(
                name.place,
                "the cluster name `local` belongs to the local target",
            ));
        }
        if let Some(ports) = &self.rendezvous_ports {
            let fine = matches!(ports.value.as_slice(), [low, high]
                if low.value <= high.value && low.value.get() >= 1024 && high.value.get() <= 65_535);
            if !fine {
                let message =
                    "`rendezvous_ports` must be two ports from 1024 to 65535, the lower first";
                problems.push(Problem::at(ports.place, message));
            }
        }
        if let Some(address) = &self.node_address
            && !address.value.contains("{node}")
        {
            problems.push(Problem::at(address.place, "`node_address` must hold `{node}`"));
        }
    }
}

/// The placeholders that a run root may hold.
const RUN_ROOT_PLACEHOLDERS: &[&str] = &["user", "uid", "group", "project", "account", "home"];

fn check_run_root(root: &At<String>, problems: &mut Vec<Problem>) {
    let mut rest = root.value.as_str();
    while let Some((_, after)) = rest.split_once('{') {
        let Some((word, after)) = after.split_once('}') else {
            problems.push(Problem::at(root.place, "`run_root` has a `{` without its `}`"));
            return;
        };
        if !RUN_ROOT_PLACEHOLDERS.contains(&word) {
            let message = format!("`run_root` cannot hold `{{{word}}}`");
            problems.push(
                Problem::at(root.place, message)
                    .suggest(word, RUN_ROOT_PLACEHOLDERS.iter().copied()),
            );
        }
        rest = after;
    }
    if !root.value.starts_with('/')
        && !root.value.starts_with("{home}")
        && !root.value.starts_with("~/")
    {
        problems.push(Problem::at(root.place, "`run_root` must be an absolute path"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::document::parse;

    fn layer(kind: LayerKind, source: u16, text: &str) -> Layer {
        let (table, problems) = parse(text, SourceId(source));
        assert_eq!(problems, vec![]);
        Layer { kind, source: SourceId(source), table }
    }

    fn told(layers: Vec<Layer>) -> Vec<String> {
        effective(layers).2.into_iter().map(|problem| problem.message).collect()
    }

    const ETC: &str =
        "[cluster.main]\npoll_interval = '30s'\n[class.a]\nrate = 1.0\n[site]\nadmins = ['root']\n";

    #[test]
    fn a_users_file_may_add_and_slow_down_but_not_loosen() {
        let system = || layer(LayerKind::System { root_owned: true }, 0, ETC);
        let user = |text| layer(LayerKind::User, 1, text);
        assert_eq!(
            told(vec![system(), user("[cluster.main]\npoll_interval = '60s'\n")]),
            Vec::<String>::new()
        );
        assert_eq!(told(vec![system(), user("[class.mine]\nrate = 0.0\n")]), Vec::<String>::new());
        assert_eq!(
            told(vec![
                system(),
                user(
                    "[cluster.main]\npoll_interval = '1s'\n[class.a]\nrate = 0\n[site]\nadmins = ['me']\n"
                )
            ]),
            vec![
                "`cluster.main.poll_interval` is set by the administrators and cannot be changed here",
                "`class.a.rate` is set by the administrators and cannot be changed here",
                "`site.admins` is set by the administrators and cannot be changed here",
            ]
        );
        let lifted = format!("{ETC}allow_override = true\n");
        let root = layer(LayerKind::System { root_owned: true }, 0, &lifted);
        assert_eq!(told(vec![root, user("[class.a]\nrate = 0\n")]), Vec::<String>::new());
        let not_root = layer(LayerKind::System { root_owned: false }, 0, &lifted);
        assert_eq!(
            told(vec![not_root, user("[class.a]\nrate = 0\n")]).len(),
            1,
            "only root can lift it"
        );
    }

    #[test]
    fn what_does_not_fit_together_is_told() {
        let text = "[site]\ndefault_class = 'b'\nrun_root = 'runs/{usr}'\n[cluster.c]\nnode_address = 'x'\n\
                    rendezvous_ports = [9, 8]\n[class.local]\n[class.a]\ncluster = 'd'\nmin_nodes = 3\nmax_nodes = 2\n";
        assert_eq!(
            told(vec![layer(LayerKind::User, 0, text)]),
            vec![
                "the class name `local` belongs to the local target",
                "class `a` is on cluster `d`, which is not defined",
                "`min_nodes` is more than `max_nodes` (2)",
                "`site.default_class` is `b`, which is not defined",
                "`rendezvous_ports` must be two ports from 1024 to 65535, the lower first",
                "`node_address` must hold `{node}`",
                "`run_root` cannot hold `{usr}`",
                "`run_root` must be an absolute path",
            ]
        );
    }
}
