//! Texts that are safe in a bash script: each type has Display as its only way out, and Display always quotes.
//!
//! What bash cannot hold at all, NUL, comes out as U+FFFD; specs and site files that hold one are refused long before.

use std::fmt::{self, Display, Write};

use crate::domain::dataset;
use crate::domain::word::{Piece, Placeholder, Word};

/// One word for bash, whatever the text. It never spans lines: sbatch scans every line of a script for other
/// schedulers' directives and refuses DOS line ends, and terminals obey control characters.
#[derive(Debug, Clone, Copy)]
pub struct ShellWord<'a>(pub &'a str);

impl Display for ShellWord<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let plain = |c: char| c.is_ascii_alphanumeric() || "_-./:=@%+".contains(c);
        if !self.0.is_empty() && self.0.chars().all(plain) {
            f.write_str(self.0)
        } else if self.0.chars().any(char::is_control) {
            ansi_c(self.0, f)
        } else {
            write!(f, "'{}'", self.0.replace('\'', r"'\''"))
        }
    }
}

/// `$'a\012b'`. Octal, because it has exactly three digits and so cannot swallow the next character.
fn ansi_c(text: &str, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    f.write_str("$'")?;
    for c in text.chars() {
        match c {
            '\0' => f.write_char('\u{fffd}')?,
            '\n' => f.write_str(r"\n")?,
            '\t' => f.write_str(r"\t")?,
            '\\' | '\'' => write!(f, "\\{c}")?,
            _ if c.is_control() => {
                for byte in c.encode_utf8(&mut [0; 4]).bytes() {
                    write!(f, "\\{byte:03o}")?;
                }
            }
            _ => f.write_char(c)?,
        }
    }
    f.write_str("'")
}

/// A word with placeholders: literals quoted, placeholders as quoted references to the script's variables.
#[derive(Debug, Clone, Copy)]
pub struct ShellText<'a>(pub &'a Word);

impl Display for ShellText<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.0.is_empty() {
            return ShellWord("").fmt(f);
        }
        for piece in &self.0.0 {
            match piece {
                Piece::Literal(text) => ShellWord(text).fmt(f)?,
                Piece::Placeholder(placeholder) => {
                    write!(f, "\"${{{}}}\"", variable(*placeholder))?;
                }
                Piece::Dataset(name) => {
                    write!(f, "\"${{{}}}\"", DataVariable(name))?;
                }
            }
        }
        Ok(())
    }
}

fn variable(placeholder: Placeholder) -> &'static str {
    match placeholder {
        Placeholder::RunDir => "TRAINYARD_RUN_DIR",
        Placeholder::Work => "TRAINYARD_WORK_DIR",
        Placeholder::Output => "TRAINYARD_OUTPUT_PATH",
        Placeholder::Checkpoints => "TRAINYARD_CHECKPOINT_DIR",
        Placeholder::Name => "TRAINYARD_RUN_NAME",
        Placeholder::Id => "TRAINYARD_RUN_ID",
        Placeholder::Data => "TRAINYARD_DATA_PATH",
        Placeholder::ResumeFrom => "TRAINYARD_RESUME_FROM",
    }
}

/// A path as one word: a relative one is inside the run directory.
#[derive(Debug, Clone, Copy)]
pub struct RunPath<'a>(pub &'a str);

impl Display for RunPath<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.0.starts_with('/') {
            f.write_str("\"${TRAINYARD_RUN_DIR}\"/")?;
        }
        ShellWord(self.0).fmt(f)
    }
}

/// What may stand in a text that a site wrote, and what the script puts there.
type Reference = (&'static str, &'static str);

/// The first node's address as one word: a site's text with `{node}`.
#[derive(Debug, Clone, Copy)]
pub struct HeadAddress<'a>(pub &'a str);

impl Display for HeadAddress<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const NODE: &[Reference] = &[("{node}", "\"${ty_head}\"")];
        with_references(self.0, NODE, f)
    }
}

/// A directory on the node as one word: a site's text that may refer to the job and its user, and to nothing else.
#[derive(Debug, Clone, Copy)]
pub struct ScratchPath<'a>(pub &'a str);

impl Display for ScratchPath<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const JOB: &str = "\"${ty_job_id}\"";
        /// Slurm does not always set it.
        const USER: &str = "\"${USER:-$(id -un)}\"";
        /// Outside Slurm there is the one machine.
        const NODE: &str = "\"${SLURMD_NODENAME:-$ty_host}\"";
        const REFERENCES: &[Reference] = &[
            ("${SLURM_JOB_ID}", JOB),
            ("$SLURM_JOB_ID", JOB),
            ("${USER}", USER),
            ("$USER", USER),
            ("${SLURMD_NODENAME}", NODE),
            ("$SLURMD_NODENAME", NODE),
        ];
        with_references(self.0, REFERENCES, f)
    }
}

impl ScratchPath<'_> {
    /// Whether it is another one on each node.
    pub(super) fn is_of_node(&self) -> bool {
        self.to_string().contains("SLURMD_NODENAME")
    }
}

fn with_references(
    text: &str,
    references: &[Reference],
    f: &mut fmt::Formatter<'_>,
) -> fmt::Result {
    let mut literal = String::new();
    let mut rest = text;
    while let Some(next) = rest.chars().next() {
        let found = references.iter().find_map(|(written, meant)| {
            let after = rest.strip_prefix(written)?;
            // `$USERS` is another variable than `$USER`.
            let whole = written.ends_with('}')
                || !after.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_');
            whole.then_some((after, meant))
        });
        if let Some((after, meant)) = found {
            if !literal.is_empty() {
                ShellWord(&literal).fmt(f)?;
                literal.clear();
            }
            f.write_str(meant)?;
            rest = after;
        } else {
            literal.push(next);
            rest = &rest[next.len_utf8()..];
        }
    }
    if literal.is_empty() && !text.is_empty() { Ok(()) } else { ShellWord(&literal).fmt(f) }
}

/// The name of a variable; characters that bash does not allow there are left out.
#[derive(Debug, Clone, Copy)]
pub struct VariableName<'a>(pub &'a str);

impl Display for VariableName<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let allowed = |c: &char| c.is_ascii_alphanumeric() || *c == '_';
        self.0.chars().filter(allowed).try_for_each(|c| f.write_char(c))
    }
}

/// The variable that says where a dataset is, by the dataset's name.
#[derive(Debug, Clone, Copy)]
pub struct DataVariable<'a>(pub &'a str);

impl Display for DataVariable<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        VariableName(&dataset::variable(self.0)).fmt(f)
    }
}

/// A word that one of the types here has quoted.
#[derive(Debug, Clone)]
pub struct Quoted(String);

impl From<ShellWord<'_>> for Quoted {
    fn from(word: ShellWord<'_>) -> Self {
        Self(word.to_string())
    }
}

impl From<ShellText<'_>> for Quoted {
    fn from(text: ShellText<'_>) -> Self {
        Self(text.to_string())
    }
}

impl Display for Quoted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A name in a comment: what could end the line or fool a terminal is left out.
#[derive(Debug, Clone, Copy)]
pub struct Comment<'a>(pub &'a str);

impl Display for Comment<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let safe = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
        self.0.chars().map(|c| if safe(c) { c } else { '?' }).try_for_each(|c| f.write_char(c))
    }
}

/// Bash that the site's administrators wrote: the one thing that goes into a script as it is.
#[derive(Debug, Clone, Copy)]
pub struct SiteCode<'a>(pub &'a str);

impl Display for SiteCode<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // sbatch refuses DOS line ends.
        f.write_str(self.0.replace("\r\n", "\n").trim_end_matches('\n'))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_quoted_when_they_must_be() {
        let check = |text: &str, word: &str| assert_eq!(ShellWord(text).to_string(), word);
        check("--lr=1e-4", "--lr=1e-4");
        check("", "''");
        check("a b", "'a b'");
        check("it's", r"'it'\''s'");
        check("$(rm -rf ~)", "'$(rm -rf ~)'");
        check("ü", "'ü'");
        check("a\r\n#PBS 'x' \\", r"$'a\015\n#PBS \'x\' \\'");
        check("\u{85}1", r"$'\302\2051'");
        check("a\0b", "$'a\u{fffd}b'");
    }

    #[test]
    fn placeholders_become_quoted_references() {
        let check = |text: &str, shown: &str| {
            assert_eq!(ShellText(&Word::parse(text).unwrap()).to_string(), shown, "{text}");
        };
        check("", "''");
        check("{output}", "\"${TRAINYARD_OUTPUT_PATH}\"");
        check("{data}/x", "\"${TRAINYARD_DATA_PATH}\"/x");
        check("{data.a-b}", "\"${TRAINYARD_DATA_PATH_A_B}\"");
        check("a {name}/{id}'", "'a '\"${TRAINYARD_RUN_NAME}\"/\"${TRAINYARD_RUN_ID}\"''\\'''");
        assert_eq!(ShellText(&Word(Vec::new())).to_string(), "''");
    }

    #[test]
    fn a_site_may_refer_to_the_job_and_to_nothing_else() {
        let check = |text: &str, shown: &str| assert_eq!(ScratchPath(text).to_string(), shown);
        check("/tmp/$SLURM_JOB_ID", "/tmp/\"${ty_job_id}\"");
        check("/l/${USER}/x$USER", "/l/\"${USER:-$(id -un)}\"/x\"${USER:-$(id -un)}\"");
        check("/l/$SLURMD_NODENAME", "/l/\"${SLURMD_NODENAME:-$ty_host}\"");
        check("/$USERS/$(id)/`id`", "'/$USERS/$(id)/`id`'");
        check("", "''");
        assert_eq!(HeadAddress("{node}i").to_string(), "\"${ty_head}\"i");
        assert_eq!(HeadAddress("{node} $x").to_string(), "\"${ty_head}\"' $x'");
    }

    #[test]
    fn paths_comments_and_site_code() {
        assert_eq!(
            RunPath("my checkpoints").to_string(),
            "\"${TRAINYARD_RUN_DIR}\"/'my checkpoints'"
        );
        assert_eq!(RunPath("/data/c").to_string(), "/data/c");
        assert_eq!(Comment("a-1\nrm x").to_string(), "a-1?rm?x");
        assert_eq!(SiteCode("a\r\nb\n\n").to_string(), "a\nb");
    }
}
