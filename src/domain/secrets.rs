//! Secrets: a file of `NAME=VALUE` lines that only the training gets, and what looks like a secret where it should not be.
//!
//! The file is read, never executed. What it may hold is the part of bash's grammar that assigns and does nothing else, so
//! that `source` would give the same values:
//!
//! - an empty line, or a comment after `#`;
//! - `NAME=VALUE`, with `export` before it or not, and blanks or a comment behind it;
//! - VALUE is bare, of printable characters without blanks, quotes, `\`, `$`, `` ` ``, `;`, `&`, `|`, `<`, `>`, `(` and `)`,
//!   not beginning with `~`; or between single quotes, where every character stands for itself; or between double quotes,
//!   where `\` before `"`, `\`, `$` or `` ` `` makes it stand for itself, as neither `$` nor `` ` `` may stand there without.
//!
//! A value is one line. Of two with one name the later counts.

use std::fmt;

use crate::domain::resolve::check_variable_name;

/// Of a whole file.
pub const SECRETS_BYTES_MAX: usize = 64 << 10;
/// Lines of a file, empty ones included.
pub const SECRETS_LINES_MAX: usize = 1_000;

/// Names and values. What they are never shows where they are printed for debugging.
#[derive(Clone, PartialEq, Eq)]
pub struct Secrets(Vec<(String, String)>);

impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Secrets({})", self.0.len())
    }
}

/// What is wrong with a file of secrets. It quotes nothing of it but names.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SecretsError {
    #[error("it has more than {SECRETS_BYTES_MAX} bytes")]
    TooLong,
    #[error("it has more than {SECRETS_LINES_MAX} lines")]
    TooManyLines,
    #[error("it is not UTF-8 text")]
    NotText,
    #[error("line {line}: {why}")]
    Line { line: usize, why: String },
}

impl Secrets {
    /// Reads a file that a user wrote.
    pub fn parse(bytes: &[u8]) -> Result<Self, SecretsError> {
        if bytes.len() > SECRETS_BYTES_MAX {
            return Err(SecretsError::TooLong);
        }
        let text = std::str::from_utf8(bytes).map_err(|_| SecretsError::NotText)?;
        let mut secrets: Vec<(String, String)> = Vec::new();
        for (index, line) in text.strip_suffix('\n').unwrap_or(text).split('\n').enumerate() {
            if index >= SECRETS_LINES_MAX {
                return Err(SecretsError::TooManyLines);
            }
            let error = |why: String| SecretsError::Line { line: index + 1, why };
            let Some((name, value)) = assignment(line).map_err(error)? else { continue };
            match secrets.iter_mut().find(|(known, _)| *known == name) {
                Some((_, known)) => *known = value,
                None => secrets.push((name, value)),
            }
        }
        Ok(Self(secrets))
    }

    /// As the script reads it: a line is a name, `=`, and the value to the end of the line, quoted by nothing.
    pub fn plain_lines(&self) -> String {
        self.0.iter().fold(String::new(), |lines, (name, value)| lines + name + "=" + value + "\n")
    }
}

/// What one line assigns.
fn assignment(line: &str) -> Result<Option<(String, String)>, String> {
    if line.ends_with('\r') {
        return Err("it ends as lines do on Windows; `dos2unix` mends that".into());
    }
    if line.chars().any(|c| c.is_control() && c != '\t') {
        return Err("it holds a control character".into());
    }
    let line = line.trim_matches(BLANKS);
    if line.is_empty() || line.starts_with('#') {
        return Ok(None);
    }
    let assigned = line
        .strip_prefix("export")
        .filter(|rest| rest.starts_with(BLANKS))
        .map_or(line, |rest| rest.trim_start_matches(BLANKS));
    let Some((name, value)) = assigned.split_once('=') else {
        return Err("it is no NAME=VALUE".into());
    };
    // What is no name may be a value, and is not told.
    let is_plain = |c: char| c.is_ascii_alphanumeric() || c == '_';
    if name.is_empty()
        || !name.chars().all(is_plain)
        || name.starts_with(|c: char| c.is_ascii_digit())
    {
        return Err("what stands before `=` is no name of a variable, which is made of letters, \
                    digits and `_`, without a blank behind it"
            .into());
    }
    check_variable_name(name).map_err(|why| format!("`{name}` cannot be set here: {why}"))?;
    let (value, rest) = match value.chars().next() {
        Some('\'') => single_quoted(value)?,
        Some('"') => double_quoted(value)?,
        Some(_) | None => bare(value)?,
    };
    let behind = rest.trim_start_matches(BLANKS);
    if behind.is_empty() || (behind.len() < rest.len() && behind.starts_with('#')) {
        Ok(Some((name.to_owned(), value)))
    } else {
        Err(format!("something stands behind the value of `{name}`; quote a value with blanks"))
    }
}

const BLANKS: [char; 2] = [' ', '\t'];

fn bare(text: &str) -> Result<(String, &str), String> {
    let end = text.find(BLANKS).unwrap_or(text.len());
    let (value, rest) = text.split_at(end);
    if value.starts_with('~') || value.chars().any(|c| "'\"\\$`;&|<>()".contains(c)) {
        return Err("the value has a character that bash would not take as it is; put the value \
                    between single quotes"
            .into());
    }
    Ok((value.to_owned(), rest))
}

fn single_quoted(text: &str) -> Result<(String, &str), String> {
    let inside = text.get(1..).unwrap_or_default();
    match inside.split_once('\'') {
        Some((value, rest)) => Ok((value.to_owned(), rest)),
        None => Err(NOT_CLOSED.into()),
    }
}

const NOT_CLOSED: &str = "a quote is not closed; a value is one line";

fn double_quoted(text: &str) -> Result<(String, &str), String> {
    let mut value = String::new();
    let mut characters = text.char_indices().skip(1).peekable();
    while let Some((at, c)) = characters.next() {
        match c {
            '"' => return Ok((value, text.get(at + 1..).unwrap_or_default())),
            '$' | '`' => {
                return Err(format!(
                    "bash would expand the `{c}` in the value; write \\{c}, or single quotes"
                ));
            }
            '\\' => match characters.next_if(|(_, next)| "\"\\$`".contains(*next)) {
                Some((_, escaped)) => value.push(escaped),
                None => value.push(c),
            },
            _ => value.push(c),
        }
    }
    Err(NOT_CLOSED.into())
}

/// Whether a variable or an argument looks as if it were to be kept secret.
pub fn looks_secret(name: &str, value: &str) -> bool {
    const ENDINGS: &[&str] = &["TOKEN", "KEY", "SECRET", "PASS", "CREDENTIALS"];
    const PARTS: &[&str] = &["PASSWORD", "PASSWD", "PASSPHRASE", "SECRET"];
    /// What services begin their tokens with.
    const BEGINNINGS: &[&str] = &[
        "hf_",
        "sk-",
        "sk_live_",
        "ghp_",
        "gho_",
        "ghs_",
        "github_pat_",
        "glpat-",
        "xoxb-",
        "xoxp-",
        "AKIA",
        "ASIA",
        "AIza",
        "nvapi-",
        "dop_v1_",
        "-----BEGIN ",
    ];
    /// Shorter ones are words.
    const TOKEN_BYTES_MIN: usize = 16;
    let is_token = value.len() >= TOKEN_BYTES_MIN
        && BEGINNINGS.iter().any(|beginning| value.starts_with(beginning));
    // A place where it is kept, a number or a switch is none; what placeholders stand in is not known yet.
    let is_harmless = value.is_empty()
        || value.starts_with(['/', '~', '.', '{'])
        || value.parse::<f64>().is_ok()
        || matches!(value, "true" | "false");
    let name = name.to_ascii_uppercase().replace(['-', '.'], "_");
    let ends = |ending: &&str| {
        name.strip_suffix(*ending).is_some_and(|rest| rest.is_empty() || rest.ends_with('_'))
    };
    let is_named = ENDINGS.iter().any(ends)
        || PARTS.iter().any(|part| name.contains(part))
        || name.ends_with("APIKEY");
    is_token || (is_named && !is_harmless)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: Result<&str, &str>) {
        match (Secrets::parse(text.as_bytes()), expected) {
            (Ok(secrets), Ok(lines)) => assert_eq!(secrets.plain_lines(), lines, "{text:?}"),
            (Err(error), Err(told)) => {
                assert!(error.to_string().contains(told), "{text:?}: {error}");
            }
            (found, expected) => panic!("{text:?}: {found:?}, not {expected:?}"),
        }
    }

    #[test]
    fn lines_are_assignments_and_nothing_else() {
        check("", Ok(""));
        check("# none\n\n  \t\n", Ok(""));
        check("A=1\n B=x # why\nexport C=y\n\texport\tD=z", Ok("A=1\nB=x\nC=y\nD=z\n"));
        check("A=\nB=''\nC=\"\"", Ok("A=\nB=\nC=\n"));
        check("A=a=b#c%d!e~f*g[h]{i}?", Ok("A=a=b#c%d!e~f*g[h]{i}?\n"));
        check("A='x $y `z` \\ \"'", Ok("A=x $y `z` \\ \"\n"));
        check(r#"A="x \$y \` \\ \" \n 'é'""#, Ok("A=x $y ` \\ \" \\n 'é'\n"));
        check("A=1\nA=2\nB=3", Ok("A=2\nB=3\n"));
        check("a b", Err("line 1: it is no NAME=VALUE"));
        check("A=1\nA = 1", Err("line 2: what stands before `=`"));
        check("9A=1", Err("before `=`"));
        check("A=x y", Err("something stands behind the value of `A`"));
        check("A='x'y", Err("something stands behind"));
        check("A='x'#y", Err("something stands behind"));
        check("A='x", Err("not closed"));
        check("A=\"x", Err("not closed"));
        check("A=\"x\\\"", Err("not closed"));
        for expanded in
            ["$x", "`x`", "~/x", "a;b", "a&b", "a|b", "a<b", "a>b", "(a", "a\\b", "a'b'"]
        {
            check(&format!("A={expanded}"), Err("single quotes"));
        }
        check("A=\"$x\"", Err("expand the `$`"));
        check("A=\"`x`\"", Err("expand the ``"));
        check("A=1\r\n", Err("Windows"));
        check("A=\u{1b}", Err("control character"));
        check("RANK=0", Err("`RANK` cannot be set here"));
        check("TRAINYARD_RUN_ID=0", Err("cannot be set here"));
        check("BASH_ENV=x", Err("bash keeps it"));
        check(&"\n".repeat(SECRETS_LINES_MAX + 1), Err("lines"));
        check(&format!("A={}", "x".repeat(SECRETS_BYTES_MAX)), Err("bytes"));
        assert_eq!(Secrets::parse(b"A=\xff"), Err(SecretsError::NotText));
    }

    #[test]
    fn no_error_and_no_debugging_shows_a_value() {
        let parsed = |text: &str| format!("{:?}", Secrets::parse(text.as_bytes()));
        for text in
            ["A=hunter2", "A='hunter2", "A=hunter2 x", "hunter2", "A hunter2=1", "A=\"$hunter2\""]
        {
            assert!(!parsed(text).contains("hunter2"), "{}", parsed(text));
        }
    }

    #[test]
    fn what_looks_secret_is_told_from_what_does_not() {
        let check = |name: &str, value: &str, expected: bool| {
            assert_eq!(looks_secret(name, value), expected, "{name}={value}");
        };
        check("WANDB_API_KEY", "0123abc", true);
        check("HF_TOKEN", "x", true);
        check("hf-token", "x", true);
        check("DB_PASSWORD_2", "x", true);
        check("CLIENT_SECRET", "x", true);
        check("OPENAI_APIKEY", "x", true);
        check("ANY", "hf_abcdefghijklmnop", true);
        check("ANY", "AKIAIOSFODNN7EXAMPLE", true);
        check("ANY", "sk-short", false);
        check("TOKENIZERS_PARALLELISM", "false", false);
        check("MAX_TOKEN", "512", false);
        check("SSL_KEY", "/etc/ssl/key.pem", false);
        check("HF_TOKEN", "", false);
        check("MONKEY", "ape", false);
        check("BYPASS", "yes", false);
        check("NCCL_DEBUG", "WARN", false);
    }
}
