//! A spec as it is handed in: its text, where it lies, and what the flags change in it.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::domain::code::{Capture, CodeSource};
use crate::domain::document::{Table, parse, parse_value};
use crate::domain::keys::choice;
use crate::domain::problem::{Place, Problem, Source, Sources};
use crate::domain::resolve::{Asker, Context, Outcome, resolve};
use crate::domain::site::Site;

choice! {
    /// What `submit` does when a run of the same name is active.
    pub enum IfActive {
        /// Goes ahead.
        Submit = "submit",
        /// Gives the newest active one instead.
        Skip = "skip",
        /// Waits until they are final.
        Queue = "queue",
        /// Cancels them, and waits until they are final.
        Replace = "replace",
    }
    later {}
}

/// One `--set key=value`, or a flag that stands for one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Change {
    /// As the person wrote it: `--set compute.nodes=4`, `--nodes 4`.
    pub shown: String,
    /// Dotted.
    pub key: String,
    /// TOML; where that fails, text.
    pub value: String,
}

/// A spec handed in for checking, rendering or submission.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct SpecRequest {
    /// The file's name, as the person wrote it.
    pub file: String,
    pub text: String,
    /// The spec file's directory, absolute.
    pub base: PathBuf,
    /// The file's name without its ending.
    pub stem: String,
    pub changes: Vec<Change>,
}

/// What a request comes to.
#[derive(Debug, Clone)]
pub struct Checked {
    pub sources: Sources,
    pub outcome: Outcome,
    /// Digest of what was asked: the spec after its changes, whatever its order and comments.
    pub digest: String,
}

impl SpecRequest {
    /// Reads, changes and resolves the spec.
    pub fn check(&self, site: &Site, asker: &Asker) -> Checked {
        let mut sources = Sources::default();
        let own =
            Source { name: self.file.clone(), text: self.text.clone(), base: self.base.clone() };
        let (mut table, mut problems) = parse(&self.text, sources.add(own));
        for change in &self.changes {
            apply(change, &mut table, &mut sources, &mut problems, &self.base);
        }
        let digest = blake3::hash(table.canonical().to_string().as_bytes()).to_hex().to_string();
        let context = Context { site, asker, base: &self.base, stem: &self.stem };
        let outcome = resolve(&table, problems, context);
        Checked { sources, outcome, digest }
    }

    /// As it may be recorded: without the query of an address that code is taken from.
    #[must_use]
    pub fn without_secrets(&self, capture: &Capture) -> Self {
        let mut request = self.clone();
        let CodeSource::Address { url, .. } = &capture.source else { return request };
        let Some(place) = capture.place else { return request };
        let shown = url.to_string();
        // The sources are the file and then each change, in order.
        match usize::from(place.source.0).checked_sub(1) {
            None => {
                let written = serde_json::Value::from(shown).to_string();
                request.text.replace_range(place.start..place.end, &written);
            }
            Some(change) => {
                if let Some(change) = request.changes.get_mut(change) {
                    change.shown = format!("--set {}={shown}", change.key);
                    change.value = shown;
                }
            }
        }
        request
    }

    /// Its text, with its changes as comments.
    pub fn recorded(&self) -> String {
        let mut text = self.text.clone();
        for change in &self.changes {
            // A line break inside a value must not end the comment.
            text.push_str("\n# ");
            text.extend(change.shown.escape_debug());
        }
        text
    }
}

fn apply(
    change: &Change,
    table: &mut Table,
    sources: &mut Sources,
    problems: &mut Vec<Problem>,
    base: &std::path::Path,
) {
    let name = "the command line".to_owned();
    let source = sources.add(Source { name, text: change.shown.clone(), base: base.to_owned() });
    let place = Place { source, start: 0, end: change.shown.len() };
    let way: Vec<&str> = change.key.split('.').collect();
    if way.iter().any(|part| part.is_empty()) {
        problems.push(
            Problem::at(place, format!("`{}` is no key", change.key))
                .help("write --set compute.nodes=4"),
        );
        return;
    }
    if let Err(problem) = table.set(&way, place, parse_value(&change.value, place)) {
        problems.push(problem);
    }
}
