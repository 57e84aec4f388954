//! Every text field of specs and site files, as the schemas have them, and a pair of documents in which each is set.
//!
//! A field that is in a schema and not in [`LINES`] fails the test below, which names it: say there what becomes of it.

use std::collections::BTreeSet;

use serde_json::Value;
use trainyard::domain::site::Site;
use trainyard::domain::spec::Spec;

/// Which of the two documents.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum File {
    Spec,
    Site,
}
use File::{Site as I, Spec as S};

/// What a field may hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Any text, which comes out as it is.
    Text,
    /// Any text with placeholders in braces.
    Word,
    /// A path that has to exist, or is made.
    Path,
    /// Numbers, durations, names of other things: whatever is hostile is refused.
    Closed,
    /// Recorded, or given to Slurm's commands: never in a script.
    Kept,
    /// Bash of the administrators, by contract verbatim: whoever writes it can do everything anyway.
    Code,
}
use Kind::{Closed, Code, Kept, Path, Text, Word};

/// One line of a document. The field's text is where `%` stands, in the key or in the value; `@x` is the text of the
/// field whose line has this label.
pub(super) struct Line {
    pub(super) file: File,
    /// The field in the schema's words: `*` is any name, `KEY` such a name itself, `[]` an item of a list.
    pub(super) field: &'static str,
    pub(super) kind: Kind,
    /// In which of the variants it stands.
    pub(super) variants: &'static str,
    pub(super) key: &'static str,
    pub(super) value: &'static str,
}

#[expect(clippy::too_many_arguments, reason = "a row of a table")]
const fn line(
    file: File,
    field: &'static str,
    kind: Kind,
    variants: &'static str,
    key: &'static str,
    value: &'static str,
) -> Line {
    Line { file, field, kind, variants, key, value }
}

/// The variants: the spec says it all (s), the project does (p), the project without accounts of its own by class (a), the
/// class does (c), it runs on this machine (l).
pub(super) const VARIANTS: [char; 5] = ['s', 'p', 'a', 'c', 'l'];

/// Keys are split at `/`; with a number after its first part it is of that table of an array. Values: a text, a list between brackets, or a literal after `=`; one without is a table that
/// other lines make.
pub(super) const LINES: &[Line] = &[
    line(S, "name", Closed, "spacl", "name", "run"),
    line(S, "project", Closed, "spacl", "project", "p@project"),
    line(S, "experiment", Kept, "spacl", "experiment", "%"),
    line(S, "code.path", Path, "spacl", "code/path", "code-%"),
    line(S, "code.include[]", Kept, "spacl", "code/include", "[%]"),
    line(S, "code.exclude[]", Kept, "spacl", "code/exclude", "[no-such-%]"),
    line(S, "code.digest", Closed, "", "code/digest", "sha256:"),
    line(S, "code.entry_point", Path, "pacl", "code/entry_point", "e%.sh"),
    line(S, "code.command[]", Word, "s", "code/command", "[dumper|%]"),
    line(S, "args.KEY", Text, "spacl", "args/%", "v"),
    line(S, "args.*", Word, "spacl", "args/text", "%"),
    line(S, "args.*[]", Word, "spacl", "args/list", "[1|%|2]"),
    line(S, "dataset[].name", Closed, "spacl", "dataset/0/name", "listed"),
    line(S, "dataset[].path", Path, "spacl", "dataset/1/path", "data-%"),
    line(S, "", Closed, "spacl", "dataset/1/name", "=\"mine\""),
    line(S, "dataset[].version", Kept, "spacl", "dataset/1/version", "%"),
    line(S, "dataset[].stage", Closed, "l", "dataset/1/stage", "local"),
    line(S, "dataset[].on_drift", Closed, "spacl", "dataset/1/on_drift", "fail"),
    line(S, "environment.modules[]", Text, "spac", "environment/modules", "[%]"),
    line(S, "environment.conda", Text, "s", "environment/conda", "%"),
    line(S, "environment.venv", Path, "p", "environment/venv", "venv-%"),
    line(S, "environment.container", Path, "cl", "environment/container", "image-%"),
    line(S, "environment.secrets", Kept, "spacl", "environment/secrets", "secrets-%"),
    // Read where the run is accepted; what is in it is told by its own tests, and no script names it.
    line(S, "environment.requirements", Kept, "", "environment/requirements", "r-%.txt"),
    line(S, "environment.variables.KEY", Text, "scl", "environment/variables/%", "v"),
    line(S, "environment.variables.*", Word, "spacl", "environment/variables/TEXT", "%"),
    line(S, "environment.variables.*[]", Closed, "", "environment/variables/LIST", "[%]"),
    line(S, "compute.class", Closed, "spac", "compute/class", "c@class"),
    line(S, "compute.target", Closed, "l", "compute/target", "local"),
    line(S, "compute.time_limit", Closed, "spacl", "compute/time_limit", "12h"),
    line(S, "compute.time_min", Closed, "spac", "compute/time_min", "6h"),
    line(S, "compute.memory_per_node", Closed, "spacl", "compute/memory_per_node", "8G"),
    line(S, "compute.account", Text, "s", "compute/account", "%"),
    line(S, "compute.qos", Text, "s", "compute/qos", "%"),
    line(S, "compute.constraint", Text, "s", "compute/constraint", "%"),
    line(S, "compute.reservation", Text, "s", "compute/reservation", "%"),
    line(S, "compute.licenses", Text, "s", "compute/licenses", "%"),
    line(S, "compute.nodelist", Text, "s", "compute/nodelist", "%"),
    line(S, "compute.exclude", Text, "s", "compute/exclude", "%"),
    line(S, "compute.begin", Text, "s", "compute/begin", "%"),
    line(S, "compute.mail[]", Closed, "s", "compute/mail", "[end]"),
    line(S, "compute.sbatch[]", Text, "s", "compute/sbatch", "[--comment=%]"),
    line(S, "distributed.strategy", Kept, "spacl", "distributed/strategy", "%"),
    line(S, "distributed.launcher", Closed, "s", "distributed/launcher", "srun"),
    line(S, "distributed.launcher", Closed, "pa", "distributed/launcher", "torchrun"),
    line(S, "checkpoint.directory", Text, "spacl", "checkpoint/directory", "c%"),
    line(S, "checkpoint.format", Closed, "spacl", "checkpoint/format", "auto"),
    line(S, "checkpoint.resume", Closed, "spacl", "checkpoint/resume", "require"),
    line(S, "checkpoint.resume_args[]", Word, "spacl", "checkpoint/resume_args", "[%]"),
    line(S, "checkpoint.keep_best.metric", Kept, "spacl", "checkpoint/keep_best/metric", "%"),
    line(S, "checkpoint.keep_best.goal", Closed, "spacl", "checkpoint/keep_best/goal", "minimize"),
    line(S, "checkpoint.archive", Kept, "spacl", "checkpoint/archive", "ROOT/archive-%"),
    line(S, "", Closed, "spacl", "checkpoint/keep_last", "=3"),
    line(S, "failure.restart_on[]", Closed, "spacl", "failure/restart_on", "[preempted]"),
    line(S, "failure.warn_before_end", Closed, "spacl", "failure/warn_before_end", "5m"),
    line(S, "failure.no_progress_timeout", Closed, "spacl", "failure/no_progress_timeout", "2h"),
    line(S, "failure.warn_signal", Closed, "spacl", "failure/warn_signal", "USR2"),
    line(S, "failure.requeue", Closed, "s", "failure/requeue", "job"),
    line(S, "metrics.file", Text, "spacl", "metrics/file", "m%"),
    line(S, "schedule.cron", Closed, "spacl", "schedule/cron", "0 2 * * mon-fri"),
    line(S, "schedule.timezone", Closed, "spacl", "schedule/timezone", "Europe/Berlin"),
    line(S, "schedule.if_active", Closed, "spacl", "schedule/if_active", "skip"),
    // A run has no sweep: a point's values are set where they belong, and tests of their own try what is hostile in them.
    line(S, "sweep.method", Kept, "", "", ""),
    line(S, "sweep.file", Kept, "", "", ""),
    line(S, "sweep.objective.metric", Kept, "", "", ""),
    line(S, "sweep.objective.goal", Kept, "", "", ""),
    line(S, "sweep.early_stopping.method", Kept, "", "", ""),
    line(S, "sweep.parameters.KEY", Kept, "", "", ""),
    line(S, "sweep.parameters.*[]", Kept, "", "", ""),
    line(S, "sweep.parameters.*[][]", Kept, "", "", ""),
    line(S, "sweep.parameters.*.choice[]", Kept, "", "", ""),
    line(S, "sweep.parameters.*.choice[][]", Kept, "", "", ""),
    line(S, "sweep.zip[].KEY", Kept, "", "", ""),
    line(S, "sweep.zip[].*[]", Kept, "", "", ""),
    line(S, "sweep.zip[].*[][]", Kept, "", "", ""),
    line(S, "sweep.zip[].*.choice[]", Kept, "", "", ""),
    line(S, "sweep.zip[].*.choice[][]", Kept, "", "", ""),
    line(S, "sweep.exclude[].KEY", Kept, "", "", ""),
    line(S, "sweep.exclude[].*", Kept, "", "", ""),
    line(S, "sweep.exclude[].*[]", Kept, "", "", ""),
    line(S, "sweep.points[].KEY", Kept, "", "", ""),
    line(S, "sweep.points[].*", Kept, "", "", ""),
    line(S, "sweep.points[].*[]", Kept, "", "", ""),
    line(S, "code.args_style", Closed, "c", "code/args_style", "equals"),
    line(S, "code.work", Closed, "s", "code/work", "link"),
    line(I, "site.name", Kept, "spacl", "site/name", "%"),
    line(I, "site.run_root", Path, "spacl", "site/run_root", "ROOT/runs-%"),
    line(I, "site.default_class", Closed, "spac", "site/default_class", "c@class"),
    line(I, "site.admins[]", Kept, "spacl", "site/admins", "[%]"),
    line(I, "site.run_dir_mode", Closed, "spacl", "site/run_dir_mode", "0700"),
    line(I, "site.bad_node_expiry", Closed, "spacl", "site/bad_node_expiry", "2d"),
    line(I, "site.charge.by", Closed, "spacl", "site/charge/by", "gpu_hours"),
    line(I, "site.charge.round_up_to", Closed, "spacl", "site/charge/round_up_to", "1m"),
    line(I, "site.umask", Closed, "spacl", "site/umask", "0077"),
    line(I, "cluster.KEY", Text, "spacl", "cluster/k%", ""),
    line(I, "cluster.*.commands", Kept, "spacl", "cluster/k@cluster/commands", "%"),
    line(I, "cluster.*.sbatch", Kept, "spacl", "cluster/k@cluster/sbatch", "%"),
    line(I, "cluster.*.squeue", Kept, "spacl", "cluster/k@cluster/squeue", "%"),
    line(I, "cluster.*.sacct", Kept, "spacl", "cluster/k@cluster/sacct", "%"),
    line(I, "cluster.*.scancel", Kept, "spacl", "cluster/k@cluster/scancel", "%"),
    line(I, "cluster.*.scontrol", Kept, "spacl", "cluster/k@cluster/scontrol", "%"),
    line(I, "cluster.*.sinfo", Kept, "spacl", "cluster/k@cluster/sinfo", "%"),
    line(I, "cluster.*.sacctmgr", Kept, "spacl", "cluster/k@cluster/sacctmgr", "%"),
    line(I, "cluster.*.conf", Kept, "spacl", "cluster/k@cluster/conf", "%"),
    line(I, "cluster.*.slurm_cluster", Kept, "spacl", "cluster/k@cluster/slurm_cluster", "%"),
    line(
        I,
        "cluster.*.keep_environment[]",
        Kept,
        "spacl",
        "cluster/k@cluster/keep_environment",
        "[%]",
    ),
    line(I, "cluster.*.poll_interval", Closed, "spacl", "cluster/k@cluster/poll_interval", "15s"),
    line(
        I,
        "cluster.*.poll_interval_max",
        Closed,
        "spacl",
        "cluster/k@cluster/poll_interval_max",
        "90s",
    ),
    line(I, "cluster.*.in_doubt_wait", Closed, "spacl", "cluster/k@cluster/in_doubt_wait", "90s"),
    line(I, "cluster.*.lost_after", Closed, "spacl", "cluster/k@cluster/lost_after", "15m"),
    line(I, "cluster.*.node_address", Text, "spacl", "cluster/k@cluster/node_address", "{node}%"),
    line(I, "cluster.*.srun_args[]", Text, "spacl", "cluster/k@cluster/srun_args", "[--x=%]"),
    line(I, "cluster.*.conda_root", Path, "spacl", "cluster/k@cluster/conda_root", "ROOT/conda-%"),
    line(
        I,
        "cluster.*.container_runtime",
        Closed,
        "spac",
        "cluster/k@cluster/container_runtime",
        "apptainer",
    ),
    line(
        I,
        "cluster.*.container_args[]",
        Text,
        "spac",
        "cluster/k@cluster/container_args",
        "[--x=%]",
    ),
    line(
        I,
        "cluster.*.container_binds[]",
        Path,
        "spac",
        "cluster/k@cluster/container_binds",
        "[ROOT/b-%]",
    ),
    line(I, "local.container_runtime", Closed, "spacl", "local/container_runtime", "apptainer"),
    line(I, "local.container_args[]", Text, "spacl", "local/container_args", "[--x=%]"),
    line(I, "local.container_binds[]", Path, "spacl", "local/container_binds", "[ROOT/b-%]"),
    line(
        I,
        "cluster.*.script.prologue",
        Code,
        "spac",
        "cluster/k@cluster/script/prologue",
        "source ROOT/prologue",
    ),
    line(I, "cluster.*.script.epilogue", Code, "spac", "cluster/k@cluster/script/epilogue", "true"),
    line(
        I,
        "cluster.*.script.directives[]",
        Text,
        "sac",
        "cluster/k@cluster/script/directives",
        "[--mcs-label=%]",
    ),
    line(I, "class.KEY", Kept, "spacl", "class/c%", ""),
    line(I, "class.*.cluster", Closed, "spacl", "class/c@class/cluster", "k@cluster"),
    line(I, "class.*.default_time", Closed, "spacl", "class/c@class/default_time", "1h"),
    // Most classes have one rate.
    line(I, "class.*.rate[].from", Closed, "", "class/c@class/rate", "2026-01-01"),
    line(I, "class.*.charge.by", Closed, "spacl", "class/c@class/charge/by", "billing"),
    line(
        I,
        "class.*.charge.round_up_to",
        Closed,
        "spacl",
        "class/c@class/charge/round_up_to",
        "1m",
    ),
    line(I, "class.*.max_time", Closed, "spacl", "class/c@class/max_time", "24h"),
    line(I, "class.*.memory_per_node", Closed, "spacl", "class/c@class/memory_per_node", "16G"),
    line(I, "class.*.gpu_request", Closed, "s", "class/c@class/gpu_request", "gres"),
    line(I, "class.*.memory_request", Closed, "s", "class/c@class/memory_request", "node"),
    line(I, "class.*.partition", Text, "sac", "class/c@class/partition", "%"),
    line(I, "class.*.partition[]", Text, "p", "class/c@class/partition", "[%|second]"),
    line(I, "class.*.gpu_type", Text, "s", "class/c@class/gpu_type", "%"),
    line(I, "", Closed, "s", "class/c@class/gpu_typed", "=true"),
    line(I, "", Closed, "s", "class/c@class/gpus_per_node", "=2"),
    line(I, "class.*.gres", Text, "pac", "class/c@class/gres", "%"),
    line(I, "class.*.account", Text, "c", "class/c@class/account", "%"),
    line(I, "class.*.qos", Text, "c", "class/c@class/qos", "%"),
    line(I, "class.*.wckey", Text, "sc", "class/c@class/wckey", "%"),
    line(I, "class.*.constraint", Text, "spac", "class/c@class/constraint", "%"),
    line(I, "class.*.reservation", Text, "pac", "class/c@class/reservation", "%"),
    line(I, "class.*.licenses", Text, "pac", "class/c@class/licenses", "%"),
    line(I, "class.*.exclude", Text, "spac", "class/c@class/exclude", "%"),
    line(I, "class.*.nodelist", Text, "pac", "class/c@class/nodelist", "%"),
    line(I, "class.*.local_scratch", Path, "spac", "class/c@class/local_scratch", "ROOT/scratch-%"),
    line(I, "class.*.modules[]", Text, "spac", "class/c@class/modules", "[%]"),
    line(I, "class.*.prologue", Code, "spac", "class/c@class/prologue", "true"),
    line(I, "class.*.directives[]", Text, "spac", "class/c@class/directives", "[--power=%]"),
    line(I, "class.*.srun_args[]", Text, "spac", "class/c@class/srun_args", "[%]"),
    line(I, "class.*.environment.KEY", Text, "pa", "class/c@class/environment/%", "v"),
    line(I, "class.*.environment.*", Word, "spac", "class/c@class/environment/OF_CLASS", "%"),
    line(I, "class.*.environment.*[]", Closed, "", "class/c@class/environment/LIST", "[%]"),
    line(I, "dataset.KEY", Kept, "spacl", "dataset/d%/path", "/nowhere/at/all"),
    line(I, "dataset.*.path", Path, "spacl", "dataset/listed/path", "ROOT/listed-%"),
    line(I, "dataset.*.version", Kept, "spacl", "dataset/listed/version", "%"),
    line(I, "dataset.*.owner", Kept, "spacl", "dataset/listed/owner", "%"),
    line(I, "dataset.*.description", Kept, "spacl", "dataset/listed/description", "%"),
    line(I, "project.KEY", Kept, "spacl", "project/p%", ""),
    line(I, "project.*.members[]", Kept, "spacl", "project/p@project/members", "[root|%]"),
    line(I, "project.*.account", Text, "a", "project/p@project/account", "%"),
    line(I, "project.*.accounts.KEY", Kept, "spacl", "project/p@project/accounts/other-%", "x"),
    line(I, "project.*.accounts.*", Text, "p", "project/p@project/accounts/c@class", "%"),
    line(I, "project.*.qos", Text, "pa", "project/p@project/qos", "%"),
    line(I, "project.*.wckey", Text, "pa", "project/p@project/wckey", "%"),
    line(I, "project.*.run_root", Path, "pa", "project/p@project/run_root", "ROOT/theirs-%"),
    line(I, "project.*.run_group", Kept, "spacl", "project/p@project/run_group", "%"),
    line(I, "project.*.budget", Closed, "", "project/p@project/budget", "slurm"),
    line(I, "project.*.period", Closed, "spacl", "project/p@project/period", "year"),
    line(I, "project.*.on_exhausted", Closed, "spacl", "project/p@project/on_exhausted", "warn"),
    line(I, "project.*.on_overrun", Closed, "spacl", "project/p@project/on_overrun", "stop"),
    line(I, "script.prologue", Code, "spacl", "script/prologue", "true"),
    line(I, "script.epilogue", Code, "spacl", "script/epilogue", "true"),
    line(I, "script.directives[]", Text, "p", "script/directives", "[--mcs-label=%]"),
    line(I, "local.script.prologue", Code, "spacl", "local/script/prologue", "true"),
    line(I, "local.script.epilogue", Code, "spacl", "local/script/epilogue", "true"),
    line(I, "local.script.directives[]", Kept, "spacl", "local/script/directives", "[--x=%]"),
    line(I, "build.where", Closed, "spacl", "build/where", "login"),
    line(I, "build.pip_args[]", Kept, "", "build/pip_args", "[%]"),
];

/// The text fields of a schema, in the words of [`Line::field`].
fn of_schema(schema: &Value) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    walk(schema, schema, "", &mut found);
    found
}

fn walk(root: &Value, at: &Value, path: &str, found: &mut BTreeSet<String>) {
    if let Some(reference) = at["$ref"].as_str() {
        let pointer = reference.strip_prefix('#').unwrap();
        return walk(root, root.pointer(pointer).unwrap(), path, found);
    }
    for all in ["anyOf", "oneOf", "allOf"] {
        for one in at[all].as_array().into_iter().flatten() {
            walk(root, one, path, found);
        }
    }
    let types = [&at["type"]].into_iter().chain(at["type"].as_array().into_iter().flatten());
    let types: Vec<&str> = types.filter_map(Value::as_str).collect();
    if types.contains(&"string") || at.get("enum").is_some() || at.get("const").is_some() {
        found.insert(path.to_owned());
    }
    if types.contains(&"array") {
        walk(root, &at["items"], &format!("{path}[]"), found);
    }
    let below = |key: &str| if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") };
    for (key, value) in at["properties"].as_object().into_iter().flatten() {
        walk(root, value, &below(key), found);
    }
    if at["additionalProperties"].is_object() {
        found.insert(below("KEY"));
        walk(root, &at["additionalProperties"], &below("*"), found);
    }
}

#[test]
fn every_text_field_of_the_schemas_is_here() {
    let schemas =
        [(S, schemars::schema_for!(Spec).to_value()), (I, schemars::schema_for!(Site).to_value())];
    for (file, schema) in schemas {
        let of_lines = LINES.iter().filter(|line| line.file == file && !line.field.is_empty());
        let listed: BTreeSet<String> = of_lines.map(|line| line.field.to_owned()).collect();
        let known = of_schema(&schema);
        let missing: Vec<&String> = known.difference(&listed).collect();
        assert!(missing.is_empty(), "{file:?}: nobody says what becomes of {missing:?}");
        let gone: Vec<&String> = listed.difference(&known).collect();
        assert!(gone.is_empty(), "{file:?}: no schema has {gone:?}");
    }
}
