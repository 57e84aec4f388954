//! The files of a site config, laid over each other.

use crate::domain::document::{Node, Table};
use crate::domain::keys::{FromNode as _, join};
use crate::domain::problem::{At, Place, Problem, SourceId, limited};
use crate::domain::site::Site;
use crate::domain::units::Seconds;

/// Where one layer of the site config came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LayerKind {
    /// `/etc/trainyard/site.toml` and `conf.d`: what it defines, users may not loosen.
    System { root_owned: bool },
    /// `--site`, `$TRAINYARD_SITE` or the user's own file.
    User,
    /// What a cluster said about itself, where no file describes one: anybody may say otherwise.
    Found,
}

/// One file of the site config, read but not yet interpreted.
#[derive(Debug, Clone)]
pub struct Layer {
    pub kind: LayerKind,
    pub source: SourceId,
    pub table: Table,
}

/// Lays the files over each other in order, refusing what a user's file may not loosen, and reads the result.
pub fn effective(layers: Vec<Layer>) -> (Site, Table, Vec<Problem>) {
    let mut problems = Vec::new();
    let mut merged = Table::default();
    let mut system = Table::default();
    let mut override_allowed = false;
    for layer in layers {
        match layer.kind {
            LayerKind::System { root_owned } => {
                override_allowed |= root_owned && allows_override(&layer.table);
                system.merge(layer.table.clone());
                merged.merge(layer.table);
            }
            LayerKind::Found => merged.merge(layer.table),
            LayerKind::User => {
                if !override_allowed {
                    refuse_loosening(&system, &layer.table, "", &mut problems);
                }
                merged.merge(layer.table);
            }
        }
    }
    let place = Place { source: SourceId(0), start: 0, end: 0 };
    let whole = At::new(Node::Table(merged.clone()), place);
    let site = Site::from_node(&whole, "", &mut problems).unwrap_or_default();
    site.check(&mut problems);
    (site, merged, limited(problems))
}

fn allows_override(table: &Table) -> bool {
    let Some(At { value: Node::Table(site), .. }) = table.get("site") else { return false };
    matches!(site.get("allow_override"), Some(At { value: Node::Boolean(true), .. }))
}

/// What `/etc` says about these stands: a user's own file may not say it again in its own favour.
const PROTECTED: &[&str] = &[
    "admins",
    "allow_override",
    "rate",
    "charge",
    "members",
    "budget",
    "period",
    "on_exhausted",
    "on_overrun",
    "max_running",
    "max_running_nodes",
    "max_nodes",
    "max_time",
    "poll_burst",
];

/// What decides, beside its rate, what a class costs: where administrators set the rate, this stands as well, though they say
/// nothing of it.
const PRICED: &[&str] = &["charge", "exclusive"];

/// Whether a key that administrators have left out is theirs all the same.
fn is_theirs(system: &Table, path: &str, word: &str) -> bool {
    let is_priced = PRICED.contains(&word) && system.get("rate").is_some();
    is_priced || (path, word) == ("site", "charge")
}

fn refuse_loosening(system: &Table, user: &Table, path: &str, problems: &mut Vec<Problem>) {
    // What `/etc` says nothing of.
    let nothing = Node::Table(Table::default());
    for (key, node) in &user.0 {
        let full = join(path, &key.value);
        let word = key.value.as_str();
        let is_site = path.is_empty() && word == "site" && !system.0.is_empty();
        let ours = system.get(word).map(|ours| &ours.value).or(is_site.then_some(&nothing));
        let refused = match ours {
            None => is_theirs(system, path, word),
            Some(_) if PROTECTED.contains(&word) => true,
            Some(ours) => {
                let is_priced = PRICED.contains(&word) && system.get("rate").is_some();
                is_priced || word == "poll_interval" && is_shorter(&node.value, ours)
            }
        };
        if refused {
            problems.push(
                Problem::at(
                    key.place,
                    format!("`{full}` is set by the administrators and cannot be changed here"),
                )
                .help("remove it; an administrator can lift this with `allow_override = true`"),
            );
        } else if let (Some(Node::Table(ours)), Node::Table(theirs)) = (ours, &node.value) {
            refuse_loosening(ours, theirs, &full, problems);
        }
    }
}

/// Whether a poll interval is shorter than the administrator's; what cannot be read counts as shorter.
fn is_shorter(user: &Node, system: &Node) -> bool {
    let read = |node: &Node| {
        let Node::Text(text) = node else { return None };
        Seconds::parse(text)
    };
    match (read(user), read(system)) {
        (Some(user), Some(system)) => user < system,
        _ => true,
    }
}
