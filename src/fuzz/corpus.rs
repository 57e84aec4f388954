//! What is damaged: every recorded answer, everything that newer releases are documented to print, and a few texts of
//! our own making.

use std::path::{Path, PathBuf};

/// Directories below `tests/data/slurm`.
fn releases() -> Vec<PathBuf> {
    let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/slurm");
    let below = |directory: &Path| -> Vec<PathBuf> {
        let entries = fs_err::read_dir(directory).expect("the recordings are there");
        let mut found: Vec<PathBuf> =
            entries.map(|entry| entry.expect("an entry").path()).collect();
        found.retain(|path| path.is_dir());
        found.sort();
        found
    };
    below(&data)
        .into_iter()
        .flat_map(|release| [vec![release.clone()], below(&release)].concat())
        .collect()
}

/// The outputs of all releases whose names begin or end so, without those that are empty or the same.
pub(super) fn answers(is_meant: impl Fn(&str) -> bool) -> Vec<Vec<u8>> {
    let mut found: Vec<Vec<u8>> = Vec::new();
    for release in releases() {
        let mut files: Vec<PathBuf> = fs_err::read_dir(&release)
            .expect("a release")
            .map(|entry| entry.expect("an entry").path())
            .collect();
        files.sort();
        for file in files {
            let name = file.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            if !name.strip_suffix(".out").or(name.strip_suffix(".err")).is_some_and(&is_meant) {
                continue;
            }
            let bytes = fs_err::read(&file).expect("a recording");
            if !bytes.is_empty() && !found.contains(&bytes) {
                found.push(bytes);
            }
        }
    }
    found
}

pub(super) fn texts(texts: &[&str]) -> Vec<Vec<u8>> {
    texts.iter().map(|text| text.as_bytes().to_vec()).collect()
}

/// The specs and site files that are shown as examples, and a spec and a site with every kind of key.
pub(super) fn documents() -> Vec<Vec<u8>> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut found = texts(&[SPEC, SITE]);
    for directory in ["examples", "site-config"] {
        for entry in walkdir::WalkDir::new(root.join(directory)).sort_by_file_name() {
            let path = entry.expect("an entry").into_path();
            if path.extension().is_some_and(|ending| ending == "toml") {
                found.push(fs_err::read(path).expect("an example"));
            }
        }
    }
    found
}

pub(super) const SPEC: &str = r#"name = "llama"
project = "vision"
experiment = "e"
[code]
path = "."
entry_point = "train.py"
args_style = "equals"
[args]
lr = 1e-4
fp16 = true
layers = [1, 0x2, "three"]
out = "{output}/x"
[environment]
modules = ["cuda/12"]
conda = "torch"
variables = { A = "1", B = 2026-01-01T00:00:00Z }
[compute]
class = "a100"
nodes = 2
time_limit = "1-12:00:00"
memory_per_node = "500G"
nodelist = "n[1-2]"
exclude = "n[3-4]"
mail = ["end", "fail"]
sbatch = ["--switches=1", "-N2"]
[distributed]
launcher = "srun"
processes_per_node = 4
[checkpoint]
directory = "c"
[failure]
max_restarts = 2
restart_on = ["preempted"]
restart_exit_codes = [75]
warn_before_end = "5m"
warn_signal = "USR2"
[metrics]
file = "m.jsonl"
"#;

pub(super) const SITE: &str = r#"[site]
name = "s"
run_root = "/scratch/{user}/{project}"
default_class = "a100"
run_dir_mode = "0750"
[cluster.main]
commands = "/opt/slurm/bin"
poll_interval = "15s"
rendezvous_ports = [20000, 20999]
node_address = "{node}-ib"
srun_args = ["--mpi=pmix"]
[cluster.main.script]
prologue = """
source /etc/profile
"""
directives = ["--comment=x"]
[class.a100]
cluster = "main"
partition = ["gpu", "long"]
gpus_per_node = 4
gpu_type = "a100"
gpu_typed = true
memory_per_node = "500G"
rate = 4.5
max_time = "48h"
default_time = "12h"
local_scratch = "/tmp/$SLURM_JOB_ID"
[project.vision]
account = "v"
members = ["anna", "group:staff"]
accounts = { a100 = "v-gpu" }
"#;
