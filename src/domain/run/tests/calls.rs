//! Calls of sbatch that are made again, and calls that nobody waited for.

use crate::domain::run::state::VANISHED_MAX;
use crate::domain::run::tests::{admitted, after, cancel, policy, running, t};
use crate::domain::run::{Answer, Call, Event, Run, Seen, State, decide, step};

#[test]
fn a_no_to_a_later_call_says_nothing_of_the_earlier_one() {
    let away = Event::Unreachable { message: "connect failure".into() };
    for for_now in [true, false] {
        let refused = Event::Refused { message: "no".into(), for_now };
        let run = after(&[admitted(1), away.clone(), Event::CalledAgain]);
        let doubt = step(&run, &refused, &policy(), t(20)).run;
        assert!(matches!(doubt.state, State::Submitting { call: Call::InDoubt(_) }), "{doubt:#?}");
        // The job of the earlier call is the run's.
        let found = step(&doubt, &Event::Found(running()), &policy(), t(30)).run;
        assert_eq!(found.state.as_str(), "running");
        // There is none, and none can train: it is submitted anew, and has not vanished.
        let again = step(&doubt, &Event::Revoked, &policy(), t(90)).run;
        assert_eq!((again.state.as_str(), again.vanished), ("pending", 0));
        // A stop is settled by the claim, whatever sbatch says.
        let stopping = step(&run, &cancel(), &policy(), t(20)).run;
        for answer in [&refused, &away] {
            assert_eq!(step(&stopping, answer, &policy(), t(21)).run, stopping);
        }
        let settled = step(&stopping, &Event::Revoked, &policy(), t(22)).run;
        assert_eq!(settled.state.as_str(), "cancelled");
    }
}

#[test]
fn however_often_the_daemon_ends_before_sbatch_answers_the_run_is_submitted_in_the_end() {
    let mut run = Run::accepted(crate::domain::ids::RunId(42));
    for n in 1..=10 * i64::from(VANISHED_MAX) {
        run = step(&run, &admitted(n), &policy(), t(n)).run;
        let ended = Answer::Lost { message: "the daemon ended".into() };
        let seen = Seen { orphaned: true, answer: Some(ended), ..Seen::default() };
        run = decide(&run, &seen, &policy(), t(n)).run;
        run = step(&run, &Event::Revoked, &policy(), t(n)).run;
        assert_eq!((run.state.as_str(), run.vanished), ("pending", 0), "submission {n}");
    }
    // One that sbatch itself has lost counts, whatever happened before.
    run = step(&run, &admitted(999), &policy(), t(999)).run;
    run = step(&run, &Event::AnswerLost { message: "killed".into() }, &policy(), t(999)).run;
    run = step(&run, &Event::Revoked, &policy(), t(999)).run;
    assert_eq!(run.vanished, 1);
}
