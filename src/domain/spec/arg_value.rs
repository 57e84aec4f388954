//! What stands behind a key of `[args]`.

use crate::domain::document::Node;
use crate::domain::keys::{FromNode, wrong_kind};
use crate::domain::problem::{At, Problem};

/// A value for the training program: one word, several words, or a switch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ArgValue {
    /// Text, or a number as it was written.
    Word(String),
    Switch(bool),
    Words(Vec<String>),
}

impl FromNode for ArgValue {
    fn from_node(node: &At<Node>, path: &str, problems: &mut Vec<Problem>) -> Option<Self> {
        match &node.value {
            Node::Boolean(flag) => Some(Self::Switch(*flag)),
            Node::List(items) => {
                let words: Option<Vec<String>> = items
                    .iter()
                    .enumerate()
                    .map(|(index, item)| word(item, &format!("{path}[{index}]"), problems))
                    .collect();
                words.map(Self::Words)
            }
            Node::Text(_)
            | Node::Integer(_)
            | Node::Float(_)
            | Node::Datetime(_)
            | Node::Table(_) => word(node, path, problems).map(Self::Word),
        }
    }
}

/// A string, number or date as the one word that it is on a command line.
fn word(node: &At<Node>, path: &str, problems: &mut Vec<Problem>) -> Option<String> {
    match &node.value {
        Node::Text(_) => String::from_node(node, path, problems),
        Node::Integer(number) => Some(number.to_string()),
        Node::Float(text) | Node::Datetime(text) => Some(text.clone()),
        Node::Boolean(flag) => Some(flag.to_string()),
        Node::List(_) | Node::Table(_) => {
            wrong_kind(node, path, "a string, a number, a boolean or a flat array", problems)
        }
    }
}

impl schemars::JsonSchema for ArgValue {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "ArgValue".into()
    }
    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        let scalar = serde_json::json!({ "type": ["string", "number", "boolean"] });
        schemars::json_schema!({ "anyOf": [scalar, { "type": "array", "items": scalar }] })
    }
}
