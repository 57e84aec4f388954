//! What is shown of a point of a sweep, whose files lie elsewhere than those of a run of its own, and a point as such a run.

use serde_json::{Value, json};

use crate::env::{Said, TestEnv};

#[test]
fn the_logs_of_a_point_are_found_after_its_end() {
    let mut env = TestEnv::new();
    let root = env.run_root().display().to_string();
    env.use_site(&format!(
        "[site]\nrun_root = '{root}'\n[script]\nprologue = 'echo loading the modules'\n"
    ));
    let spec = env.bash_spec("lr", "echo \"training $2\"; [[ $2 == 0 ]] || exit 3");
    let text = std::fs::read_to_string(&spec).unwrap();
    std::fs::write(&spec, format!("{text}[sweep.parameters]\n'args.n' = [0, 1]\n")).unwrap();
    let sweep = env.submit(&spec);
    for (point, state) in [(0, "completed"), (1, "failed")] {
        env.until(sweep + 1 + point, &[state]);
        let log = env.line(&format!("logs {sweep}:{point}")).success().stdout;
        let whole = format!("training {point}\nloading the modules\n");
        assert_eq!(log, whole);
        let said = env.line(&format!("logs {sweep}:{point} --source scheduler")).success().stdout;
        assert_eq!(said, whole, "it has moved there");
    }
    let why = env.line(&format!("explain {sweep}:1")).success().stdout;
    assert!(why.contains("exit code 3") && why.contains("training 1"), "{why}");
}

/// What the last training had, as the training of this spec writes it down.
fn last_trained(env: &TestEnv) -> String {
    let text = std::fs::read_to_string(env.home().join("trained")).unwrap();
    text.lines().last().unwrap().to_owned()
}

const TRAINED: &str =
    "echo \"$TRAINYARD_SWEEP_ID:$TRAINYARD_SWEEP_POINT $* $MARK\" >>\"$HOME/trained\"";

/// A sweep as sweep 1, with these lines in its spec.
fn submitted(env: &TestEnv, lines: &str, more: &str) {
    let spec = env.bash_spec("lr", TRAINED);
    let text = std::fs::read_to_string(&spec).unwrap();
    std::fs::write(&spec, format!("experiment = 'abl'\n{text}{lines}")).unwrap();
    let said = env.line(&format!("submit {} {more}", spec.display())).success();
    assert_eq!(said.stdout, "1\n");
}

#[test]
fn a_point_is_run_again_by_itself_with_what_it_was_given() {
    let env = TestEnv::new();
    let keys = "[args]\nz = 1\n[environment.variables]\nMARK = 'none'\n[sweep]\nmax_parallel = 1\n\
                [sweep.parameters]\n'environment.variables.MARK' = [\"a 'b'\", 'c']\n\
                'args.lr' = [1e-2, 3E-2]\n";
    submitted(&env, keys, "--set args.epochs=2 --wait");
    let trained = std::fs::read_to_string(env.home().join("trained")).unwrap();
    let line = "1:1 --z 1 --epochs 2 --lr 3E-2 a 'b'";
    assert!(trained.lines().any(|had| had == line), "{trained}");
    // The record is enough, as for every run.
    env.write("lr-code/train.sh", "echo something else\n");
    std::fs::remove_file(env.home().join("lr.toml")).unwrap();
    let again = env.line("rerun 1:1 --wait --json").success().json();
    assert_eq!(last_trained(&env), line);
    assert_eq!((&again["sweep"], &again["point"]), (&Value::Null, &Value::Null));
    assert_eq!((&again["experiment"], &again["name"]), (&json!("abl"), &json!("lr")));
    assert_eq!((&again["rerun_of"], &again["rerun_of_point"]), (&json!(3), &json!("1:1")));
    assert_eq!(env.line("list --sweep 1 --json").success().json().as_array().unwrap().len(), 4);
    let shown = env.line("show 6").success();
    assert!(shown.stdout.contains("repeats     run 3, point 1:1\n"), "{shown}");
    let asked = std::fs::read_to_string(env.run_dir(6).join("run.toml")).unwrap();
    let end = "\n# --set args.epochs=2\n# --set environment.variables.MARK=\\\"a \\'b\\'\\\"\n\
               # --set args.lr=3E-2\n# point 1:1 as a run of its own: without [sweep]";
    assert!(asked.ends_with(end), "{asked}");
    let differs = env.line("diff 1:1 6 --json").success().stdout;
    assert!(!differs.contains("\"spec\""), "{differs}");
    // It is a run as any other: changed, run again, and made again of its exported record.
    drop(env.line("rerun 1:1 --set args.lr=5 --wait").success());
    assert_eq!(last_trained(&env), "1:1 --z 1 --epochs 2 --lr 5 a 'b'");
    let third = env.line("rerun 6 --wait --json").success().json();
    assert_eq!((&third["rerun_of"], &third["rerun_of_point"]), (&json!(6), &json!("1:1")));
    assert_eq!(last_trained(&env), line);
    env.write("point.json", &env.line("export 1:2").success().stdout);
    let mut elsewhere = env.command();
    elsewhere.args(["--state-dir", "other-state", "rerun", "point.json", "--wait"]);
    drop(Said::of(&mut elsewhere).success());
    assert_eq!(last_trained(&env), "1:2 --z 1 --epochs 2 --lr 1e-2 c");
    elsewhere = env.command();
    drop(Said::of(elsewhere.args(["--state-dir", "other-state", "daemon", "stop"])).success());
    // The same key is the same run; another point is another one.
    let keyed = |line: &str| env.line(&format!("rerun {line} --key best --wait"));
    let number = keyed("1:1").success().stdout;
    assert_eq!(keyed("1:1").success().stdout, number);
    drop(keyed("1:0").ended(11));
}

#[test]
fn a_told_point_is_run_again_by_itself() {
    let env = TestEnv::new();
    let keys = "[sweep]\nmethod = 'open'\nmax_points = 4\n[sweep.parameters]\n\
                args.opt = ['sgd', 'adam']\nargs.lr = { log_uniform = [1e-5, 1e-1] }\n";
    submitted(&env, keys, "");
    let told = env.run(["sweep", "tell", "1", r#"{"args.lr": 5e-2, "args.opt": "adam"}"#]);
    assert_eq!(told.success().json()["told"][0]["run"], 2);
    drop(env.line("sweep ask 1 --wait").success());
    let again = env.line("rerun 1:0 --wait --json").success().json();
    assert_eq!((&again["rerun_of"], &again["rerun_of_point"]), (&json!(2), &json!("1:0")));
    let trained = std::fs::read_to_string(env.home().join("trained")).unwrap();
    assert_eq!(trained, "1:0 --opt adam --lr 5e-2 \n".repeat(2));
    let standing = env.line("sweep ask 1").success().json();
    assert_eq!((&standing["points"], &standing["state"]), (&json!(1), &json!("waiting")));
}

#[test]
fn what_is_run_again_is_made_no_sweep() {
    let env = TestEnv::new();
    submitted(&env, "[sweep.parameters]\n'args.lr' = [1, 2]\n", "--wait");
    assert_eq!(env.line("rerun 1:1 --wait").success().stdout, "4\n");
    for run in ["1:1", "4"] {
        let sweep = env.run(["rerun", run, "--set", "sweep.parameters={ 'args.seed' = [3] }"]);
        let refused = sweep.ended(2);
        assert!(
            refused.stderr.contains("a rerun is one run, and this would be a sweep"),
            "{refused}"
        );
        assert!(refused.stderr.contains("hint: submit its spec with [sweep]"), "{refused}");
    }
    assert_eq!(env.line("list --json").success().json().as_array().unwrap().len(), 3);
}
