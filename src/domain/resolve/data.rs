//! What a spec's datasets mean at this site.

use std::path::Path;

use crate::domain::dataset::{self, Dataset, is_dataset_name, name_of};
use crate::domain::keys::Named;
use crate::domain::problem::{At, Place, Problem};
use crate::domain::resolve::{Expectation, Expected, PATH_BYTES_MAX, Resolver};
use crate::domain::resolved::Target;
use crate::domain::spec::{self, OnDrift, Stage};
use crate::domain::word::{Piece, Placeholder, Word};

/// What a dataset may be called.
pub const DATASET_NAME: &str = "a dataset's name is 1 to 63 letters, digits, `.`, `_` and `-`, and begins with a letter or digit";

/// Each is looked at whenever the run is submitted and whenever it starts.
const DATASETS_MAX: usize = 32;

impl Resolver<'_> {
    pub(super) fn data(&mut self, target: Option<&Target>) -> Vec<Dataset> {
        let spec = self.spec;
        let mut datasets: Vec<Dataset> = Vec::new();
        for asked in spec.dataset.iter().flatten() {
            let Some(found) = self.one_dataset(asked, target) else { continue };
            let variable = dataset::variable(&found.name);
            match datasets.iter().find(|known| dataset::variable(&known.name) == variable) {
                Some(known) if known.name == found.name => {
                    let message = format!("there are two datasets `{}`", found.name);
                    let help = "give one of them another `name`";
                    self.problems.push(Problem::at(asked.place, message).help(help));
                }
                Some(known) => {
                    let message = format!(
                        "the datasets `{}` and `{}` would both be ${variable}",
                        known.name, found.name
                    );
                    self.at(asked.place, message);
                }
                None => datasets.push(found),
            }
        }
        if let (true, Some(Some(one))) =
            (datasets.len() > DATASETS_MAX, spec.dataset.as_ref().map(|all| all.get(DATASETS_MAX)))
        {
            let message = format!("more than {DATASETS_MAX} datasets");
            self.at(one.place, message);
        }
        datasets
    }

    fn one_dataset(
        &mut self,
        asked: &At<spec::Dataset>,
        target: Option<&Target>,
    ) -> Option<Dataset> {
        let keys = &asked.value;
        let (name, path, version, immutable) = match (&keys.path, &keys.name) {
            (Some(path), name) => {
                let (name, path) = self.by_path(path, name.as_ref(), target)?;
                (name, path, keys.version.as_ref().map(|version| version.value.clone()), false)
            }
            (None, Some(name)) => self.of_catalogue(name, keys.version.as_ref(), target)?,
            (None, None) => {
                let problem = Problem::at(asked.place, "a dataset without `name` and `path`");
                let help = "give it the `name` of one of the site's datasets, or a `path`";
                self.problems.push(problem.help(help));
                return None;
            }
        };
        Some(Dataset {
            name,
            path,
            version,
            immutable,
            stage: keys.stage.as_ref().map_or(Stage::None, |stage| stage.value),
            content: keys.content.as_ref().is_some_and(|content| content.value),
            on_drift: keys.on_drift.as_ref().map_or(OnDrift::Warn, |what| what.value),
        })
    }

    /// Data that is named by its path, with a name of its own.
    fn by_path(
        &mut self,
        path: &At<String>,
        name: Option<&At<String>>,
        target: Option<&Target>,
    ) -> Option<(String, std::path::PathBuf)> {
        let text = path.value.as_str();
        let fine = !text.is_empty()
            && text.len() <= PATH_BYTES_MAX
            && !text.contains("://")
            && !text.chars().any(char::is_control);
        if !fine {
            let message = format!("`{}` is no path of a dataset", text.escape_debug());
            let problem = Problem::at(path.place, message);
            self.problems.push(problem.help("a dataset is a directory or a file"));
            return None;
        }
        let absolute = self.beside_spec(text);
        let of_path = name_of(&absolute);
        let called = name.map_or(of_path.as_str(), |name| name.value.as_str());
        if !is_dataset_name(called) {
            let place = name.map_or(path.place, |name| name.place);
            let message = format!("`{}` cannot be the name of a dataset", called.escape_debug());
            self.problems.push(Problem::at(place, message).help(DATASET_NAME));
            return None;
        }
        // A relative path starts at the spec's own file, which is here.
        let is_here = !text.starts_with('/');
        self.expect_data(path.place, &absolute, is_here, target);
        Some((called.to_owned(), absolute))
    }

    fn of_catalogue(
        &mut self,
        name: &At<String>,
        version: Option<&At<String>>,
        target: Option<&Target>,
    ) -> Option<(String, std::path::PathBuf, Option<String>, bool)> {
        let site = self.context.site;
        let Some(listed) = site.dataset(&name.value) else {
            let shown = name.value.escape_debug();
            let message = format!("dataset `{shown}` is not in the site's catalogue");
            let problem = Problem::at(name.place, message);
            let known: Vec<&str> = site.dataset.iter().flat_map(Named::names).collect();
            self.problems.push(if known.is_empty() {
                problem.help("the site has no datasets; give a `path`")
            } else {
                problem.suggest(&name.value, known)
            });
            return None;
        };
        let here = listed.version.as_ref().map(|version| version.value.clone());
        if let Some(version) = version.filter(|version| Some(&version.value) != here.as_ref()) {
            let message = match &here {
                Some(here) => format!(
                    "dataset `{}` is at version `{here}` here, not `{}`",
                    name.value, version.value
                ),
                None => format!("dataset `{}` has no version here", name.value),
            };
            self.at(version.place, message);
        }
        // A catalogue without a path has been refused already.
        let path = self.beside_spec(&listed.path.as_ref()?.value);
        self.expect_data(name.place, &path, false, target);
        let immutable = listed.immutable.as_ref().is_some_and(|immutable| immutable.value);
        Some((name.value.clone(), path, here, immutable))
    }

    fn expect_data(&mut self, place: Place, path: &Path, is_here: bool, target: Option<&Target>) {
        let is_here = is_here || target == Some(&Target::Local);
        let what = if is_here { Expected::Dataset } else { Expected::DatasetOfNodes };
        self.expectations.push(Expectation { place: Some(place), what, path: path.to_owned() });
    }

    /// Whether the datasets that a word refers to are there; what is not is a problem.
    pub(super) fn refers_to_data(&mut self, word: &Word, place: Place) -> bool {
        let mut fine = true;
        for piece in &word.0 {
            let missing = match piece {
                Piece::Placeholder(Placeholder::Data) if self.datasets.is_empty() => {
                    Some("`{data}` stands for the first dataset, and the spec has none".to_owned())
                }
                Piece::Dataset(name) if !self.datasets.iter().any(|known| known.name == *name) => {
                    Some(format!("`{{data.{name}}}`: the spec has no dataset `{name}`"))
                }
                Piece::Placeholder(_) | Piece::Dataset(_) | Piece::Literal(_) => None,
            };
            // Where the list itself was refused, that is the one mistake.
            if let Some(message) = missing.filter(|_| !self.data_is_misread()) {
                let names: Vec<String> =
                    self.datasets.iter().map(|known| known.name.clone()).collect();
                let problem = Problem::at(place, message);
                self.problems.push(match piece {
                    Piece::Dataset(name) => problem.suggest(name, names.iter().map(String::as_str)),
                    Piece::Placeholder(_) | Piece::Literal(_) => {
                        problem.help("add `[[dataset]]` with a `name` or a `path`")
                    }
                });
                fine = false;
            }
        }
        fine
    }

    fn data_is_misread(&self) -> bool {
        match &self.spec.dataset {
            Some(all) => all.len() > self.datasets.len(),
            None => self.problems.iter().any(|problem| problem.message.starts_with("`dataset")),
        }
    }
}
