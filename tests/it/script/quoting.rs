//! Hostile texts: whatever a person writes is one word to bash and one option to sbatch, byte for byte.

use std::fs;
use std::process::Command;

use proptest::prelude::*;
use trainyard::domain::resolved::{Program, SbatchOption};
use trainyard::domain::word::Word;
use trainyard::script::directive::Directive;
use trainyard::script::shell::{Comment, ShellText, ShellWord};

use super::world::World;

/// Any text without NUL, with what shells care about made likely.
pub(super) fn text() -> impl Strategy<Value = String> {
    let special = prop::sample::select(vec![
        "'",
        "\"",
        "\\",
        "$",
        "`",
        "\n",
        "\r\n",
        "\t",
        " ",
        "!",
        "*",
        "~",
        "{",
        "}",
        "#",
        "$(id)",
        "${x}",
        "\u{1}",
        "\u{7f}",
        "\u{1b}[0m",
        "\u{85}",
        "-",
        "=",
        ";",
        "&",
        "é",
        "\u{202e}",
        "'\\''",
        "EOF",
        "\n#SBATCH --uid=0",
        "%s",
        "\\n",
        "0",
        "",
    ]);
    let any = any::<char>().prop_filter("NUL is refused earlier", |c| *c != '\0');
    let piece = prop_oneof![special.prop_map(str::to_owned), any.prop_map(String::from)];
    prop::collection::vec(piece, 0..12).prop_map(|pieces| pieces.concat())
}

/// What bash makes of the words.
fn through_bash(words: &str) -> Vec<String> {
    let script = format!("printf '%s\\0' {words}");
    let told = Command::new("/bin/bash").arg("-c").arg(&script).env_clear().output().unwrap();
    assert!(told.status.success() && told.stderr.is_empty(), "{script}\n{told:?}");
    let mut got: Vec<String> =
        String::from_utf8(told.stdout).unwrap().split('\0').map(str::to_owned).collect();
    got.pop();
    got
}

/// sbatch's rules: quotes of both kinds group, a backslash escapes everywhere, a bare `#` begins a comment.
fn as_sbatch_reads(line: &str) -> Vec<String> {
    let mut options = Vec::new();
    let mut option: Option<String> = None;
    let (mut quote, mut escaped) = (None, false);
    for c in line.strip_prefix("#SBATCH").unwrap().chars() {
        if escaped {
            escaped = false;
        } else if c == '\\' {
            escaped = true;
            continue;
        } else if quote.is_some() {
            if quote == Some(c) {
                quote = None;
                continue;
            }
        } else if c == '"' || c == '\'' {
            quote = Some(c);
            continue;
        } else if c == '#' {
            break;
        } else if c.is_ascii_whitespace() {
            options.extend(option.take());
            continue;
        }
        option.get_or_insert_default().push(c);
    }
    assert_eq!(quote, None, "{line}");
    options.extend(option);
    options
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn any_text_is_one_word_to_bash(texts in prop::collection::vec(text(), 1..40)) {
        let words: Vec<String> = texts.iter().map(|text| ShellWord(text).to_string()).collect();
        prop_assert!(words.iter().all(|word| !word.contains(char::is_control)));
        prop_assert_eq!(through_bash(&words.join(" ")), texts);
    }

    #[test]
    fn any_word_with_placeholders_is_one_word_to_bash(texts in prop::collection::vec(text(), 1..20)) {
        let braces = |text: &String| text.replace('{', "{{").replace('}', "}}");
        let words: Vec<String> = texts
            .iter()
            .map(|text| Word::parse(&format!("{}{{output}}{}", braces(text), braces(text))).unwrap())
            .map(|word| ShellText(&word).to_string())
            .collect();
        let expected: Vec<String> = texts.iter().map(|text| format!("{text}{text}")).collect();
        prop_assert_eq!(through_bash(&words.join(" ")), expected);
    }

    #[test]
    fn an_option_is_one_line_and_one_option_to_sbatch(texts in prop::collection::vec("[ -~]{0,20}", 1..40)) {
        for text in texts {
            let option = SbatchOption::with_value("comment", &text).unwrap();
            let line = Directive(&option).to_string();
            prop_assert!(!line.contains('\n'));
            prop_assert_eq!(as_sbatch_reads(&line), vec![format!("--comment={text}")]);
        }
    }

    #[test]
    fn a_comment_stays_one_line(text in text()) {
        let shown = Comment(&text).to_string();
        prop_assert!(shown.chars().all(|c| c.is_ascii_graphic()), "{}", shown);
    }
}

/// Names that the script itself might have used.
fn variable_name() -> impl Strategy<Value = String> {
    const LIKELY: &[&str] = &[
        "command",
        "name",
        "ty_command",
        "ty_code",
        "ty_log",
        "ty_training",
        "token",
        "key",
        "at",
        "host",
        "i",
        "nodes",
        "LC_ALL",
        "TMPDIR",
        "PS4",
        "HOME",
        "BLOCK",
        "REPLY",
        "OPTARG",
        "CDPATH",
        "GLOBIGNORE",
        "TY",
        "_x",
    ];
    prop_oneof![prop::sample::select(LIKELY).prop_map(str::to_owned), "x[A-Za-z0-9_]{0,8}"]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn arguments_and_variables_reach_the_training_byte_for_byte(
        args in prop::collection::vec(text(), 0..8),
        variables in prop::collection::btree_map(variable_name(), text(), 0..6),
        directory in text(),
        as_command in any::<bool>(),
    ) {
        // The directories' own names are hostile too; `/` and names of 255 bytes are other questions.
        let directory: String = directory.replace('/', "_").chars().take(50).collect();
        let mut world = World::new("");
        let run_root = world.path(&format!("a {directory}"));
        fs::create_dir_all(run_root.join("42-demo/work")).unwrap();
        world.spec.run_root = run_root;
        let dump = "cat /proc/$$/environ >environ; printf '%s\\0' \"$@\" >argv";
        let entry_point = format!("r{directory}.sh");
        fs::write(world.in_run("work").join(&entry_point), dump).unwrap();
        world.spec.code.args = args.iter().map(Word::literal).collect();
        world.spec.code.program = if as_command {
            Program::Command(vec![Word::literal("bash"), Word::literal(&entry_point)])
        } else {
            Program::EntryPoint(entry_point)
        };
        world.spec.environment.variables =
            variables.iter().map(|(name, value)| (name.clone(), Word::literal(value))).collect();

        let ended = world.run();
        prop_assert_eq!(ended.code, Some(0), "{:?} {}", ended, world.log());
        let argv = fs::read_to_string(world.in_run("work/argv")).unwrap();
        // printf writes one empty word when there is none.
        let expected = if args.is_empty() { "\0".to_owned() } else { args.join("\0") + "\0" };
        prop_assert_eq!(argv, expected);
        let environ = fs::read_to_string(world.in_run("work/environ")).unwrap();
        for (name, value) in &variables {
            let line = format!("{name}={value}");
            prop_assert!(environ.split('\0').any(|found| found == line), "{:?}", line);
        }
    }

    #[test]
    fn what_the_script_says_is_json_whatever_the_bytes_are(text in text()) {
        let mut world = World::new("");
        // A module's name stands in the message, here with all that JSON must escape.
        world.spec.environment.modules = vec![format!("m{text}")];
        let ended = world.run();
        let told = world.last_event().message;
        prop_assert_eq!(ended.code, Some(95));
        prop_assert!(told.starts_with("there is no `module` command"), "{}", told);
        world.spec.script.prologue = vec!["module() { return 1; }".into()];
        world.job_name = world.job_name.replace(".1.", ".2.");
        world.run();
        let told = world.last_event().message;
        prop_assert!(told.starts_with(&format!("the module `m{text}` cannot be loaded")), "{:?}", told);
    }
}

#[test]
fn a_message_is_cut_and_stays_valid() {
    for (character, told) in
        [("x", 1000), ("é", 1000), ("\u{1}", 400), ("\"", 1000), ("\u{10ffff}", 600)]
    {
        let mut world = World::new("");
        world.spec.script.prologue = vec!["module() { return 1; }".into()];
        world.spec.environment.modules = vec![character.repeat(3000)];
        assert_eq!(world.run().code, Some(95));
        let message = world.last_event().message;
        let count = message.chars().count();
        assert!(count <= 1000 && count >= told, "{character:?}: {count}");
        assert!(message.ends_with(character));
    }
    // Bytes that are no text at all become U+FFFD.
    let mut world = World::new("");
    world.spec.script.prologue =
        vec![r"module() { ty_fail $'a\xff\xc3(\xed\xa0\x80\xf5\xe2\x82b'; }".into()];
    world.spec.environment.modules = vec!["m".into()];
    world.run();
    assert_eq!(
        world.last_event().message,
        "a\u{fffd}\u{fffd}(\u{fffd}\u{fffd}\u{fffd}\u{fffd}\u{fffd}\u{fffd}b"
    );
}
