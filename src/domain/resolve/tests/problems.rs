//! Everything wrong with a spec is told at once, each fault at its line and column.

use crate::domain::resolve::tests::{CODE, SITE, check_problems, outcome};

#[test]
fn ten_mistakes_are_ten_problems() {
    let spec = r#"name = "Llama SFT"
projct = "nlp"
[code]
entry_point = "../train.py"
[args]
out = "{outptu}"
[environment.variables]
RANK = 0
[compute]
class = "a100-4x"
nodes = 17
time_limit = "12 hours or so"
gpus_per_node = 8
sbatch = ["--output=x"]
[distributed]
launcher = "torchrum"
"#;
    check_problems(
        spec,
        &[
            "1:8 `Llama SFT` cannot be a run's name",
            "2:1 unknown key `projct`",
            "4:15 `../train.py` is no path inside the code's directory",
            "6:7 unknown placeholder `{outptu}`",
            "8:1 `RANK` cannot be set here: Trainyard and Slurm set it themselves",
            "11:9 nodes asked: 17; class `a100-4x` gives at most 16",
            "12:14 `compute.time_limit`: `12 hours or so` is no time limit",
            "13:17 8 GPUs per node asked, the class's nodes give 4",
            "14:11 `--output` is set by Trainyard itself",
            "16:12 `distributed.launcher` cannot be `torchrum`",
        ],
    );
    let helped = outcome(SITE, spec).problems;
    let help = |part: &str| {
        helped.iter().find(|problem| problem.message.contains(part)).and_then(|p| p.help.clone())
    };
    assert_eq!(help("projct").as_deref(), Some("did you mean `project`?"));
    assert_eq!(help("torchrum").as_deref(), Some("did you mean `torchrun`?"));
    assert_eq!(help("12 hours").as_deref(), Some("write \"90m\", \"1d12h\" or \"1-12:00:00\""));
}

#[test]
fn faults_of_syntax_are_told_beside_the_others() {
    let spec = "nodes = \n[code]\nentry_point = 'a.py'\nworks = 'link'\n";
    let told = super::told(spec, &outcome(SITE, spec).problems);
    assert!(told.iter().any(|line| line.starts_with("1:")), "{told:?}");
    assert!(told.iter().any(|line| line == "4:1 unknown key `code.works`"), "{told:?}");
}

/// A key or value that is promised but not built: refused as that, not as unknown.
#[track_caller]
fn check_later(spec: &str, place: &str, what: &str) {
    check_problems(spec, &[&format!("{place} `{what}` is not supported by this version")]);
}

#[test]
fn what_is_not_built_yet_is_refused_as_such() {
    check_later(&format!("after = ['41']\n{CODE}"), "1:1", "after");
    check_later(&format!("{CODE}[evaluation]\n"), "3:2", "evaluation");
    // A sweep is no run: whoever takes it for one is told so.
    check_later(&format!("{CODE}[sweep]\nparameters.args.seed = [1]\n"), "3:1", "sweep");
}

#[test]
fn unknown_keys_are_told_in_every_table() {
    for table in ["code", "environment", "compute", "distributed", "checkpoint", "metrics"] {
        let spec = if table == "code" {
            format!("{CODE}zzz = 1\n")
        } else {
            format!("{CODE}[{table}]\nzzz = 1\n")
        };
        let line = spec.lines().count();
        check_problems(&spec, &[&format!("{line}:1 unknown key `{table}.zzz`")]);
    }
    check_problems(&format!("zzz = 1\n{CODE}"), &["1:1 unknown key `zzz`"]);
}

#[test]
fn a_value_of_the_wrong_kind_is_told() {
    let compute = |keys: &str| format!("{CODE}[compute]\n{keys}");
    check_problems(
        &compute("nodes = '2'"),
        &["4:9 `compute.nodes` must be a whole number, not a string"],
    );
    check_problems(
        &compute("nodes = 1.5"),
        &["4:9 `compute.nodes` must be a whole number, not a float"],
    );
    check_problems(
        &compute("hold = 1"),
        &["4:8 `compute.hold` must be true or false, not an integer"],
    );
    check_problems(
        &compute("time_limit = 60"),
        &[
            "4:14 `compute.time_limit` must be a string such as \"90m\", \"1d12h\" or \"1-12:00:00\", not an integer",
        ],
    );
    check_problems(
        &compute("sbatch = '-k'"),
        &["4:10 `compute.sbatch` must be an array, not a string"],
    );
    check_problems("code = 'train.py'\n", &["1:8 `code` must be a table, not a string"]);
    check_problems(
        &compute("memory_per_node = '5X'"),
        &["4:19 `compute.memory_per_node`: `5X` is no memory size"],
    );
}

#[test]
fn one_mistake_is_one_problem() {
    check_problems("[cod]\nentry_point = 'a.py'\n", &["1:2 unknown key `cod`"]);
    check_problems("[code]\nentrypoint = 'a.py'\n", &["2:1 unknown key `code.entrypoint`"]);
    let wrong_kind = "2:15 `code.entry_point` must be a string, not an integer";
    check_problems("[code]\nentry_point = 1\n", &[wrong_kind]);
    check_problems("[code]\nwork = 'link'\n", &["- the spec does not say what to run"]);
}

#[test]
fn a_refused_option_is_refused_wherever_the_run_executes() {
    let refused = "5:11 `--output` is set by Trainyard itself";
    let spec = format!("{CODE}[compute]\ntarget = 'local'\nsbatch = ['--output=x']\n");
    check_problems(&spec, &[refused]);
    let spec = format!("{CODE}[compute]\nclass = 'none-such'\nsbatch = ['--output=x']\n");
    let unknown = "4:9 hardware class `none-such` is not defined at this site";
    check_problems(&spec, &[unknown, refused]);
}
