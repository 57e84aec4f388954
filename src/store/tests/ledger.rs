//! The ledger: what is entered stays, no start is held or captured twice, and a balance that is not its entries' stops all.

use rusqlite::Connection;

use crate::domain::ids::RunId;
use crate::domain::ledger::{
    Account, Amount, Asked, Funds, Kind, OnExhausted, Purse, Refusal, Resource, Room, Share,
};
use crate::domain::request::IfActive;
use crate::domain::run::{Attempt, AttemptState, Decision, End, Ending, Event, Reason, State};
use crate::store::open::{MIGRATIONS_SLICE, open_with};
use crate::store::tests::world::{Yard, job, policy, start, t};
use crate::store::{Acceptance, Intending, Journal, Next, Start, Store};

fn account() -> Account {
    Account { project: "nlp".into(), period: "2026".into() }
}

fn units(units: i64) -> Amount {
    Amount::of_micros(units * 1_000_000)
}

/// A start that may take so much of a budget of ten.
fn asks(amount: i64) -> Asked {
    Asked {
        shares: vec![Share {
            account: account(),
            amount: units(amount),
            budget: Funds::Granted(units(10)),
        }],
        on_exhausted: OnExhausted::Reject,
        what: "1 node".into(),
        unknown: None,
    }
}

impl Yard {
    /// Accepts a run and records the intent to submit it, as far as the budget lets it in.
    async fn paid(&self, bits: u128, amount: i64) -> (RunId, Result<Decision, Refusal>) {
        let id = self.accepted("x").await;
        let row = self.row(id).await;
        let start = Start { asked: Some(asks(amount)), ..start(bits) };
        let intending = Intending { run: row.run, run_dir: row.run_dir, owner: row.owner, start };
        let intended = self.store.intend(intending, t(1)).await.unwrap();
        (id, intended.map(|(decision, _)| decision))
    }

    /// What is captured and held.
    async fn spent(&self) -> (Amount, Amount) {
        let balance = self.store.ledger().await.unwrap()[&account()].balance;
        (balance.captured, balance.held)
    }

    /// A run that seven are held for, whose job ran and was lost.
    async fn lost(&self, bits: u128) -> RunId {
        let (run, _) = self.paid(bits, 7).await;
        self.tell(run, acknowledged(1), t(2)).await;
        let given = self.store.give_back(run, "root".into(), t(3)).await.unwrap();
        assert_eq!(given.0, units(0), "it goes on");
        let mut decision = Decision::stay(&self.row(run).await.run);
        let attempt = decision.run.attempt.as_mut().unwrap();
        (attempt.state, attempt.reason) = (AttemptState::Failed, Some(Reason::Lost));
        (attempt.started_at, attempt.ended_at) = (Some(t(2)), Some(t(3)));
        let message = String::new();
        let end = End { ending: Ending::Failed, reason: Some(Reason::Lost), message, at: t(3) };
        decision.run.state = State::Final { end };
        self.store.record(decision, Vec::new(), t(4)).await.unwrap();
        run
    }

    async fn kinds(&self, run: RunId) -> Vec<Kind> {
        let mut entries = self.store.entries(None, 100).await.unwrap();
        entries.reverse();
        entries.retain(|recorded| recorded.entry.of.is_some_and(|(of, _)| of == run));
        entries.iter().map(|recorded| recorded.entry.kind).collect()
    }
}

fn acknowledged(n: u64) -> Event {
    Event::Acknowledged { job: job(n), notices: String::new() }
}

#[tokio::test]
async fn a_hold_is_taken_with_the_intent_and_given_back_with_the_end() {
    let yard = Yard::new();
    let (run, intended) = yard.paid(1, 7).await;
    assert!(intended.is_ok());
    assert_eq!(yard.spent().await, (units(0), units(7)));
    let (other, refused) = yard.paid(2, 4).await;
    let Err(Refusal::Short(why)) = refused else { panic!("{refused:?}") };
    assert!(why.contains("3 of 10 charge units left (0 spent, 7 held)"), "{why}");
    assert_eq!(yard.row(other).await.run.submission, None);
    assert_eq!(yard.kinds(other).await, []);
    yard.tell(run, Event::Refused { message: "no".into(), for_now: false }, t(2)).await;
    assert!(yard.row(run).await.run.state.is_final());
    assert_eq!(yard.kinds(run).await, [Kind::Hold, Kind::Release]);
    assert_eq!(yard.spent().await, (units(0), units(0)));
    assert_eq!(yard.store.check_ledger(true).await.unwrap(), []);
}

#[tokio::test]
async fn a_budget_has_the_last_word_on_a_new_run() {
    let yard = Yard::new();
    let mut new = yard.new_run("x").await;
    (new.asked, new.start) = (Some(asks(11)), Some(start(1)));
    let id = new.id;
    let Acceptance::OverBudget(why) = yard.store.accept(new).await.unwrap() else {
        panic!("it is refused")
    };
    assert!(why.contains("10 of 10 charge units left"), "{why}");
    assert_eq!(yard.store.run(id).await.unwrap(), None, "nothing is left of it");
    assert_eq!(yard.store.ledger().await.unwrap().len(), 0);
}

#[tokio::test]
async fn what_a_replaced_run_holds_counts_as_free() {
    let yard = Yard::new();
    let (run, _) = yard.paid(1, 7).await;
    let mut new = yard.new_run("x").await;
    (new.asked, new.if_active) = (Some(asks(9)), IfActive::Replace);
    assert!(matches!(yard.store.accept(new).await.unwrap(), Acceptance::Recorded(_)));
    assert_eq!(yard.store.open_wishes().await.unwrap()[0].0, run);
    let mut beside = yard.new_run("x").await;
    beside.asked = Some(asks(9));
    assert!(matches!(yard.store.accept(beside).await.unwrap(), Acceptance::OverBudget(_)));
}

#[tokio::test]
async fn a_start_of_the_schedulers_own_takes_a_hold_or_stops_the_run() {
    for (room, kinds, state) in [
        (3, vec![Kind::Hold, Kind::Capture, Kind::Release, Kind::Hold], "queued"),
        (11, vec![Kind::Hold, Kind::Capture, Kind::Release], "stopping"),
    ] {
        let yard = Yard::new();
        let (run, _) = yard.paid(1, 7).await;
        yard.tell(run, acknowledged(1), t(2)).await;
        let mut decision = Decision::stay(&yard.row(run).await.run);
        let attempt = decision.run.attempt.as_mut().unwrap();
        decision.closed.push(Attempt { state: AttemptState::Requeued, ..attempt.clone() });
        (attempt.n, attempt.restart) = (2, 1);
        yard.store.record(decision, Vec::new(), t(3)).await.unwrap();
        let nothing = Asked { shares: Vec::new(), unknown: Some("?".into()), ..asks(0) };
        let nothing = (nothing, "ada".to_owned());
        assert_eq!(yard.store.hold_restart(run, nothing, policy(), t(4)).await.unwrap(), None);
        let by = (asks(room), "ada".to_owned());
        let decided = yard.store.hold_restart(run, by.clone(), policy(), t(4)).await.unwrap();
        let now = yard.row(run).await.run;
        assert_eq!((now.state.as_str(), yard.kinds(run).await), (state, kinds));
        let stop = now.state.reason_and_message().0;
        assert_eq!(stop, (state == "stopping").then_some(Reason::BudgetExhausted));
        assert_eq!(decided.unwrap().run, now);
        if state == "queued" {
            assert_eq!(yard.store.hold_restart(run, by, policy(), t(5)).await.unwrap(), None);
        }
    }
}

#[tokio::test]
async fn what_is_held_for_a_lost_start_is_given_back_by_hand_only() {
    let yard = Yard::new();
    let run = yard.lost(1).await;
    yard.tell(run, Event::Resume { by: "ada".into(), from: None }, t(5)).await;
    assert_eq!(yard.spent().await, (units(0), units(7)), "nobody knows what it cost");
    let given = yard.store.give_back(run, "root".into(), t(6)).await.unwrap();
    assert_eq!(given, (units(7), "unit"));
    let given = yard.store.give_back(run, "root".into(), t(6)).await.unwrap();
    assert_eq!(given, (units(0), "unit"));
    assert_eq!(yard.spent().await, (units(0), units(0)));
    assert_eq!(yard.kinds(run).await, [Kind::Hold, Kind::Release]);
}

#[tokio::test]
async fn what_accounting_tells_of_a_lost_start_is_what_it_costs() {
    let yard = Yard::new();
    let run = yard.lost(1).await;
    assert_eq!(yard.spent().await, (units(0), units(7)), "nobody knows what it cost");
    let attempt = yard.row(run).await.run.attempt.unwrap();
    let told = Attempt { elapsed_seconds: Some(1), ..attempt };
    let moments = (Next::Never, t(6));
    yard.store.accounts_told(run, (vec![told], Vec::new()), moments).await.unwrap();
    // The class of these runs costs nothing.
    assert_eq!(yard.kinds(run).await, [Kind::Hold, Kind::Capture, Kind::Release]);
    assert_eq!(yard.spent().await, (units(0), units(0)));
}

/// Does something to the database behind the store's back.
fn behind(yard: &Yard, sql: &str) -> rusqlite::Result<usize> {
    Connection::open(yard.path()).unwrap().execute(sql, [])
}

#[tokio::test]
async fn what_is_entered_stays_and_is_entered_once() {
    let yard = Yard::new();
    let (run, _) = yard.paid(1, 7).await;
    for sql in ["UPDATE ledger SET held = 1", "DELETE FROM ledger", "UPDATE ledger SET why = ''"] {
        let told = behind(&yard, sql).unwrap_err().to_string();
        assert!(told.contains("entries of the ledger are never"), "{sql}: {told}");
    }
    let again = "INSERT INTO ledger (at, project, period, kind, budget, captured, held, run, submission, idx, restart, \
                 who, why) SELECT at, project, period, kind, budget, captured, held, run, submission, idx, restart, who, \
                 why FROM ledger WHERE kind = 'hold'";
    let told = behind(&yard, again).unwrap_err().to_string();
    assert!(told.contains("UNIQUE"), "{told}");
    assert_eq!(yard.kinds(run).await, [Kind::Hold]);
}

#[tokio::test]
async fn an_account_whose_entries_are_not_its_balance_lets_nothing_in() {
    let yard = Yard::new();
    let (first, _) = yard.paid(1, 2).await;
    assert_eq!(yard.store.check_ledger(false).await.unwrap(), []);
    behind(&yard, "UPDATE balance SET held = held - 1").unwrap();
    assert_eq!(yard.store.check_ledger(false).await.unwrap(), [account()]);
    let (run, refused) = yard.paid(2, 2).await;
    assert!(matches!(&refused, Err(Refusal::Wrong(_))), "{refused:?}");
    assert_eq!(yard.row(run).await.run.submission, None);
    // A new run is taken in and waits.
    let mut new = yard.new_run("y").await;
    (new.asked, new.start) = (Some(asks(2)), Some(Start { asked: Some(asks(2)), ..start(3) }));
    let Acceptance::Recorded(recorded) = yard.store.accept(new).await.unwrap() else { panic!() };
    assert_eq!(recorded.intent, None);
    assert!(recorded.warning.unwrap().contains("does not add up"));
    // What was held is given back all the same.
    yard.tell(first, Event::Refused { message: "no".into(), for_now: false }, t(2)).await;
    assert_eq!(yard.kinds(first).await, [Kind::Hold, Kind::Release]);
    behind(&yard, "UPDATE balance SET held = held + 1").unwrap();
    assert_eq!(yard.store.check_ledger(false).await.unwrap(), []);
    // Entries that are changed after all are found when all are added up.
    behind(&yard, "DROP TRIGGER ledger_is_not_changed").unwrap();
    behind(&yard, "UPDATE ledger SET held = held + 1 WHERE kind = 'hold'").unwrap();
    assert_eq!(yard.store.check_ledger(false).await.unwrap(), []);
    assert_eq!(yard.store.check_ledger(true).await.unwrap(), [account()]);
}

#[tokio::test]
async fn a_budget_that_changes_is_entered_as_the_difference() {
    let yard = Yard::new();
    for (budget, entries) in [(10, 1), (10, 1), (25, 2), (5, 3)] {
        yard.store.grant(vec![(account(), units(budget))], t(0)).await.unwrap();
        assert_eq!(yard.store.ledger().await.unwrap()[&account()].balance.budget, units(budget));
        assert_eq!(yard.store.entries(Some("nlp".into()), 9).await.unwrap().len(), entries);
    }
    let newest = yard.store.entries(None, 1).await.unwrap().remove(0).entry;
    assert_eq!((newest.amount().to_string(), newest.who.as_str()), ("-20".into(), "site file"));
    assert_eq!(yard.store.entries(Some("cv".into()), 9).await.unwrap(), []);
}

#[tokio::test]
async fn what_was_asked_by_an_older_site_changes_no_budget() {
    let yard = Yard::new();
    let (_, first) = yard.paid(1, 1).await;
    assert!(first.is_ok(), "the first of a period is granted its budget: {first:?}");
    for (budget, is_let_in) in [(5, true), (3, false), (25, true)] {
        yard.store.grant(vec![(account(), units(budget))], t(0)).await.unwrap();
        let (_, intended) = yard.paid(budget.unsigned_abs().into(), 3).await;
        assert_eq!(intended.is_ok(), is_let_in, "{budget}: {intended:?}");
        assert_eq!(yard.store.ledger().await.unwrap()[&account()].balance.budget, units(budget));
    }
}

#[tokio::test]
async fn a_database_from_before_the_ledger_gets_one() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("t.db");
    let before = &MIGRATIONS_SLICE[..13];
    let old = open_with(&path, Journal::Wal, before).unwrap();
    old.execute("INSERT INTO number DEFAULT VALUES", []).unwrap();
    assert!(old.execute("SELECT * FROM ledger", []).is_err());
    drop(old);
    let store = Store::start(&path).unwrap();
    assert_eq!(store.ledger().await.unwrap().len(), 0);
    store.grant(vec![(account(), units(1))], t(0)).await.unwrap();
    assert_eq!(store.next_number().await.unwrap(), RunId(2));
}

/// What Slurm counts of a start is entered in an account for each thing; one without room for it keeps it out of all.
#[tokio::test]
async fn a_start_that_slurm_counts_is_in_several_accounts_or_in_none() {
    let yard = Yard::new();
    let purse = Purse { cluster: "main".into(), account: "ml".into() };
    let account = |counted| Account::by_slurm("nlp", &purse, counted);
    let told_at = t(0);
    let share = |counted, amount, room: Option<i64>| {
        let limit = room.map(|room| (units(room), "ml".to_owned()));
        let room = Room { room: room.map(units), limit, told_at };
        Share { account: account(counted), amount: units(amount), budget: Funds::Slurm(room) }
    };
    let asks = |gpus| Asked {
        shares: vec![share(Resource::Nodes, 1, None), share(Resource::Gpus, gpus, Some(10))],
        ..asks(0)
    };
    let intend = async |bits, gpus| {
        let row = yard.row(yard.accepted("x").await).await;
        let run = row.run.id;
        let start = Start { asked: Some(asks(gpus)), ..start(bits) };
        let intending = Intending { run: row.run, run_dir: row.run_dir, owner: row.owner, start };
        (run, yard.store.intend(intending, t(1)).await.unwrap().map(drop))
    };
    let (first, told) = intend(1, 7).await;
    assert_eq!(told, Ok(()));
    assert!(matches!(intend(2, 4).await.1, Err(Refusal::Short(_))));
    let held = |of: Account| {
        let store = yard.store.clone();
        async move { store.ledger().await.unwrap()[&of].balance }
    };
    assert_eq!(held(account(Resource::Nodes)).await.held, units(1));
    assert_eq!(held(account(Resource::Gpus)).await.held, units(7));
    // Nothing is granted: the budget is not ours.
    assert_eq!(held(account(Resource::Gpus)).await.budget, units(0));
    yard.tell(first, Event::Refused { message: "no".into(), for_now: false }, t(2)).await;
    for counted in [Resource::Nodes, Resource::Gpus] {
        let balance = held(account(counted)).await;
        assert_eq!((balance.held, balance.captured), (units(0), units(0)), "{counted:?}");
    }
    assert_eq!(yard.store.check_ledger(true).await.unwrap(), []);
}
