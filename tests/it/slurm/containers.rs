//! A real container on a real Slurm: Charliecloud runs the example over two nodes, in an image that `tests/containers/image`
//! makes. As Charliecloud needs no privilege and no daemon, it is what can be had everywhere.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::json;

use crate::slurm::cluster::Cluster;
use crate::stories::secrets::{NEEDLE, holders, secrets, sum};

/// The image, which is made where there is none.
#[expect(clippy::disallowed_methods, reason = "tests make what they need")]
fn image() -> String {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/containers/image");
    let output = Command::new(script).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

/// Where a release is not this machine's own, its nodes have the programs of another Debian.
fn has_charliecloud(cluster: &Cluster) -> bool {
    let is_own = cluster.variable("TRAINYARD_CLUSTER_RELEASE") == "22.05";
    cluster.applies(is_own, "the nodes of this release have no Charliecloud")
}

const SITE: &str = "container_runtime = 'charliecloud'\n";

fn with_container(cluster: &Cluster, spec: &Path, image: &str, more: &str) -> PathBuf {
    let text = std::fs::read_to_string(spec).unwrap();
    secrets(&cluster.env);
    let lines =
        format!("{text}[environment]\ncontainer = '{image}'\nsecrets = 'secrets.env'\n{more}");
    std::fs::write(spec, lines).unwrap();
    spec.to_owned()
}

#[test]
fn the_example_runs_over_two_nodes_in_a_container() {
    let cluster = Cluster::with(SITE);
    if !has_charliecloud(&cluster) {
        return;
    }
    let example = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/two-ranks/run.toml");
    let container = format!("environment.container=\"{}\"", image());
    let said = cluster.env.run([
        "submit",
        example,
        "--class",
        "cpu",
        "--nodes",
        "2",
        "--set",
        &container,
        "--set",
        "args.epochs=20",
        "--wait",
    ]);
    let log = cluster.env.line("logs 1").stdout;
    assert_eq!(
        said.code,
        0,
        "{said}\n{log}\n{}",
        cluster.env.line("logs 1 --source scheduler").stdout
    );
    assert!(log.contains("the ranks 0 to 3 add up to 6"), "{log}");
    let shown = cluster.env.show(1);
    assert_eq!(
        (&shown["state"], &shown["world_size"]),
        (&json!("completed"), &json!(4)),
        "{shown:#}"
    );
    assert!(shown["metrics"]["loss"]["last"].as_f64().is_some(), "{shown:#}");
    assert!(cluster.env.run_dir(1).join("output/model.json").exists());
}

#[test]
fn a_container_has_its_own_system_the_runs_variables_and_its_secrets() {
    let cluster = Cluster::with(SITE);
    if !has_charliecloud(&cluster) {
        return;
    }
    let training = "echo $CH_RUNNING rank=$RANK of $WORLD_SIZE $MODE $(printf %s \"$SECRET\" | md5sum | cut -c1-8) \
         $(python3 -c 'print(\"py\", 6 * 7)')\n\
         cd \"$TRAINYARD_OUTPUT_PATH\" && : >$RANK\nuntil [[ -e 0 && ( $WORLD_SIZE == 1 || -e 1 ) ]]; do sleep 0.1; done\n\
         [[ -w $TRAINYARD_LOCAL_SCRATCH && ! -e /usr/sbin/slurmd ]] || exit 3\nexit 9\n";
    for launcher in ["none", "srun"] {
        let more = format!(
            "[environment.variables]\nMODE = 'fast'\n[distributed]\nlauncher = '{launcher}'\n[compute]\nclass = 'cpu'\nnodes = 2\n"
        );
        let spec = cluster.env.bash_spec(&format!("in-{launcher}"), training);
        let run = cluster.env.submit(&with_container(&cluster, &spec, &image(), &more));
        let shown = cluster.env.until(run, &["completed", "failed"]);
        let log = cluster.env.line(&format!("logs {run}")).stdout;
        let scheduler = cluster.env.line(&format!("logs {run} --source scheduler")).stdout;
        assert_eq!(shown["attempts"][0]["exit_code"], json!(9), "{log}\n{scheduler}\n{shown:#}");
        let ranks = if launcher == "none" { 1 } else { 2 };
        for rank in 0..ranks {
            let line = format!("Weird Al Yankovic rank={rank} of {ranks} fast {} py 42", sum());
            assert!(log.contains(&line), "{line}\n{log}\n{scheduler}");
        }
        assert!(scheduler.contains("the container: /"), "{scheduler}");
        assert!(!scheduler.as_bytes().windows(NEEDLE.len()).any(|window| window == NEEDLE));
    }
    cluster.env.kill_daemon();
    let own = cluster.env.home().join("secrets.env");
    let left = holders(cluster.env.home(), &own);
    assert!(left.iter().all(|path| path.ends_with("secrets.env")), "{left:?}");
}

#[test]
fn a_run_in_a_container_that_is_cancelled_can_save_and_one_without_its_image_is_not_accepted() {
    let cluster = Cluster::with(SITE);
    if !has_charliecloud(&cluster) {
        return;
    }
    let training = "trap 'echo told; exit 0' TERM\necho up\nwhile :; do sleep 0.1; done\n";
    let compute = "[compute]\nclass = 'cpu'\nnodes = 2\n[distributed]\nlauncher = 'srun'\n";
    let spec = cluster.env.bash_spec("slow", training);
    let run = cluster.env.submit(&with_container(&cluster, &spec, &image(), compute));
    let log = || cluster.env.line(&format!("logs {run}")).stdout;
    crate::env::wait_until("both ranks are up", || log().matches("up").count() == 2);
    drop(cluster.env.line(&format!("cancel {run}")).success());
    cluster.env.until(run, &["cancelled"]);
    assert_eq!(log().matches("told").count(), 2, "{}", log());
    let spec = cluster.env.bash_spec("nowhere", "true");
    let spec = with_container(&cluster, &spec, "no/such/image", compute);
    let said = cluster.env.run([Path::new("submit"), &spec]).ended(3);
    assert!(said.stderr.contains("there is no container image"), "{said}");
}
