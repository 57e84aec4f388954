//! A site config that points to where no Slurm is: told at its place, before anything is accepted.

use std::path::Path;

use crate::slurm::cluster::Cluster;

#[test]
fn a_directory_without_slurms_commands_is_told_at_its_place() {
    let cluster = Cluster::with("commands = '/opt/no-slurm/bin'\n");
    let spec = cluster.spec("never", "true", "");
    let said = cluster.env.run([Path::new("submit"), &spec]).ended(3);
    assert_eq!(said.stdout, "");
    insta::assert_snapshot!(cluster.env.masked(&said.stderr), @"
      × there is no /opt/no-slurm/bin/sbatch
       ╭─[HOME/site.toml:8:12]
     7 │ in_doubt_wait = '2s'
     8 │ commands = '/opt/no-slurm/bin'
       ·            ───────────────────
     9 │ [class.cpu]
       ╰────
      help: `commands` names the directory of the cluster's sbatch, squeue and the others, on the
            machine of the daemon

    error: 1 problem; nothing was submitted
    ");
    assert_eq!(cluster.env.line("list --json").success().json(), serde_json::json!([]));
    let doctor = cluster.env.line("doctor").ended(1).stdout;
    assert!(doctor.contains("/opt/no-slurm/bin/sbatch cannot be run: "), "{doctor}");
}

#[test]
fn one_command_that_is_missing_is_told_at_its_own_place() {
    let cluster = Cluster::with("sbatch = 'HOME/sbatch'\n");
    let spec = cluster.spec("never", "true", "");
    let said = cluster.env.run([Path::new("submit"), &spec]).ended(3);
    let told = cluster.env.masked(&said.stderr);
    assert!(told.contains("there is no HOME/sbatch"), "{told}");
    assert!(told.contains("sbatch = 'HOME/sbatch'"), "{told}");
    // It is a matter of that cluster alone.
    let here = [Path::new("submit"), &spec, Path::new("--target=local"), Path::new("--wait")];
    drop(cluster.env.run(here).success());
}
