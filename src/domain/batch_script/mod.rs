//! A batch script that somebody has, as the spec that trains the same.
//!
//! Every line is accounted for: it becomes a key, stays in the command, or is told as not taken over, with the reason.

mod body;
mod compute;
mod lines;
mod write;

use crate::domain::site::Site;

/// Larger scripts are not scripts. sbatch's own limit is 4 MiB.
pub const SCRIPT_BYTES_MAX: usize = 1 << 20;

/// What became of one stretch of the script.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Fate {
    /// Its first line, counted from 1.
    pub line: usize,
    pub text: String,
    /// The key it went to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// Why it was not taken over.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
}

impl Fate {
    fn taken(line: usize, text: &str, key: impl Into<String>) -> Self {
        Self { line, text: text.to_owned(), key: Some(key.into()), why: None }
    }

    fn left(line: usize, text: &str, why: impl Into<String>) -> Self {
        Self { line, text: text.to_owned(), key: None, why: Some(why.into()) }
    }
}

/// The spec that a script comes to.
#[derive(Debug, Clone, PartialEq)]
pub struct Translation {
    /// The spec's text.
    pub spec: String,
    pub fates: Vec<Fate>,
}

/// Why a script cannot be translated at all.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    #[error("it is {0} bytes long, more than the {SCRIPT_BYTES_MAX} of a script")]
    TooLarge(usize),
    #[error("it holds NUL characters, which sbatch refuses")]
    Nul,
    #[error(
        "it does not begin with `#!` and the name of a shell, and only shell scripts can be translated"
    )]
    NoShell,
    #[error("its commands do not fit into one word of a command line: {0}")]
    Command(crate::domain::word::WordError),
}

/// Translates a script. `source` is its name, for the comment at the top of the spec.
pub fn translate(source: &str, text: &str, site: Option<&Site>) -> Result<Translation, Refused> {
    if text.len() > SCRIPT_BYTES_MAX {
        return Err(Refused::TooLarge(text.len()));
    }
    if text.contains('\0') {
        return Err(Refused::Nul);
    }
    let text = text.replace("\r\n", "\n");
    let script = lines::read(&text).ok_or(Refused::NoShell)?;
    let mut fates = Vec::new();
    let asked = compute::asked(&script.directives, &mut fates);
    for line in script.ignored {
        fates.push(Fate::left(
            line.number,
            &line.text,
            "Slurm ignores it too: it stands after the first command",
        ));
    }
    let body = body::translate(&script.statements, &mut fates)?;
    let compute = compute::keys(&asked, &body, site, &mut fates);
    fates.sort_by_key(|fate| fate.line);
    let spec = write::spec(source, &asked, &compute, &body, &fates);
    Ok(Translation { spec, fates })
}

#[cfg(test)]
mod tests;
