//! How soon news shows although Slurm is asked every 30 seconds: the script's word hastens the look.

use std::path::Path;
use std::time::Instant;

use crate::env::wait_until;
use crate::slurm::cluster::Cluster;

/// Between what the training wrote down and when `show` told it.
const SHOWN_SECONDS_MAX: f64 = 2.0;
/// From the call of `submit --wait` for a training of one second to its return.
const WAITED_SECONDS_MAX: f64 = 5.0;

/// A cluster that is asked as seldom as the reference site says, with everything else left out.
fn seldom_asked() -> Cluster {
    Cluster::with("poll_interval = '30s'\n")
}

fn now() -> f64 {
    let since = std::time::SystemTime::UNIX_EPOCH.elapsed();
    since.unwrap().as_secs_f64()
}

/// The time that the training wrote into a file of the world.
fn written(cluster: &Cluster, file: &str) -> f64 {
    std::fs::read_to_string(cluster.env.home().join(file)).unwrap().trim().parse().unwrap()
}

/// Waits until a run shows one of these states, and gives how long after the training's own word that was: less than
/// nothing when the script's word was read before the training had written.
fn lag(cluster: &Cluster, run: i64, states: &[&str], file: &str) -> f64 {
    cluster.env.until(run, states);
    let shown = now();
    wait_until(file, || cluster.env.home().join(file).exists());
    shown - written(cluster, file)
}

#[track_caller]
#[expect(clippy::print_stdout, reason = "the figures are for people: nextest run --no-capture")]
fn check(what: &str, seconds: f64, most: f64) {
    println!("{what}: {seconds:.2} s (at most {most} s)");
    assert!(seconds <= most, "{what}: it took {seconds:.2} s, at most {most} s are promised");
}

#[test]
fn a_start_and_an_end_show_within_two_seconds() {
    let cluster = seldom_asked();
    let home = cluster.env.home().display();
    let tell = |file: &str| format!("date +%s.%N >{home}/new; mv {home}/new {home}/{file}");
    let training = format!("{}\nsleep 3\n{}", tell("began"), tell("ended"));
    let run = cluster.env.submit(&cluster.spec("seen", &training, ""));
    let started = lag(&cluster, run, &["running"], "began");
    let ended = lag(&cluster, run, &["finishing", "completed"], "ended");
    let confirmed = lag(&cluster, run, &["completed"], "ended");
    check("`running` after the training's start", started, SHOWN_SECONDS_MAX);
    check("`finishing` after the training's end", ended, SHOWN_SECONDS_MAX);
    // The four early polls are enough for the whole life of a run.
    check("`completed` after the training's end", confirmed, WAITED_SECONDS_MAX);
}

#[test]
fn who_waits_for_a_short_run_gets_an_answer_at_once() {
    let cluster = seldom_asked();
    let spec = cluster.spec("short", "sleep 1", "");
    let asked = Instant::now();
    drop(cluster.env.run([Path::new("submit"), &spec, Path::new("--wait")]).success());
    let waited = asked.elapsed().as_secs_f64();
    check("`submit --wait` of a training of one second", waited, WAITED_SECONDS_MAX);
}
