//! How the training goes on from its checkpoints.

use std::num::NonZeroU32;

use crate::domain::checkpoint::Format;
use crate::domain::resolve::tests::{CODE, SITE, check_problems, resolved};
use crate::domain::spec::{CheckpointFormat, Resume};

#[test]
fn nothing_is_looked_for_unless_the_spec_has_checkpoints() {
    assert_eq!(resolved(SITE, CODE).checkpoint, None);
    let plain = resolved(SITE, &format!("{CODE}[checkpoint]\n")).checkpoint.unwrap();
    assert_eq!((plain.format, plain.resume, plain.resume_args), (None, Resume::Auto, Vec::new()));
    let keys =
        "format = 'dcp'\nresume = 'require'\nresume_args = ['--from={resume_from}', '{data}']";
    let spec = format!("{CODE}[checkpoint]\n{keys}\n[[dataset]]\npath = '/d'\n");
    let named = resolved(SITE, &spec).checkpoint.unwrap();
    assert_eq!((named.format, named.resume), (Some(Format::Dcp), Resume::Require));
    let args: Vec<String> = named.resume_args.iter().map(ToString::to_string).collect();
    assert_eq!(args, ["--from={resume_from}", "{data}"]);
}

#[test]
fn each_format_has_its_word() {
    let words: Vec<&str> =
        CheckpointFormat::WORDS.iter().copied().filter(|it| *it != "auto").collect();
    assert_eq!(words, Format::WORDS);
}

#[test]
fn what_cannot_be_gone_on_from_is_told() {
    let spec = |keys: &str| format!("{CODE}[checkpoint]\n{keys}\n");
    check_problems(
        &spec("resume = 'never'\nresume_args = ['--resume']"),
        &["5:15 `checkpoint.resume_args` are never used: `checkpoint.resume` is `never`"],
    );
    check_problems(
        &spec("resume_args = ['{resumefrom}']"),
        &["4:16 unknown placeholder `{resumefrom}`"],
    );
    let anywhere = "`{resume_from}` can stand only in `checkpoint.resume_args`, which are left out on a fresh start";
    check_problems("[code]\ncommand = ['a', '{resume_from}']\n", &[&format!("2:17 {anywhere}")]);
}

#[test]
fn what_is_kept_is_said_by_the_newest_first() {
    let spec = |keys: &str| format!("{CODE}[checkpoint]\n{keys}\n");
    let all = "every_steps = 500\nkeep_last = 3\nkeep_every_steps = 5000\narchive = '/archive/me'\n\
               keep_best = { metric = 'val_loss', goal = 'minimize' }";
    let resolved = resolved(SITE, &spec(all)).checkpoint.unwrap();
    assert_eq!(resolved.every_steps.map(NonZeroU32::get), Some(500));
    insta::assert_json_snapshot!(resolved.retention, @r#"
    {
      "keep_last": 3,
      "keep_every_steps": 5000,
      "keep_best": {
        "metric": "val_loss",
        "goal": "minimize",
        "count": 1
      },
      "archive": "/archive/me"
    }
    "#);
}

#[test]
fn rules_that_cannot_be_kept_are_told() {
    let check = |keys: &str, told: &[&str]| {
        check_problems(&format!("{CODE}[checkpoint]\n{keys}\n"), told);
    };
    let alone = |key: &str| {
        format!(
            "`checkpoint.{key}` needs `checkpoint.keep_last`: without it all checkpoints are kept"
        )
    };
    check("keep_every_steps = 500", &[&format!("4:20 {}", alone("keep_every_steps"))]);
    check(
        "keep_best = { metric = 'a', goal = 'maximize' }",
        &[&format!("4:13 {}", alone("keep_best"))],
    );
    check("archive = '/a'", &[&format!("4:11 {}", alone("archive"))]);
    check("keep_last = 0", &["4:13 `checkpoint.keep_last` is 0, outside 1 … 1000000"]);
    check("keep_last = -1", &["4:13 `checkpoint.keep_last` is -1, outside 1 … 1000000"]);
    check("every_steps = 0", &["4:15 `checkpoint.every_steps` is 0, outside 1 … 1000000"]);
    check(
        "keep_last = 'all'",
        &["4:13 `checkpoint.keep_last` must be a whole number, not a string"],
    );
    check(
        "keep_last = 1\nkeep_best = { metric = 'a', goal = 'lowest' }",
        &[
            "5:13 `checkpoint.keep_best` needs a `goal`: `minimize` or `maximize`",
            "5:36 `checkpoint.keep_best.goal` cannot be `lowest`",
        ],
    );
    check(
        "keep_last = 1\nkeep_best = { count = 2 }",
        &[
            "5:13 `checkpoint.keep_best` needs a `metric`: the best by what?",
            "5:13 `checkpoint.keep_best` needs a `goal`: `minimize` or `maximize`",
        ],
    );
    check(
        "keep_last = 1\nkeep_best = { metric = '', goal = 'minimize' }",
        &["5:24 `checkpoint.keep_best.metric` is no name of a metric"],
    );
    for wrong in ["archive", "/a/../b", "/a\\u0007", ""] {
        let shown = wrong.replace("\\u0007", "\u{7}");
        let told = format!("5:11 `{shown}` is no absolute path of a directory");
        check(&format!("keep_last = 1\narchive = \"{wrong}\""), &[&told]);
    }
    check(
        "keep_last = 1\ndirectory = '/fast/c'\narchive = '/fast/c/old'",
        &["6:11 the archive lies inside the checkpoint directory"],
    );
}
