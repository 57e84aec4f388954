//! `#SBATCH` lines, by sbatch's own rules of quoting, which are not a shell's.

use std::fmt;

use crate::domain::resolved::SbatchOption;

/// One `#SBATCH` line without its line break.
///
/// sbatch expands nothing, knows both kinds of quotes, takes `\` as an escape inside them too, and reads an unquoted `#`
/// as the start of a comment even within a word. A line break cannot be quoted; [`SbatchOption`] holds none.
#[derive(Debug, Clone, Copy)]
pub struct Directive<'a>(pub &'a SbatchOption);

impl fmt::Display for Directive<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "#SBATCH {}", self.0.name())?;
        match self.0.value() {
            None => Ok(()),
            Some(value) if is_plain(value) => write!(f, "={value}"),
            Some(value) => write!(f, "=\"{}\"", value.replace('\\', r"\\").replace('"', "\\\"")),
        }
    }
}

fn is_plain(value: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || "_-./:=,@%+".contains(c);
    !value.is_empty() && value.chars().all(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(option: &str, line: &str) {
        let option = SbatchOption::parse(option).unwrap();
        assert_eq!(Directive(&option).to_string(), line);
    }

    #[test]
    fn only_what_needs_it_is_quoted() {
        check("--nodes=2", "#SBATCH --nodes=2");
        check("--exclusive", "#SBATCH --exclusive");
        check("-N2", "#SBATCH -N2");
        check("--time=0-12:00:00", "#SBATCH --time=0-12:00:00");
        check("--comment=", "#SBATCH --comment=\"\"");
        check("--constraint=(a)&(b)", "#SBATCH --constraint=\"(a)&(b)\"");
        check("--comment=a#b --uid=0", "#SBATCH --comment=\"a#b --uid=0\"");
        check(r#"--comment=a "b" \c"#, r#"#SBATCH --comment="a \"b\" \\c""#);
    }
}
