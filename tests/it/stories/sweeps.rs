//! Sweeps on this machine: each point once, and a key gives the same sweep again.

use std::path::PathBuf;

use crate::env::{TestEnv, wait_until};

fn sweep(env: &TestEnv, work: &str, keys: &str) -> PathBuf {
    let trained = env.home().join("trained").display().to_string();
    let script = format!("{work}\necho \"$TRAINYARD_SWEEP_POINT $* $MARK\" >>'{trained}'\n");
    let path = env.bash_spec("lr", &script);
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, format!("{text}{keys}")).unwrap();
    path
}

fn trained(env: &TestEnv) -> Vec<String> {
    let text = std::fs::read_to_string(env.home().join("trained")).unwrap_or_default();
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    lines.sort();
    lines
}

fn until_over(env: &TestEnv, sweep: i64) {
    wait_until("all points are over", || {
        let shown = env.line(&format!("sweep show {sweep} --json")).success().json();
        let states = shown["states"].as_object().unwrap();
        states.keys().all(|state| ["completed", "failed", "cancelled"].contains(&state.as_str()))
    });
}

const KEYS: &str = "[sweep]\nmax_parallel = 2\n[sweep.parameters]\n'args.lr' = [0.1, 0.2]\n\
                    'environment.variables.MARK' = [\"a b\", \"$x'\"]\n";

#[test]
fn a_sweep_runs_each_of_its_points_once_with_what_it_is_given() {
    let env = TestEnv::new();
    let said = env.run(["submit".into(), sweep(&env, "", KEYS)]).success();
    assert_eq!(said.stdout, "1\n");
    let root = env.run_root();
    assert_eq!(
        said.stderr,
        format!(
            "sweep 1 `lr` with 4 points accepted; its files are in {}\n",
            root.join("1-lr").display()
        )
    );
    until_over(&env, 1);
    let expected = ["0 --lr 0.1 a b", "1 --lr 0.1 $x'", "2 --lr 0.2 a b", "3 --lr 0.2 $x'"];
    assert_eq!(trained(&env), expected);
    let waited = env.line("wait 1").success();
    assert!(waited.stderr.contains("sweep 1 `lr` completed with all of its 4 points"), "{waited}");
    // The points have the numbers behind the sweep's.
    let point = env.line("show 1:3 --json").success().json();
    assert_eq!((&point["id"], &point["state"]), (&5.into(), &"completed".into()));
    assert_eq!(point["parameters"]["environment.variables.MARK"], "$x'");
    let missing = env.line("show 1:4").ended(4);
    assert!(
        missing.stderr.contains("sweep 1 has no point 4: they are numbered from 0 to 3"),
        "{missing}"
    );
}

#[test]
fn a_key_gives_the_same_sweep_and_an_active_one_is_skipped() {
    let env = TestEnv::new();
    let spec = sweep(&env, "sleep 300", KEYS);
    let submit = |args: &str| env.line(&format!("submit {} {args}", spec.display()));
    assert_eq!(submit("--key nightly").success().stdout, "1\n");
    let again = submit("--key nightly").success();
    assert_eq!(again.stdout, "1\n");
    assert!(again.stderr.contains("sweep 1 `lr` has this key already"), "{again}");
    drop(submit("--key nightly --set sweep.max_parallel=1").ended(11));
    let skipped = submit("--if-active skip").success();
    assert_eq!(skipped.stdout, "1\n");
    assert!(skipped.stderr.contains("sweep 1 `lr` is active"), "{skipped}");
    let listed = env.line("sweep list --json").success().json();
    assert_eq!(listed.as_array().unwrap().len(), 1);
    let waited = env.line("wait 1 --timeout 0s --json").ended(12);
    assert_eq!(waited.json()[0]["points"], 4);
    drop(env.line("sweep cancel lr").success());
    until_over(&env, 1);
}

/// A sweep of three points, as sweep 1: the best is the second, and the third reports nothing and fails.
fn compared() -> TestEnv {
    let env = TestEnv::new();
    let work = "[ $2 = 0.3 ] && exit 3\nfor step in 1 2 3; do\n\
                echo '{\"step\": '$step', \"loss\": '$2$step'}' >>\"$TRAINYARD_METRICS_PATH\"\ndone\n";
    let keys = "[sweep]\nobjective = { metric = 'loss', goal = 'minimize' }\n\
                [sweep.parameters]\n'args.lr' = [0.2, 0.1, 0.3]\n";
    let spec = sweep(&env, work, keys);
    // It waits for all points: the first one completes.
    let said = env.line(&format!("submit {} --wait", spec.display())).ended(1);
    assert_eq!(said.stdout, "1\n");
    let told = "sweep 1 `lr` did not complete: 2 completed, 1 failed";
    assert!(said.stderr.contains(told), "{said}");
    env
}

#[test]
fn points_are_compared_by_what_they_reported() {
    let env = compared();
    let compared = env.line("sweep compare lr 1 --json").success().json();
    let told = |key: &str| -> Vec<serde_json::Value> {
        let points = compared["points"].as_array().unwrap();
        points.iter().map(|point| point[key].clone()).collect()
    };
    let none = serde_json::Value::Null;
    assert_eq!(told("point"), [1, 0, 2]);
    assert_eq!(told("best"), [0.11.into(), 0.21.into(), none.clone()]);
    assert_eq!(told("step"), [1.into(), 1.into(), none.clone()]);
    assert_eq!(told("last"), [0.13.into(), 0.23.into(), none]);
    assert_eq!(told("state"), ["completed", "completed", "failed"]);
    let most = env.line("sweep compare 1 --goal maximize --csv").success().stdout;
    let points: Vec<&str> =
        most.lines().skip(1).map(|line| line.split(',').nth(1).unwrap()).collect();
    assert_eq!(points, ["0", "1", "2"], "{most}");
    let table = env.line("sweep compare 1").success();
    assert!(table.stdout.starts_with("POINT  lr   BEST"), "{table}");
    let groups = env.line("sweep compare 1 --by lr --csv").success().stdout;
    assert!(groups.contains("\n0.1,1,1,0.11,0.11,"), "{groups}");
    assert!(groups.contains("\n0.3,1,0,,,"), "{groups}");
}

#[test]
fn a_comparison_that_cannot_be_made_says_why() {
    let env = compared();
    let check = |line: &str, code: i32, why: &str| {
        let said = env.line(line).ended(code);
        assert!(said.stderr.contains(why) && said.stdout.is_empty(), "{said}");
    };
    check("sweep compare 9", 4, "there is no sweep `9`");
    check("sweep compare --experiment none", 4, "there is no sweep of the experiment `none`");
    check("sweep compare 1 --metric accuracy", 2, "there are loss");
    check("sweep compare 1 --by momentum", 2, "there are args.lr");
    check("sweep compare", 2, "required");
    check("sweep compare 1 --goal least", 2, "minimize, maximize");
}

#[test]
fn a_sweep_and_its_points_are_told_from_runs() {
    let env = compared();
    let shown = env.line("sweep show 1 -f").success().stdout;
    assert!(shown.contains("[########################] 3 of 3 over\n"), "{shown}");
    assert!(shown.contains("best        1:1 with 0.11 at step 1: lr 0.1\n"), "{shown}");
    let list = env.line("list").success().stdout;
    let first = |line: &str| line.split(' ').next().unwrap().to_owned();
    let numbers: Vec<String> = list.lines().skip(1).map(first).collect();
    assert_eq!(numbers, ["1:2", "1:1", "1:0"]);
    let point = env.line("show 1:1").success().stdout;
    assert!(point.contains("  sweep       1, point 1\n  parameter   args.lr = 0.1\n"), "{point}");
    for line in ["show 1", "cancel 1", "logs 1"] {
        let said = env.line(line).ended(4);
        assert!(said.stderr.contains("1 is a sweep: `trainyard sweep show 1`"), "{said}");
    }
    let usage = env.line("usage --by sweep --csv").success().stdout;
    assert!(usage.contains("\n1,3,3,"), "{usage}");
}

#[test]
fn a_sweep_is_waited_for_by_its_name() {
    let env = TestEnv::new();
    let keys = "[sweep.parameters]\n'args.lr' = [0.1, 0.2]\n";
    let spec = sweep(&env, "until [[ -e $HOME/go ]]; do sleep 0.1; done", keys);
    let submit = || env.run(["submit".into(), spec.clone()]).success().stdout;
    assert_eq!(submit(), "1\n");
    // Its points are called so, too.
    let waits = env.line("wait lr --timeout 1s").ended(12);
    assert!(waits.stderr.contains("sweep 1 `lr` is not over yet"), "{waits}");
    env.write("go", "");
    drop(env.line("wait 1").success());
    let waited = env.line("wait lr --json").success();
    assert_eq!(waited.json()[0]["points"], 2, "{waited}");
    // A run of its own has the name as well: the one that is not over is meant.
    std::fs::remove_file(env.home().join("go")).unwrap();
    assert_eq!(env.line("rerun 1:1").success().stdout, "4\n");
    let waits = env.line("wait lr --timeout 1s").ended(12);
    assert!(waits.stderr.contains("run 4 `lr` is not over yet"), "{waits}");
    assert_eq!(submit(), "5\n");
    let unclear = |run: &str, sweep: &str| {
        let said = env.line("wait lr").ended(2);
        assert!(said.stderr.contains("2 runs and sweeps are called `lr`"), "{said}");
        assert!(said.stderr.contains(run) && said.stderr.contains(sweep), "{said}");
    };
    unclear("run 4 (", "sweep 5 (");
    drop(env.line("cancel 4").success());
    drop(env.line("wait 4").ended(1));
    let waits = env.line("wait lr --timeout 1s").ended(12);
    assert!(waits.stderr.contains("sweep 5 `lr` is not over yet"), "{waits}");
    env.write("go", "");
    drop(env.line("wait 5").success());
    unclear("run 4 (cancelled)", "sweep 5 (completed)");
    let missing = env.line("wait nobody").ended(4);
    assert!(missing.stderr.contains("there is no run `nobody`"), "{missing}");
}

#[test]
fn an_older_sweep_of_a_name_is_waited_for_as_long_as_it_runs() {
    let env = TestEnv::new();
    let work = "[[ $2 == 0.3 ]] || until [[ -e $HOME/go ]]; do sleep 0.1; done";
    let submit = |values: &str| {
        let spec = sweep(&env, work, &format!("[sweep.parameters]\n'args.lr' = [{values}]\n"));
        env.run(["submit".into(), spec]).success().stdout
    };
    assert_eq!(submit("0.1, 0.2"), "1\n");
    assert_eq!(submit("0.3"), "4\n");
    drop(env.line("wait 4").success());
    let waits = env.line("wait lr --timeout 1s").ended(12);
    assert!(waits.stderr.contains("sweep 1 `lr` is not over yet"), "{waits}");
    // One that may be told more points is not over, either.
    let keys = "[sweep]\nmethod = 'open'\nmax_points = 1\n[sweep.parameters]\n'args.lr' = [1]\n";
    let spec = sweep(&env, work, keys);
    assert_eq!(env.run(["submit".into(), spec]).success().stdout, "6\n");
    assert_eq!(submit("0.3"), "7\n");
    drop(env.line("wait 7").success());
    let unclear = env.line("wait lr").ended(2);
    let both = ["2 runs and sweeps are called `lr`", "sweep 6 (waiting), sweep 1 ("];
    assert!(both.iter().all(|said| unclear.stderr.contains(said)), "{unclear}");
    drop(env.line("sweep cancel 6").success());
    env.write("go", "");
    drop(env.line("wait 1").success());
    // All are over: the newest one is meant, as elsewhere.
    let waited = env.line("wait lr --json").success();
    assert_eq!(waited.json()[0]["id"], 7, "{waited}");
}
