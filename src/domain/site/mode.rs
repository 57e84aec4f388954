//! File modes, as a site config writes them.

use crate::domain::document::Node;
use crate::domain::keys::FromNode;
use crate::domain::problem::{At, Problem};

/// Permission bits, written in octal as a string.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Mode(pub u32);

impl FromNode for Mode {
    fn from_node(node: &At<Node>, path: &str, problems: &mut Vec<Problem>) -> Option<Self> {
        let text = String::from_node(node, path, problems)?;
        let mode = u32::from_str_radix(&text, 8).ok().filter(|mode| *mode <= 0o7777);
        if mode.is_none() {
            problems.push(
                Problem::at(node.place, format!("`{path}`: `{text}` is no octal mode"))
                    .help("write \"0700\""),
            );
        }
        mode.map(Self)
    }
}

impl schemars::JsonSchema for Mode {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Mode".into()
    }
    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({ "type": "string", "pattern": "^[0-7]{1,4}$", "description": "octal mode: 0700" })
    }
}
