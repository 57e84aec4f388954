//! Where a run executes, under which class, for whom, and how its processes are spread.

use crate::domain::resolve::tests::{
    CODE, LOCAL_ONLY, SITE, asker, check_problems, check_problems_at, outcome, resolved, site,
};
use crate::domain::spec::Launcher;

#[test]
fn the_least_spec_on_a_machine_without_slurm() {
    insta::assert_json_snapshot!(resolved(LOCAL_ONLY, CODE));
}

#[test]
fn a_whole_spec_on_a_cluster() {
    let spec = r#"
name = "llama"
project = "nlp"
experiment = "ablation"
[code]
path = "src"
entry_point = "train.py"
[args]
learning_rate = 1e-4
verbose = true
output_dir = "{output}/model"
[environment]
modules = ["nccl"]
conda = "torch25"
[environment.variables]
NCCL_DEBUG = "WARN"
NCCL_SOCKET_IFNAME = "ib0"
[compute]
nodes = 2
time_limit = "12h"
qos = "high"
sbatch = ["--switches=1"]
[distributed]
strategy = "fsdp"
[checkpoint]
directory = "/fast/ckpt"
[metrics]
file = "logs/metrics.jsonl"
"#;
    insta::assert_json_snapshot!(resolved(SITE, spec));
}

/// Target, class and cluster that a `[compute]` table comes to.
#[track_caller]
fn check_target(site: &str, compute: &str, expected: (&str, &str)) {
    let resolved = resolved(site, &format!("{CODE}[compute]\n{compute}"));
    let found = (resolved.compute.target.cluster(), resolved.compute.class.as_str());
    assert_eq!(found, expected, "{compute}");
}

#[test]
fn target_and_class_find_each_other() {
    check_target(SITE, "", ("main", "a100-4x"));
    check_target(SITE, "class = 'cpu'\nnodes = 2\ntime_limit = '1h'", ("main", "cpu"));
    check_target(SITE, "target = 'slurm'", ("main", "a100-4x"));
    check_target(SITE, "target = 'local'", ("local", "local"));
    check_target(SITE, "class = 'local'", ("local", "local"));
    check_target(SITE, "target = 'local'\nclass = 'a100-4x'", ("local", "a100-4x"));
    check_target(LOCAL_ONLY, "", ("local", "local"));
    check_target(LOCAL_ONLY, "target = 'local'", ("local", "local"));
    check_target("[site]\ndefault_class = 'local'\n", "", ("local", "local"));
    let two = "[cluster.a]\n[cluster.b]\n[class.x]\ncluster = 'b'\ndefault_time = '1h'\n";
    check_target(two, "class = 'x'", ("b", "x"));
}

#[test]
fn a_target_without_a_class_is_told() {
    let no_default = SITE.replace("default_class = \"a100-4x\"", "");
    let message = "- the spec names no hardware class and the site has no default";
    check_problems_at(&no_default, CODE, &[message]);
    let compute = |keys: &str| format!("{CODE}[compute]\n{keys}");
    check_problems_at(
        &no_default,
        &compute("target = 'slurm'"),
        &["4:10 a run on Slurm needs a hardware class of the site"],
    );
    check_problems(
        &compute("target = 'slurm'\nclass = 'local'"),
        &["4:10 a run on Slurm needs a hardware class of the site"],
    );
    check_problems(
        &compute("class = 'a100'"),
        &["4:9 hardware class `a100` is not defined at this site"],
    );
    let unknown = outcome(SITE, &compute("class = 'a100'")).problems;
    assert_eq!(unknown[0].help.as_deref(), Some("did you mean `a100-4x`?"));
    check_problems_at(
        LOCAL_ONLY,
        &compute("class = 'gpu'"),
        &["4:9 hardware class `gpu` is not defined at this site"],
    );
}

#[test]
fn the_name_is_the_files_when_the_spec_has_none() {
    assert_eq!(resolved(SITE, CODE).name, "llama-sft");
    let named = |name: &str| format!("name = '{name}'\n{CODE}");
    for fine in ["a", "0a", "llama-3.1_sft", &"x".repeat(63)] {
        assert_eq!(resolved(SITE, &named(fine)).name, fine);
    }
    for wrong in ["", "42", "-a", ".a", "A", "a b", "ä", "a/b", &"x".repeat(64)] {
        check_problems(&named(wrong), &[&format!("1:8 `{wrong}` cannot be a run's name")]);
    }
    let (site, asker) = (site(SITE), asker());
    let (table, problems) =
        crate::domain::document::parse(CODE, crate::domain::problem::SourceId(0));
    let context = crate::domain::resolve::Context {
        site: &site,
        asker: &asker,
        base: std::path::Path::new("/"),
        stem: "My Run",
    };
    let outcome = crate::domain::resolve::resolve(&table, problems, context);
    assert_eq!(outcome.problems[0].message, "the file's name, `My Run`, cannot be the run's name");
    assert_eq!(outcome.problems[0].place, None);
}

/// The launcher, processes per node and world that a spec comes to.
#[track_caller]
fn check_launch(site: &str, spec: &str, expected: (Launcher, u32, u32)) {
    let distributed = resolved(site, spec).distributed;
    let found = (distributed.launcher, distributed.processes_per_node, distributed.world_size);
    assert_eq!(found, expected, "{spec}");
}

#[test]
fn the_launcher_follows_from_the_world_and_the_program() {
    let command = "[code]\ncommand = ['./a.out']\n";
    let shell = "[code]\nentry_point = 'train.sh'\n";
    let with = |code: &str, keys: &str| format!("{code}{keys}");
    check_launch(LOCAL_ONLY, CODE, (Launcher::None, 1, 1));
    check_launch(SITE, CODE, (Launcher::Torchrun, 4, 4));
    check_launch(SITE, command, (Launcher::Srun, 4, 4));
    check_launch(SITE, shell, (Launcher::Srun, 4, 4));
    check_launch(SITE, &with(CODE, "[compute]\nnodes = 2\n"), (Launcher::Torchrun, 4, 8));
    check_launch(SITE, &with(CODE, "[compute]\ngpus_per_node = 1\n"), (Launcher::None, 1, 1));
    check_launch(SITE, &with(CODE, "[compute]\ngpus_per_node = 2\n"), (Launcher::Torchrun, 2, 2));
    check_launch(SITE, &with(CODE, "[compute]\ngpus_per_node = 0\n"), (Launcher::None, 1, 1));
    let cpu = "[compute]\nclass = 'cpu'\nnodes = 2\ntime_limit = '1h'\n";
    check_launch(SITE, &with(command, cpu), (Launcher::Srun, 1, 2));
    let two = "[distributed]\nprocesses_per_node = 2\n";
    check_launch(LOCAL_ONLY, &with(CODE, two), (Launcher::Torchrun, 2, 2));
    check_launch(LOCAL_ONLY, &with(command, two), (Launcher::Srun, 2, 2));
    let none = "[distributed]\nlauncher = 'none'\n";
    check_launch(SITE, &with(CODE, none), (Launcher::None, 1, 1));
    let srun = "[distributed]\nlauncher = 'srun'\n";
    check_launch(SITE, &with(CODE, srun), (Launcher::Srun, 4, 4));
    let of =
        |launcher: &str| format!("[compute]\nnodes = 2\n[distributed]\nlauncher = '{launcher}'\n");
    check_launch(SITE, &with(command, &of("mpi")), (Launcher::Mpi, 4, 8));
    check_launch(SITE, &with(CODE, &of("jax")), (Launcher::Jax, 4, 8));
    check_launch(SITE, &with(CODE, &of("accelerate")), (Launcher::Accelerate, 4, 8));
    check_launch(SITE, &with(shell, &of("deepspeed")), (Launcher::Deepspeed, 4, 8));
    for launcher in ["accelerate", "deepspeed"] {
        let message = format!("6:12 the launcher `{launcher}` needs `code.entry_point`");
        check_problems(&with(command, &of(launcher)), &[&message]);
    }
    // A rehearsal on this machine: as many processes as the class that was named, not the default one.
    let rehearsal = "[compute]\ntarget = 'local'\nclass = 'a100-4x'\n";
    check_launch(SITE, &with(CODE, rehearsal), (Launcher::Torchrun, 4, 4));
    check_launch(SITE, &with(CODE, "[compute]\ntarget = 'local'\n"), (Launcher::None, 1, 1));
    check_problems(
        &with(CODE, "[distributed]\nlauncher = 'none'\nprocesses_per_node = 2\n"),
        &["5:22 the launcher `none` starts one process, and `processes_per_node` asks for more"],
    );
}

#[test]
fn nodes_and_time_keep_within_the_class() {
    let compute = |keys: &str| format!("{CODE}[compute]\n{keys}");
    check_problems(
        &compute("nodes = 17"),
        &["4:9 nodes asked: 17; class `a100-4x` gives at most 16"],
    );
    check_problems(&compute("nodes = 16"), &[]);
    let cpu = "time_limit = '1h'\nclass = 'cpu'\n";
    check_problems(
        &compute(&format!("{cpu}nodes = 1")),
        &["6:9 nodes asked: 1; class `cpu` gives at least 2"],
    );
    check_problems(&compute(cpu), &["5:9 nodes asked: 1; class `cpu` gives at least 2"]);
    check_problems(
        &compute("time_limit = '25h'"),
        &["4:14 the time limit 1d1h is over the 1d of class `a100-4x`"],
    );
    check_problems(
        &compute("class = 'cpu'\nnodes = 2"),
        &["- neither the spec nor class `cpu` has a time limit"],
    );
    check_problems(
        &compute("target = 'local'\nnodes = 2"),
        &["5:9 the local target has 1 node, the spec asks for 2"],
    );
    check_problems(&compute("target = 'local'\nnodes = 1"), &[]);
    check_problems(&compute("nodes = 0"), &["4:9 `compute.nodes` is 0, outside 1 … 1000000"]);
    let limit = |keys: &str| {
        resolved(SITE, &compute(keys)).compute.time_limit.map(|limit| limit.0.to_string())
    };
    assert_eq!(limit(""), Some("4h".into()), "the class's default");
    assert_eq!(limit("time_limit = '1-00:00:00'"), Some("1d".into()));
    assert_eq!(limit("target = 'local'"), None, "a local run may take its time");
}

#[test]
fn a_project_is_named_by_its_members_only() {
    let of = |project: &str| format!("project = '{project}'\n{CODE}");
    check_problems(&of("nlp"), &[]);
    check_problems(&of("closed"), &["1:11 anna is not a member of project `closed`"]);
    check_problems(&of("nlpp"), &["1:11 project `nlpp` is not defined at this site"]);
    check_problems_at(LOCAL_ONLY, &of("nlp"), &["1:11 project `nlp` is not defined at this site"]);
    let by_group = SITE.replace("[\"anna\", \"group:nlp\"]", "[\"group:nlp\"]");
    check_problems_at(&by_group, &of("nlp"), &[]);
    let open = SITE.replace("members = [\"anna\", \"group:nlp\"]", "");
    check_problems_at(&open, &of("nlp"), &[]);
}

#[test]
fn run_directories_go_where_the_site_says() {
    let root = |template: &str, keys: &str| {
        let site = SITE.replace("/scratch/{group}/{user}/trainyard", template);
        let outcome = outcome(&site, &format!("{keys}{CODE}"));
        let told: Vec<String> = outcome.problems.iter().map(|p| p.message.clone()).collect();
        outcome.resolved.map(|resolved| resolved.run_root.display().to_string()).ok_or(told)
    };
    let ok = |path: &str| Ok(path.to_owned());
    assert_eq!(root("/s/{group}/{user}/{uid}", ""), ok("/s/hpc/anna/1007"));
    assert_eq!(root("{home}/runs", ""), ok("/home/anna/runs"));
    assert_eq!(root("~/runs", ""), ok("/home/anna/runs"));
    assert_eq!(root("/p/{project}/{account}", "project = 'nlp'\n"), ok("/p/nlp/ml_g"));
    assert_eq!(root("/a/{account}", ""), ok("/a/of-class"), "the default class's account");
    // An account that looks like a placeholder is none.
    let odd = "compute.account = '{home}'\n";
    assert_eq!(root("/a/{account}/{user}", odd), ok("/a/{home}/anna"));
    let message = "the site's run_root holds {project}, and this spec has none";
    assert_eq!(root("/p/{project}", ""), Err(vec![message.to_owned()]));
    for climbing in ["/scratch/../etc", "/scratch/.."] {
        let message = format!("the site's run_root is no absolute path: {climbing}");
        assert_eq!(root(climbing, ""), Err(vec![message]));
    }
    let of_project = SITE.replace("account = \"ml\"", "run_root = '/proj/{project}'");
    let ours = resolved(&of_project, &format!("project = 'nlp'\n{CODE}")).run_root;
    assert_eq!(ours.display().to_string(), "/proj/nlp");
    assert_eq!(resolved(LOCAL_ONLY, CODE).run_root.display().to_string(), "/home/anna/trainyard");
}
