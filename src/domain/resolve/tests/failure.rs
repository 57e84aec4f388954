//! When the training is warned, and what it is brought back for.

use crate::domain::resolve::tests::{CODE, LOCAL_ONLY, SITE, check_problems, resolved};
use crate::domain::run::Reason;
use crate::domain::spec::WarnSignal;
use crate::domain::units::Seconds;

fn with(limit: &str, keys: &str) -> String {
    format!("{CODE}[compute]\ntime_limit = '{limit}'\n[failure]\n{keys}\n")
}

/// When the training is warned, and what sbatch is told of it.
#[track_caller]
fn check(spec: &str, seconds: u64, option: Option<&str>) {
    let resolved = resolved(SITE, spec);
    assert_eq!(resolved.failure.warn_before_end, Seconds(seconds), "{spec}");
    let options = resolved.compute.options.iter().map(ToString::to_string);
    let told: Vec<String> = options.filter(|option| option.starts_with("--signal")).collect();
    assert_eq!(told, option.into_iter().collect::<Vec<_>>(), "{spec}");
}

#[test]
fn the_training_is_warned_a_minute_before_its_end_unless_it_is_asked_for_or_short() {
    check(CODE, 60, Some("--signal=B:USR1@60"));
    check(&with("2m", ""), 60, Some("--signal=B:USR1@60"));
    check(&with("119s", ""), 0, None);
    check(&with("12h", "warn_before_end = '5m'"), 300, Some("--signal=B:USR1@300"));
    check(&with("1m", "warn_before_end = '59s'"), 59, Some("--signal=B:USR1@59"));
    check(&with("12h", "warn_before_end = '0s'"), 0, None);
    // The processes may get another signal; the script gets this one.
    check(&with("12h", "warn_signal = 'TERM'"), 60, Some("--signal=B:USR1@60"));
    let local = resolved(LOCAL_ONLY, CODE);
    assert_eq!(
        local.failure.warn_before_end,
        Seconds(60),
        "as long it may save when it is cancelled"
    );
}

#[test]
fn what_brings_a_run_back_is_what_the_spec_says() {
    let failure = resolved(SITE, CODE).failure;
    assert_eq!((failure.restart_exit_codes, failure.warn_signal), (vec![75], WarnSignal::Usr1));
    assert_eq!(failure.restart_on, [Reason::Preempted, Reason::NodeFailure]);
    let keys = "restart_exit_codes = [3, 255]\nwarn_signal = 'HUP'\nrestart_on = []";
    let failure = resolved(SITE, &with("1h", keys)).failure;
    assert_eq!((failure.restart_exit_codes, failure.warn_signal), (vec![3, 255], WarnSignal::Hup));
    assert_eq!(failure.restart_on, []);
    let none = resolved(SITE, &with("1h", "restart_exit_codes = []")).failure;
    assert_eq!(none.restart_exit_codes, Vec::<i32>::new());
    let all =
        "restart_on = ['hung', 'exit_code', 'signal', 'out_of_memory', 'boot_failure', 'lost']";
    let all = resolved(SITE, &with("1h", all)).failure.restart_on;
    let reasons = ["hung", "exit_code", "signal", "out_of_memory", "boot_failure", "lost"];
    assert_eq!(all.iter().map(|reason| reason.as_str()).collect::<Vec<_>>(), reasons);
}

#[test]
fn attempts_keep_away_from_nodes_that_failed_unless_the_spec_says_no() {
    let keeps_away = |keys: &str| resolved(SITE, &with("1h", keys)).failure.exclude_failed_nodes;
    assert!(resolved(SITE, CODE).failure.exclude_failed_nodes);
    assert!(keeps_away("exclude_failed_nodes = true"));
    assert!(!keeps_away("exclude_failed_nodes = false"));
}

#[test]
fn a_training_may_be_silent_for_ever_unless_the_spec_says_how_long() {
    for (keys, seconds) in [
        ("", None),
        ("no_progress_timeout = '0s'", None),
        ("no_progress_timeout = '2h'", Some(Seconds(7200))),
    ] {
        let failure = resolved(SITE, &with("3h", keys)).failure;
        assert_eq!(failure.no_progress_timeout, seconds, "{keys}");
    }
}

#[test]
fn a_warning_that_cannot_be_is_told() {
    let too_early = |warning: &str, limit: &str| {
        format!("6:19 the warning would come {warning} before the end of a run of at most {limit}")
    };
    check_problems(&with("5m", "warn_before_end = '5m'"), &[&too_early("5m", "5m")]);
    check_problems(&with("5m", "warn_before_end = '1h'"), &[&too_early("1h", "5m")]);
    let far = "6:19 Slurm warns at most 18h12m15s before the end";
    check_problems(&with("24h", "warn_before_end = '19h'"), &[far]);
    let wrong = "6:15 `failure.warn_signal` cannot be `KILL`";
    check_problems(&with("24h", "warn_signal = 'KILL'"), &[wrong]);
    check_problems(
        &with("24h", "restart_exit_codes = [75, 0, 256]"),
        &[
            "6:27 no training that wants to be brought back ends with 0",
            "6:30 no training that wants to be brought back ends with 256",
        ],
    );
}

#[test]
fn signals_have_linuxs_numbers() {
    for word in WarnSignal::WORDS {
        let number = WarnSignal::from_word(word).unwrap().number();
        let signal: nix::sys::signal::Signal = format!("SIG{word}").parse().unwrap();
        assert_eq!(u32::try_from(signal as i32), Ok(number), "{word}");
    }
}

#[test]
fn a_job_can_have_itself_requeued_only_by_slurm_and_where_it_may_come_back() {
    let itself = |keys: &str| {
        let failure = resolved(SITE, &with("3h", keys)).failure;
        (failure.requeues_itself, failure.allows_requeue())
    };
    assert_eq!(itself("max_restarts = 2\nrestart_on = ['time_limit']"), (false, false));
    assert_eq!(
        itself("max_restarts = 2\nrestart_on = ['time_limit']\nrequeue = 'job'"),
        (true, true)
    );
    assert_eq!(itself("max_restarts = 2\nrequeue = 'daemon'"), (false, true));
    check_problems(
        &with("3h", "requeue = 'job'"),
        &["6:11 the job could never have itself requeued: `failure.max_restarts` is 0"],
    );
}
