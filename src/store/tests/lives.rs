//! Acceptance, intents, decisions, lists and wishes.

use std::sync::Arc;

use crate::domain::environment::EnvironmentRecord;
use crate::domain::ids::{RunId, SubmissionId, Token};
use crate::domain::request::IfActive;
use crate::domain::run::{
    Answer, Call, Claim, Event, Granted, JobEnd, Phase, Reason, Sighting, State, Submission,
    WishKind, step,
};
use crate::store::tests::world::{Yard, job, policy, start, t};
use crate::store::{Acceptance, Filter, Keyed, NewRun, Recorded, StoreError};

fn sighting(n: u64, token: Token, phase: Phase) -> Event {
    let is_over = matches!(phase, Phase::Ended { .. });
    let at = i64::try_from(n).unwrap() * 100;
    Event::Found(Box::new(Sighting {
        job: job(n),
        token,
        phase,
        word: "WORD".into(),
        restart: 0,
        submitted_at: Some(t(at)),
        eligible_at: Some(t(at)),
        started_at: Some(t(at + 10)),
        ended_at: is_over.then(|| t(at + 20)),
        nodes: vec!["n1".into()],
        granted: Granted::default(),
        elapsed_seconds: None,
        digest: None,
    }))
}

#[tokio::test]
async fn what_an_attempt_got_is_kept_as_it_was_first_told() {
    let yard = Yard::new();
    let new = yard.new_run("x").await;
    let id = new.id;
    yard.store.accept(new).await.unwrap();
    let record = |host: &str| EnvironmentRecord::parse(format!("host\t{host}\nend\n").as_bytes());
    for (attempt, host) in [(1, "a"), (2, "b"), (1, "c")] {
        yard.store.add_environment(id, attempt, record(host)).await.unwrap();
    }
    let known = yard.store.environments(id).await.unwrap();
    assert_eq!(known.into_iter().collect::<Vec<_>>(), [(1, record("a")), (2, record("b"))]);
    let whole = yard.store.whole(id).await.unwrap().unwrap();
    assert_eq!(whole.environments.len(), 2);
}

#[tokio::test]
async fn an_accepted_run_is_read_as_it_was_written() {
    let yard = Yard::new();
    let new = NewRun { key: Some("k".into()), ..yard.new_run("x").await };
    let (id, resolved) = (new.id, new.resolved.clone());
    assert_eq!(yard.store.accept(new).await.unwrap(), Acceptance::Recorded(Recorded::default()));
    let row = yard.row(id).await;
    assert_eq!(
        (row.name.as_str(), row.owner.as_str(), row.key.as_deref()),
        ("x", "ada", Some("k"))
    );
    assert_eq!((row.created_at, row.submitted_at, row.started_at), (t(0), None, None));
    assert_eq!(
        (row.run.state, row.resolved),
        (State::Pending { why: None, not_before: None }, Arc::new(resolved))
    );
    let history = yard.store.events(id).await.unwrap();
    assert_eq!(history[0].message, "submitted by ada");
    assert_eq!(yard.store.run(RunId(99)).await.unwrap(), None);
}

#[tokio::test]
async fn a_key_is_given_once_per_owner() {
    let yard = Yard::new();
    let keyed = |new: NewRun| NewRun { key: Some("k".into()), ..new };
    let first = keyed(yard.new_run("x").await);
    let run = first.id;
    yard.store.accept(first).await.unwrap();
    let other = NewRun { spec_digest: "other".into(), ..keyed(yard.new_run("y").await) };
    let number = other.id;
    let keyed_run = Keyed { run, spec_digest: "digest".into(), is_sweep: false, is_deleted: false };
    let taken = Acceptance::KeyTaken(keyed_run.clone());
    assert_eq!(yard.store.accept(other).await.unwrap(), taken);
    assert_eq!(yard.store.run(number).await.unwrap(), None, "nothing was recorded");
    let theirs = NewRun { owner: "bob".into(), ..keyed(yard.new_run("x").await) };
    assert_eq!(yard.store.accept(theirs).await.unwrap(), Acceptance::Recorded(Recorded::default()));
    let found = yard.store.with_key("ada".into(), "k".into()).await.unwrap();
    assert_eq!(found, Some(keyed_run));
}

#[tokio::test]
async fn secrets_stay_while_a_run_is_wished_back() {
    let yard = Yard::new();
    let (live, over) = (yard.accepted("x").await, yard.accepted("x").await);
    for run in [live, over] {
        yard.store.keep_secrets(run).await.unwrap();
    }
    yard.tell(over, Event::Cancel { by: "ada".into() }, t(1)).await;
    let due = async || {
        let due = yard.store.secrets_to_remove(9).await.unwrap();
        due.into_iter().map(|(run, _)| run).collect::<Vec<_>>()
    };
    assert_eq!(due().await, [over]);
    yard.store.wish(over, WishKind::Resume, "ada".into(), t(2)).await.unwrap();
    assert_eq!(due().await, []);
}

#[tokio::test]
async fn active_runs_of_the_name_are_looked_for_in_the_transaction_that_records() {
    let yard = Yard::new();
    let (one, two) = (yard.accepted("x").await, yard.accepted("x").await);
    let over = yard.accepted("x").await;
    yard.tell(over, Event::Cancel { by: "ada".into() }, t(1)).await;
    yard.accepted("another").await;
    let with = async |if_active| NewRun { if_active, ..yard.new_run("x").await };

    let skipped = yard.store.accept(with(IfActive::Skip).await).await.unwrap();
    assert_eq!(skipped, Acceptance::Active(two));
    let queued = with(IfActive::Queue).await;
    let three = queued.id;
    assert_eq!(yard.store.accept(queued).await.unwrap(), Acceptance::Recorded(Recorded::default()));
    assert_eq!(yard.store.open_wishes().await.unwrap(), []);
    let replacing = with(IfActive::Replace).await;
    let four = replacing.id;
    assert_eq!(
        yard.store.accept(replacing).await.unwrap(),
        Acceptance::Recorded(Recorded::default())
    );

    let pending = yard.store.pending().await.unwrap();
    let waits = |id| &pending.iter().find(|found| found.run == id).unwrap().waits_for;
    assert_eq!((waits(one).len(), waits(three)), (0, &vec![one, two]));
    assert_eq!(waits(four), &vec![one, two, three]);
    let wishes = yard.store.open_wishes().await.unwrap();
    let cancelled: Vec<RunId> = wishes.iter().map(|(run, _)| *run).collect();
    assert_eq!(cancelled, [three, two, one]);
    // What is over is not waited for.
    yard.tell(one, Event::Cancel { by: "ada".into() }, t(2)).await;
    let pending = yard.store.pending().await.unwrap();
    assert_eq!(pending.iter().find(|found| found.run == three).unwrap().waits_for, [two]);
}

#[tokio::test]
async fn an_intent_is_one_transaction_and_its_token_is_given_once() {
    let yard = Yard::new();
    let (one, two) = (yard.accepted("x").await, yard.accepted("y").await);
    let decision = yard.intend(one, 1, t(1)).await;
    let submission = decision.run.submission.as_ref().unwrap();
    assert_eq!((submission.id, submission.attempt_base), (SubmissionId(1), 1));
    assert_eq!(yard.row(one).await.run, decision.run);
    assert_eq!(yard.row(one).await.submitted_at, Some(t(1)));
    let tokens = [Token::from_bits(1), Token::from_bits(2)].into();
    let known = yard.store.known_tokens(tokens).await.unwrap();
    assert_eq!(known, [Token::from_bits(1)].into());

    let row = yard.row(two).await;
    let again = crate::store::Intending {
        run: row.run.clone(),
        run_dir: row.run_dir.clone(),
        owner: "ada".into(),
        start: start(1),
    };
    let refused = yard.store.intend(again, t(2)).await;
    assert!(matches!(refused, Err(StoreError::Statement { what: "record a submission", .. })));
    assert_eq!(yard.row(two).await, row, "nothing of it is kept");
}

#[tokio::test]
async fn a_run_that_nothing_holds_up_is_accepted_with_its_intent() {
    let yard = Yard::new();
    let first = NewRun { start: Some(start(1)), ..yard.new_run("x").await };
    let id = first.id;
    let Acceptance::Recorded(Recorded { intent: Some(intent), .. }) =
        yard.store.accept(first).await.unwrap()
    else {
        panic!("no intent")
    };
    assert_eq!(intent.job_name.to_string(), format!("{id}-x.1.{}", Token::from_bits(1)));
    let run = yard.row(id).await.run;
    assert_eq!(run.state, State::Submitting { call: Call::UnderWay });
    assert_eq!(run.submission.unwrap().id, intent.submission);
    assert_eq!(yard.store.pending().await.unwrap(), []);

    // Behind another of its name it waits, and no intent is recorded.
    let if_active = IfActive::Queue;
    let behind = NewRun { start: Some(start(2)), if_active, ..yard.new_run("x").await };
    let id = behind.id;
    assert_eq!(yard.store.accept(behind).await.unwrap(), Acceptance::Recorded(Recorded::default()));
    assert_eq!(yard.row(id).await.run.submission, None);
    let known = yard.store.known_tokens([Token::from_bits(2)].into()).await.unwrap();
    assert!(known.is_empty());
}

#[tokio::test]
async fn an_answer_decides_about_a_run_that_waits_for_it_and_about_no_other() {
    let yard = Yard::new();
    let run = yard.accepted("x").await;
    let submission = yard.intend(run, 1, t(1)).await.run.submission.unwrap().id;
    let answer = Answer::Acknowledged { job: job(7), notices: String::new() };
    let hear =
        async || yard.store.heard(run, submission, answer.clone(), (policy(), t(2))).await.unwrap();
    let decision = hear().await.unwrap();
    assert_eq!(decision.run.state, State::Queued { why: None });
    assert_eq!(yard.row(run).await.run, decision.run);
    assert_eq!(yard.store.whole(run).await.unwrap().unwrap().attempts[0].job, job(7));

    let stopped = yard.tell(run, Event::Cancel { by: "ada".into() }, t(3)).await.run;
    assert_eq!(hear().await, None, "a pass decides what comes of it");
    assert_eq!(yard.row(run).await.run, stopped);
    let calls = yard.store.calls(vec![submission]).await.unwrap();
    assert_eq!(calls[0].as_ref().unwrap().answer, Some(answer));
}

#[tokio::test]
async fn an_answer_is_kept_until_it_is_asked_for() {
    let yard = Yard::new();
    let run = yard.accepted("x").await;
    let submission = yard.intend(run, 1, t(1)).await.run.submission.unwrap().id;
    let asked = vec![SubmissionId(99), submission];
    let answers = async || {
        let calls = yard.store.calls(asked.clone()).await.unwrap();
        calls.into_iter().map(|call| call.and_then(|call| call.answer)).collect::<Vec<_>>()
    };
    assert_eq!(answers().await, [None, None]);
    let answer = Answer::Acknowledged { job: job(7), notices: "note".into() };
    yard.store.answered(submission, answer.clone()).await.unwrap();
    assert_eq!(answers().await, [None, Some(answer)]);
}

#[tokio::test]
async fn a_second_attempt_keeps_the_first_and_the_first_times_stand() {
    let yard = Yard::new();
    let run = yard.accepted("x").await;
    for n in 1..=2_u8 {
        let (at, bits) = (i64::from(n) * 100, u128::from(n));
        yard.intend(run, bits, t(at)).await;
        let acknowledged = Event::Acknowledged { job: job(n.into()), notices: String::new() };
        yard.tell(run, acknowledged, t(at + 1)).await;
        yard.tell(run, sighting(n.into(), Token::from_bits(bits), Phase::Running), t(at + 11))
            .await;
        let phase =
            Phase::Ended { end: JobEnd::Failed, exit_code: Some(74 + i32::from(n)), signal: None };
        yard.tell(run, sighting(n.into(), Token::from_bits(bits), phase), t(at + 21)).await;
        yard.tell(run, Event::TimerDue, t(at + 90)).await;
    }
    let row = yard.row(run).await;
    assert!(row.run.state.is_final(), "{:?}", row.run.state);
    assert_eq!(
        (row.submitted_at, row.started_at, row.ended_at),
        (Some(t(100)), Some(t(110)), Some(t(220)))
    );
    let attempts = yard.store.whole(run).await.unwrap().unwrap().attempts;
    let kept: Vec<_> = attempts.iter().map(|a| (a.n, a.exit_code, a.reason, a.ended_at)).collect();
    let code = Some(Reason::ExitCode);
    assert_eq!(kept, [(1, Some(75), code, Some(t(120))), (2, Some(76), code, Some(t(220)))]);
    assert_eq!(yard.store.live().await.unwrap().len(), 0);
}

#[tokio::test]
async fn lists_go_by_every_filter() {
    let yard = Yard::new();
    for name in ["llama-1", "llama-2", "other"] {
        yard.accepted(name).await;
    }
    yard.tell(RunId(2), Event::Cancel { by: "ada".into() }, t(5)).await;
    let theirs = NewRun { owner: "bob".into(), now: t(60), ..yard.new_run("llama-3").await };
    yard.store.accept(theirs).await.unwrap();
    let all = Filter { limit: 10, ..Filter::default() };
    let check = async |filter: Filter, expected: &[i64]| {
        let found: Vec<i64> = yard
            .store
            .list(filter.clone())
            .await
            .unwrap()
            .iter()
            .map(|run| run.row.run.id.0)
            .collect();
        assert_eq!(found, expected, "{filter:?}");
    };
    check(all.clone(), &[4, 3, 2, 1]).await;
    check(Filter { limit: 2, ..all.clone() }, &[4, 3]).await;
    check(Filter { owner: Some("ada".into()), ..all.clone() }, &[3, 2, 1]).await;
    check(Filter { name_glob: Some("llama-?".into()), ..all.clone() }, &[4, 2, 1]).await;
    check(Filter { states: vec!["cancelled".into(), "failed".into()], ..all.clone() }, &[2]).await;
    check(Filter { since: Some(t(30)), ..all.clone() }, &[4]).await;
    check(Filter { project: Some("none".into()), ..all.clone() }, &[]).await;
    // A value is a value, whatever it spells.
    check(Filter { name_glob: Some("x' OR 1=1 --".into()), ..all }, &[]).await;
    assert_eq!(yard.store.newest("ada".into()).await.unwrap(), Some(RunId(3)));
    let named = yard.store.named("llama-2".into(), Some("ada".into())).await.unwrap();
    assert_eq!(named, [(RunId(2), "cancelled".to_owned())]);
}

#[tokio::test]
async fn a_wish_stays_open_until_a_decision_takes_it() {
    let yard = Yard::new();
    let run = yard.accepted("x").await;
    for by in ["ada", "root"] {
        yard.store.wish(run, WishKind::Cancel, by.into(), t(1)).await.unwrap();
    }
    let open = yard.store.open_wishes().await.unwrap();
    let told: Vec<_> = open.iter().map(|(of, wish)| (*of, wish.kind, wish.by.as_str())).collect();
    assert_eq!(told, [(run, WishKind::Cancel, "ada"), (run, WishKind::Cancel, "root")]);
    let event = Event::Cancel { by: "ada".into() };
    let decision = step(&yard.row(run).await.run, &event, &policy(), t(2));
    yard.store.record(decision, vec![open[0].1.id], t(2)).await.unwrap();
    assert_eq!(yard.store.open_wishes().await.unwrap(), open[1..]);
    assert!(yard.row(run).await.run.state.is_final());
}

#[tokio::test]
async fn numbers_are_never_given_twice() {
    let yard = Yard::new();
    let mut numbers = Vec::new();
    for _ in 0..3 {
        numbers.push(yard.store.next_number().await.unwrap().0);
    }
    assert_eq!(numbers, [1, 2, 3]);
    assert_eq!(yard.accepted("x").await, RunId(4));
}

#[tokio::test]
async fn a_call_that_came_to_nobody_is_made_again_under_the_same_submission() {
    let yard = Yard::new();
    let id = yard.accepted("x").await;
    let intended = yard.intend(id, 1, t(1)).await.run;
    let submission = intended.submission.clone().unwrap();
    let call = async || yard.store.calls(vec![submission.id]).await.unwrap().remove(0).unwrap();
    let again = async |at| yard.store.intend_again(id, "there".into(), policy(), at).await.unwrap();
    assert!(!again(t(2)).await, "sbatch is under way");
    let answer = Answer::Unreachable { message: "nobody there".into() };
    yard.store.answered(submission.id, answer.clone()).await.unwrap();
    yard.tell(id, Event::Unreachable { message: "nobody there".into() }, t(3)).await;
    let before = call().await;
    assert_eq!(
        (before.answer, before.host.as_deref(), before.called_at),
        (Some(answer), Some("here"), t(1))
    );
    assert!(again(t(13)).await);
    let after = call().await;
    assert_eq!(
        (after.answer, after.host.as_deref(), after.called_at),
        (None, Some("there"), t(13))
    );
    let known = Submission { claim: Claim::Contested, ..submission.clone() };
    assert_eq!(yard.row(id).await.run.submission, Some(known));
    assert!(!again(t(14)).await, "it is under way again");
}

#[tokio::test]
async fn live_runs_are_read_again_only_when_something_has_written_them() {
    let yard = Yard::new();
    let (first, second) = (yard.accepted("first").await, yard.accepted("second").await);
    let before = yard.store.live().await.unwrap();
    assert_eq!(before.keys().copied().collect::<Vec<_>>(), [first, second]);
    let again = yard.store.live().await.unwrap();
    assert!(std::sync::Arc::ptr_eq(&before, &again), "nothing was written");
    yard.tell(second, Event::Cancel { by: "ada".into() }, t(5)).await;
    let third = yard.accepted("third").await;
    let after = yard.store.live().await.unwrap();
    assert_eq!(after.keys().copied().collect::<Vec<_>>(), [first, third]);
    assert!(std::sync::Arc::ptr_eq(&before[&first], &after[&first]), "it is as it was");
    assert_eq!(before.len(), 2, "who looks sees what was there");
}
