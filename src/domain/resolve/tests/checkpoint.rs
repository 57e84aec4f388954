//! How the training goes on from its checkpoints.

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
