//! Problems in files, shown at their place.

use std::fmt;

use miette::{GraphicalReportHandler, GraphicalTheme, LabeledSpan, NamedSource, SourceCode};

use crate::cli::context::Context;
use crate::cli::text::TerminalText;
use crate::domain::problem::{Place, Problem, Sources};
use crate::domain::text::is_dangerous;

/// A problem with the text it points into.
#[derive(Debug)]
struct Diagnostic<'a> {
    problem: &'a Problem,
    source: Option<NamedSource<String>>,
    /// The file of a problem that has no place in it.
    file: Option<&'a str>,
}

impl fmt::Display for Diagnostic<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(file) = self.file {
            write!(f, "{}: ", TerminalText(file))?;
        }
        TerminalText(&self.problem.message).fmt(f)
    }
}

impl std::error::Error for Diagnostic<'_> {}

impl miette::Diagnostic for Diagnostic<'_> {
    fn severity(&self) -> Option<miette::Severity> {
        Some(miette::Severity::Error)
    }

    fn help<'b>(&'b self) -> Option<Box<dyn fmt::Display + 'b>> {
        self.problem.help.as_ref().map(|help| Box::new(TerminalText(help)) as Box<dyn fmt::Display>)
    }

    fn source_code(&self) -> Option<&dyn SourceCode> {
        self.source.as_ref().map(|source| source as &dyn SourceCode)
    }

    fn labels(&self) -> Option<Box<dyn Iterator<Item = LabeledSpan> + '_>> {
        let place = self.problem.place.filter(|_| self.source.is_some())?;
        let label = LabeledSpan::new(None, place.start, place.end.saturating_sub(place.start));
        Some(Box::new(std::iter::once(label)))
    }
}

/// Shows all problems on stderr, in the order of their places, with an empty line after each.
pub(super) fn show(context: &Context, problems: &[Problem], sources: &Sources) {
    let text = render(problems, sources, context.stderr_has_colour());
    context.say(&format!("{}\n", text.trim_end()));
}

/// The first problem with its place, and how many there are beside it.
pub(super) fn in_one_line(problems: &[Problem], sources: &Sources) -> Option<String> {
    let ordered = ordered(problems);
    let first = ordered.first()?;
    let place = first.place.map(|place| format!("{}: ", sources.locate(place))).unwrap_or_default();
    let more = match ordered.len() {
        1 => String::new(),
        count => format!(" (and {} more)", count - 1),
    };
    Some(format!("{place}{}{more}", first.message))
}

/// Shows warnings on stderr, a line each with its place and another with what helps: not the text that they point into,
/// which may be a secret.
pub(super) fn warn(context: &Context, warnings: &[Problem], sources: &Sources) {
    for warning in ordered(warnings) {
        let file = sources.0.first().map(|source| source.name.clone()).unwrap_or_default();
        let place = warning.place.map_or(file, |place| sources.locate(place).to_string());
        context.warn(&format!("{place}: {}", warning.message), warning.help.as_deref());
    }
}

fn render(problems: &[Problem], sources: &Sources, colour: bool) -> String {
    let theme = if colour { GraphicalTheme::unicode() } else { GraphicalTheme::unicode_nocolor() };
    let handler = GraphicalReportHandler::new_themed(theme).with_width(100);
    let mut text = String::new();
    for problem in ordered(problems) {
        let source = problem.place.and_then(|place| sources.get(place.source));
        let source = source.map(|source| {
            NamedSource::new(TerminalText(&source.name).to_string(), neutral(&source.text))
        });
        let whole = sources.0.first().map(|source| source.name.as_str());
        let file = whole.filter(|_| problem.place.is_none());
        let diagnostic = Diagnostic { problem, source, file };
        if handler.render_report(&mut text, &diagnostic).is_err() {
            text.push_str(&problem.message);
        }
        text.push('\n');
    }
    text
}

/// Problems in the order of their places; those without one come last.
fn ordered(problems: &[Problem]) -> Vec<&Problem> {
    let mut ordered: Vec<&Problem> = problems.iter().collect();
    let order = |place: Option<Place>| {
        place.map_or((true, None), |place| (false, Some((place.source, place.start))))
    };
    ordered.sort_by_key(|problem| order(problem.place));
    ordered
}

/// A source text with its dangerous characters replaced byte for byte, so that places stay where they are.
fn neutral(text: &str) -> String {
    text.chars()
        .flat_map(|c| {
            let keep = matches!(c, '\n' | '\t') || !is_dangerous(c);
            let shown = if keep { c } else { '.' };
            std::iter::repeat_n(shown, if keep { 1 } else { c.len_utf8() })
        })
        .collect()
}

/// Problems for programs: file, line and column of each.
pub(super) fn to_json(problems: &[Problem], sources: &Sources) -> serde_json::Value {
    let whole = sources.0.first().map(|source| source.name.as_str());
    let one = |problem: &Problem| {
        let location = problem.place.map(|place| sources.locate(place));
        serde_json::json!({
            "file": location.map_or(whole, |location| Some(location.name)),
            "line": location.map(|location| location.line),
            "column": location.map(|location| location.column),
            "message": problem.message,
            "help": problem.help,
        })
    };
    ordered(problems).into_iter().map(one).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::problem::Source;

    #[test]
    fn a_problem_is_shown_at_its_line_and_column() {
        let mut sources = Sources::default();
        let text = "name = \"a\"\n[compute]\nnodse = 2 # \u{1b}[2J\n".to_owned();
        let source = sources.add(Source { name: "run.toml".into(), text, base: "/".into() });
        let problem =
            Problem::at(Place { source, start: 21, end: 26 }, "unknown key `compute.nodse`")
                .help("did you mean `nodes`?");
        insta::assert_snapshot!(render(
            &[problem, Problem::nowhere("nothing to run")],
            &sources,
            false
        ));
    }
}
