//! A point of a sweep as a run of its own: the sweep's spec without its `[sweep]`, and the point's values as changes.

use crate::domain::document::Node;
use crate::domain::problem::At;
use crate::domain::request::{Change, RepeatedPoint, SpecRequest};
use crate::domain::sweep::Family;

/// What a sweep was asked for with, made into what asks for one of its points, which was given these parameters. Numbers
/// stay as the spec spells them, and arguments in their order. None where the spec does not make this point.
pub fn alone(
    request: SpecRequest,
    of: RepeatedPoint,
    parameters: &serde_json::Value,
) -> Option<SpecRequest> {
    let family = Family::read(&request)?;
    let (points, place) = if family.open.is_some() {
        (family.told(&parameters.to_string()).0.points, 0)
    } else {
        (family.points, usize::try_from(of.point).ok()?)
    };
    let point = points.points.get(place)?;
    if points.parameters(point) != *parameters {
        return None;
    }
    let change = |(At { value: key, .. }, value): (&At<String>, &At<Node>)| {
        let value = written(&value.value);
        Change { shown: format!("--set {key}={value}"), key: key.clone(), value }
    };
    let mut alone = SpecRequest { points: None, point: Some(of), ..request };
    alone.changes.retain(|change| !change.is_about("sweep"));
    alone.changes.extend(points.values(point).map(change));
    Some(alone)
}

/// A value in TOML.
pub(super) fn written(node: &Node) -> String {
    let text = |text: &str| toml::Value::from(text).to_string();
    match node {
        Node::Text(value) => text(value),
        Node::Integer(number) => number.to_string(),
        Node::Float(spelled) | Node::Datetime(spelled) => spelled.clone(),
        Node::Boolean(flag) => flag.to_string(),
        Node::List(items) => {
            let items: Vec<String> = items.iter().map(|item| written(&item.value)).collect();
            format!("[{}]", items.join(", "))
        }
        Node::Table(table) => {
            let entry = |(key, value): &(At<String>, At<Node>)| {
                format!(
                    "{} = {}",
                    serde_json::Value::from(key.value.as_str()),
                    written(&value.value)
                )
            };
            format!("{{ {} }}", table.0.iter().map(entry).collect::<Vec<_>>().join(", "))
        }
    }
}
