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
    drop(env.line("sweep cancel lr").success());
    until_over(&env, 1);
}
