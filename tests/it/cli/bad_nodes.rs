//! `site bad-nodes`: what is listed, what is cleared, and what is refused.

use crate::cli::{assert_table, env_with_a_run};
use crate::env::TestEnv;

/// Remembers failures of n2 and n7 under run 1, and one of n9 that has expired.
fn remember(env: &TestEnv) {
    drop(env.line("daemon stop").success());
    let database = rusqlite::Connection::open(env.state_dir().join("trainyard.db")).unwrap();
    for (attempt, node, hours_ago) in [(1, "n2", 1), (2, "n2", 0), (1, "n7", 2), (1, "n9", 25)] {
        let sql = "INSERT INTO bad_node (run, attempt, node, cluster, since, why, job) \
                   VALUES (1, ?1, ?2, 'main', 1000 * (unixepoch() - 3600 * ?3), 'node_failure', 'main:7')";
        database.execute(sql, rusqlite::params![attempt, node, hours_ago]).unwrap();
    }
}

#[test]
fn nodes_that_failed_are_listed_and_cleared() {
    let env = env_with_a_run();
    assert_table!(env, env.line("site bad-nodes").success());
    assert_eq!(env.line("site bad-nodes --json").success().stdout, "[]\n");
    assert_table!(env, env.line("site bad-nodes --clear-all").success());
    remember(&env);
    assert_table!(env, env.line("site bad-nodes").success());
    let bad = env.line("site bad-nodes --json").success().json();
    let shown: Vec<_> = bad
        .as_array()
        .unwrap()
        .iter()
        .map(|bad| (bad["node"].as_str().unwrap(), bad["count"].as_i64().unwrap()))
        .collect();
    assert_eq!(shown, [("n2", 2), ("n7", 1)], "n9 is forgotten");
    assert_eq!((&bad[0]["run"], &bad[0]["attempt"]), (&1.into(), &2.into()));
    // All of them or none.
    assert_table!(env, env.line("site bad-nodes --clear n2 n9").ended(4));
    assert_table!(env, env.line("site bad-nodes --clear n[2-3]").ended(4));
    assert_table!(env, env.line("site bad-nodes --clear n2").success());
    let left = env.line("site bad-nodes --clear-all --json").success().json();
    assert_eq!((&left[0]["node"], &left[1]), (&"n7".into(), &serde_json::Value::Null));
    assert_eq!(env.line("site bad-nodes --json").success().stdout, "[]\n");
}

#[test]
fn what_is_no_name_of_a_node_is_refused() {
    let env = TestEnv::new();
    for line in [
        "site bad-nodes --clear",
        "site bad-nodes --clear n[1-",
        "site bad-nodes --clear n1;x",
        "site bad-nodes --clear n1 --clear-all",
        "site bad-nodes n1",
    ] {
        let said = env.line(line).ended(2);
        assert_eq!(said.stdout, "", "{said}");
    }
    let said = env.line("site bad-nodes --clear n[1-").ended(2);
    assert_eq!(said.stderr, "error: `n[1-` is no name of a node, nor a list of them\n");
}
