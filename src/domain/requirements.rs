//! Requirements files, as pip reads them: what of them is captured at submission, and what names the environment that is
//! built of them.
//!
//! Captured is the text, with what it includes; where it would say something else another day, or elsewhere, it is refused.

use serde::{Deserialize, Serialize};

/// A build that takes longer hangs; compiling the largest packages takes half of it.
pub const BUILD_SECONDS_MAX: u64 = 2 * 60 * 60;
/// Of all files together.
pub const REQUIREMENTS_BYTES_MAX: usize = 1 << 20;
/// The file that the spec names, and those that are included.
pub const REQUIREMENTS_FILES_MAX: usize = 64;

/// Requirements as they were when their run was submitted.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct CapturedRequirements {
    /// The text of each file; the first is the one that the spec names. They include each other by [`file_name`].
    pub files: Vec<String>,
}

/// What a captured file is called beside the others.
pub fn file_name(index: usize) -> String {
    format!("{index}.txt")
}

/// One line, with its continuations.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line<'a> {
    /// Counted from 1.
    pub number: usize,
    pub text: &'a str,
    pub what: What,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum What {
    /// Stays as it is.
    Plain,
    /// Includes a file, relative to the one that it stands in. `flag` is `-r` or `-c`.
    Include { flag: &'static str, file: String },
    /// Holds a password or a token, and is not even shown.
    Secret,
    /// Cannot be captured.
    Refused(&'static str),
}

/// The lines of a requirements file.
pub fn lines(text: &str) -> Vec<Line<'_>> {
    let mut lines = Vec::new();
    let (mut start, mut first, mut end) = (0, 1, 0);
    let mut number = 0;
    for physical in text.split_inclusive('\n') {
        number += 1;
        end += physical.len();
        let is_comment = physical.trim_start().starts_with('#');
        if !is_comment && physical.trim_end_matches(['\n', '\r']).ends_with('\\') {
            continue;
        }
        let line = text.get(start..end).unwrap_or_default();
        lines.push(Line { number: first, text: line, what: what(line) });
        (start, first) = (end, number + 1);
    }
    if let Some(line) = text.get(start..).filter(|line| !line.is_empty()) {
        lines.push(Line { number: first, text: line, what: what(line) });
    }
    lines
}

fn what(line: &str) -> What {
    let joined = line.replace("\\\r\n", "").replace("\\\n", "");
    // Comments are recorded, too.
    if joined
        .split("://")
        .zip(joined.split("://").skip(1))
        .any(|(before, rest)| has_secret(before, rest))
    {
        return What::Secret;
    }
    let line = without_comment(&joined).trim();
    const INCLUDES: &[(&str, &str)] =
        &[("--requirement", "-r"), ("--constraint", "-c"), ("-r", "-r"), ("-c", "-c")];
    for (written, flag) in INCLUDES {
        if let Some(file) = value_of(line, written) {
            if file.contains("://") {
                return What::Refused(
                    "includes a file that is downloaded: save it beside this one",
                );
            }
            return What::Include { flag, file };
        }
    }
    if let Some(project) = value_of(line, "--editable").or_else(|| value_of(line, "-e")) {
        return if project.contains("://") && !project.contains("file:") {
            What::Plain
        } else {
            What::Refused(LOCAL)
        };
    }
    if let Some(place) = value_of(line, "--find-links").or_else(|| value_of(line, "-f")) {
        let is_fixed = place.starts_with('/') || place.contains("://");
        return if is_fixed {
            What::Plain
        } else {
            What::Refused("needs an absolute path or a URL")
        };
    }
    let word = line.split([' ', '\t', ';']).next().unwrap_or_default();
    let is_path = word.starts_with(['.', '/', '~']) || word.contains('/') && !line.contains("://");
    if is_path || line.contains("file:") { What::Refused(LOCAL) } else { What::Plain }
}

const LOCAL: &str = "is a path of this machine, which is not captured with the requirements: leave it out and import it from \
                     the code, or name a repository's URL with a commit";

/// What follows an option: after a space, an equals sign, or, where it is short, at once.
fn value_of(line: &str, option: &str) -> Option<String> {
    let rest = line.strip_prefix(option)?;
    let is_long = option.starts_with("--");
    if is_long && !rest.starts_with([' ', '\t', '=']) {
        return None;
    }
    let value = rest.trim_start_matches([' ', '\t', '=']).trim();
    let value = value.trim_matches(['"', '\'']);
    (!value.is_empty()).then(|| value.to_owned())
}

/// A `#` begins a comment at the line's beginning and after a space.
fn without_comment(line: &str) -> &str {
    let begins = |(at, _): &(usize, &str)| {
        line.get(..*at).is_some_and(|before| before.is_empty() || before.ends_with([' ', '\t']))
    };
    let comment = line.match_indices('#').find(begins);
    comment.map_or(line, |(at, _)| line.get(..at).unwrap_or_default())
}

/// `SCHEME://USER:PASSWORD@`, unless the password is a variable. Where http is spoken a user alone is a token, but for
/// `git`, which stands for nobody.
fn has_secret(before: &str, rest: &str) -> bool {
    let authority = rest.split(['/', ' ', '\t']).next().unwrap_or_default();
    let Some((user, _)) = authority.rsplit_once('@') else { return false };
    let secret = match user.split_once(':') {
        Some((_, password)) => password,
        None if user != "git" && (before.ends_with("http") || before.ends_with("https")) => user,
        None => "",
    };
    !(secret.is_empty() || secret.starts_with("${"))
}

/// Stands for what an environment is built of: 64 hexadecimal digits. With the Python and the machine that build, of which
/// only they know, it names the environment.
pub fn digest(captured: &CapturedRequirements, pip_args: &[String], modules: &[String]) -> String {
    let mut hasher = blake3::Hasher::new();
    for items in [&captured.files, pip_args, modules] {
        hasher.update(&(items.len() as u64).to_le_bytes());
        for item in items {
            hasher.update(&(item.len() as u64).to_le_bytes());
            hasher.update(item.as_bytes());
        }
    }
    hasher.finalize().to_hex().to_string()
}

/// The name of an environment, as its builder left it; `None` when that is not one.
pub fn environment_name(text: &str) -> Option<&str> {
    const DIGITS: usize = 64;
    let name = text.trim_end_matches('\n');
    let is_digit = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
    (name.len() == DIGITS && name.bytes().all(is_digit)).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(line: &str, expected: &What) {
        let found = lines(line);
        assert_eq!(found.len(), 1, "{line}");
        match (&found[0].what, expected) {
            (What::Refused(why), What::Refused(part)) => {
                assert!(why.contains(part), "{line}: {why}");
            }
            (found, expected) => assert_eq!(found, expected, "{line}"),
        }
    }

    fn include(flag: &'static str, file: &str) -> What {
        What::Include { flag, file: file.into() }
    }

    #[test]
    fn what_is_included_is_found() {
        for line in
            ["-r base.txt", "-rbase.txt", "--requirement base.txt # x", "  -r  \"base.txt\""]
        {
            check(line, &include("-r", "base.txt"));
        }
        check("--constraint=../c.txt\r\n", &include("-c", "../c.txt"));
        check("-c \\\n  pins.txt", &include("-c", "pins.txt"));
        check("-r https://example.org/r.txt", &What::Refused("downloaded"));
    }

    #[test]
    fn what_is_not_the_same_everywhere_is_refused() {
        for line in [
            "six==1.16.0 ; python_version > '3' --hash=sha256:ab",
            "torch @ https://example.org/torch.whl",
            "-e git+https://example.org/x@abc#egg=x",
            "--extra-index-url https://u:${TOKEN}@example.org/simple",
            "--extra-index-url https://${TOKEN}@example.org/simple",
            "x @ git+ssh://git@example.org/x.git@abc",
            "x @ git+https://git@example.org/x.git@abc",
            "--find-links /opt/wheels",
            "# -e .",
            "",
            "six # ./x",
            "--pre",
        ] {
            check(&format!("{line}\n"), &What::Plain);
        }
        let local = "path of this machine";
        for line in
            ["-e .", "./wheels/a.whl", "../x", "/opt/a.whl", "a @ file:///x", "wheels/a.whl"]
        {
            check(line, &What::Refused(local));
        }
        for line in [
            "-i https://me:pw@example.org/simple",
            "# -i https://me:pw@example.org/simple",
            "x @ git+https://token@example.org/x.git@abc",
            "x @ git+ssh://me:pw@example.org/x.git@abc",
        ] {
            check(line, &What::Secret);
        }
        check("-f wheels", &What::Refused("absolute path"));
    }

    #[test]
    fn lines_are_counted_with_their_continuations() {
        let text = "a \\\n b\n# c \\\nd\\";
        let found: Vec<_> = lines(text).iter().map(|line| (line.number, line.text)).collect();
        assert_eq!(found, [(1, "a \\\n b\n"), (3, "# c \\\n"), (4, "d\\")]);
        assert_eq!(lines(""), []);
    }

    #[test]
    fn what_is_built_of_something_else_has_another_digest() {
        let words = |words: &[&str]| words.iter().map(|w| (*w).to_owned()).collect::<Vec<_>>();
        let digest = |files: &[&str], args: &[&str], modules: &[&str]| {
            digest(&CapturedRequirements { files: words(files) }, &words(args), &words(modules))
        };
        let first = digest(&["six"], &[], &[]);
        assert_eq!(first, digest(&["six"], &[], &[]));
        let others = [
            digest(&["six\n"], &[], &[]),
            digest(&["six", ""], &[], &[]),
            digest(&["s", "ix"], &[], &[]),
            digest(&["six"], &["--pre"], &[]),
            digest(&["six"], &[], &["--pre"]),
        ];
        let all: std::collections::BTreeSet<_> = others.iter().chain([&first]).collect();
        assert_eq!(all.len(), 6);
    }

    #[test]
    fn only_a_whole_name_is_one() {
        let name = "0123456789abcdef".repeat(4);
        assert_eq!(environment_name(&format!("{name}\n")), Some(name.as_str()));
        for text in ["", &name[1..], &format!("{name}0"), &name.to_uppercase(), &"../".repeat(22)] {
            assert_eq!(environment_name(text), None, "{text}");
        }
    }
}
