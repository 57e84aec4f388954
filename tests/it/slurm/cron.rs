//! From cron to Slurm: nothing in the environment, and Slurm's commands where they are on most machines.

use crate::env::Said;
use crate::slurm::cluster::Cluster;

#[test]
fn twenty_from_cron_with_one_key_are_one_job() {
    let cluster = Cluster::new();
    let is_debians = cluster.variable("TRAINYARD_CLUSTER_RELEASE") == "22.05";
    if !cluster.applies(is_debians, "its commands are not on the built-in path") {
        return;
    }
    let env = &cluster.env;
    let site = env.home().join("site.toml");
    let text = std::fs::read_to_string(&site).unwrap();
    let without: Vec<&str> = text.lines().filter(|line| !line.starts_with("commands =")).collect();
    std::fs::write(&site, without.join("\n")).unwrap();
    let spec = cluster.spec("nightly", "echo done >> trained", "");
    let submit = || {
        let mut command = env.command();
        command.env_clear().current_dir("/").arg("--state-dir").arg(env.state_dir());
        command.arg("--site").arg(&site).args(["submit", "--quiet", "--key", "nightly"]);
        let said = Said::of(command.arg(&spec)).success();
        assert_eq!((said.stdout.as_str(), said.stderr.as_str()), ("", ""), "{said}");
    };
    std::thread::scope(|scope| {
        for _ in 0..20 {
            scope.spawn(submit);
        }
    });
    let runs = env.line("list --json").success().json();
    assert_eq!(runs.as_array().unwrap().len(), 1, "{runs:#}");
    let run = runs[0]["id"].as_i64().unwrap();
    env.until(run, &["completed"]);
    assert_eq!(cluster.jobs_of(run).len(), 1);
}
