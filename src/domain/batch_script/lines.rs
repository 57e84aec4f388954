//! The lines of a script: what sbatch reads, and what bash runs.

/// One stretch of the script, with the number of its first line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Line {
    pub(super) number: usize,
    pub(super) text: String,
}

#[derive(Debug, Default)]
pub(super) struct Script {
    /// What follows `#SBATCH`.
    pub(super) directives: Vec<Line>,
    /// Directives that stand after the first command.
    pub(super) ignored: Vec<Line>,
    /// Commands, each with its continuation lines; what spans lines in another way is one with all that follows.
    pub(super) statements: Vec<Line>,
}

const SHELLS: &[&str] = &["sh", "bash", "dash", "ksh", "zsh"];
const COMPOUND: &[&str] =
    &["if", "for", "while", "until", "case", "select", "function", "{", "(", "((", "[["];

/// Reads the lines; `None` for what is no shell script.
pub(super) fn read(text: &str) -> Option<Script> {
    let mut script = Script::default();
    let mut lines = text.lines().enumerate();
    let interpreter = lines.next()?.1.strip_prefix("#!")?;
    let is_shell = |word: &str| SHELLS.contains(&word.rsplit('/').next().unwrap_or(word));
    if !interpreter.split_whitespace().take(2).any(is_shell) {
        return None;
    }
    while let Some((index, line)) = lines.next() {
        let number = index + 1;
        if let Some(words) = line.strip_prefix("#SBATCH") {
            let line = Line { number, text: words.trim().to_owned() };
            let to = if script.statements.is_empty() {
                &mut script.directives
            } else {
                &mut script.ignored
            };
            to.push(line);
            continue;
        }
        if line.trim().is_empty() || line.trim_start().starts_with('#') {
            continue;
        }
        let mut statement = line.to_owned();
        while statement.ends_with('\\')
            && let Some((_, more)) = lines.next()
        {
            statement.push('\n');
            statement.push_str(more);
        }
        if spans_lines(&statement) {
            for (_, more) in lines.by_ref() {
                statement.push('\n');
                statement.push_str(more);
            }
        }
        script.statements.push(Line { number, text: statement });
    }
    Some(script)
}

/// Whether a command goes on in the next line in a way that only bash can follow.
fn spans_lines(statement: &str) -> bool {
    let first = statement.split_whitespace().next().unwrap_or_default();
    COMPOUND.contains(&first)
        || statement.contains("<<")
        || first.contains("()")
        || statement.contains("() {")
        || statement.trim_end().ends_with(['{', '(', '|'])
        || statement.trim_end().ends_with("&&")
        || words(statement).is_none()
}

/// The words of a command that has nothing for bash to expand; continuation lines are joined.
pub(super) fn words(statement: &str) -> Option<Vec<String>> {
    shlex::split(&statement.replace("\\\n", " "))
}

/// Whether bash would do more with the text than take it apart into words.
pub(super) fn is_literal(statement: &str) -> bool {
    !statement.contains(['$', '`', '|', '&', ';', '<', '>', '(', ')', '*', '?', '['])
        && !statement.replace("\\\n", " ").contains('~')
}
