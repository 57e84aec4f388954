//! Sweeps as people meet them: how many points, what they cost, the script of one, and what is not built yet.

use crate::cli::assert_told;
use crate::env::TestEnv;

const SITE: &str = r#"
[site]
default_class = "a100"
[cluster.main]
[class.a100]
partition = "gpu"
gpus_per_node = 4
max_nodes = 2
default_time = "4h"
rate = 1.5
"#;

const SWEEP: &str = r#"
[code]
command = ["true"]

[args]
lr = 0.1

[sweep]
max_parallel = 2
objective = { metric = "val_loss", goal = "minimize" }
[sweep.parameters]
args.lr = [1e-4, 3e-4]
args.seed = { range = [0, 3] }
compute.nodes = [1, 2]
"#;

fn env() -> TestEnv {
    let mut env = TestEnv::new();
    env.use_site(SITE);
    env.write("sweep.toml", SWEEP);
    env
}

#[test]
fn a_check_says_how_many_points_there_are_and_what_they_cost_at_most() {
    let env = env();
    assert_told!(env, env.line("check sweep.toml"));
    let checked = env.line("check sweep.toml --json").success().json();
    assert_eq!(
        checked[0]["sweep"],
        serde_json::json!({
            "points": 12, "resource_sets": 2, "node_hours_max": 72.0, "charge_max": 108.0,
        })
    );
    env.write("run.toml", "[code]\ncommand = [\"true\"]\n");
    let checked = env.line("check run.toml --json").success().json();
    assert_eq!(checked[0]["sweep"], serde_json::Value::Null);
}

#[test]
fn faulty_points_are_told_with_their_parameters() {
    let env = env();
    env.write("sweep.toml", &SWEEP.replace("[1, 2]", "[1, 3]").replace("3e-4]", "\"{lr}\"]"));
    assert_told!(env, env.line("check sweep.toml"));
    env.write(
        "list.toml",
        "[code]\ncommand = ['true']\n[sweep]\nmethod = 'list'\nfile = 'p.csv'\n",
    );
    assert_told!(env, env.line("check list.toml"));
    env.write("p.csv", "args.a,compute.nodes\n1,2\n2,0\n");
    assert_told!(env, env.line("check list.toml"));
}

#[test]
fn the_script_of_a_point_is_that_of_a_run_with_its_values() {
    let env = env();
    env.write("run.toml", SWEEP.split("[sweep]").next().unwrap());
    let run =
        "render run.toml --name sweep --set args.lr=3e-4 --set args.seed=1 --set compute.nodes=2";
    let script = env.line(run).success().stdout;
    let said = env.line("render sweep.toml --point 9").success();
    assert_eq!((said.stdout.as_str(), said.stderr.as_str()), (script.as_str(), ""));
    let document = env.line("render sweep.toml --point 9 --json").success().json();
    assert_eq!(document["script"], script);
    assert_eq!(document["point"], 9);
    let parameters = serde_json::json!({ "args.lr": 3e-4, "args.seed": 1, "compute.nodes": 2 });
    assert_eq!(document["parameters"], parameters);

    let first = env.line("render sweep.toml --point 0").success().stdout;
    let said = env.line("render sweep.toml").success();
    assert_eq!(said.stdout, first);
    insta::assert_snapshot!(said.stderr);
    assert_told!(env, env.line("render sweep.toml --point 12").ended(4));
    assert_told!(env, env.line("render run.toml --point 0").ended(2));
    let said = env.line("render sweep.toml --point 7 --set args.seed=99").ended(3);
    assert!(said.stderr.contains("`args.seed` is a parameter of the sweep"), "{said}");
    assert_eq!(said.stdout, "", "{said}");
    // Its other points may be faulty.
    let set =
        ["render", "sweep.toml", "--point", "0", "--set", "sweep.parameters.compute.nodes=[1, 3]"];
    assert_eq!(env.run(set).success().stdout, first);
}

#[test]
fn a_list_is_read_from_beside_the_spec() {
    let env = env();
    env.write(
        "below/list.toml",
        "[code]\ncommand = ['true']\n[sweep]\nmethod = 'list'\nfile = 'p.jsonl'\n",
    );
    env.write("below/p.jsonl", "{\"args.text\": \"x y\"}\n{\"args.text\": \"$(false)\"}\n");
    let script = env.line("render below/list.toml --point 1").success().stdout;
    assert!(script.contains("'$(false)'"), "{script}");
    assert!(env.line("check below/list.toml").success().stdout.contains("2 points"));
}

#[test]
fn a_dry_run_of_a_sweep_counts_its_points_and_submits_nothing() {
    let env = env();
    let said = env.line("submit sweep.toml --dry-run").success();
    assert!(said.stderr.contains("would submit `sweep` with 12 points to"), "{said}");
    assert_eq!(env.line("sweep list --json").success().json(), serde_json::json!([]));
}
