//! What sbatch is told in the script, and what it is never told.

use crate::domain::resolve::tests::{
    CODE, SITE, check_problems, check_problems_at, outcome, resolved,
};

/// The options that a `[compute]` table comes to.
fn options(site: &str, compute: &str) -> Vec<String> {
    let spec = format!("{CODE}[compute]\n{compute}");
    resolved(site, &spec).compute.options.iter().map(ToString::to_string).collect()
}

#[test]
fn a_request_in_full() {
    let compute = "nodes = 2\naccount = 'mine'\nqos = 'high'\nconstraint = 'ib'\nreservation = 'r1'\n\
                   licenses = 'matlab:1'\nnodelist = 'n[1-2]'\nexclude = 'n9'\ntime_min = '1h'\n\
                   begin = 'now+1hour'\nnice = -5\nhold = true\nmail = ['end', 'time_limit']\n\
                   sbatch = ['--switches=1', '-k']\n";
    insta::assert_snapshot!(options(SITE, compute).join("\n"), @"
    --nodes=2
    --ntasks-per-node=1
    --cpus-per-task=32
    --gpus-per-node=4
    --mem=0
    --exclusive
    --time=0-04:00:00
    --time-min=0-01:00:00
    --account=mine
    --partition=gpu,gpu-long
    --qos=high
    --reservation=r1
    --licenses=matlab:1
    --constraint=ib
    --exclude=n9
    --begin=now+1hour
    --nodelist=n[1-2]
    --nice=-5
    --hold
    --mail-type=END,TIME_LIMIT
    --no-requeue
    --signal=B:USR1@60
    --switches=1
    -k
    ");
}

/// Options of one kind in a site that was changed in one place.
#[track_caller]
fn check(class: &str, compute: &str, about: &str, expected: &[&str]) {
    let site = format!(
        "[site]\ndefault_class = 'x'\n[cluster.main]\n[class.x]\ndefault_time = '1h'\n{class}"
    );
    let found: Vec<String> =
        options(&site, compute).into_iter().filter(|option| option.contains(about)).collect();
    assert_eq!(found, expected, "{class} and {compute}");
}

#[test]
fn memory_is_asked_for_as_the_class_says() {
    let node = "memory_per_node = '500G'\ncpus_per_node = 32\ngpus_per_node = 4\n";
    let with = |keys: &str| format!("{node}{keys}");
    check(node, "", "mem", &["--mem=500G"]);
    check(node, "memory_per_node = '100G'", "mem", &["--mem=100G"]);
    check(&with("exclusive = true"), "", "mem", &["--mem=0"]);
    check(&with("exclusive = true"), "memory_per_node = '1500M'", "mem", &["--mem=1500M"]);
    check(&with("exclusive = true\nmemory_request = 'node'"), "", "mem", &["--mem=500G"]);
    check(&with("memory_request = 'per_gpu'"), "", "mem", &["--mem-per-gpu=125G"]);
    let per_gpu = with("memory_request = 'per_gpu'");
    check(&per_gpu, "gpus_per_node = 1", "mem", &["--mem-per-gpu=125G"]);
    check(&per_gpu, "gpus_per_node = 2\nmemory_per_node = '100G'", "mem", &["--mem-per-gpu=50G"]);
    check(&per_gpu, "gpus_per_node = 0\nmemory_per_node = '9G'", "mem", &["--mem=9G"]);
    check(&with("memory_request = 'per_cpu'"), "", "mem", &["--mem-per-cpu=16000M"]);
    check(&with("memory_request = 'none'"), "", "mem", &[]);
    let srun = "[distributed]\nlauncher = 'srun'\nprocesses_per_node = 5\n";
    check(&with("memory_request = 'per_cpu'"), srun, "mem", &["--mem-per-cpu=17066M"]);
    // Where no GPU is asked for, memory is not asked for by GPU.
    let per_gpu = with("memory_request = 'per_gpu'\n");
    check(
        &with("exclusive = true\nmemory_request = 'per_gpu'"),
        "gpus_per_node = 0",
        "mem",
        &["--mem=500G"],
    );
    check(&format!("{per_gpu}gpu_request = 'none'"), "", "mem", &["--mem=500G"]);
    // Nor is the others' memory, where nothing says how much.
    for request in ["node", "per_gpu", "per_cpu"] {
        let shared = with(&format!("memory_request = '{request}'"));
        check(&shared, "gpus_per_node = 0", "mem", &[]);
    }
    check(&format!("{per_gpu}gres = 'gpu:4'"), "", "mem", &["--mem-per-gpu=125G"]);
    check("", "", "mem", &[]);
}

#[test]
fn gpus_are_asked_for_as_the_class_says() {
    let node = "gpus_per_node = 4\ngpu_type = 'a100'\n";
    let with = |keys: &str| format!("{node}{keys}");
    check(node, "", "gp", &["--gpus-per-node=4"]);
    check(node, "gpus_per_node = 2", "gpu", &["--gpus-per-node=2"]);
    check(node, "gpus_per_node = 0", "gpu", &[]);
    check(&with("gpu_typed = true"), "", "gpu", &["--gpus-per-node=a100:4"]);
    check(&with("gpu_request = 'gres'"), "", "gpu", &["--gres=gpu:4"]);
    check(&with("gpu_request = 'gres'\ngpu_typed = true"), "", "gpu", &["--gres=gpu:a100:4"]);
    check(&with("gpu_request = 'none'"), "", "gpu", &[]);
    check(&with("gres = 'gpu:1g.5gb:1'"), "", "gpu", &["--gres=gpu:1g.5gb:1"]);
    check("", "", "gpu", &[]);
}

#[test]
fn cpus_and_tasks_follow_the_launcher() {
    let node = "cpus_per_node = 32\ngpus_per_node = 4\n";
    check(node, "gpus_per_node = 1", "cpus", &["--cpus-per-task=8"]);
    check(node, "gpus_per_node = 3", "cpus", &["--cpus-per-task=24"]);
    check(node, "gpus_per_node = 0", "cpus", &[]);
    check(node, "gpus_per_node = 0\ncpus_per_node = 3", "cpus", &["--cpus-per-task=3"]);
    check(node, "gpus_per_node = 1\ncpus_per_node = 20", "cpus", &["--cpus-per-task=20"]);
    let whole = format!("{node}exclusive = true\n");
    check(&whole, "gpus_per_node = 1", "cpus", &["--cpus-per-task=32"]);
    check(&whole, "gpus_per_node = 0", "cpus", &["--cpus-per-task=32"]);
    check(node, "", "tasks", &["--ntasks-per-node=1"]);
    check(node, "", "cpus", &["--cpus-per-task=32"]);
    check(node, "cpus_per_node = 8", "cpus", &["--cpus-per-task=8"]);
    let srun = "[distributed]\nlauncher = 'srun'\n";
    check(node, srun, "tasks", &["--ntasks-per-node=4"]);
    check(node, srun, "cpus", &["--cpus-per-task=8"]);
    check("", "", "cpus", &[]);
}

#[test]
fn more_than_the_class_gives_is_refused() {
    let compute = |keys: &str| format!("{CODE}[compute]\n{keys}");
    check_problems(
        &compute("gpus_per_node = 5\ncpus_per_node = 33\nmemory_per_node = '501G'"),
        &[
            "4:17 5 GPUs per node asked, the class's nodes give 4",
            "5:17 33 CPUs per node asked, the class's nodes give 32",
            "6:19 501G of memory asked, the class's nodes give 500G",
        ],
    );
    check_problems(
        &compute("class = 'cpu'\nnodes = 2\ntime_limit = '1h'\ngpus_per_node = 1"),
        &["7:17 1 GPUs per node asked, the class's nodes give 0"],
    );
}

/// One class `x`, one `[compute]` table, and what is wrong with both.
#[track_caller]
fn check_class_problems(class: &str, compute: &str, expected: &[&str]) {
    let site = format!(
        "[site]\ndefault_class = 'x'\n[cluster.main]\n[class.x]\ndefault_time = '1h'\n{class}"
    );
    check_problems_at(&site, &format!("{CODE}[compute]\n{compute}"), expected);
}

#[test]
fn what_a_class_does_not_ask_for_a_spec_cannot_either() {
    let gres = "gres = 'gpu:4'\ngpus_per_node = 4\n";
    let told = "4:17 the class asks for its GPUs with `gres`, which a spec cannot change";
    check_class_problems(gres, "gpus_per_node = 2", &[told]);
    check_class_problems(gres, "gpus_per_node = 4", &[]);
    let none = "memory_per_node = '500G'\nmemory_request = 'none'\n";
    let told = "4:19 the class asks for no memory, so a spec cannot either";
    check_class_problems(none, "memory_per_node = '100G'", &[told]);
    check_class_problems(none, "", &[]);
}

#[test]
fn more_nodes_than_are_asked_for_cannot_all_be_used() {
    let told = "5:12 3 nodes must be used, and the run asks for 2";
    check_class_problems("", "nodes = 2\nnodelist = 'n[1-2],n7'", &[told]);
    check_class_problems("", "nodes = 3\nnodelist = 'n[1-2],n7'", &[]);
    check_class_problems("", "nodes = 3\nnodelist = 'n1'", &[]);
}

#[test]
fn mail_of_the_spec_replaces_the_sites() {
    let class = "directives = ['--mail-type=ALL']";
    check(class, "", "mail", &["--mail-type=ALL"]);
    check(class, "mail = ['none']", "mail", &["--mail-type=NONE"]);
}

#[test]
fn who_pays_is_found_in_this_order() {
    let account = |project: &str, compute: &str| {
        let spec = format!("{project}{CODE}[compute]\n{compute}");
        let options = resolved(SITE, &spec).compute.options;
        let account = options.iter().find(|option| option.name() == "--account");
        account.and_then(|account| account.value()).map(ToOwned::to_owned)
    };
    let cpu = "class = 'cpu'\nnodes = 2\ntime_limit = '1h'\n";
    let project = "project = 'nlp'\n";
    assert_eq!(account(project, "account = 'mine'\n").as_deref(), Some("mine"));
    assert_eq!(account(project, "class = 'a100-4x'\n").as_deref(), Some("ml_g"));
    assert_eq!(account(project, "").as_deref(), Some("ml_g"), "the default class's, too");
    assert_eq!(account(project, cpu).as_deref(), Some("ml"));
    assert_eq!(account("", "class = 'a100-4x'\n").as_deref(), Some("of-class"));
    assert_eq!(account("", "").as_deref(), Some("of-class"), "the default class's, too");
    assert_eq!(account("", cpu), None);
}

#[test]
fn a_classs_own_conditions_stand_beside_the_specs() {
    let class =
        "constraint = 'a100|h100'\nexclude = 'n1'\nnodelist = 'n5'\nqos = 'q'\nwckey = 'w'\n";
    check(class, "", "constraint", &["--constraint=a100|h100"]);
    check(class, "constraint = 'ib'", "constraint", &["--constraint=(a100|h100)&(ib)"]);
    check(class, "exclude = 'n2'", "exclude", &["--exclude=n1,n2"]);
    check(class, "nodelist = 'n3'", "nodelist", &["--nodelist=n3"]);
    check(class, "", "nodelist", &["--nodelist=n5"]);
    check(class, "qos = 'mine'", "qos", &["--qos=mine"]);
    check(class, "", "wckey", &["--wckey=w"]);
    check(
        "directives = ['--gres-flags=enforce-binding']",
        "",
        "flags",
        &["--gres-flags=enforce-binding"],
    );
    check("partition = ['a', 'b']", "", "partition", &["--partition=a,b"]);
}

#[track_caller]
fn check_refused(option: &str, message: &str) {
    let spec = format!("{CODE}[compute]\nsbatch = [{option:?}]\n");
    check_problems(&spec, &[&format!("4:11 {message}")]);
}

#[test]
fn what_trainyard_sets_itself_cannot_be_set_again() {
    let full = [
        "job-name",
        "array",
        "output",
        "error",
        "open-mode",
        "export",
        "export-file",
        "requeue",
        "no-requeue",
        "parsable",
        "wrap",
        "chdir",
        "propagate",
        "signal",
        "test-only",
        "input",
        "uid",
        "gid",
        "wait",
        "clusters",
        "help",
        "usage",
        "version",
    ];
    for name in full {
        for option in [format!("--{name}"), format!("--{name}=x")] {
            check_refused(&option, &format!("`--{name}` is set by Trainyard itself"));
        }
        // sbatch takes every beginning of a name that is not ambiguous.
        for length in 2..name.len() {
            let short = &name[..length];
            check_refused(
                &format!("--{short}=x"),
                &format!("`--{short}` is set by Trainyard itself"),
            );
        }
    }
    for letter in ["J", "a", "o", "e", "D", "i", "W", "M", "h", "V"] {
        for option in [format!("-{letter}"), format!("-{letter}x")] {
            check_refused(&option, &format!("`{option}` is set by Trainyard itself"));
        }
    }
    // Letters without a value may be bundled before it.
    for option in ["-HJx", "-kHJx", "-QsJ", "-Ho"] {
        check_refused(option, &format!("`{option}` is set by Trainyard itself"));
    }
}

#[test]
fn what_is_not_one_option_is_refused() {
    let no_option = "an option starts with `-`, as `--switches=1` does";
    for text in ["switches=1", "", "--", "-J x", "--job-name x", "--comment \"a\""] {
        check_refused(text, &format!("`{}`: {no_option}", text.escape_debug()));
    }
    let control = "it holds a line break or another control character";
    check_refused(
        "--comment=a\n#SBATCH --uid=0",
        &format!("`--comment=a\\n#SBATCH --uid=0`: {control}"),
    );
}

#[test]
fn other_options_are_carried_as_they_are() {
    for option in
        ["--switches=1", "--exclusive=user", "-N2", "-k", "-Hk", "--waitx", "--erro_r", "-nJ"]
    {
        let spec = format!("{CODE}[compute]\nsbatch = ['{option}']\n");
        let problems = outcome(SITE, &spec).problems;
        assert_eq!(problems, vec![], "{option}");
    }
}

#[test]
fn a_value_that_could_break_its_line_is_refused() {
    let compute = |keys: &str| format!("{CODE}[compute]\n{keys}");
    check_problems(
        &compute("qos = \"a\\n#SBATCH --uid=0\""),
        &[
            "4:7 --qos cannot be given to sbatch: it holds a line break or another control character",
        ],
    );
    check_problems(
        &compute("reservation = 'ü'"),
        &[
            "4:15 --reservation cannot be given to sbatch: it holds a character outside ASCII, which Slurm does not carry safely",
        ],
    );
    check_problems(&compute("qos = ''"), &["4:7 --qos is empty"]);
}

/// What sbatch is told of the job that builds the environment of a run in class `x`.
fn build_options(site: &str, compute: &str) -> Option<Vec<String>> {
    let site = format!(
        "[site]\ndefault_class = 'x'\n[cluster.main]\n[class.x]\npartition = 'gpu'\ndefault_time = '9h'\n{site}"
    );
    let spec = format!("{CODE}[environment]\nrequirements = 'r.txt'\n[compute]\n{compute}");
    let requirements = resolved(&site, &spec).environment.requirements.unwrap();
    let job = requirements.build_on?;
    Some(job.compute.options.iter().map(ToString::to_string).collect())
}

#[test]
fn an_environment_is_built_by_a_job_of_one_node_of_the_class_that_the_site_names() {
    let class = "[class.b]\npartition = 'cpu'\naccount = 'theirs'\ncpus_per_node = 8\ngpus_per_node = 2\nmax_nodes = 4\n";
    let site = |keys: &str| format!("{class}{keys}[build]\nwhere = 'class:b'\n");
    let told = |keys: &str, compute: &str| build_options(&site(keys), compute).unwrap();
    let usual = [
        "--nodes=1",
        "--ntasks-per-node=1",
        "--cpus-per-task=8",
        "--gpus-per-node=2",
        "--time=0-02:00:00",
        "--account=theirs",
        "--partition=cpu",
        "--no-requeue",
    ];
    assert_eq!(told("", "nodes = 3\ntime_limit = '5h'"), usual);
    // A class gives what it gives at most, and who pays for the run pays for its environment.
    assert!(told("max_time = '30m'\n", "").contains(&"--time=0-00:30:00".to_owned()));
    assert!(told("", "account = 'mine'").contains(&"--account=mine".to_owned()));
    assert_eq!(build_options(&site(""), "target = 'local'"), None, "it runs where the daemon is");
    assert_eq!(build_options(&format!("{class}[build]\nwhere = 'login'\n"), ""), None);
    assert_eq!(build_options(class, ""), None);
}

#[test]
fn a_class_that_cannot_build_is_told_with_the_runs_problems() {
    let site = "[site]\ndefault_class = 'x'\n[cluster.main]\n[class.x]\ndefault_time = '1h'\n\
                [class.b]\nmin_nodes = 2\n[build]\nwhere = 'class:b'\n";
    let spec = format!("{CODE}[environment]\nrequirements = 'r.txt'\n");
    check_problems_at(site, &spec, &["- nodes asked: 1; class `b` gives at least 2"]);
}
