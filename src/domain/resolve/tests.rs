//! What specs come to at a site: text in, a resolved spec or all its problems out.

mod checkpoint;
mod data;
mod failure;
mod options;
mod problems;
mod program;
mod target;

use std::path::{Path, PathBuf};

use crate::domain::document::parse;
use crate::domain::problem::{Problem, Source, Sources};
use crate::domain::resolve::{Asker, Context, Outcome, resolve};
use crate::domain::resolved::Resolved;
use crate::domain::site::{Layer, LayerKind, Site, effective};

/// A site with one cluster, two classes, two projects.
const SITE: &str = r#"
[site]
run_root = "/scratch/{group}/{user}/trainyard"
default_class = "a100-4x"

[cluster.main]
node_address = "{node}i"
rendezvous_ports = [21000, 21999]
srun_args = ["--mpi=pmix"]
conda_root = "/opt/conda"
[cluster.main.script]
prologue = "source /etc/profile.d/modules.sh"
directives = ["--mail-type=NONE"]

[script]
prologue = "echo not on main"
epilogue = "echo done"

[class.a100-4x]
partition = ["gpu", "gpu-long"]
gpus_per_node = 4
cpus_per_node = 32
memory_per_node = "500G"
exclusive = true
max_nodes = 16
max_time = "24h"
default_time = "4h"
rate = 1.5
account = "of-class"
local_scratch = "/tmp/$SLURM_JOB_ID"
environment = { NCCL_SOCKET_IFNAME = "hsn" }
modules = ["cuda"]
prologue = "ulimit -l unlimited"
srun_args = ["--cpu-bind=cores"]

[class.cpu]
partition = "batch"
cpus_per_node = 64
memory_per_node = "200G"
min_nodes = 2

[project.nlp]
account = "ml"
accounts = { a100-4x = "ml_g" }
members = ["anna", "group:nlp"]

[dataset.folding]
path = "/data/folding/v12"
version = "12"
immutable = true

[dataset.text]
path = "/data/text"

[project.closed]
members = ["bert", "group:other"]
"#;

const LOCAL_ONLY: &str = "[site]\nname = 'laptop'\n";

/// The least that a spec must say.
const CODE: &str = "[code]\nentry_point = 'train.py'\n";

fn asker() -> Asker {
    Asker {
        user: "anna".into(),
        uid: 1007,
        group: "hpc".into(),
        groups: vec!["hpc".into(), "nlp".into()],
        home: PathBuf::from("/home/anna"),
    }
}

fn site(text: &str) -> Site {
    let mut sources = Sources::default();
    let source =
        sources.add(Source { name: "site.toml".into(), text: text.into(), base: "/".into() });
    let (table, problems) = parse(text, source);
    assert_eq!(problems, vec![], "{text}");
    let (site, _, problems) = effective(vec![Layer { kind: LayerKind::User, source, table }]);
    assert_eq!(problems, vec![], "{text}");
    site
}

fn outcome(site_text: &str, spec: &str) -> Outcome {
    let site = site(site_text);
    let (table, problems) = parse(spec, crate::domain::problem::SourceId(0));
    let base = Path::new("/home/anna/llama");
    let asker = asker();
    resolve(&table, problems, Context { site: &site, asker: &asker, base, stem: "llama-sft" })
}

#[track_caller]
fn resolved(site: &str, spec: &str) -> Resolved {
    let outcome = outcome(site, spec);
    let told = told(spec, &outcome.problems);
    outcome.resolved.unwrap_or_else(|| panic!("{spec}\n{}", told.join("\n")))
}

/// The problems in the order of their places, `line:column message`; `-` is nowhere.
fn told(spec: &str, problems: &[Problem]) -> Vec<String> {
    let mut sources = Sources::default();
    sources.add(Source { name: "run.toml".into(), text: spec.into(), base: "/".into() });
    let mut problems: Vec<&Problem> = problems.iter().collect();
    problems.sort_by_key(|problem| problem.place);
    let line = |problem: &&Problem| match problem.place.map(|place| sources.locate(place)) {
        Some(at) => format!("{}:{} {}", at.line, at.column, problem.message),
        None => format!("- {}", problem.message),
    };
    problems.iter().map(line).collect()
}

/// All that is wrong with a spec at [`SITE`], and that nothing comes of it then.
#[track_caller]
fn check_problems(spec: &str, expected: &[&str]) {
    check_problems_at(SITE, spec, expected);
}

#[track_caller]
fn check_problems_at(site: &str, spec: &str, expected: &[&str]) {
    let outcome = outcome(site, spec);
    assert_eq!(told(spec, &outcome.problems), expected, "{spec}");
    assert_eq!(outcome.resolved.is_some(), expected.is_empty(), "{spec}");
}
