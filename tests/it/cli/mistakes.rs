//! Specs with mistakes: all of them at once, each at its line, and nothing is submitted.

use crate::cli::assert_told;
use crate::env::TestEnv;

const TEN: &str = r#"nmae = "ten"
project = "nobody"

[code]
path = "no-such-directory"
entry_point = "train.py"
work = "move"

[args]
output = "{outptu}"

[environment.variables]
RANK = 0

[compute]
nodes = 0
time_limit = "soon"
sbatch = ["--output=x"]

[distributed]
launcher = "torchrunn"
"#;

/// Where they are.
const LINES: &[u64; 10] = &[1, 2, 5, 7, 10, 13, 16, 17, 18, 21];

#[test]
fn every_mistake_is_told_at_its_line() {
    let env = TestEnv::new();
    env.write("ten.toml", TEN);
    assert_told!(env, env.line("check ten.toml"));
}

#[test]
fn a_program_gets_the_same_with_line_and_column() {
    let env = TestEnv::new();
    env.write("ten.toml", TEN);
    env.bash_spec("fine", "exit 0\n");
    let checked = env.line("check ten.toml fine.toml missing.toml --json").ended(3).json();
    let lines: Vec<u64> = checked[0]["problems"]
        .as_array()
        .unwrap()
        .iter()
        .map(|problem| problem["line"].as_u64().unwrap())
        .collect();
    assert_eq!(lines, LINES, "ten mistakes are ten problems");
    assert_eq!(checked[0]["spec"], "ten.toml");
    assert_eq!(checked[0]["problems"][0]["file"], "ten.toml");
    assert_eq!(checked[0]["problems"][1]["column"], 11);
    assert_eq!(checked[0]["problems"][0]["help"], "did you mean `name`?");
    assert_eq!(checked[1]["problems"], serde_json::json!([]));
    let missing = checked[2]["problems"][0]["message"].as_str().unwrap();
    assert!(missing.starts_with("cannot read missing.toml"), "{missing}");
}

#[test]
fn nothing_is_submitted() {
    let env = TestEnv::new();
    env.write("ten.toml", TEN);
    for line in ["submit ten.toml", "submit ten.toml --key k", "submit ten.toml --dry-run"] {
        let said = env.line(line).ended(3);
        let count = LINES.len();
        assert!(
            said.stderr.contains(&format!("{count} problems; nothing was submitted")),
            "{said}"
        );
        assert_eq!(said.stdout, "", "no number is printed");
    }
    assert_eq!(env.line("render ten.toml").ended(3).stdout, "");
    assert_eq!(env.line("list --json").success().json(), serde_json::json!([]));
}

#[test]
fn flags_are_pointed_at_like_lines() {
    let env = TestEnv::new();
    env.bash_spec("fine", "exit 0\n");
    assert_told!(env, env.line("check fine.toml"));
    assert_told!(env, env.line("submit fine.toml --set compute.nodse=2 --nodes 2 --class a100"));
}

#[test]
fn a_broken_text_and_an_empty_one_are_told() {
    let env = TestEnv::new();
    env.write("broken.toml", "name = \"x\n[code]\nentry_point = \"a.sh\"\n");
    env.write("9.toml", "");
    assert_told!(env, env.line("check broken.toml 9.toml missing.toml"));
}

#[test]
fn mistakes_in_the_site_file_are_told_at_their_lines() {
    let mut env = TestEnv::new();
    env.bash_spec("fine", "exit 0\n");
    env.use_site("[site]\nrun_rot = \"/x\"\n[class.a]\ncluster = \"main\"\nmax_running = 4\n");
    assert_told!(env, env.line("check fine.toml"));
    for line in ["submit fine.toml", "classes", "site show", "render fine.toml", "list"] {
        // `list` does not read the site file itself; the daemon that it starts does, and says the same.
        let said = env.line(line).ended(3);
        assert!(said.stderr.contains("run_rot"), "{said}");
    }
}

#[test]
fn a_newcomer_is_led_from_init_to_a_run() {
    let env = TestEnv::new();
    let begun = env.write("my-project/.keep", "");
    let at = begun.parent().unwrap();
    let run = |words: &[&str]| crate::env::Said::of(env.command().current_dir(at).args(words));
    assert_told!(env, run(&["init"]).success());
    let said = run(&["check", "run.toml"]).ended(3);
    assert_told!(env, said);
    assert_eq!(run(&["init"]).ended(11).stdout, "");
    std::fs::remove_file(at.join("run.toml")).unwrap();
    std::fs::write(at.join("main.py"), "print('hello')\n").unwrap();
    assert_told!(env, run(&["init"]).success());
    assert_eq!(run(&["check", "run.toml"]).success().stdout, "run.toml: fine\n");
    drop(run(&["submit", "run.toml", "--wait"]).success());
    assert_eq!(env.show(1)["name"], "my-project");
    assert_eq!(env.line("logs my-project").success().stdout, "hello\n");
}
