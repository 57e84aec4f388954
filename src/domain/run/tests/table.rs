//! The state × event table of docs/ARCHITECTURE.md, walked cell by cell: the document is the expectation.

use crate::domain::bad_nodes::Avoided;
use crate::domain::checkpoint::Saved;
use crate::domain::inbox::ScriptEventKind;
use crate::domain::run::tests::{
    acknowledged, admitted, cancel, ended, job, notes, policy, restarted, run_in, running, script,
    script_ended, sighting, t, token, waiting,
};
use crate::domain::run::{Act, Decision, Event, JobEnd, Phase, Policy, Reason, Run, State, step};

const DOCUMENT: &str = include_str!("../../../../docs/ARCHITECTURE.md");

/// One row: its name in the document and the event it stands for.
fn rows() -> Vec<(&'static str, Event)> {
    let by = || "anna".to_owned();
    let found = |sighting| Event::Found(sighting);
    let mut before_the_wish = ended(JobEnd::Completed, 0);
    before_the_wish.ended_at = Some(t(1));
    let refused = |for_now| Event::Refused { message: "no".into(), for_now };
    let message = || "why".to_owned();
    let grew = || Event::RestartGrew {
        now: restarted(waiting(), 1),
        earlier: vec![*ended(JobEnd::Requeued, 0)],
        told: vec![],
    };
    vec![
        ("no answer, cut answer", Event::Silence { who: "squeue".into() }),
        ("a state word nobody knows", found(sighting(Phase::Unknown))),
        ("environment built", Event::Prepared),
        ("environment failed", Event::PreparationFailed { message: message() }),
        ("admitted", admitted(1)),
        ("told to wait", Event::Waits { why: message() }),
        ("sbatch acknowledged", acknowledged()),
        ("refused", refused(false)),
        ("refused for now", refused(true)),
        ("scheduler unreachable", Event::Unreachable { message: message() }),
        ("sbatch called again", Event::CalledAgain),
        ("the daemon ended before sbatch", Event::Orphaned),
        ("answer lost", Event::AnswerLost { message: message() }),
        ("absent", Event::Absent),
        ("absent past grace", Event::AbsentPastGrace { marker: None }),
        (
            "absent past grace, a marker says 0",
            Event::AbsentPastGrace { marker: Some(script_ended(0)) },
        ),
        (
            "absent past grace, a marker says 3",
            Event::AbsentPastGrace { marker: Some(script_ended(3)) },
        ),
        ("claim revoked", Event::Revoked),
        ("claim owned by a job", Event::ClaimedBy(job(7))),
        ("found waiting or held", found(waiting())),
        ("found running", found(running())),
        ("restart count grew", grew()),
        ("restart count grew past the limit", grew()),
        ("kept away from nodes that failed", Event::KeepsAway(Avoided::default())),
        ("a second job of the submission", Event::Twin(waiting())),
        ("a second job that runs", Event::Twin(running())),
        ("ended: COMPLETED", found(ended(JobEnd::Completed, 0))),
        ("ended: COMPLETED before the wish", found(before_the_wish)),
        ("ended: restartable, restarts left", found(ended(JobEnd::Preempted, 0))),
        ("ended: otherwise", found(ended(JobEnd::Failed, 3))),
        ("ended: CANCELLED by somebody else", found(ended(JobEnd::Cancelled, 0))),
        ("script: started", Event::Script(script(ScriptEventKind::Started))),
        ("script: data changed", Event::Script(script(ScriptEventKind::DataChanged))),
        ("script: warned", Event::Script(script(ScriptEventKind::Warned))),
        ("script: nobody heard the warning", Event::Script(script(ScriptEventKind::Unheard))),
        ("script: ended", Event::Script(script_ended(0))),
        ("what it has saved", Event::Saved(Saved::default())),
        ("wish: cancel", cancel()),
        ("wish: resume", Event::Resume { by: by(), from: None }),
        ("own stop", Event::OwnStop { reason: Reason::BudgetExhausted, message: message() }),
        ("timer due", Event::TimerDue),
    ]
}

/// The policy a row is tried under.
fn policy_of(row: &str) -> Policy {
    match row {
        "restart count grew past the limit" => Policy { max_restarts: 0, ..policy() },
        _ => policy(),
    }
}

/// The table as the document has it: the states in the head, then rows of cells.
fn table() -> (Vec<&'static str>, Vec<Vec<&'static str>>) {
    let (_, from) = DOCUMENT.split_once("<!-- table: state × event -->").expect("the table begins");
    let (text, _) = from.split_once("<!-- end of table -->").expect("the table ends");
    let cells = |line: &'static str| line.trim_matches('|').split('|').map(str::trim).collect();
    let mut lines = text.lines().filter(|line| line.starts_with('|')).map(cells);
    let head: Vec<&str> = lines.next().expect("a head");
    (head, lines.skip(1).collect())
}

/// What the event does in the state, in the words of a cell.
fn cell(row: &str, state: &str, event: &Event) -> String {
    let before = run_in(state);
    let Decision { run, closed, acts, notes } = step(&before, event, &policy_of(row), t(1_000));
    let noted = |kind: &str| notes.iter().any(|note| note.kind == kind);
    let is_same = run.state.as_str() == state;
    assert_eq!(is_same, !noted("state"), "{row} × {state}: a change of state is in the history");
    let mut words = vec![match (noted("impossible"), noted("wish")) {
        (true, _) if run == before => "×",
        (true, _) => "changed although impossible",
        (_, true) if run == before && before.attempt == run.attempt && acts.is_empty() => "11",
        (false, _) if is_same => "·",
        (false, _) => run.state.as_str(),
    }];
    let is_revoking = |run: &Run| run.submission.as_ref().is_some_and(|s| s.revoking);
    let scancel = |grace| acts.contains(&Act::Cancel { job: job(7), token: token(1), grace });
    let effects = [
        ("stale", run.stale.is_some()),
        ("closes", closed.len() == 1),
        ("opens", run.attempts > before.attempts),
        ("revoke", is_revoking(&run) && !is_revoking(&before)),
        ("scancel", scancel(false)),
        ("warn", scancel(true)),
        ("note", ["script", "data_changed", "warned"].into_iter().any(noted)),
    ];
    words.extend(effects.iter().filter(|(_, is_so)| *is_so).map(|(word, _)| *word));
    assert!(acts.len() <= 1, "{row} × {state}: one act is enough: {acts:?}");
    words.join(" ")
}

#[test]
fn every_cell_of_the_table_is_as_documented() {
    let (head, lines) = table();
    let rows = rows();
    let names: Vec<&str> = lines.iter().map(|cells| cells[0]).collect();
    let known: Vec<&str> = rows.iter().map(|(name, _)| *name).collect();
    assert_eq!(names, known, "the document and this test have the same rows");
    let mut wrong = Vec::new();
    let mut tried = 0;
    for ((row, event), cells) in rows.iter().zip(&lines) {
        for (column, expected) in head.iter().zip(cells).skip(1) {
            let states: &[&str] = match *column {
                "final" => &["completed", "failed", "cancelled"],
                _ => std::slice::from_ref(column),
            };
            for state in states {
                tried += 1;
                let found = cell(row, state, event);
                if found != *expected {
                    wrong.push(format!("{row} × {state} should be `{expected}`, is `{found}`"));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert_eq!(tried, rows.len() * (State::WORDS.len() - 1), "all states but evaluating");
}

/// A new event cannot be forgotten: it does not compile here, and then it has no row.
#[test]
fn every_event_has_a_row() {
    let number = |event: &Event| match event {
        Event::Silence { .. } => 0,
        Event::Prepared => 1,
        Event::PreparationFailed { .. } => 2,
        Event::Admitted { .. } => 3,
        Event::Waits { .. } => 4,
        Event::Acknowledged { .. } => 5,
        Event::Refused { .. } => 6,
        Event::AnswerLost { .. } => 7,
        Event::Absent => 8,
        Event::AbsentPastGrace { .. } => 9,
        Event::Revoked => 10,
        Event::ClaimedBy(_) => 11,
        Event::Found(_) => 12,
        Event::RestartGrew { .. } => 13,
        Event::Script(_) => 14,
        Event::Cancel { .. } => 15,
        Event::Resume { .. } => 16,
        Event::OwnStop { .. } => 17,
        Event::TimerDue => 18,
        Event::Unreachable { .. } => 19,
        Event::CalledAgain => 20,
        Event::Twin(_) => 21,
        Event::Orphaned => 22,
        Event::Saved(_) => 23,
        Event::KeepsAway(_) => 24,
    };
    let mut tried: Vec<usize> = rows().iter().map(|(_, event)| number(event)).collect();
    tried.sort_unstable();
    tried.dedup();
    assert_eq!(tried, (0..=24).collect::<Vec<_>>());
}

/// Everything that can be in an event, in every state, twice, under strict and generous policies.
#[test]
fn no_combination_leaves_a_final_state_or_contradicts_itself() {
    let strict = Policy { max_restarts: 0, restart_on: Vec::new(), ..policy() };
    for state in State::WORDS {
        for (name, event) in rows() {
            for policy in [policy(), strict.clone()] {
                for now in [t(0), t(1_000), t(i64::from(i32::MAX))] {
                    let before = run_in(state);
                    let decision = step(&before, &event, &policy, now);
                    let at = format!("{name} × {state}: {decision:#?}");
                    let left = before.state.is_final() && decision.run.state != before.state;
                    assert!(!left || matches!(event, Event::Resume { .. }), "{at}");
                    let impossible = notes(&decision, "impossible").len();
                    assert!(impossible == 0 || decision.run == before, "{at}");
                    let again = step(&decision.run, &event, &policy, now);
                    assert!(again.run.attempts >= decision.run.attempts, "{at}");
                }
            }
        }
    }
}
