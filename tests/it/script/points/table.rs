//! The table of a sweep's points: bash reads back what was meant, whatever it is.

use std::fs;
use std::process::Command;

use proptest::prelude::*;
use trainyard::domain::ids::RunId;
use trainyard::domain::word::Word;
use trainyard::script::points::line;
use trainyard::script::render_points;

use crate::script::quoting::text;
use crate::script::world::{spec, word};

/// What each line comes to when the script's own function reads it: arguments and the values of `A` and `B`.
fn through_the_script(lines: &[String]) -> Vec<Vec<String>> {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("points.tsv"), lines.concat()).unwrap();
    let script = render_points(&spec(), &["A".to_owned(), "B".to_owned()].into());
    let from = script.find("ty_read_point() {").unwrap();
    let function = &script[from..from + script[from..].find("\n}\n").unwrap() + 3];
    let harness = format!(
        "set -u
ty_fail() {{ printf '%s\\n' \"$1\" >&2; exit 95; }}
{function}
ty_sweep_dir=$1 ty_host=here TRAINYARD_RUN_DIR='/r d' TRAINYARD_OUTPUT_PATH='/o  *' A=(x y)
for ((ty_point = 0; ty_point < $2; ty_point++)); do
  ty_read_point
  ty_command=()
  eval \"ty_command+=$ty_args\"
  (eval \"$ty_exports\"; printf '%s\\0' \"$ty_run_id\" \"${{#ty_command[@]}}\" ${{ty_command[@]+\"${{ty_command[@]}}\"}}
    exec -a x env -0 | grep -z '^[AB]=' | sort -z; printf 'end\\0')
done"
    );
    let told = Command::new("/bin/bash")
        .args(["-c", &harness, "test"])
        .arg(directory.path())
        .arg(lines.len().to_string())
        .env_clear()
        .env("PATH", "/usr/bin:/bin")
        .current_dir(directory.path())
        .output()
        .unwrap();
    assert!(told.status.success() && told.stderr.is_empty(), "{told:?}");
    let text = String::from_utf8(told.stdout).unwrap();
    let points = text
        .split("end\0")
        .map(|point| point.split_terminator('\0').map(str::to_owned).collect::<Vec<String>>());
    points.take(lines.len()).collect()
}

fn meant(run: i64, args: &[String], variables: &[(String, String)]) -> Vec<String> {
    let mut all = vec![run.to_string(), args.len().to_string()];
    all.extend_from_slice(args);
    all.extend(variables.iter().map(|(name, value)| format!("{name}={value}")));
    all
}

/// What is meant literally: a word without placeholders.
fn literal(text: &str) -> Word {
    Word::literal(text)
}

#[test]
fn a_line_may_hold_anything() {
    let long = "it's \"$(id)\" é\n\t".repeat(6_000);
    let texts = [
        "",
        "'",
        "\"",
        "\\",
        "$(id)",
        "`id`",
        "a\nb",
        "a\tb",
        "\r\n",
        " ",
        "*",
        "[0]=x",
        "~",
        "a=~",
        ")",
        "(",
        "é\u{202e}",
        "\u{85}",
        "!",
        "#",
        "-n",
        &long,
    ];
    let texts = texts.map(str::to_owned);
    let mut lines = Vec::new();
    let mut all = Vec::new();
    for (point, text) in texts.iter().enumerate() {
        let args = [text.clone(), "next".to_owned(), text.clone()];
        let variables = [("A".to_owned(), text.clone()), ("B".to_owned(), format!("x{text}"))];
        let words = args.each_ref().map(|arg| literal(arg));
        let values = variables.each_ref().map(|(name, value)| (name.clone(), literal(value)));
        let run = i64::try_from(point).unwrap() + 7;
        lines.push(line(u32::try_from(point).unwrap(), RunId(run), &words, &values));
        assert_eq!(lines[point].matches('\n').count(), 1);
        all.push(meant(run, &args, &variables));
    }
    let last = u32::try_from(lines.len()).unwrap();
    lines.push(line(last, RunId(1), &[], &[]));
    all.push(meant(1, &[], &[]));
    let placed = [word("{run_dir}/{output}'{{"), word("{output}")];
    lines.push(line(last + 1, RunId(2), &placed, &[("B".to_owned(), word("{run_dir}"))]));
    let words = ["/r d//o  *'{".to_owned(), "/o  *".to_owned()];
    all.push(meant(2, &words, &[("B".to_owned(), "/r d".to_owned())]));
    assert_eq!(through_the_script(&lines), all);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(50))]

    #[test]
    fn bash_reads_back_what_was_meant(points in prop::collection::vec((prop::collection::vec(text(), 0..5), text()), 1..6)) {
        let mut lines = Vec::new();
        let mut all = Vec::new();
        for (point, (args, value)) in points.iter().enumerate() {
            let words: Vec<Word> = args.iter().map(|arg| literal(arg)).collect();
            let run = i64::try_from(point).unwrap() + 1;
            let point = u32::try_from(point).unwrap();
            lines.push(line(point, RunId(run), &words, &[("B".to_owned(), literal(value))]));
            all.push(meant(run, args, &[("B".to_owned(), value.clone())]));
        }
        prop_assert_eq!(through_the_script(&lines), all);
    }
}
