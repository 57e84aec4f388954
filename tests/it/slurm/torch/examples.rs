//! The examples that torchrun starts, on a cluster that `site init` has described.

use crate::slurm::cluster::Cluster;
use crate::slurm::site::{TORCH_EXAMPLES, example, said};
use crate::slurm::torch::environment;

#[test]
fn the_examples_run_unedited_by_the_file_that_slurm_made() {
    let cluster = Cluster::without_site();
    let Some(environment) = environment(&cluster) else { return };
    drop(said(&cluster, &["site", "init", "--output", ".config/trainyard/site.toml"]).success());
    // Modules and conda environments are each site's own.
    let environment = format!("environment={{ venv = '{environment}' }}");
    for (name, more) in TORCH_EXAMPLES {
        let spec = example(name);
        let words = ["submit", &spec, "--wait", "--set", &environment];
        let ended = said(&cluster, &[&words, *more].concat());
        assert_eq!(ended.code, 0, "{ended}{}", said(&cluster, &["logs", "@last"]));
    }
    let run = cluster.env.show(3);
    assert_eq!((&run["world_size"], &run["class"]), (&4.into(), &"main-a100".into()));
}
