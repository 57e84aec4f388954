//! The keys of `[class]`, `[project]` and `[compute]`, one by one, against what a real Slurm then says of the job.
//!
//! The jobs are held, so that none of them needs a node; they are cancelled at the end.

use std::cell::RefCell;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use crate::slurm::cluster::{Cluster, job_of};

/// A key that is tried, in a site that says nothing else: keys of the class, of `[compute]`, and what
/// `scontrol show job` must then say. `!Key` must not be said at all,
/// and of `Key=value*` only the beginning counts.
type Row = (&'static str, &'static str, &'static str);

const CLASS: &[Row] = &[
    ("partition = 'low'", "", "Partition=low"),
    ("partition = ['low', 'main']", "", "Partition=low,main"),
    ("gpus_per_node = 2", "", "TresPerNode=gpu:2"),
    ("gpus_per_node = 2\ngpu_type = 'a100'", "", "TresPerNode=gpu:2"),
    ("gpus_per_node = 2\ngpu_type = 'a100'\ngpu_typed = true", "", "TresPerNode=gpu:a100:2"),
    ("gpus_per_node = 2\ngpu_request = 'gres'", "", "TresPerNode=gpu:2"),
    ("gpus_per_node = 2\ngpu_request = 'none'", "", "!TresPerNode"),
    ("gres = 'gpu:v100:1'", "", "TresPerNode=gpu:v100:1"),
    ("cpus_per_node = 6", "", "NumCPUs=6 CPUs/Task=6"),
    ("cpus_per_node = 7", "[distributed]\nlauncher = 'srun'\nprocesses_per_node = 2", "NumCPUs=6"),
    ("memory_per_node = '700M'", "", "MinMemoryNode=700M"),
    ("memory_per_node = '700M'\nmemory_request = 'node'", "", "MinMemoryNode=700M"),
    ("memory_per_node = '700M'\nmemory_request = 'all'", "", "MinMemoryNode=0"),
    (
        "memory_per_node = '700M'\nmemory_request = 'per_gpu'\ngpus_per_node = 2",
        "",
        "MemPerTres=gpu:350 mem=700M",
    ),
    (
        "memory_per_node = '700M'\nmemory_request = 'per_gpu'\ngpus_per_node = 2",
        "gpus_per_node = 0",
        // As the partition says: what belongs to the GPUs is left to those who use them.
        "!MemPerTres MinMemoryCPU=100M",
    ),
    (
        "memory_per_node = '700M'\nmemory_request = 'per_gpu'\ngpus_per_node = 2\ngpu_request = 'gres'",
        "",
        "MemPerTres=gpu:350 mem=700M",
    ),
    (
        "memory_per_node = '700M'\nmemory_request = 'per_gpu'\ngpus_per_node = 2\ngpu_request = 'none'",
        "",
        "!MemPerTres MinMemoryNode=700M",
    ),
    (
        "memory_per_node = '800M'\nmemory_request = 'per_cpu'\ncpus_per_node = 4",
        "",
        "MinMemoryCPU=200M",
    ),
    // Five CPUs for two tasks are two for each: the memory is that of four.
    (
        "memory_per_node = '800M'\nmemory_request = 'per_cpu'\ncpus_per_node = 5",
        "[distributed]\nlauncher = 'srun'\nprocesses_per_node = 2",
        "NumCPUs=4 MinMemoryCPU=200M",
    ),
    (
        "memory_per_node = '800M'\nmemory_request = 'per_cpu'",
        "[distributed]\nlauncher = 'srun'\nprocesses_per_node = 2",
        "NumCPUs=2 MinMemoryCPU=400M",
    ),
    // As the partition says: DefMemPerCPU.
    ("memory_per_node = '700M'\nmemory_request = 'none'", "", "MinMemoryCPU=100M"),
    ("exclusive = true", "", "OverSubscribe=NO MinMemoryNode=0"),
    (
        "exclusive = true\nmemory_per_node = '700M'\nmemory_request = 'node'",
        "",
        "OverSubscribe=NO MinMemoryNode=700M",
    ),
    ("exclusive = false", "", "OverSubscribe=OK"),
    ("default_time = '7m'", "", "TimeLimit=00:07:00"),
    ("max_time = '1h'\nmin_nodes = 2\nmax_nodes = 3", "nodes = 3", "NumNodes=3*"),
    ("account = 'limited'", "", "Account=limited"),
    ("constraint = 'slow'", "", "Features=slow"),
    ("reservation = 'RESERVED'", "", "Reservation=RESERVED"),
    ("licenses = 'seat:1'", "", "Licenses=seat:1"),
    ("exclude = 'n1'", "", "ExcNodeList=n1"),
    ("nodelist = 'n2'", "", "ReqNodeList=n2"),
    ("wckey = 'of-class'", "", "WCKey=of-class"),
    ("directives = ['--hold', '--comment=of-class']", "", "Comment=of-class"),
];

const COMPUTE: &[Row] = &[
    ("account = 'limited'", "account = 'ml'", "Account=ml"),
    ("constraint = 'fast'", "", "Features=fast"),
    ("", "constraint = 'slow'", "Features=slow"),
    ("constraint = 'fast|slow'", "constraint = 'slow'", "Features=(fast|slow)&(slow)"),
    ("", "reservation = 'RESERVED'", "Reservation=RESERVED"),
    ("licenses = 'seat:2'", "licenses = 'seat:1'", "Licenses=seat:1"),
    ("nodelist = 'n1'", "nodelist = 'n2'", "ReqNodeList=n2"),
    ("exclude = 'n1'", "exclude = 'n3'", "ExcNodeList=n[1,3]"),
    ("gpus_per_node = 2", "gpus_per_node = 1", "TresPerNode=gpu:1"),
    ("gpus_per_node = 2", "gpus_per_node = 0", "!TresPerNode"),
    ("cpus_per_node = 8", "cpus_per_node = 3", "NumCPUs=3"),
    ("memory_per_node = '900M'", "memory_per_node = '300M'", "MinMemoryNode=300M"),
    ("exclusive = true", "memory_per_node = '300M'", "OverSubscribe=NO MinMemoryNode=300M"),
    ("max_time = '1h'", "time_limit = '1h'", "TimeLimit=01:00:00"),
    ("", "time_min = '2m'", "TimeMin=00:02:00"),
    ("", "begin = '2040-01-01T00:00:00'", "StartTime=220*"),
    ("", "nice = -7", "Nice=-7"),
    ("", "nice = 70", "Nice=70"),
    ("directives = []", "hold = true", "Reason=JobHeldUser"),
    ("", "mail = ['end', 'fail', 'time_limit']", "MailType=END,FAIL,TIME_LIMIT"),
    ("directives = ['--hold', '--mail-type=ALL']", "mail = ['none']", "!MailType"),
    ("directives = ['--hold', '--comment=site']", "sbatch = ['--comment=mine']", "Comment=mine"),
    ("", "nodes = 2\nsbatch = ['--switches=1', '--deadline=2041-01-01']", "Switches=1@00:05:00"),
];

/// 20.11 counts the memory that belongs to GPUs among a job's resources only when the job has started.
const OF_GPUS: &str = "mem=700M";

/// Keys of a project instead of keys of a class; the class is called `x`.
const PROJECT: &[Row] = &[
    ("account = 'limited'", "", "Account=limited"),
    ("account = 'limited'\naccounts = { x = 'ml' }", "", "Account=ml"),
    ("account = 'limited'\naccounts = { other = 'ml' }", "", "Account=limited"),
    ("account = 'limited'", "account = 'ml'", "Account=ml"),
    ("wckey = 'of-project'", "", "WCKey=of-project"),
];

/// What sbatch or slurmctld refuse, and their words for it. These jobs are not held: some of it is looked at only when
/// a job could start.
const REFUSED: &[Row] = &[
    ("partition = ['main', 'nowhere']", "", "Invalid partition name specified"),
    ("constraint = 'nothing'", "", "Invalid feature specification"),
    ("", "constraint = '(a'", "Invalid feature specification"),
    ("reservation = 'nothing'", "", "Requested reservation is invalid"),
    ("licenses = 'nothing:1'", "", "Invalid license specification"),
    ("", "nodelist = 'n9'", "Invalid node name specified"),
    ("exclude = 'n9'", "", "Invalid node name specified"),
    ("gres = 'quantum:1'", "", "Invalid generic resource (gres) specification"),
    ("gpus_per_node = 9", "", "Requested node configuration is not available"),
    (
        "gpus_per_node = 1\ngpu_type = 'h100'\ngpu_typed = true",
        "",
        "Requested node configuration is not available",
    ),
    ("memory_per_node = '900G'", "", "Memory specification can not be satisfied"),
    ("", "begin = 'someday'", "Invalid --begin specification"),
    ("", "time_limit = '2m'\ntime_min = '3m'", "Invalid time-min specification"),
    ("", "nice = 2147483647", "Invalid --nice value, out of range"),
    ("directives = ['--hint=odd']", "", "unrecognized --hint argument"),
    ("", "sbatch = ['--switches=some']", "Invalid numeric value \"some\" for --switches"),
    ("memory_per_node = '100M'", "sbatch = ['--mem-per-cpu=1M']", "are mutually exclusive"),
    ("", "sbatch = ['--nonsense']", "unrecognized option '--nonsense'"),
];

/// The same, where there is accounting.
const REFUSED_BY_ACCOUNTING: &[Row] = &[
    ("account = 'nobody'", "", "Invalid account or account/partition combination specified"),
    ("", "account = 'nobody'", "Invalid account or account/partition combination specified"),
    ("qos = 'nobody'", "", "Invalid qos specification"),
    ("", "qos = 'nobody'", "Invalid qos specification"),
];

/// What is told before anything is asked of Slurm.
const INVALID: &[Row] = &[
    ("max_nodes = 2", "nodes = 3", "nodes asked: 3; class `x` gives at most 2"),
    ("min_nodes = 2", "nodes = 1", "nodes asked: 1; class `x` gives at least 2"),
    ("max_time = '1h'", "time_limit = '61m'", "the time limit 1h1m is over the 1h of class `x`"),
    (
        "gres = 'gpu:2'\ngpus_per_node = 2",
        "gpus_per_node = 1",
        "the class asks for its GPUs with `gres`, which a spec cannot change",
    ),
    (
        "memory_per_node = '900M'\nmemory_request = 'none'",
        "memory_per_node = '300M'",
        "the class asks for no memory, so a spec cannot either",
    ),
    ("nodelist = 'n[1-3]'", "nodes = 2", "3 nodes must be used, and the run asks for 2"),
];

/// A world for one table of rows. Its jobs and its reservation end with it.
struct Yard {
    cluster: Cluster,
    reservation: String,
    jobs: RefCell<Vec<String>>,
}

impl Yard {
    /// With these tables in the site, beside the cluster's.
    fn new(tables: &str) -> Self {
        static YARDS: AtomicU32 = AtomicU32::new(0);
        let number = YARDS.fetch_add(1, Ordering::Relaxed);
        let reservation = format!("trainyard-{}-{number}", std::process::id());
        let cluster = Cluster::with(&tables.replace("RESERVED", &reservation));
        Self { cluster, reservation, jobs: RefCell::default() }
    }

    /// With a class `xN` for each row.
    fn of_classes(rows: &[Row], more: &str) -> Self {
        let class = |(index, (keys, _, _)): (usize, &Row)| {
            // A row that has directives of its own says by itself whether its job is held.
            let more = if keys.contains("directives") { "" } else { more };
            let time = if keys.contains("default_time") { "" } else { "default_time = '5m'\n" };
            format!("[class.x{index}]\ncluster = 'test'\n{time}{more}{keys}\n")
        };
        Self::new(&rows.iter().enumerate().map(class).collect::<String>())
    }

    /// The spec of a row; `head` stands before its tables.
    fn spec(&self, name: &str, head: &str, compute: &str) -> PathBuf {
        let path = self.cluster.spec(name, "true", &compute.replace("RESERVED", &self.reservation));
        let text = std::fs::read_to_string(&path).unwrap();
        std::fs::write(&path, format!("{head}\n{text}")).unwrap();
        path
    }

    fn spec_of_class(&self, index: usize, compute: &str) -> PathBuf {
        self.spec(&format!("x{index}"), "", &format!("class = 'x{index}'\n{compute}"))
    }

    /// What Slurm says of the job that comes of a spec.
    fn record(&self, spec: &Path) -> String {
        let run = self.cluster.env.submit(spec);
        let job = job_of(&self.cluster.env.show(run)).to_string();
        let record = self.cluster.ask("scontrol", &["show", "job", "-o", &job]);
        let wckey = self.cluster.ask("squeue", &["-h", "-t", "all", "-j", &job, "-O", "wckey"]);
        self.jobs.borrow_mut().push(job);
        // Releases differ in how they name GPUs.
        let record = record.trim().replace("gres:gpu:", "gpu:").replace("gres/gpu:", "gpu:");
        format!(" {record} WCKey={} ", wckey.trim())
    }

    fn check(&self, row: &Row, spec: &Path) {
        let (keys, compute, expected) = *row;
        let record = self.record(spec);
        let release = self.cluster.variable("TRAINYARD_CLUSTER_RELEASE");
        for word in expected.split_whitespace() {
            if release == "20.11" && word == OF_GPUS {
                continue;
            }
            let word = word.replace("RESERVED", &self.reservation);
            let fine = if let Some(absent) = word.strip_prefix('!') {
                !record.contains(&format!(" {absent}="))
            } else if let Some(start) = word.strip_suffix('*') {
                record.contains(&format!(" {start}"))
            } else {
                record.contains(&format!(" {word} ")) || record.contains(&format!(",{word},"))
            };
            assert!(fine, "not {word} for\n{keys}\nand\n{compute}\nbut\n{record}");
        }
    }

    fn check_all(&self, rows: &[Row]) {
        for (index, row) in rows.iter().enumerate() {
            self.check(row, &self.spec_of_class(index, row.1));
        }
    }

    /// Each row ends with this exit code and these words.
    fn check_told(&self, rows: &[Row], code: i32) {
        for (index, (keys, compute, expected)) in rows.iter().enumerate() {
            let spec = self.spec_of_class(index, compute);
            let said = self.cluster.env.run([Path::new("submit"), &spec]);
            let expected = expected.replace("`x`", &format!("`x{index}`"));
            let fine = said.code == code && said.stderr.contains(&expected);
            assert!(fine, "not {code}, {expected} for\n{keys}\nand\n{compute}\nbut\n{said}");
        }
    }

    fn reserve(&self) {
        let name = format!("reservationname={}", self.reservation);
        let when =
            ["starttime=now+10hours", "duration=1", "users=root", "nodes=n4", "flags=overlap"];
        drop(
            self.cluster.ask("scontrol", &[&["create", "reservation", &name], &when[..]].concat()),
        );
    }

    /// Ends what the world has at the cluster. What does not end now cannot be mended here.
    fn clear(&self) {
        for job in self.jobs.take() {
            self.cluster.command("scancel").arg(&job).output().ok();
        }
        let reservation = format!("reservation={}", self.reservation);
        self.cluster.command("scontrol").args(["delete", &reservation]).output().ok();
    }
}

impl Drop for Yard {
    fn drop(&mut self) {
        self.clear();
    }
}

const HELD: &str = "directives = ['--hold']\n";

#[test]
fn a_classs_keys_reach_slurm() {
    let yard = Yard::of_classes(CLASS, HELD);
    yard.reserve();
    yard.check_all(CLASS);
}

#[test]
fn a_specs_own_keys_reach_slurm_and_win() {
    let yard = Yard::of_classes(COMPUTE, HELD);
    yard.reserve();
    yard.check_all(COMPUTE);
}

#[test]
fn a_projects_keys_reach_slurm() {
    let project = |(index, (keys, _, _)): (usize, &Row)| format!("[project.p{index}]\n{keys}\n");
    let projects: String = PROJECT.iter().enumerate().map(project).collect();
    let class = "[class.x]\ncluster = 'test'\ndefault_time = '5m'\naccount = 'ml'\n";
    let yard = Yard::new(&format!("{class}{HELD}{projects}"));
    for (index, row) in PROJECT.iter().enumerate() {
        let head = format!("project = 'p{index}'");
        let spec = yard.spec(&format!("p{index}"), &head, &format!("class = 'x'\n{}", row.1));
        yard.check(row, &spec);
    }
}

/// One job at a time: the QOS `few` takes no more.
#[test]
fn the_qos_is_the_specs_else_the_projects_else_the_classs() {
    let class = |name: &str, qos: &str| {
        format!("[class.{name}]\ncluster = 'test'\ndefault_time = '5m'\n{HELD}qos = '{qos}'\n")
    };
    let classes = [class("few", "few"), class("normal", "normal")].concat();
    let yard = Yard::new(&format!("{classes}[project.few]\nqos = 'few'\n"));
    let unknown =
        "before 24.11, Slurm does not say which QOS was asked for where there is no accounting";
    let release = yard.cluster.variable("TRAINYARD_CLUSTER_RELEASE");
    if !yard.cluster.applies(yard.cluster.has_accounting() || release == "24.11", unknown) {
        return;
    }
    for (name, head, compute) in [
        ("of-class", "", "class = 'few'"),
        ("of-project", "project = 'few'", "class = 'normal'"),
        ("of-spec", "", "class = 'normal'\nqos = 'few'"),
    ] {
        yard.check(&(name, "", "QOS=few"), &yard.spec(name, head, compute));
        yard.clear();
    }
    let spec = yard.spec("back", "project = 'few'", "class = 'few'\nqos = 'normal'");
    yard.check(&("back", "", "QOS=normal"), &spec);
}

#[test]
fn what_slurm_does_not_take_ends_in_exit_6_and_its_words() {
    Yard::of_classes(REFUSED, "").check_told(REFUSED, 6);
}

#[test]
fn accounts_and_qoses_that_do_not_exist_end_in_exit_6_and_slurms_words() {
    let unknown = "without accounting Slurm takes any account and any QOS";
    let yard = Yard::of_classes(REFUSED_BY_ACCOUNTING, "");
    if yard.cluster.applies(yard.cluster.has_accounting(), unknown) {
        yard.check_told(REFUSED_BY_ACCOUNTING, 6);
    }
}

#[test]
fn what_cannot_come_of_a_class_is_told_before_slurm_is_asked() {
    Yard::of_classes(INVALID, "").check_told(INVALID, 3);
}
