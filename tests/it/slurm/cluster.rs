//! A sealed world whose site is the real Slurm of `tests/cluster`.

use std::collections::HashMap;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::env::TestEnv;

pub(super) struct Cluster {
    pub(super) env: TestEnv,
    variables: HashMap<String, String>,
    /// Its own Slurm, which goes with it, and the options that it was made with.
    alone: Option<(PathBuf, Vec<String>)>,
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if let Some((dir, _)) = &self.alone {
            drop(script("down", dir, &[]).output());
        }
    }
}

impl Cluster {
    pub(super) fn new() -> Self {
        Self::with("")
    }

    /// In a world that has no site file.
    pub(super) fn without_site() -> Self {
        Self { env: TestEnv::new(), variables: variables(shared().as_deref()), alone: None }
    }

    /// With keys for the cluster, more or other ones. `HOME` in them stands for the world's own directory.
    pub(super) fn with(keys: &str) -> Self {
        Self::on(shared().as_deref(), keys)
    }

    /// On a Slurm of its own, for what would disturb others: as the one that the stories share, and with these options of
    /// `tests/cluster/up`.
    pub(super) fn alone(options: &[&str], keys: &str) -> Self {
        let shared = variables(shared().as_deref());
        let release = ["--release", &shared["TRAINYARD_CLUSTER_RELEASE"]];
        let as_shared: &[&str] = match shared["TRAINYARD_CLUSTER_ACCOUNTING"].as_str() {
            "no" => &["--no-accounting"],
            _ => &[],
        };
        let options = [&release, as_shared, options].concat();
        let folder = &shared["TRAINYARD_CLUSTER_DIR"];
        let dir = PathBuf::from(format!("{folder}-alone-{}", std::process::id()));
        up(&dir, &options);
        let mut cluster = Self::on(Some(&dir), keys);
        cluster.alone = Some((dir, options.into_iter().map(str::to_owned).collect()));
        cluster
    }

    fn on(dir: Option<&Path>, keys: &str) -> Self {
        let mut cluster = Self { env: TestEnv::new(), variables: variables(dir), alone: None };
        let home = cluster.env.home().display().to_string();
        let (dir, conf) =
            (&cluster.variables["TRAINYARD_CLUSTER_DIR"], &cluster.variables["SLURM_CONF"]);
        let usual = [
            ("commands", format!("'{dir}/bin'")),
            ("conf", format!("'{conf}'")),
            ("poll_interval", "'1s'".to_owned()),
            ("in_doubt_wait", "'2s'".to_owned()),
        ];
        let usual = usual
            .iter()
            .filter(|(key, _)| !keys.lines().any(|line| line.starts_with(&format!("{key} ="))))
            .map(|(key, value)| format!("{key} = {value}\n"));
        let class = |name: &str, keys: &str| {
            format!(
                "[class.{name}]\ncluster = 'test'\ncpus_per_node = 1\nmemory_per_node = '100M'\n\
                 max_nodes = 4\ndefault_time = '5m'\n{keys}\n"
            )
        };
        let site = [
            format!("[site]\nrun_root = '{home}/trainyard'\ndefault_class = 'cpu'\n"),
            format!("[cluster.test]\n{}", usual.collect::<String>()),
            keys.replace("HOME", &home),
            class("cpu", "partition = 'main'"),
            class("held", "partition = 'main'\ndirectives = ['--hold']"),
            class("nowhere", "partition = 'nope'"),
            class("limited", "partition = 'main'\naccount = 'limited'"),
            class("low", "partition = 'low'\nexclusive = true"),
            class("whole", "partition = 'main'\nexclusive = true"),
        ]
        .concat();
        cluster.env.use_site(&site);
        cluster
    }

    /// A spec whose training is this bash script, in a class and with more keys of `[compute]`.
    pub(super) fn spec(&self, name: &str, script: &str, compute: &str) -> PathBuf {
        let path = self.env.bash_spec(name, script);
        let text = std::fs::read_to_string(&path).unwrap();
        std::fs::write(&path, format!("{text}[compute]\n{compute}\n")).unwrap();
        path
    }

    /// A command of the cluster's, with epoch seconds for times.
    pub(super) fn ask(&self, name: &str, args: &[&str]) -> String {
        let output = self.command(name).args(args).output().unwrap();
        assert!(output.status.success(), "{name} {args:?}: {output:?}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// Does something to a daemon of a Slurm of its own: `freeze`, `thaw`, `kill` or `stop`.
    pub(super) fn daemon(&self, verb: &str, name: &str) {
        let (dir, _) = self.alone.as_ref().expect("a Slurm of its own");
        let output = script("daemon", dir, &[verb, name]).output().unwrap();
        assert!(output.status.success(), "{verb} {name}: {output:?}");
    }

    /// Starts again what was ended.
    pub(super) fn up_again(&self) {
        let (dir, options) = self.alone.as_ref().expect("a Slurm of its own");
        up(dir, &options.iter().map(String::as_str).collect::<Vec<_>>());
    }

    /// Whether a story applies to this cluster. Where it does not, for this reason, the story ends, and
    /// `tests/cluster/stories` counts and names it.
    #[expect(clippy::print_stdout, reason = "a story that is left out says so")]
    pub(super) fn applies(&self, applies: bool, why_not: &str) -> bool {
        if !applies {
            let thread = std::thread::current();
            let line = format!("{}: {why_not}\n", thread.name().unwrap_or_default());
            print!("does not apply to {line}");
            let path = format!("{}/does-not-apply", self.variables["TRAINYARD_CLUSTER_DIR"]);
            let mut file = std::fs::File::options().create(true).append(true).open(path).unwrap();
            file.write_all(line.as_bytes()).unwrap();
        }
        applies
    }

    /// The nodes of another release have another system than this machine, on which virtual environments are made.
    pub(super) fn has_machines_python(&self) -> bool {
        let is_own = self.variable("TRAINYARD_CLUSTER_RELEASE") == "22.05";
        self.applies(is_own, "the nodes of this release have not this machine's Python")
    }

    pub(super) fn has_accounting(&self) -> bool {
        self.variables["TRAINYARD_CLUSTER_ACCOUNTING"] == "yes"
    }

    /// A variable that `tests/cluster/env` prints.
    pub(super) fn variable(&self, name: &str) -> &str {
        &self.variables[name]
    }

    /// Where a command of the cluster's is.
    pub(super) fn path(&self, name: &str) -> String {
        format!("{}/bin/{name}", self.variables["TRAINYARD_CLUSTER_DIR"])
    }

    /// The cluster's `slurm.conf`.
    pub(super) fn conf(&self) -> &str {
        &self.variables["SLURM_CONF"]
    }

    #[expect(clippy::disallowed_methods, reason = "tests ask Slurm by themselves")]
    pub(super) fn command(&self, name: &str) -> Command {
        let mut command = Command::new(self.path(name));
        command.env("SLURM_CONF", &self.variables["SLURM_CONF"]);
        command.env("SLURM_TIME_FORMAT", "%s").env("TZ", "UTC");
        command
    }

    /// The ids of all jobs that were ever submitted for a run.
    pub(super) fn jobs_of(&self, run: i64) -> Vec<i64> {
        // Other worlds have runs of this number too: the run directory tells them apart.
        let directory = self.env.run_dir(run).display().to_string();
        let text = self.ask("squeue", &["-h", "-a", "-t", "all", "-o", "%A|%Z"]);
        let mut jobs: Vec<i64> = text
            .lines()
            .filter_map(|line| line.split_once('|'))
            .filter(|(_, at)| *at == directory)
            .map(|(job, _)| job.parse().unwrap())
            .collect();
        jobs.sort_unstable();
        jobs
    }
}

/// Where the Slurm is that the stories share, when they are told.
#[expect(clippy::disallowed_methods, reason = "tests are told where their cluster is")]
fn shared() -> Option<PathBuf> {
    std::env::var_os("TRAINYARD_CLUSTER_DIR").map(PathBuf::from)
}

/// A script of `tests/cluster`, for the cluster in a directory.
#[expect(clippy::disallowed_methods, reason = "tests make, change and end clusters")]
fn script(name: &str, dir: &Path, args: &[&str]) -> Command {
    let scripts = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cluster");
    let mut command = Command::new(scripts.join(name));
    command.args(args).arg("--dir").arg(dir);
    command
}

/// Makes a cluster, or starts again what does not run of it.
fn up(dir: &Path, options: &[&str]) {
    let output = script("up", dir, options).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// What `tests/cluster/env` prints: of the cluster in this directory, else of the usual one.
#[expect(clippy::disallowed_methods, reason = "tests ask for their cluster")]
fn variables(dir: Option<&Path>) -> HashMap<String, String> {
    let mut command = Command::new(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cluster/env"));
    if let Some(dir) = dir {
        command.arg("--dir").arg(dir);
    }
    let output = command.output().unwrap();
    assert!(
        output.status.success(),
        "there is no Slurm to test on: run tests/cluster/up, and tests/cluster/down when you are done ({})",
        String::from_utf8_lossy(&output.stderr).trim()
    );
    let text = String::from_utf8(output.stdout).unwrap();
    let lines = text.lines().filter_map(|line| line.strip_prefix("export ")?.split_once('='));
    lines.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}

/// The job id of a run's last attempt.
pub(super) fn job_of(shown: &serde_json::Value) -> i64 {
    shown["attempts"].as_array().unwrap().last().unwrap()["job_id"].as_i64().unwrap()
}

/// A time of `show --json` in epoch seconds.
pub(super) fn seconds(time: &serde_json::Value) -> i64 {
    time.as_str().unwrap().parse::<jiff::Timestamp>().unwrap().as_second()
}
