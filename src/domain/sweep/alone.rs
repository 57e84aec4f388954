//! A point of a sweep as a run of its own: the sweep's spec without its `[sweep]`, and the point's values as changes.

use crate::domain::document::Node;
use crate::domain::problem::At;
use crate::domain::request::{Change, RepeatedPoint, SpecRequest};
use crate::domain::sweep::{Family, Given};

/// What a sweep was asked for with, made into what asks for one of its points, which was given this. Numbers stay as the
/// spec spells them, or who told the point, and arguments in their order. None where the spec does not make this point.
pub fn alone(request: SpecRequest, of: RepeatedPoint, given: &Given) -> Option<SpecRequest> {
    let family = Family::read(&request)?;
    let parameters = &given.parameters;
    let is_told = family.open.is_some();
    let (points, place) = if is_told {
        (family.told(&parameters.to_string()).0.points, 0)
    } else {
        (family.points, usize::try_from(of.point).ok()?)
    };
    let point = points.points.get(place)?;
    if points.parameters(point) != *parameters {
        return None;
    }
    let change = |(At { value: key, .. }, value): (&At<String>, &At<Node>)| {
        let told = match &value.value {
            Node::Float(number) if is_told => as_told(key, number, given),
            Node::Float(_)
            | Node::Text(_)
            | Node::Integer(_)
            | Node::Boolean(_)
            | Node::Datetime(_)
            | Node::List(_)
            | Node::Table(_) => None,
        };
        let value = told.unwrap_or_else(|| written(&value.value));
        Change { shown: format!("--set {key}={value}"), key: key.clone(), value }
    };
    let mut alone = SpecRequest { points: None, point: Some(of), ..request };
    alone.changes.retain(|change| !change.is_about("sweep"));
    alone.changes.extend(points.values(point).map(change));
    Some(alone)
}

/// A number as it was told: parameters are recorded as JSON, which has `0.001` for `1e-3`, and what the point was given is
/// not.
fn as_told(key: &str, number: &str, given: &Given) -> Option<String> {
    let value: f64 = number.parse().ok()?;
    let is_it = |text: &String| text.parse() == Ok(value);
    if let Some(name) = key.strip_prefix("environment.variables.") {
        let (_, word) = given.variables.iter().find(|(own, _)| own == name)?;
        return Some(word.to_string()).filter(is_it);
    }
    let name = key.strip_prefix("args.")?;
    let words: Vec<String> = given.args.iter().map(ToString::to_string).collect();
    let flag = format!("--{name}");
    let behind_flag = words.iter().zip(words.iter().skip(1)).filter(|(word, _)| **word == flag);
    // As the other styles of arguments have it.
    let starts = [format!("--{name}="), format!("{name}=")];
    let of_word =
        |word: &String| starts.iter().find_map(|start| word.strip_prefix(start)).map(str::to_owned);
    let in_word = words.iter().filter_map(of_word);
    behind_flag.map(|(_, next)| next.clone()).chain(in_word).find(is_it)
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
