//! The file of secrets, and warnings of secrets that stand where everybody can read them.

use std::path::PathBuf;

use crate::domain::problem::{At, Problem};
use crate::domain::resolve::{Expectation, Expected, Resolver};
use crate::domain::secrets::looks_secret;

impl Resolver<'_> {
    pub(super) fn secrets(&mut self) -> Option<PathBuf> {
        let asked = self.spec.environment.as_ref()?.secrets.as_ref()?;
        let path = self.beside_spec(&asked.value);
        if asked.value.is_empty() || asked.value.chars().any(char::is_control) {
            let message = format!("`{}` is no path of a file", asked.value.escape_debug());
            self.at(asked.place, message);
            return None;
        }
        let what = Expected::Secrets;
        self.expectations.push(Expectation { place: Some(asked.place), what, path: path.clone() });
        Some(path)
    }

    /// Warns of a value that looks secret: what a spec or a class says is recorded, and shown to whoever may see the run.
    pub(super) fn warn_of_secret(&mut self, name: &At<String>, value: &str, what: &str) {
        if !looks_secret(&name.value, value) {
            return;
        }
        let table = self.spec.environment.as_ref().and_then(|all| all.variables.as_ref());
        let of_spec =
            table.into_iter().flat_map(|all| &all.0).any(|(known, _)| known.place == name.place);
        let shown = name.value.escape_debug();
        let warning = if of_spec || what != VARIABLE {
            Problem::at(name.place, format!("the {what} `{shown}` looks like a secret"))
        } else {
            Problem::nowhere(format!(
                "the {what} `{shown}`, which the class sets, looks like a secret"
            ))
        };
        self.warnings.push(warning.help(
            "it is recorded as it stands here; put it into a file of your own with mode 0600, and \
             name that as `environment.secrets`",
        ));
    }
}

/// What a variable of the environment is called.
pub(super) const VARIABLE: &str = "variable";
