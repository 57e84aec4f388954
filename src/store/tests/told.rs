//! Points that are told one by one.

use rusqlite::Row;

use crate::store::handle::During as _;
use crate::store::tests::world::Yard;

#[tokio::test]
async fn the_end_of_a_point_is_numbered_without_a_look_at_all_the_others() {
    let yard = Yard::new();
    let plan = yard.store.call(|connection| {
        let sql = "SELECT sql FROM sqlite_schema WHERE name = 'told_ended'";
        let trigger = connection.query_row(sql, [], |row| row.get::<_, String>(0));
        let trigger = trigger.during("read a trigger")?;
        let (_, body) = trigger.split_once("BEGIN").unwrap_or_default();
        let body = body.trim_end().trim_end_matches("END").replace("new.id", "1");
        let mut statement =
            connection.prepare(&format!("EXPLAIN QUERY PLAN {body}")).during("explain")?;
        let rows = statement.query_map([], |row: &Row<'_>| row.get::<_, String>(3));
        rows.and_then(Iterator::collect::<Result<Vec<_>, _>>).during("explain")
    });
    let plan = plan.await.unwrap().join("\n");
    let expected = "SEARCH other USING COVERING INDEX told_result (sweep=? AND result>?)";
    assert!(plan.contains(expected), "{plan}");
}
