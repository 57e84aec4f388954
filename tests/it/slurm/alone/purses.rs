//! A budget that Slurm keeps: what an account's `GrpTRESMins` leave, as Slurm counts it.

use serde_json::Value;

use crate::env::{Said, wait_until};
use crate::slurm::cluster::{Cluster, job_of};
use crate::slurm::requeue::{RESTARTABLE, runs_on_nodes};

/// Whole nodes, and no price: what Slurm counts is all that is paid.
const KEYS: &str = "\
scontrol = 'HOME/scontrol'
[class.paid]
cluster = 'test'
partition = 'main'
cpus_per_node = 8
memory_per_node = '50M'
exclusive = true
default_time = '1m'
[project.nlp]
account = 'paid'
budget = 'slurm'
";

/// A scontrol that takes longer than anybody waits for what accounts use, as long as there is a file `slow`.
const SLOW: &str = r#"
[[ $* == *assoc_mgr* && -e HOME/slow ]] && sleep 1
exec REAL "$@"
"#;

fn sacctmgr(cluster: &Cluster, words: &str) {
    let words: Vec<&str> = words.split(' ').collect();
    drop(cluster.ask("sacctmgr", &[&["-i", "-Q"], words.as_slice()].concat()));
}

fn submit(cluster: &Cluster, name: &str, seconds: u32, limit: &str) -> Said {
    submit_with(cluster, (name, seconds), &format!("time_limit = '{limit}'"))
}

fn submit_with(cluster: &Cluster, (name, seconds): (&str, u32), keys: &str) -> Said {
    let compute = format!("class = 'paid'\n{keys}");
    let path = cluster.spec(name, &format!("sleep {seconds}"), &compute);
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, format!("project = 'nlp'\n{text}")).unwrap();
    cluster.env.run(["submit", path.to_str().unwrap()])
}

/// The budget of the project, where it is one.
fn budget(cluster: &Cluster) -> Value {
    let shown = cluster.env.line("budget nlp --json").success().json();
    assert_eq!(shown.as_array().map(Vec::len), Some(1), "{shown:#}");
    shown[0].clone()
}

fn number(shown: &Value, key: &str) -> f64 {
    shown[key].as_f64().unwrap_or_else(|| panic!("no {key} in {shown:#}"))
}

#[test]
fn a_run_fits_into_what_slurm_leaves_its_account_or_is_refused() {
    let cluster = Cluster::alone(&["--multifactor"], KEYS);
    let home = cluster.env.home().display().to_string();
    let script = SLOW.replace("HOME", &home).replace("REAL", &cluster.path("scontrol"));
    drop(cluster.env.program("scontrol", &script));
    if !cluster.applies(cluster.has_accounting(), "without accounting there are no limits") {
        return;
    }
    sacctmgr(&cluster, "add account paid parent=ml GrpTRESMins=node=4");
    sacctmgr(&cluster, "add user root account=paid");
    // Four minutes of a node are there; ten of one would be used.
    let said = submit(&cluster, "long", 1, "10m").ended(9);
    assert!(
        said.stderr.contains("project `nlp` in test/paid/node has 0.066667 of 0.066667 node-hours left (0 spent, 0 held")
            && said.stderr.contains("as Slurm tells of account `paid` at ")
            && said.stderr.contains("and 1 node of class `paid` for up to 11m5s may take 0.184722; nothing was submitted"),
        "{said}"
    );
    let estimated = cluster.env.line("estimate long.toml").ended(9);
    assert!(
        estimated.stdout.contains("0.07 of 0.07 node-hours left (0.00 held): not enough"),
        "{estimated}"
    );
    let short = submit(&cluster, "short", 8, "1m").success();
    let short: i64 = short.stdout.trim().parse().unwrap();
    let held = budget(&cluster);
    let minutes = number(&held, "held") * 60.0;
    assert!((minutes - 125.0 / 60.0).abs() < 0.001, "a minute and what it may take: {held:#}");
    // A second one does not fit beside it.
    drop(submit(&cluster, "beside", 1, "1m").ended(9));
    cluster.env.until(short, &["completed"]);
    wait_until("what it did cost is spent, and the rest is free again", || {
        let shown = budget(&cluster);
        let used = number(&shown, "captured") * 60.0;
        number(&shown, "held") == 0.0 && used > 7.0 / 60.0 && used < 1.0
    });
    let shown = budget(&cluster);
    assert_eq!(
        (&shown["period"], &shown["unit"], &shown["slurm"]["limit_of"]),
        (&"test/paid/node".into(), &"node-hour".into(), &"paid".into()),
        "{shown:#}"
    );
    let table = cluster.env.line("budget").success();
    assert!(table.stdout.lines().all(|line| line.chars().count() <= 80), "{table}");
    let row = table.stdout.lines().nth(1).unwrap();
    assert!(row.starts_with("nlp      test/paid/node  0.07 ") && row.ends_with(" fine"), "{table}");
    assert!(
        table.stderr.contains("hours of what Slurm counts, of everybody, as it told"),
        "{table}"
    );
    others_use_the_account_too(&cluster);
    a_start_of_slurms_own_is_entered_in_all_that_is_limited(&cluster);
    a_slow_slurm_is_heard_later(&cluster);
}

/// Also by a daemon that has asked nothing yet when it sees it.
fn a_start_of_slurms_own_is_entered_in_all_that_is_limited(cluster: &Cluster) {
    sacctmgr(cluster, "modify account paid set GrpTRESMins=cpu=60000");
    wait_until("the limit is told", || budget(cluster)["slurm"]["tres"] == "cpu");
    let again = submit_with(cluster, ("again", 600), &format!("time_limit = '20m'\n{RESTARTABLE}"));
    let run: i64 = again.success().stdout.trim().parse().unwrap();
    runs_on_nodes(cluster, run, 0);
    let job = job_of(&cluster.env.show(run));
    drop(cluster.env.line("daemon stop").success());
    drop(cluster.ask("scontrol", &["requeue", &job.to_string()]));
    let held = || -> Vec<String> {
        let entries = cluster.env.line("ledger nlp --json").success().json();
        let entries = entries.as_array().unwrap().iter();
        let held = entries.filter(|entry| entry["kind"] == "hold" && entry["run"] == run);
        held.map(|entry| entry["period"].as_str().unwrap().to_owned()).collect()
    };
    wait_until("the second start is entered", || held().len() > 2);
    let mut periods = held();
    periods.sort();
    let each = ["test/paid/cpu", "test/paid/cpu", "test/paid/node", "test/paid/node"];
    assert_eq!(periods, each);
    drop(cluster.env.line(&format!("cancel {run}")).success());
    cluster.env.until(run, &["cancelled"]);
}

fn a_slow_slurm_is_heard_later(cluster: &Cluster) {
    drop(cluster.env.line("daemon stop").success());
    cluster.env.write("slow", "");
    let said = submit(cluster, "slow", 1, "1m").success();
    assert!(said.stderr.contains("it has not answered in time"), "{said}");
    cluster.env.until(said.stdout.trim().parse().unwrap(), &["completed"]);
}

/// What others use counts as soon as Slurm has counted it; so does a limit that changes.
fn others_use_the_account_too(cluster: &Cluster) {
    let job = ["-A", "paid", "-N4", "--exclusive", "-t1", "-o", "/dev/null", "--wrap", "sleep 46"];
    drop(cluster.ask("sbatch", &job));
    wait_until("what others used is not left any more", || {
        number(&budget(cluster), "available") * 60.0 < 2.0
    });
    let said = submit(cluster, "late", 1, "1m").ended(9);
    assert!(said.stderr.contains(" node-hours left ("), "{said}");
    sacctmgr(cluster, "modify account paid set GrpTRESMins=node=40");
    wait_until("there is more", || number(&budget(cluster), "available") * 60.0 > 30.0);
    let late = submit(cluster, "late", 1, "1m").success();
    cluster.env.until(late.stdout.trim().parse().unwrap(), &["completed"]);
    // The account above has less left.
    sacctmgr(cluster, "modify account ml set GrpTRESMins=node=1");
    wait_until("the limit above counts", || budget(cluster)["slurm"]["limit_of"] == "ml");
    drop(submit(cluster, "late", 1, "1m").ended(9));
    sacctmgr(cluster, "modify account ml paid set GrpTRESMins=node=-1");
    wait_until("nothing is limited", || budget(cluster)["budget"].is_null());
    let free = submit(cluster, "free", 1, "1m").success();
    cluster.env.until(free.stdout.trim().parse().unwrap(), &["completed"]);
    let table = cluster.env.line("budget").success();
    assert!(table.stdout.contains("no limit"), "{table}");
    let checked = cluster.env.line("site check");
    assert!(checked.stdout.contains("Slurm's account `paid` has no `GrpTRESMins`"), "{checked}");
}
