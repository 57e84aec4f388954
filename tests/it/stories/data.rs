//! A run's data: named by path or by the catalogue, fingerprinted, compared at the start, copied to where it trains.

use std::fs;
use std::path::Path;
use std::time::{Duration, SystemTime};

use crate::env::TestEnv;

/// A world with two datasets in its catalogue.
fn world() -> TestEnv {
    let mut env = TestEnv::new();
    env.write("data/folding/v12/a.bin", "aaaa");
    env.write("data/folding/v12/deep/b.bin", "bb");
    env.write("data/fixed/x", "x");
    let home = env.home().display().to_string();
    env.use_site(&format!(
        "[dataset.folding_v12]\npath = '{home}/data/folding/v12'\nversion = '12'\nowner = 'biology'\n\
         description = 'Folded proteins'\n\
         [dataset.fixed]\npath = '{home}/data/fixed'\nimmutable = true\n"
    ));
    env
}

/// A spec `NAME.toml` with this script and these datasets.
fn spec(env: &TestEnv, name: &str, script: &str, datasets: &str) -> String {
    let path = env.bash_spec(name, script);
    let text = fs::read_to_string(&path).unwrap();
    fs::write(&path, format!("{text}{datasets}")).unwrap();
    path.display().to_string()
}

fn completed(env: &TestEnv, spec: &str, more: &[&str]) -> serde_json::Value {
    let words = [&["submit", spec, "--wait"], more].concat();
    let run = env.run(words).success();
    env.show(run.stdout.trim().parse().unwrap())
}

fn fingerprint(run: &serde_json::Value) -> String {
    run["datasets"][0]["fingerprint"].as_str().expect("a fingerprint").to_owned()
}

#[test]
fn a_run_finds_its_data_and_remembers_what_it_was() {
    let env = world();
    let spec = spec(
        &env,
        "learns",
        "echo \"$1\"; echo \"$TRAINYARD_DATA_PATH_MINE\"; cat \"$TRAINYARD_DATA_PATH\"/a.bin\n",
        "[[dataset]]\nname = 'folding_v12'\nversion = '12'\n[[dataset]]\npath = 'mine'\n[args]\ndata = '{data}'\n",
    );
    drop(env.line("check learns.toml").ended(3));
    env.write("mine/x", "x");
    let run = completed(&env, &spec, &[]);
    let home = env.home().canonicalize().unwrap();
    let folding = format!("{}/data/folding/v12", env.home().display());
    let log = env.line("logs 1").success().stdout;
    assert_eq!(log, format!("--data\n{}/mine\naaaa", home.display()));
    let data = &run["datasets"];
    assert_eq!(data[0]["name"], "folding_v12");
    assert_eq!(data[0]["path"], folding.as_str());
    assert_eq!((&data[0]["files"], &data[0]["bytes"]), (&2.into(), &6.into()));
    assert_eq!(data[1]["name"], "mine");
    assert!(fingerprint(&run).starts_with("manifest:"), "{run}");
    let shown = env.line("show 1").success().stdout;
    assert!(shown.contains("folding_v12 at "), "{shown}");
    let listed = env.line("list --json").success().json();
    assert_eq!(listed[0]["datasets"], run["datasets"]);

    assert_eq!(fingerprint(&completed(&env, &spec, &[])), fingerprint(&run));
    // As many bytes, in the same second.
    fs::write(env.home().join("data/folding/v12/a.bin"), "bbbb").unwrap();
    let changed = completed(&env, &spec, &[]);
    assert_ne!(fingerprint(&changed), fingerprint(&run));

    let shown = env.line("dataset show folding_v12 --json").success().json();
    assert_eq!(shown["fingerprints"][0]["runs"], serde_json::json!([3]));
    assert_eq!(shown["fingerprints"][1]["runs"], serde_json::json!([2, 1]));
    assert_eq!(shown["fingerprints"][1]["fingerprint"], fingerprint(&run).as_str());
}

#[test]
fn the_catalogue_is_shown_and_answers_for_what_it_has() {
    let env = world();
    let listed = env.line("dataset list").success().stdout;
    assert!(
        listed.contains("folding_v12") && listed.lines().all(|line| line.chars().count() <= 80),
        "{listed}"
    );
    let json = env.line("dataset list --json").success().json();
    assert_eq!(json[0]["name"], "folding_v12");
    assert_eq!(json[1]["immutable"], true);
    assert!(
        env.line("site show").success().stdout.contains("dataset.folding_v12.version = \"12\"")
    );
    let missing = env.line("dataset show folding_v13").ended(4);
    assert!(missing.stderr.contains("did you mean `folding_v12`?"), "{missing}");
    drop(env.line("dataset snapshot nothing").ended(4));
    drop(env.line("dataset snapshot ./nothing").ended(4));

    let first = env.line("dataset snapshot folding_v12 --json").success().json();
    assert!(first["fingerprint"].as_str().unwrap().starts_with("manifest:"), "{first}");
    let content = env.line("dataset snapshot data/folding/v12 --content").success().stdout;
    assert!(content.starts_with("content:"), "{content}");
    let shown = env.line("dataset show folding_v12").success().stdout;
    assert!(shown.contains("Folded proteins") && shown.contains("content:"), "{shown}");
    let as_file = env.line("dataset show ./data/folding/v12/a.bin").success().stdout;
    assert!(as_file.contains("nobody has looked at it yet"), "{as_file}");

    let wrong = [
        ("name = 'folding_v1'", "did you mean `folding_v12`?"),
        ("name = 'folding_v12'\nversion = '11'", "is at version `12` here, not `11`"),
        ("path = 'nowhere'", "there is no dataset"),
        ("stage = 'none'", "a dataset without `name` and `path`"),
        ("path = 'data/fixed'\n[[dataset]]\nname = 'fixed'", "there are two datasets `fixed`"),
        ("path = 'data/fixed'\nname = 'a b'", "cannot be the name of a dataset"),
        ("name = 'fixed'\n[args]\nx = '{data.other}'", "the spec has no dataset `other`"),
    ];
    for (dataset, told) in wrong {
        spec(&env, "wrong", "exit 0\n", &format!("[[dataset]]\n{dataset}\n"));
        let said = env.line("check wrong.toml").ended(3);
        // Lines are broken to the width of a terminal.
        let words: Vec<&str> = said.stderr.split_whitespace().filter(|word| *word != "│").collect();
        assert!(words.join(" ").contains(told), "{told}: {said}");
    }
}

#[test]
fn contents_count_where_they_are_asked_for_and_times_do_not() {
    let env = world();
    let datasets = "[[dataset]]\nname = 'folding_v12'\ncontent = true\n";
    let spec = spec(&env, "reads", "exit 0\n", datasets);
    let first = completed(&env, &spec, &[]);
    assert!(fingerprint(&first).starts_with("content:"), "{first}");
    let file =
        fs::File::options().write(true).open(env.home().join("data/folding/v12/a.bin")).unwrap();
    file.set_modified(SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000)).unwrap();
    assert_eq!(fingerprint(&completed(&env, &spec, &[])), fingerprint(&first));
    fs::write(env.home().join("data/folding/v12/a.bin"), "abab").unwrap();
    assert_ne!(fingerprint(&completed(&env, &spec, &[])), fingerprint(&first));
}

#[test]
fn data_that_changes_before_the_start_is_told_or_ends_the_run() {
    let env = world();
    let first =
        env.bash_spec("busy", "until [ -e \"$TRAINYARD_RUN_DIR/go\" ]; do sleep 0.02; done\n");
    let blocker = env.submit(&first);
    env.until(blocker, &["running"]);
    let wait = |name: &str, policy: &str| -> i64 {
        let path =
            spec(&env, name, "exit 0\n", &format!("[[dataset]]\nname = 'folding_v12'\n{policy}"));
        let said = env.run(["submit", &path, "--name", "busy", "--if-active", "queue"]).success();
        said.stdout.trim().parse().unwrap()
    };
    let warns = wait("warns", "");
    let fails = wait("fails", "on_drift = 'fail'\n");
    fs::write(env.home().join("data/folding/v12/new.bin"), "").unwrap();
    fs::write(env.run_dir(blocker).join("go"), "").unwrap();

    let run = env.until(warns, &["completed", "failed"]);
    assert_eq!(run["state"], "completed", "{run}");
    let told = run["attempts"][0]["data_drift"].as_str().unwrap_or_default();
    assert!(told.contains("`folding_v12` is not what it was"), "{run}");
    let shown = env.line(&format!("show {warns}")).success().stdout;
    assert!(shown.contains("warning     attempt 1: the dataset"), "{shown}");
    let events = env.line(&format!("events {warns}")).success().stdout;
    assert!(events.contains("data_changed"), "{events}");

    let run = env.until(fails, &["completed", "failed"]);
    assert_eq!(
        (&run["state"], &run["reason"]),
        (&"failed".into(), &"data_changed".into()),
        "{run}"
    );
    assert!(run["message"].as_str().unwrap().contains("`folding_v12` is not what it was"), "{run}");
}

#[test]
fn data_is_copied_to_where_it_trains() {
    let env = world();
    let spec = spec(
        &env,
        "copies",
        "echo \"$TRAINYARD_DATA_PATH\"; echo \"$TRAINYARD_LOCAL_SCRATCH\"; cat \"$TRAINYARD_DATA_PATH/deep/b.bin\"\n",
        "[[dataset]]\nname = 'folding_v12'\nstage = 'local'\n",
    );
    drop(completed(&env, &spec, &[]));
    let log = env.line("logs 1").success().stdout;
    let lines: Vec<&str> = log.lines().collect();
    assert!(lines[0].starts_with(lines[1]) && lines[0] != lines[1], "{log}");
    assert_eq!(lines[2], "bb");
    assert!(!Path::new(lines[0]).exists(), "the copy is gone");
}

#[test]
fn a_flag_says_which_data_and_the_spec_how() {
    let env = world();
    env.write("mine/x", "x");
    let one = spec(&env, "one", "exit 0\n", "[[dataset]]\nname = 'folding_v12'\ncontent = true\n");
    let names = |run: &serde_json::Value| -> Vec<String> {
        let all = run["datasets"].as_array().unwrap().iter();
        all.map(|data| data["name"].as_str().unwrap().to_owned()).collect()
    };
    let run = completed(&env, &one, &["--dataset", "fixed"]);
    assert_eq!(names(&run), ["fixed"]);
    assert!(fingerprint(&run).starts_with("content:"), "what the spec says holds for it: {run}");
    let run = completed(&env, &one, &["--dataset", "./mine", "--dataset", "fixed"]);
    assert_eq!(names(&run), ["mine", "fixed"]);
    // Beside several it takes the place of the one of its name, else it is one more.
    let two =
        "[[dataset]]\nname = 'folding_v12'\n[[dataset]]\npath = 'data/fixed'\ncontent = true\n";
    let two = spec(&env, "two", "exit 0\n", two);
    let run = completed(&env, &two, &["--dataset", "fixed", "--dataset", "./mine"]);
    assert_eq!(names(&run), ["folding_v12", "fixed", "mine"]);
    let again = env.line("rerun @last --wait").success();
    let again = env.show(again.stdout.trim().parse().unwrap());
    assert_eq!(names(&again), names(&run), "a rerun has the same data");
    let none = spec(&env, "none", "exit 0\n", "");
    assert_eq!(names(&completed(&env, &none, &["--dataset", "folding_v12"])), ["folding_v12"]);
    drop(env.line("check none.toml --dataset nothing").ended(3));
    let script = env.line("render none.toml --dataset ./mine").success().stdout;
    assert!(script.contains("TRAINYARD_DATA_PATH_MINE"), "{script}");
}

#[test]
fn data_that_nobody_changes_is_looked_at_once() {
    let env = world();
    let spec = spec(&env, "fixed", "exit 0\n", "[[dataset]]\nname = 'fixed'\n");
    let first = completed(&env, &spec, &[]);
    let at = first["datasets"][0]["at"].clone();
    // Its root shows nothing of this.
    fs::write(env.home().join("data/fixed/x"), "changed all the same").unwrap();
    let second = completed(&env, &spec, &[]);
    assert_eq!(fingerprint(&second), fingerprint(&first));
    assert_eq!(second["datasets"][0]["at"], at);
    let now = env.line("dataset snapshot fixed --json").success().json();
    assert_ne!(
        now["fingerprint"], first["datasets"][0]["fingerprint"],
        "one that is asked for looks"
    );
}

#[test]
fn a_dataset_that_is_newer_than_the_daemon_is_there_for_who_names_it() {
    let mut env = world();
    drop(completed(&env, &spec(&env, "first", "true\n", ""), &[]));
    let with_new = |name: &str| {
        let home = env.home().display();
        let text = fs::read_to_string(env.home().join("site.toml")).unwrap();
        format!("{text}[dataset.{name}]\npath = '{home}/data/fixed'\n")
    };
    let newer = with_new("newer");
    env.use_site(&newer);
    let spec = spec(&env, "second", "true\n", "[[dataset]]\nname = 'newer'\n");
    let daemon = env.daemon_pid();
    drop(completed(&env, &spec, &[]));
    assert_eq!(env.daemon_pid(), daemon, "the same daemon has read the file again");
}
