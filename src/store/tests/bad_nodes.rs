//! Nodes that failed.

use crate::domain::bad_nodes::Failure;
use crate::domain::ids::RunId;
use crate::domain::nodelist::NodeName;
use crate::domain::run::{Decision, Event, Reason};
use crate::store::tests::world::{Yard, job, t};

/// Records a run whose attempt ended at this second, with these nodes to blame.
async fn failed(yard: &Yard, bits: u128, second: i64, nodes: &[&str]) -> RunId {
    let id = yard.accepted("x").await;
    yard.intend(id, bits, t(1)).await;
    let job = job(u64::try_from(bits).unwrap());
    yard.tell(id, Event::Acknowledged { job, notices: String::new() }, t(2)).await;
    let mut decision = Decision::stay(&yard.row(id).await.run);
    let attempt = decision.run.attempt.as_mut().unwrap();
    attempt.failed_nodes = nodes.iter().map(|name| name.parse().unwrap()).collect();
    attempt.reason = Some(Reason::NodeFailure);
    attempt.ended_at = Some(t(second));
    yard.store.record(decision, Vec::new(), t(second + 5)).await.unwrap();
    id
}

fn shown(failures: &[Failure]) -> Vec<(i64, &str)> {
    failures.iter().map(|failure| (failure.run.0, failure.node.as_str())).collect()
}

fn names(names: &[&str]) -> Vec<NodeName> {
    names.iter().map(|name| name.parse().unwrap()).collect()
}

#[tokio::test]
async fn a_node_is_remembered_with_the_end_of_the_attempt_that_it_ended() {
    let yard = Yard::new();
    let id = failed(&yard, 7, 100, &["n2"]).await;
    let expected = Failure {
        cluster: "local".into(),
        node: "n2".parse().unwrap(),
        since: t(100),
        why: Reason::NodeFailure,
        run: id,
        attempt: 1,
        job: "local:7".parse().unwrap(),
    };
    assert_eq!(yard.store.bad_nodes(t(99)).await.unwrap(), [expected]);
    assert_eq!(yard.store.bad_nodes(t(100)).await.unwrap(), [], "it has expired");
}

#[tokio::test]
async fn what_was_cleared_stays_cleared_although_its_attempt_is_written_again() {
    let yard = Yard::new();
    let first = failed(&yard, 1, 100, &["n1", "n2"]).await;
    let second = failed(&yard, 2, 200, &["n2", "n3"]).await;
    let clear = async |nodes| yard.store.clear_bad_nodes(nodes, (t(0), t(300))).await.unwrap();
    let left = async || yard.store.bad_nodes(t(0)).await.unwrap();
    assert_eq!(clear(Some(names(&["n1", "n9"]))).await, Err(names(&["n9"])));
    assert_eq!(left().await.len(), 4, "then none is cleared");
    let cleared = clear(Some(names(&["n2"]))).await.unwrap();
    assert_eq!(shown(&cleared), [(first.0, "n2"), (second.0, "n2")]);
    for id in [first, second] {
        let again = Decision::stay(&yard.row(id).await.run);
        yard.store.record(again, Vec::new(), t(400)).await.unwrap();
    }
    assert_eq!(shown(&left().await), [(first.0, "n1"), (second.0, "n3")]);
    assert_eq!(clear(None).await.unwrap().len(), 2);
    assert_eq!(left().await, []);
    assert_eq!(clear(None).await, Ok(Vec::new()));
}
