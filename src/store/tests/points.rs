//! All points of a large sweep at once.

use std::collections::BTreeMap;

use serde_json::json;

use crate::domain::checkpoint::Goal;
use crate::domain::ids::RunId;
use crate::domain::request::IfActive;
use crate::store::handle::During as _;
use crate::store::tests::world::{Yard, job, t};
use crate::store::{NewSweep, SweepAcceptance};

const POINTS: u32 = 25_000;

impl Yard {
    /// A sweep of which every point but the first has run once and has reported three losses: its number
    /// less the step.
    async fn large_sweep(&self) -> RunId {
        let id = self.accepted_sweep(POINTS, IfActive::Submit).await;
        self.store
            .call(move |connection| {
                let attempt = json!({
                    "n": 1, "submission": 1, "restart": 0, "state": "completed", "slurm_state": "COMPLETED",
                    "job": job(7), "reason": null, "exit_code": 0,
                    "signal": null, "nodes": ["n1"], "granted": { "partition": "gpu", "account": "ml" },
                    "notices": "", "submitted_at": t(0), "eligible_at": t(0), "started_at": t(10),
                    "ended_at": t(3_610), "absent_since": null, "script_end": null, "self_reported": false,
                });
                let sql = format!(
                    "PRAGMA foreign_keys = OFF;
                     INSERT INTO metric (run, name, step, at, value) SELECT id, 'loss', step, 0, point - step FROM run, \
                         (SELECT 0 AS step UNION SELECT 1 UNION SELECT 3) WHERE point > 0;
                     INSERT INTO metric_tail SELECT id, 0, 0, 0, 3, '{{}}', json_object('loss', json_object('name', \
                         'loss', 'step', 3, 'at', '1970-01-01T00:00:00Z', 'value', point + 0.5)) FROM run WHERE point > 0;
                     INSERT INTO attempt SELECT 1, point, 0, id, 1, '{attempt}' FROM run WHERE point > 0;"
                );
                connection.execute_batch(&sql).during("fill a sweep")
            })
            .await
            .unwrap();
        id
    }

    async fn accepted_sweep(&self, count: u32, if_active: IfActive) -> RunId {
        let new = NewSweep { if_active, ..self.new_sweep(count, None).await };
        let id = new.id;
        let accepted = self.store.accept_sweep(new).await.unwrap();
        assert_eq!(accepted, SweepAcceptance::Recorded { intent: None, warning: None });
        id
    }
}

#[tokio::test]
async fn the_points_of_a_large_sweep_are_read_at_once() {
    let yard = Yard::new();
    let id = yard.large_sweep().await;
    let (store, metric) = (&yard.store, || "loss".to_owned());
    let begun = std::time::Instant::now();
    let rows = store.point_rows(id).await.unwrap();
    let attempts = store.attempts_of_sweep(id).await.unwrap();
    let least = store.best_of_sweep(id, metric(), Goal::Minimize).await.unwrap();
    let newest = store.newest_of_sweep(id, metric()).await.unwrap();
    println!("{POINTS} points read in {:?}", begun.elapsed());
    let most = store.best_of_sweep(id, metric(), Goal::Maximize).await.unwrap();

    let count = usize::try_from(POINTS).unwrap();
    assert_eq!(
        (rows.len(), attempts.len(), least.len(), newest.len()),
        (count, count - 1, count - 1, count - 1)
    );
    let last = rows.last().unwrap();
    assert_eq!((last.point, &last.parameters), (POINTS - 1, &json!({ "args.seed": POINTS - 1 })));
    let number = f64::from(POINTS - 1);
    assert_eq!(least[&last.run], (number - 3.0, 3));
    assert_eq!(most[&last.run], (number, 0));
    assert_eq!(newest[&last.run], (number + 0.5, 3));
    assert!(!least.contains_key(&rows[0].run));
    let names = store.metric_names_of_sweep(id).await.unwrap();
    assert_eq!(names.into_iter().collect::<Vec<_>>(), ["loss"]);
    let spent: BTreeMap<_, _> = attempts.into_iter().collect();
    assert_eq!(spent[&last.run].ended_at, Some(t(3_610)));
    assert_eq!(
        store.best_of_sweep(RunId(1_000_000), metric(), Goal::Minimize).await.unwrap().len(),
        0
    );
}

#[tokio::test]
async fn what_a_sweep_waited_for_is_forgotten_once_it_is_over() {
    let yard = Yard::new();
    let first = yard.accepted_sweep(2, IfActive::Submit).await;
    let second = yard.accepted_sweep(2, IfActive::Queue).await;
    let store = &yard.store;
    let rows = async || {
        let count = |row: &rusqlite::Row<'_>| row.get::<_, i64>(0);
        let sql = "SELECT count(*) FROM sweep_waits_for";
        store.call(move |it| it.query_row(sql, [], count).during("count")).await.unwrap()
    };
    let over = async |point: i64| {
        let sql = format!("UPDATE run SET state = 'failed' WHERE id = {}", first.0 + 1 + point);
        store.call(move |it| it.execute_batch(&sql).during("end")).await.unwrap();
    };
    assert_eq!(store.waiting_sweeps().await.unwrap(), [(second, first)]);
    over(0).await;
    assert_eq!(store.waiting_sweeps().await.unwrap(), [(second, first)]);
    assert_eq!(rows().await, 1);
    over(1).await;
    assert_eq!(store.waiting_sweeps().await.unwrap(), []);
    assert_eq!(rows().await, 0);
}
