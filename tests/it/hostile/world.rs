//! A spec and a site file in which every text field is set, and what they come to.

use std::collections::BTreeMap;
use std::path::Path as FilePath;

use trainyard::domain::document::parse;
use trainyard::domain::problem::{Problem, SourceId};
use trainyard::domain::resolve::{Asker, Context, Expected, resolve};
use trainyard::domain::resolved::Resolved;
use trainyard::domain::site::{Layer, LayerKind, effective};
use trainyard::script::render;

use super::fields::{File, Kind, LINES, Line};

pub(super) const SPEC: SourceId = SourceId(0);
pub(super) const SITE: SourceId = SourceId(1);

/// The text of a field where nothing hostile is in it: plain, and nowhere else.
pub(super) fn marker(number: usize) -> String {
    format!("zq{number:03}z")
}

/// Fields that have a text of their own, by their number in [`LINES`].
pub(super) fn fields(variant: char) -> impl Iterator<Item = (usize, &'static Line)> {
    let has_text = |line: &Line| {
        line.kind != Kind::Closed && (line.key.contains('%') || line.value.contains('%'))
    };
    let numbered = LINES.iter().enumerate();
    numbered.filter(move |(_, line)| line.variants.contains(variant) && has_text(line))
}

/// What stands in the fields instead of their plain texts.
pub(super) type Texts = BTreeMap<usize, String>;

fn quoted(text: &str) -> String {
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            _ if c.is_control() => out.push_str(&format!("\\u{:04X}", u32::from(c))),
            _ => out.push(c),
        }
    }
    out + "\""
}

/// Where another field's text stands.
fn referred(label: &str) -> usize {
    let field = format!("{label}.KEY");
    LINES.iter().position(|line| line.field == field).unwrap()
}

fn filled(template: &str, number: usize, texts: &Texts, root: &FilePath) -> String {
    let text = |number: usize| texts.get(&number).cloned().unwrap_or_else(|| marker(number));
    let mut filled = template.replace("ROOT", root.to_str().unwrap());
    for label in ["project", "class", "cluster"] {
        let word = format!("@{label}");
        if filled.contains(&word) {
            filled = filled.replace(&word, &text(referred(label)));
            return filled;
        }
    }
    if let Some((before, after)) = filled.split_once('%') {
        filled = [before, &text(number), after].concat();
    }
    filled
}

/// One line of TOML.
fn toml(number: usize, line: &Line, texts: &Texts, root: &FilePath) -> String {
    let fill = |part: &str| quoted(&filled(part, number, texts, root));
    let key: Vec<String> = in_table(line).1.split('/').map(fill).collect();
    let list = line.value.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    let value = match (texts.get(&number).filter(|_| line.kind == Kind::Closed), list) {
        (Some(text), Some(_)) => format!("[{}]", quoted(text)),
        (Some(text), None) => quoted(text),
        (None, Some(list)) => {
            let items: Vec<String> = list.split('|').map(fill).collect();
            format!("[{}]", items.join(", "))
        }
        (None, None) => match line.value.strip_prefix('=') {
            Some(literal) => literal.to_owned(),
            None => fill(line.value),
        },
    };
    format!("{} = {value}", key.join("."))
}

/// One document.
pub(super) fn document(file: File, variant: char, texts: &Texts, root: &FilePath) -> String {
    let stands = |(number, line): &(usize, &Line)| {
        let is_tried = line.kind == Kind::Closed && texts.contains_key(number);
        line.file == file && !line.value.is_empty() && (line.variants.contains(variant) || is_tried)
    };
    let mut lines: Vec<(usize, &Line)> = LINES.iter().enumerate().filter(stands).collect();
    lines.sort_by_key(|(_, line)| in_table(line).0);
    let (mut all, mut table) = (String::new(), None);
    for (number, line) in lines {
        let of = in_table(line).0;
        if of != table {
            all.extend(of.map(|(array, _)| format!("[[{array}]]\n")));
            table = of;
        }
        all += &format!("{}\n", toml(number, line, texts, root));
    }
    all
}

/// The table of an array that a line is in, and its key there.
fn in_table(line: &Line) -> (Option<(&str, u32)>, &str) {
    let mut parts = line.key.splitn(3, '/');
    match (parts.next(), parts.next().map(str::parse), parts.next()) {
        (Some(array), Some(Ok(number)), Some(key)) => (Some((array, number)), key),
        _ => (None, line.key),
    }
}

/// What two documents come to.
pub(super) struct Outcome {
    pub(super) resolved: Option<Resolved>,
    pub(super) problems: Vec<Problem>,
}

pub(super) fn asker() -> Asker {
    let home = "/root".into();
    Asker { user: "root".into(), uid: 0, group: "root".into(), groups: vec!["root".into()], home }
}

/// Reads and resolves both documents, as every verb does that takes a spec.
pub(super) fn outcome(spec: &str, site: &str, root: &FilePath) -> Outcome {
    let (table, mut problems) = parse(site, SITE);
    let layer = Layer { kind: LayerKind::User, source: SITE, table };
    let (site, _, faults) = effective(vec![layer]);
    problems.extend(faults);
    let (table, faults) = parse(spec, SPEC);
    let asker = asker();
    let context = Context { site: &site, asker: &asker, base: root, stem: "run" };
    let outcome = resolve(&table, faults, context);
    problems.extend(outcome.problems);
    for expected in outcome.expectations {
        // Such a path cannot be there.
        let too_long = |part: std::path::Component<'_>| part.as_os_str().len() > 255;
        if expected.path.components().any(too_long) || expected.path.as_os_str().len() > 4095 {
            let what = if expected.what == Expected::Venv { "venv" } else { "code" };
            problems.push(Problem::new(expected.place, format!("there is no {what}")));
        }
    }
    Outcome { resolved: outcome.resolved.filter(|_| problems.is_empty()), problems }
}

pub(super) fn with(variant: char, texts: &Texts, root: &FilePath) -> Outcome {
    let spec = document(File::Spec, variant, texts, root);
    let site = document(File::Site, variant, texts, root);
    outcome(&spec, &site, root)
}

pub(super) fn script(variant: char, texts: &Texts, root: &FilePath) -> String {
    let outcome = with(variant, texts, root);
    render(&outcome.resolved.unwrap_or_else(|| panic!("{variant}: {:?}", outcome.problems)))
}

/// What a field's text means: of a word with placeholders each doubled brace is one.
pub(super) fn meaning(line: &Line, text: &str) -> String {
    if line.kind == Kind::Word {
        text.replace("{{", "{").replace("}}", "}")
    } else {
        text.to_owned()
    }
}
