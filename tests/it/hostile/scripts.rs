//! Each text in each field: refused at its place, or in the script where the plain text was and nowhere else.

use std::path::Path as FilePath;

use trainyard::domain::problem::{Place, Problem};
use trainyard::script::render;

use super::fields::{File, Kind, LINES, Line, VARIANTS};
use super::world::{SITE, SPEC, Texts, document, fields, marker, meaning, outcome, script, with};
use super::{payloads, sbatch};

/// Where the documents' paths begin. Nothing is made there.
const ROOT: &str = "/nowhere";

/// Texts of the everyday round that are put together by chance; `TRAINYARD_HOSTILE_TEXTS=5000` makes it a campaign.
#[expect(
    clippy::disallowed_methods,
    reason = "how long the campaign is, is told to the test itself"
)]
pub(super) fn texts() -> Vec<String> {
    let more = std::env::var("TRAINYARD_HOSTILE_TEXTS").ok().and_then(|text| text.parse().ok());
    [payloads::all(), payloads::mixed(more.unwrap_or(20))].concat()
}

/// A problem points at the line of the field that is at fault, or, where the schema's checks meet, at one that names it.
fn is_at(problem: &Problem, line: &Line, spec: &str, site: &str) -> bool {
    let Some(Place { source, start, end }) = problem.place else { return false };
    let text = match line.file {
        File::Spec if source == SPEC => spec,
        File::Site if source == SITE => site,
        // What the catalogue has and no file system does is told where the spec asks for it.
        File::Site if source == SPEC && line.field == "dataset.*.path" => spec,
        File::Spec | File::Site => return false,
    };
    let is_asked_for = line.field == "dataset.*.path" && source == SPEC;
    let last = if is_asked_for { "listed" } else { line.key.rsplit('/').next().unwrap() };
    let from = text[..start].rfind('\n').map_or(0, |at| at + 1);
    let to = text[end..].find('\n').map_or(text.len(), |at| end + at);
    last.contains(['%', '@']) || text[from..to].contains(last)
}

/// Gives whether the text was accepted.
fn check(variant: char, number: usize, line: &Line, text: &str, plain: &str) -> bool {
    let root = FilePath::new(ROOT);
    let texts = Texts::from([(number, text.to_owned())]);
    let shown =
        format!("{variant} {}: {:?}", line.field, text.chars().take(80).collect::<String>());
    let (spec, site) =
        (document(File::Spec, variant, &texts, root), document(File::Site, variant, &texts, root));
    let came = outcome(&spec, &site, root);
    let Some(resolved) = came.resolved else {
        assert!(
            came.problems.iter().any(|problem| is_at(problem, line, &spec, &site)),
            "{shown}: {:#?}",
            came.problems
        );
        let is_harmless = |problem: &Problem| problem.message.len() < 3_000;
        assert!(came.problems.iter().all(is_harmless), "{shown}");
        return false;
    };
    let hostile = render(&resolved);
    let (mark, meant) = (marker(number), meaning(line, text));
    if line.kind == Kind::Kept {
        assert!(hostile == plain, "{shown}: it changes the script");
    }
    let as_expected: Vec<String> =
        sbatch::options(plain).iter().map(|option| option.replace(&mark, &meant)).collect();
    assert_eq!(sbatch::options(&hostile), as_expected, "{shown}");
    let lines = || hostile.lines().zip(plain.lines());
    assert_eq!(hostile.lines().count(), plain.lines().count(), "{shown}");
    for (found, expected) in lines().filter(|(_, expected)| !expected.contains(&mark)) {
        assert_eq!(found, expected, "{shown}: another line is changed");
    }
    assert!(
        !hostile.contains(|c: char| c.is_control() && c != '\n'),
        "{shown}: a control character"
    );
    true
}

#[test]
fn a_text_is_refused_at_its_place_or_stands_where_the_plain_one_stood() {
    let (mut accepted, mut refused) = (0_u32, 0_u32);
    for variant in VARIANTS {
        let plain = script(variant, &Texts::new(), FilePath::new(ROOT));
        for (number, line) in fields(variant).filter(|(_, line)| line.kind != Kind::Code) {
            // Each text in one of the variants that have the field.
            let place = line.variants.find(variant).unwrap();
            for text in texts().into_iter().skip(place).step_by(line.variants.len()) {
                let text = if line.kind == Kind::Path { text.replace('/', "_") } else { text };
                if check(variant, number, line, &text, &plain) {
                    accepted += 1;
                } else {
                    refused += 1;
                }
            }
        }
    }
    println!("{accepted} accepted, {refused} refused");
    assert!(accepted > 3_000 && refused > 2_000, "{accepted} accepted, {refused} refused");
}

#[test]
fn every_field_that_may_reach_a_script_reaches_one_here() {
    let scripts = VARIANTS.map(|variant| script(variant, &Texts::new(), FilePath::new(ROOT)));
    for (number, line) in LINES.iter().enumerate() {
        let reaches = scripts.iter().any(|script| script.contains(&marker(number)));
        let may = matches!(line.kind, Kind::Text | Kind::Word | Kind::Path)
            && line.field != "code.entry_point";
        assert!(
            reaches == may || line.field == "code.entry_point",
            "{}: reaches {reaches}",
            line.field
        );
    }
}

#[test]
fn what_is_no_text_at_all_is_refused_whatever_is_in_it() {
    let root = FilePath::new(ROOT);
    for (number, line) in LINES.iter().enumerate() {
        if line.kind != Kind::Closed || line.field.is_empty() {
            continue;
        }
        // Words of these languages, too.
        for text in payloads::all()
            .into_iter()
            .filter(|text| !["true", "0", "1e999"].contains(&text.as_str()))
        {
            let variant = line.variants.chars().next().unwrap_or('s');
            let texts = Texts::from([(number, text.clone())]);
            let came = with(variant, &texts, root);
            assert!(came.resolved.is_none(), "{} accepts {text:?}", line.field);
        }
    }
}
