//! What runs cost slurmctld: one question for all of them, as often as the site allows, and none when there are none.

use std::time::{Duration, Instant};

use crate::env::{TestEnv, wait_until};
use crate::slurm::cluster::Cluster;

const INTERVAL: Duration = Duration::from_secs(2);
/// How long is counted.
const COUNTED: Duration = Duration::from_secs(20);

/// Live runs: `TRAINYARD_TEST_JOBS=1000` for the real thing.
#[expect(clippy::disallowed_methods, reason = "a longer run is asked for by hand")]
fn runs() -> i64 {
    std::env::var("TRAINYARD_TEST_JOBS").ok().map_or(40, |runs| runs.parse().unwrap())
}

/// Times that the daemon has started squeue.
fn started(env: &TestEnv) -> usize {
    std::fs::read_to_string(env.home().join("polls")).unwrap_or_default().lines().count()
}

/// Questions about jobs that slurmctld has answered since its counters were reset.
fn answered(cluster: &Cluster) -> usize {
    let text = cluster.ask("sdiag", &[]);
    // `REQUEST_JOB_USER_INFO ( 2039) count:12 ave_time:…`; and the same for all jobs and for one.
    let lines = text.lines().filter(|line| line.contains("REQUEST_JOB_") && line.contains("INFO"));
    let count = |line: &str| {
        line.split_once("count:").unwrap().1.split_whitespace().next().unwrap().parse::<usize>()
    };
    lines.map(|line| count(line).unwrap()).sum()
}

/// What is asked during some time: calls of squeue, and questions that came to slurmctld.
fn counted(cluster: &Cluster, time: Duration) -> (usize, usize) {
    drop(cluster.ask("sdiag", &["--reset"]));
    let (before, since) = (started(&cluster.env), Instant::now());
    wait_until("enough is counted", || since.elapsed() >= time);
    (started(&cluster.env) - before, answered(cluster))
}

#[test]
fn many_runs_cost_one_squeue_a_poll_and_none_cost_none() {
    let keys =
        "squeue = 'HOME/squeue'\npoll_interval = '2s'\npoll_interval_max = '2s'\npoll_burst = 1\n";
    let cluster = Cluster::alone(&["--no-accounting"], keys);
    let (home, squeue) = (cluster.env.home().display(), cluster.path("squeue"));
    cluster.env.program("squeue", &format!("echo poll >>{home}/polls\nexec {squeue} \"$@\"\n"));
    let spec = cluster.spec("held", "true", "class = 'held'");
    let runs = runs();
    for _ in 0..runs {
        cluster.env.submit(&spec);
    }
    cluster.env.until(runs, &["queued"]);
    let queue = cluster.ask("squeue", &["-h", "-t", "pending", "-o", "%i"]);
    assert_eq!(i64::try_from(queue.lines().count()).unwrap(), runs, "all of them are live");

    let (calls, questions) = counted(&cluster, COUNTED);
    let most = usize::try_from(COUNTED.as_secs() / INTERVAL.as_secs()).unwrap() + 1;
    println!(
        "{runs} live runs, {COUNTED:?}: squeue called {calls} times, slurmctld asked {questions} times; at most {most}"
    );
    assert!((1..=most).contains(&calls), "{calls} calls");
    // One call may have been under way when the counting began, and have asked after that.
    assert!(questions <= calls + 1, "{questions} questions by {calls} calls");

    let all: Vec<String> = (1..=runs).map(|run| run.to_string()).collect();
    let cancel: Vec<&str> = ["cancel"].into_iter().chain(all.iter().map(String::as_str)).collect();
    drop(cluster.env.run(cancel).success());
    wait_until("all of them are over", || {
        let live = cluster.env.line("list --state queued --state stopping --json").success().json();
        live.as_array().unwrap().is_empty()
    });
    let (calls, questions) = counted(&cluster, 3 * INTERVAL);
    println!(
        "no live run, {:?}: squeue called {calls} times, slurmctld asked {questions} times",
        3 * INTERVAL
    );
    assert_eq!((calls, questions), (0, 0));
}
