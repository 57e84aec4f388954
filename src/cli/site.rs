//! `site`: the site config as it is in force.

use crate::cli::context::Context;
use crate::cli::error::{CliError, Exit};
use crate::cli::found::{FOUND_FRESH, found_slurm};
use crate::cli::text::TerminalText;
use crate::cli::{bad_nodes, gc, site_check, site_init};
use crate::domain::document::{Node, Table};
use crate::domain::keys::join;
use crate::domain::problem::At;
use crate::domain::resolve::default_run_root;
use crate::domain::site::Site;
use crate::files::{FoundLayer, LoadedSite};

#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// Show the effective config, with the layer each value came from
    Show,
    /// Remove captured code that no run uses any more
    Gc(gc::Args),
    /// List the nodes that failed under runs and are kept away from, and forget them
    BadNodes(bad_nodes::Args),
    /// Compare the config with the live cluster: every class, account and path, and the mend
    Check(site_check::Args),
    /// Print a commented config by asking Slurm, or write it
    Init(site_init::Args),
}

impl Command {
    /// Whether the daemon does it.
    pub(super) fn asks_the_daemon(&self) -> bool {
        match self {
            Self::Gc(_) | Self::BadNodes(_) => true,
            Self::Show | Self::Check(_) | Self::Init(_) => false,
        }
    }
}

/// One value and where it was set: `file` without a line is who was asked.
#[derive(Debug, serde::Serialize)]
struct Setting {
    key: String,
    value: serde_json::Value,
    file: Option<String>,
    line: Option<usize>,
    #[serde(skip)]
    shown: String,
}

pub(super) fn run(context: &Context, command: &Command) -> Result<Exit, CliError> {
    match command {
        Command::Show => {}
        Command::Gc(args) => return gc::run(context, args),
        Command::BadNodes(args) => return bad_nodes::run(context, args),
        Command::Check(args) => return site_check::run(context, args),
        Command::Init(args) => return site_init::run(context, args),
    }
    let loaded = context.site()?;
    let mut settings = Vec::new();
    flatten(&loaded.table, "", &loaded, &mut settings);
    built_in(context, &loaded.site, &mut settings);
    let output = context.output();
    if context.global.json {
        output.json(&settings)?;
        return Ok(Exit::Done);
    }
    for source in &loaded.sources.0 {
        context.say(&format!("read {}", TerminalText(&source.name)));
    }
    if loaded.sources.0.is_empty() {
        context.say("no site file: the built-in site with the local target is in force");
    }
    if loaded.found != FoundLayer::NotWanted
        && let Some(trouble) = found_slurm(context, FOUND_FRESH).trouble()
    {
        context.say(&TerminalText(&trouble).to_string());
    }
    for setting in settings {
        let place = match (setting.file, setting.line) {
            (Some(file), Some(line)) => format!("# {}:{line}", TerminalText(&file)),
            (Some(found), None) => format!("# {}", TerminalText(&found)),
            (None, _) => "# built in".to_owned(),
        };
        output.line(&format!(
            "{} = {}  {place}",
            TerminalText(&setting.key),
            TerminalText(&setting.shown)
        ))?;
    }
    Ok(Exit::Done)
}

/// Adds what is in force although no file says it.
fn built_in(context: &Context, site: &Site, settings: &mut Vec<Setting>) {
    if site.site.as_ref().is_some_and(|general| general.run_root.is_some()) {
        return;
    }
    let root = default_run_root(&context.surroundings.asker.home).display().to_string();
    settings.push(Setting {
        key: "site.run_root".to_owned(),
        shown: toml_text(&root),
        value: root.into(),
        file: None,
        line: None,
    });
}

fn flatten(table: &Table, path: &str, loaded: &LoadedSite, settings: &mut Vec<Setting>) {
    for (key, node) in &table.0 {
        let key = join(path, &key.value);
        if let Node::Table(inner) = &node.value {
            flatten(inner, &key, loaded, settings);
            continue;
        }
        let location = loaded.sources.locate(node.place);
        // What was found is in no file, so it has no lines.
        let is_found = loaded.found == FoundLayer::Source(node.place.source);
        settings.push(Setting {
            key,
            value: to_json(&node.value),
            file: Some(location.name.to_owned()),
            line: Some(location.line).filter(|_| !is_found),
            shown: shown(node),
        });
    }
}

fn to_json(node: &Node) -> serde_json::Value {
    match node {
        Node::Text(text) | Node::Datetime(text) => text.as_str().into(),
        Node::Integer(number) => (*number).into(),
        Node::Float(text) => {
            text.parse::<f64>().ok().map_or_else(|| text.as_str().into(), Into::into)
        }
        Node::Boolean(flag) => (*flag).into(),
        Node::List(items) => items.iter().map(|item| to_json(&item.value)).collect(),
        Node::Table(table) => table.canonical(),
    }
}

/// A value as TOML spells it, on one line.
fn shown(node: &At<Node>) -> String {
    match &node.value {
        Node::Text(text) => toml_text(text),
        Node::Integer(number) => number.to_string(),
        Node::Float(text) | Node::Datetime(text) => text.clone(),
        Node::Boolean(flag) => flag.to_string(),
        Node::List(items) => {
            format!("[{}]", items.iter().map(shown).collect::<Vec<_>>().join(", "))
        }
        Node::Table(table) => table.canonical().to_string(),
    }
}

/// A basic string of TOML, whose escapes JSON shares.
fn toml_text(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}
