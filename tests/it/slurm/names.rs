//! Runs that share a name: which one it means, and when it means none.

use crate::slurm::cluster::Cluster;

/// A class whose jobs wait until they are released.
const HELD: &str = "class = 'held'";

/// The number of the run that a name means.
#[track_caller]
fn check(cluster: &Cluster, name: &str, run: i64) {
    let shown = cluster.env.line(&format!("show {name} --json")).success().json();
    assert_eq!(shown["id"], run);
}

/// The name means none: exit code 2, with these candidates.
#[track_caller]
fn check_ambiguous(cluster: &Cluster, name: &str, candidates: &str) {
    let said = cluster.env.line(&format!("show {name}")).ended(2);
    assert_eq!(said.stdout, "");
    assert!(said.stderr.contains(&format!("runs are called `{name}`")), "{said}");
    assert!(said.stderr.contains(candidates), "{said}");
}

#[test]
fn a_name_means_its_only_active_run_or_its_only_one() {
    let cluster = Cluster::new();
    let submit = |compute: &str| cluster.env.submit(&cluster.spec("again", "true", compute));
    let first = submit("");
    check(&cluster, "again", first);
    cluster.env.until(first, &["completed"]);
    check(&cluster, "again", first);
    // One after the other: the active one, as long as it is.
    let second = submit(HELD);
    check(&cluster, "again", second);
    // At once.
    let third = submit(HELD);
    cluster.env.until(third, &["queued"]);
    check_ambiguous(&cluster, "again", &format!("{third} (queued), {second} (queued)"));
    // Each in a directory and a job of its own.
    assert_ne!(cluster.env.run_dir(second), cluster.env.run_dir(third));
    assert_eq!((cluster.jobs_of(second).len(), cluster.jobs_of(third).len()), (1, 1));
    drop(cluster.env.line(&format!("cancel {second}")).success());
    cluster.env.until(second, &["cancelled"]);
    check(&cluster, "again", third);
    drop(cluster.env.line(&format!("cancel {third}")).success());
    cluster.env.until(third, &["cancelled"]);
    // All are over.
    check_ambiguous(
        &cluster,
        "again",
        &format!("{third} (cancelled), {second} (cancelled), {first} (completed)"),
    );
}
