//! The daemon is killed without a word, again and again, while runs are submitted and end.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use crate::env::{TestEnv, wait_until};

/// Kills and runs of the everyday round; `TRAINYARD_TEST_KILLS=300` makes it the campaign.
const ROUNDS: usize = 40;

#[expect(
    clippy::disallowed_methods,
    reason = "how long the campaign is, is told to the test itself"
)]
fn rounds() -> usize {
    std::env::var("TRAINYARD_TEST_KILLS").ok().and_then(|text| text.parse().ok()).unwrap_or(ROUNDS)
}

/// A small generator (xorshift): the moments of the kills follow from the seed.
struct Moments(u64);

impl Moments {
    fn next(&mut self, below_milliseconds: u64) -> Duration {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        Duration::from_millis(self.0 % below_milliseconds)
    }
}

#[test]
fn every_run_starts_once_and_ends_once_however_often_the_daemon_is_killed() {
    let env = TestEnv::new();
    // One short line per append: a local file system writes it whole.
    let spec = env.bash_spec(
        "killed",
        "echo \"start $TRAINYARD_RUN_ID\" >>\"$HOME/trace\"\nsleep 0.0$((RANDOM % 10))\n\
         echo \"end $TRAINYARD_RUN_ID\" >>\"$HOME/trace\"\n",
    );
    let spec = spec.to_str().unwrap().to_owned();
    let rounds = rounds();
    let (submitting, kills) = (AtomicBool::new(true), AtomicUsize::new(0));
    let mut numbers: BTreeMap<usize, i64> = BTreeMap::new();
    std::thread::scope(|scope| {
        let killer = scope.spawn(|| {
            let mut moments = Moments(0x9E37_79B9_7F4A_7C15);
            while submitting.load(Ordering::Relaxed) || kills.load(Ordering::Relaxed) < rounds {
                std::thread::sleep(moments.next(120));
                if env.daemon_pid().is_some() {
                    env.kill_daemon();
                    kills.fetch_add(1, Ordering::Relaxed);
                } else if !submitting.load(Ordering::Relaxed) {
                    // Somebody has to start the next one to be killed.
                    let _asked = env.line("list --limit 1");
                }
            }
        });
        for round in 0..rounds {
            let key = format!("round-{round}");
            wait_until("the run is accepted", || {
                let said = env.run(["submit", &spec, "--key", &key, "--ack-timeout", "0s"]);
                // The number may be told and the daemon die before anybody acknowledges: it is known all the same.
                let number = said.stdout.trim().parse().ok();
                if let Some(number) = number {
                    numbers.insert(round, number);
                }
                assert!([0, 5, 8].contains(&said.code), "{said}");
                number.is_some()
            });
        }
        submitting.store(false, Ordering::Relaxed);
        killer.join().unwrap();
    });
    let runs: BTreeSet<i64> = numbers.values().copied().collect();
    assert_eq!(runs.len(), rounds, "each key has a run of its own");
    for run in &runs {
        let view = env.until(*run, &["completed", "failed", "cancelled"]);
        assert_eq!(view["state"], "completed", "run {run}: {view:#}");
    }
    let trace = std::fs::read_to_string(env.home().join("trace")).unwrap();
    for word in ["start", "end"] {
        let mut told: Vec<i64> =
            trace.lines().filter_map(|line| line.strip_prefix(word)?.trim().parse().ok()).collect();
        told.sort_unstable();
        assert_eq!(told, runs.iter().copied().collect::<Vec<_>>(), "every run has one {word}");
    }
    let listed = env.line(&format!("list --json --limit {}", rounds + 10)).success().json();
    assert_eq!(listed.as_array().unwrap().len(), rounds, "nothing is known that was not submitted");
    // Read by whoever runs the campaign.
    println!("{} kills during {rounds} runs", kills.load(Ordering::Relaxed));
}
