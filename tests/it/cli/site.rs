//! `site check` and `site init` against a Slurm of a few words, and without any.

use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};

use crate::cli::assert_told;
use crate::env::{Said, TestEnv};

/// What scontrol says of a cluster of two nodes, by the words of the question.
const SCONTROL: &str = "case \"$*\" in
--version) echo 'slurm 22.05.8' ;;
'show config') printf '%s\\n' 'AccountingStorageType = accounting_storage/slurmdbd' 'ClusterName = big' \\
  'SLURM_VERSION = 22.05.8' ;;
*'show partition') for name in main low; do
  default=NO; [ $name = main ] && default=YES
  echo \"PartitionName=$name AllowGroups=ALL AllowAccounts=ALL AllowQos=ALL Default=$default DefaultTime=00:10:00\" \\
    'DisableRootJobs=NO Hidden=NO MaxNodes=UNLIMITED MaxTime=1-00:00:00 MinNodes=0 RootOnly=NO ReqResv=NO' \\
    'OverSubscribe=NO State=UP'
  done ;;
*'show node') for name in n1 n2; do
  echo \"NodeName=$name CPUTot=8 AvailableFeatures=fast ActiveFeatures=fast Gres=gpu:a100:2 RealMemory=8000\" \\
    'State=IDLE Partitions=main,low'
  done ;;
*'show reservation') echo 'No reservations in the system' ;;
*'show licenses') echo 'LicenseName=seat Total=2' ;;
esac
";

const SINFO: &str = "case \"$*\" in
--version) echo 'slurm 22.05.8' ;;
*) printf '%s\\n' 'main|2|8|8000|gpu:a100:2' 'low|2|8|8000|gpu:a100:2' ;;
esac
";

const SACCTMGR: &str = "case \"$*\" in
--version) echo 'slurm 22.05.8' ;;
*assoc*) printf '%s\\n' 'ml||few,normal' 'lab||normal' ;;
*qos*) printf '%s\\n' few normal ;;
esac
";

/// A world with such a Slurm below `slurm/`.
fn env_with_slurm() -> TestEnv {
    let env = TestEnv::new();
    for (name, script) in [("scontrol", SCONTROL), ("sinfo", SINFO), ("sacctmgr", SACCTMGR)] {
        env.program(&format!("slurm/{name}"), script);
    }
    for name in ["sbatch", "squeue", "sacct", "scancel"] {
        env.program(&format!("slurm/{name}"), "echo 'slurm 22.05.8'\n");
    }
    env
}

/// A command whose shell finds that Slurm.
fn command(env: &TestEnv, line: &str) -> Command {
    let mut command = env.command();
    command.env("PATH", TestEnv::path(&env.home().join("slurm")));
    command.args(line.split_whitespace());
    command
}

fn said(env: &TestEnv, line: &str) -> Said {
    Said::of(&mut command(env, line))
}

/// `site check` of this site file.
fn checked(env: &TestEnv, keys: &str) -> Said {
    let head = "[site]\nrun_root = 'HOME/runs'\n[cluster.big]\ncommands = 'HOME/slurm'\n";
    let text = format!("{head}{keys}").replace("HOME", &env.home().display().to_string());
    env.write("site.toml", &text);
    said(env, "site check --site site.toml")
}

/// A table without its lines: a sentence may be on several.
fn flat(env: &TestEnv, said: &Said) -> String {
    env.masked(&said.stdout).split_whitespace().collect::<Vec<_>>().join(" ")
}

#[test]
fn what_slurm_says_becomes_a_commented_file_that_fits_it() {
    let env = env_with_slurm();
    let printed = said(&env, "site init").success();
    assert_told!(env, printed);
    assert_eq!(said(&env, "site init").success().stdout, printed.stdout, "it is always the same");
    let own = env.home().join(".config/trainyard/site.toml");
    assert!(!own.exists(), "nothing is written unasked");

    let written = said(&env, "site init --output .config/trainyard/site.toml").success();
    assert!(written.stderr.contains("`trainyard site check`"), "{written}");
    assert_eq!(std::fs::read_to_string(&own).unwrap(), printed.stdout);
    let judged = said(&env, "site check").success();
    assert!(!judged.stdout.contains("BAD") && !judged.stdout.contains("note"), "{judged}");

    std::fs::write(&own, "# mine\n").unwrap();
    assert_told!(env, said(&env, "site init --output .config/trainyard/site.toml").ended(11));
    assert_eq!(std::fs::read_to_string(&own).unwrap(), "# mine\n");
    drop(said(&env, "site init --output .config/trainyard/site.toml --force").success());
    assert_eq!(std::fs::read_to_string(&own).unwrap(), printed.stdout);
    let elsewhere = said(&env, "site init -o new/site.toml --json").success();
    assert_eq!(elsewhere.json()["text"].as_str(), Some(printed.stdout.as_str()));
    assert!(elsewhere.stderr.contains("trainyard site check --site"), "{elsewhere}");
}

#[test]
fn accounting_that_is_silent_leaves_the_accounts_out() {
    let env = env_with_slurm();
    env.program("slurm/sacctmgr", "echo 'sacctmgr: error: connection refused' >&2\nexit 1\n");
    let printed = said(&env, "site init").success();
    assert!(printed.stdout.contains("[class.main]") && !printed.stdout.contains("[project"));
    let judged = checked(&env, "[class.c]\naccount = 'whose'\n").success();
    assert!(flat(&env, &judged).contains("sacctmgr gives no answer"), "{judged}");
}

#[test]
fn without_slurm_there_is_nothing_to_make_a_site_of() {
    let env = TestEnv::new();
    assert_told!(
        env,
        Said::of(env.command().args(["site", "init"]).env("PATH", "/nowhere")).ended(7)
    );
    let silent = env.line("site init").ended(7);
    assert!(silent.stderr.contains("Slurm cannot be asked: "), "{silent}");
    // Runs are local here, and that is fine.
    drop(env.line("site check").success());
}

#[test]
fn everything_wrong_is_told_in_a_table_of_eighty_columns() {
    let env = env_with_slurm();
    assert_told!(env, checked(&env, "[class.fine]\npartition = 'main'\nmax_nodes = 2\n").success());
    let wrong = "sinfo = '/opt/none/sinfo'\n[class.a]\npartition = 'mian'\n\
                 [class.b]\npartition = 'low'\ngpus_per_node = 4\ncpus_per_node = 9\nconstraint = 'fats'\n\
                 [class.c]\nmax_time = '2d'\nmemory_per_node = '100G'\naccount = 'm1'\nqos = 'high'\n\
                 [project.p]\nrun_root = '/dev/null/runs'\n";
    let told = checked(&env, wrong).ended(3);
    assert!(told.stdout.lines().all(|line| line.chars().count() <= 80), "{told}");
    let text = flat(&env, &told);
    for expected in [
        "the cluster has no partition `mian`",
        "did you mean `main`?",
        "4 GPUs per node, and a node of low has 2",
        "no node of partition `low` has the feature `fats`",
        "2d is longer than partition `main` allows: 1d",
        "does not have the Slurm account `m1`",
        "Slurm has no QOS `high`",
        "/dev/null/runs cannot be made: /dev/null is no directory",
        "/opt/none/sinfo cannot be run",
    ] {
        assert!(text.contains(expected), "{expected}: {told}");
    }
}

#[test]
fn findings_are_one_document_with_their_places() {
    let env = env_with_slurm();
    drop(checked(&env, "[class.a]\npartition = 'mian'\n"));
    let found = said(&env, "site check --site site.toml --json").ended(3).json();
    let file = env.home().join("site.toml");
    let wanted = json!({
        "what": "class.a.partition", "level": "bad", "told": "the cluster has no partition `mian`",
        "mend": "did you mean `main`?", "file": file, "line": 6,
    });
    assert!(found.as_array().unwrap().contains(&wanted), "{found}");
    let of_cluster = |it: &&Value| it["what"] == "cluster.big";
    let cluster = found.as_array().unwrap().iter().find(of_cluster).unwrap();
    assert_eq!((&cluster["level"], &cluster["file"]), (&json!("fine"), &Value::Null));
}

#[test]
fn faults_of_the_files_are_told_with_the_rest() {
    let env = env_with_slurm();
    for (keys, expected) in [
        ("[class.a]\npartitoin = 'main'\n", "did you mean `partition`?"),
        ("[class.a]\ncluster = 'bgi'\n", "class `a` is on cluster `bgi`, which is not defined"),
        ("[site]\n", "duplicate key"),
    ] {
        let told = checked(&env, keys).ended(3);
        let text = flat(&env, &told);
        assert!(text.contains(expected), "{expected}: {told}");
        assert!(text.contains("site.toml:"), "{told}");
    }
    env.write(
        "site.toml",
        "[site]\ndefault_class = 'mian'\n[cluster.big]\ncommands = '/x'\n[class.main]\n",
    );
    let told = said(&env, "site check --site site.toml").ended(3);
    let text = flat(&env, &told);
    assert!(text.contains("`site.default_class` is `mian`, which is not defined"), "{told}");
    assert!(text.contains("/x/sbatch cannot be run: "), "the rest is looked at too: {told}");
}

#[test]
fn a_silent_slurm_is_another_end_than_a_wrong_file() {
    let env = env_with_slurm();
    let version = "[ \"$1\" = --version ] && exec echo 'slurm 22.05.8'\n";
    let silent = format!("{version}echo 'Unable to contact slurm controller' >&2\nexit 1\n");
    env.program("slurm/scontrol", &silent);
    let told = checked(&env, "[class.a]\npartition = 'mian'\n").ended(7);
    assert!(told.stdout.contains("Slurm cannot be asked"), "{told}");
    // What can be known without it is looked at, and weighs more.
    let told = checked(&env, "[class.a]\n[project.p]\nrun_root = '/dev/null/runs'\n").ended(3);
    assert!(told.stdout.contains("/dev/null"), "{told}");
    let doctor = said(&env, "doctor --site site.toml").ended(1);
    assert!(doctor.stdout.contains("Slurm cannot be asked"), "{doctor}");
    assert!(!Path::new("/dev/null/runs").exists());
}
