//! Arrays of points: what is written for each of them, and what once for all.

use std::path::PathBuf;

use crate::domain::ids::RunId;
use crate::domain::run::{Event, Run};
use crate::domain::sweep::slots::Chunk;
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
