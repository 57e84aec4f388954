//! Arrays of points: what is written for each of them, and what once for all.

use std::path::PathBuf;

use crate::domain::ids::RunId;
use crate::domain::run::{Event, Run};
use crate::domain::sweep::slots::Chunk;
use crate::store::sweeps::accept;
use crate::store::tests::world::{Yard, job, start, t};
use crate::store::{IntendingPoints, Opening, SweepAcceptance};

impl Yard {
    async fn count(&self, table: &str) -> i64 {
        let sql = format!("SELECT count(*) FROM {table}");
        let counted =
            self.store.call(move |it| Ok(it.query_row(&sql, [], |row| row.get(0)).unwrap()));
        counted.await.unwrap()
    }

    async fn history(&self, run: RunId) -> Vec<String> {
        let events = self.store.events(run).await.unwrap();
        events.into_iter().map(|event| event.message).collect()
    }

    /// Submits these runs as an array of the sweep's.
    async fn intend_array(&self, sweep: RunId, runs: Vec<(Run, u32)>, bits: u128, seconds: i64) {
        let intending = IntendingPoints {
            sweep,
            sweep_dir: PathBuf::from("/runs/large"),
            owner: "ada".into(),
            first_point: 0,
            at_once: None,
            runs,
            start: start(bits),
        };
        self.store.intend_points(intending, t(seconds)).await.unwrap().unwrap();
    }
}

#[tokio::test]
async fn what_is_the_same_in_the_history_of_all_points_is_written_once() {
    let yard = Yard::new();
    let opening = Opening {
        chunk: Chunk { set: 0, first_point: 0, points: vec![0, 1, 2], at_once: None, attempt: 1 },
        start: start(1),
    };
    let new = yard.new_sweep(4, Some(opening)).await;
    let point = |number: i64| RunId(new.id.0 + 1 + number);
    let (sweep, first, last) = (new.id, point(0), point(3));
    let accepted = yard.store.accept_sweep(new).await.unwrap();
    let SweepAcceptance::Recorded { intent: Some(intent), .. } = accepted else {
        panic!("{accepted:?}")
    };
    assert_eq!(intent.tasks, [0, 1, 2]);
    assert_eq!((yard.count("event").await, yard.count("array_event").await), (0, 1));
    assert_eq!(yard.history(first).await, ["pending → submitting"]);
    assert!(yard.history(last).await.is_empty());

    // What comes later comes behind it, also in the same millisecond.
    let acknowledged = Event::Acknowledged { job: job(7), notices: String::new() };
    yard.tell(first, acknowledged, t(0)).await;
    yard.tell(first, Event::Cancel { by: "ada".into() }, t(1)).await;
    let before = yard.history(first).await;
    assert_eq!(before[..2], ["pending → submitting", "submitting → queued"]);
    let again = Run::accepted(first);
    let other = yard.row(last).await.run;
    yard.intend_array(sweep, vec![(again, 0), (other, 3)], 2, 0).await;
    let shared = "pending → submitting".to_owned();
    assert_eq!(yard.history(first).await, [before, vec![shared.clone()]].concat());
    assert_eq!(yard.history(last).await, [shared]);
}

impl Yard {
    /// Everything that is written of points, whatever may still be owed.
    async fn dump(&self) -> Vec<String> {
        let rows = self.store.call(|connection| {
            let mut lines = Vec::new();
            for table in ["run", "element", "submission", "array_event", "owed_points"] {
                let mut statement = connection.prepare(&format!("SELECT * FROM {table}")).unwrap();
                let columns = statement.column_count();
                let rows = statement.query_map([], |row| {
                    let values = (0..columns).map(|column| format!("{:?}", row.get_ref(column)));
                    Ok(format!("{table} {}", values.collect::<Vec<_>>().join(" ")))
                });
                lines.extend(rows.unwrap().map(Result::unwrap));
            }
            Ok(lines)
        });
        rows.await.unwrap()
    }
}

#[tokio::test]
async fn rows_that_a_daemon_owed_when_it_ended_are_written_before_anything_else() {
    let chunk =
        || Chunk { set: 0, first_point: 1, points: vec![1, 2], at_once: Some(1), attempt: 1 };
    let opening = || Some(Opening { chunk: chunk(), start: start(1) });
    let whole = Yard::new();
    let new = whole.new_sweep(4, opening()).await;
    whole.store.accept_sweep(new).await.unwrap();
    let expected = whole.dump().await;
    assert_eq!(expected.len(), 4 + 2 + 1 + 1, "{expected:#?}");

    let cut = Yard::new();
    let new = cut.new_sweep(4, opening()).await;
    let books = cut.store.books.clone();
    let accepted = cut.store.call(move |connection| accept(connection, &books, new)).await;
    let (SweepAcceptance::Recorded { intent: Some(intent), .. }, Some(_)) = accepted.unwrap()
    else {
        panic!("nothing is owed")
    };
    assert_eq!(intent.tasks, [0, 1]);
    assert_eq!((cut.count("run").await, cut.count("owed_points").await), (0, 1));
    let reopened = cut.reopened();
    assert_eq!(reopened.dump().await, expected);
    assert_eq!(reopened.store.live().await.unwrap().len(), 4);
}

#[tokio::test]
async fn a_disk_that_is_full_between_the_intent_and_the_rows_loses_none() {
    const POINTS: u32 = 1_000;
    /// What the intent fits into, and the rows do not.
    const PAGES: i64 = 100;
    let yard = Yard::new();
    let points = (0..POINTS).collect();
    let chunk = Chunk { set: 0, first_point: 0, points, at_once: None, attempt: 1 };
    let new = yard.new_sweep(POINTS, Some(Opening { chunk, start: start(1) })).await;
    let fill = yard.store.call(|connection| {
        let pages: i64 = connection.query_row("PRAGMA page_count", [], |row| row.get(0)).unwrap();
        let sql = format!("PRAGMA max_page_count = {}", pages + PAGES);
        Ok(connection.query_row(&sql, [], |row| row.get::<_, i64>(0)).unwrap())
    });
    fill.await.unwrap();
    let accepted = yard.store.accept_sweep(new).await.unwrap();
    assert!(matches!(accepted, SweepAcceptance::Recorded { intent: Some(_), .. }), "{accepted:?}");
    // Nobody sees a sweep without its points.
    let error = yard.store.live().await.unwrap_err();
    assert!(error.is_disk_full(), "{error:?}");
    let reopened = yard.reopened();
    assert_eq!(reopened.store.live().await.unwrap().len(), POINTS as usize);
    assert_eq!((reopened.count("element").await, reopened.count("owed_points").await), (1_000, 0));
}
