//! Runs that are over and that accounting has yet to tell all about.

use jiff::Timestamp;

use crate::domain::ids::{JobKey, RunId, Token};
use crate::domain::run::{
    Decision, End, Ending, Event, Granted, JobEnd, Note, Phase, Sighting, State,
};
use crate::store::tests::world::{Yard, start, t};
use crate::store::{Account, Intending, Next, Start};

fn key() -> JobKey {
    JobKey { cluster: "main".into(), job: 7, array_task: None }
}

/// A run that is over on this cluster, as squeue shows it, or as accounting does.
async fn over(yard: &Yard, cluster: &str, elapsed_seconds: Option<u64>) -> RunId {
    let id = yard.accepted("x").await;
    let row = yard.row(id).await;
    let start = Start { cluster: cluster.into(), ..start(1) };
    let intending = Intending { run: row.run, run_dir: row.run_dir, owner: row.owner, start };
    yard.store.intend(intending, t(0)).await.unwrap().unwrap();
    yard.tell(id, Event::Acknowledged { job: key(), notices: String::new() }, t(1)).await;
    let ended = Sighting {
        job: key(),
        token: Token::from_bits(1),
        phase: Phase::Ended { end: JobEnd::Completed, exit_code: Some(0), signal: None },
        word: "COMPLETED".into(),
        restart: 0,
        submitted_at: Some(t(1)),
        eligible_at: Some(t(1)),
        started_at: Some(t(10)),
        ended_at: Some(t(20)),
        nodes: vec!["n1".into()],
        granted: Granted::default(),
        elapsed_seconds,
        digest: None,
    };
    yard.tell(id, Event::Found(Box::new(ended)), t(21)).await;
    assert!(yard.row(id).await.run.state.is_final());
    id
}

async fn due(yard: &Yard, now: Timestamp) -> (Vec<Account>, Option<Timestamp>) {
    yard.store.accounts_due(9, now).await.unwrap()
}

#[tokio::test]
async fn a_run_is_due_until_accounting_has_told_all_of_it() {
    let yard = Yard::new();
    let id = over(&yard, "main", None).await;
    assert_eq!(due(&yard, t(22)).await, (vec![], Some(t(26))), "accounting is late");
    let (accounts, next) = due(&yard, t(26)).await;
    assert_eq!((accounts.len(), accounts[0].run, accounts[0].tries, next), (1, id, 0, None));

    // It knows nothing yet.
    let nothing = (Vec::new(), Vec::new());
    yard.store.accounts_told(id, nothing, (Next::At(t(60)), t(26))).await.unwrap();
    assert_eq!(due(&yard, t(59)).await, (vec![], Some(t(60))));
    let (accounts, _) = due(&yard, t(60)).await;
    assert_eq!(accounts[0].tries, 1);

    // It was not there to be asked.
    let unheard = (Next::Unheard(t(70)), t(60));
    yard.store.accounts_told(id, (Vec::new(), Vec::new()), unheard).await.unwrap();
    assert_eq!(due(&yard, t(69)).await, (vec![], Some(t(70))));
    let (accounts, _) = due(&yard, t(70)).await;
    assert_eq!(accounts[0].tries, 1, "that was no try");

    let mut mended = accounts[0].attempts.clone();
    mended[0].elapsed_seconds = Some(8);
    let note = Note { kind: "accounted".into(), message: "8 s".into() };
    yard.store.accounts_told(id, (mended.clone(), vec![note]), (Next::Never, t(60))).await.unwrap();
    assert_eq!(due(&yard, t(9999)).await, (vec![], None));
    // Where decisions are made from it is known too: what is written with the next one is the same.
    assert_eq!(yard.row(id).await.run.attempt.as_ref(), mended.first());
    let whole = yard.store.whole(id).await.unwrap().unwrap();
    assert_eq!(whole.attempts, mended);
    assert_eq!(yard.store.events(id).await.unwrap().last().unwrap().message, "8 s");
}

#[tokio::test]
async fn a_run_that_ends_without_a_submission_has_attempts_to_be_told_of() {
    let yard = Yard::new();
    let id = over(&yard, "main", None).await;
    yard.store.accounts_told(id, (vec![], vec![]), (Next::Never, t(30))).await.unwrap();
    yard.tell(id, Event::Resume { by: "ada".into(), from: None }, t(40)).await;
    let mut cancelled = Decision::stay(&yard.row(id).await.run);
    assert_eq!(cancelled.run.submission, None);
    let end = End { ending: Ending::Cancelled, reason: None, message: String::new(), at: t(50) };
    cancelled.run.state = State::Final { end };
    yard.store.record(cancelled, Vec::new(), t(50)).await.unwrap();
    let (accounts, _) = due(&yard, t(55)).await;
    assert_eq!((accounts.len(), accounts[0].run), (1, id));
}

#[tokio::test]
async fn who_is_in_no_accounts_or_told_all_is_not_due() {
    for (cluster, elapsed) in [("local", None), ("main", Some(10))] {
        let yard = Yard::new();
        over(&yard, cluster, elapsed).await;
        assert_eq!(due(&yard, t(9999)).await, (vec![], None), "{cluster}");
    }
}
