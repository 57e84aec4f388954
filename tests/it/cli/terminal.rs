//! At a terminal: colour where it is wanted, and no escapes but our own.

use crate::env::{Said, TestEnv};

/// What a terminal would be sent by this command; `script` plays the terminal.
#[expect(clippy::disallowed_methods, reason = "tests start the program they test")]
fn at_a_terminal(env: &TestEnv, words: &str) -> String {
    let mut command = std::process::Command::new("script");
    command.env_clear().current_dir(env.home());
    command.env("PATH", std::env::var_os("PATH").unwrap()).env("HOME", env.home()).env("TZ", "UTC");
    command.env("TERM", "xterm-256color").env("SHELL", "/bin/sh");
    let line = format!("stty cols 80; '{}' {words}", env!("CARGO_BIN_EXE_trainyard"));
    Said::of(command.args(["-qec", &line, "/dev/null"])).stdout
}

/// Escapes of a text, but for colours (`ESC [ … m`).
fn tricks(text: &str) -> Vec<String> {
    let is_colour = |rest: &str| {
        let parameters = rest.strip_prefix('[').unwrap_or("x");
        parameters.trim_start_matches(|c: char| c.is_ascii_digit() || c == ';').starts_with('m')
    };
    let escapes = text.split('\u{1b}').skip(1).filter(|rest| !is_colour(rest));
    let controls = text.chars().filter(|c| c.is_control() && !"\u{1b}\r\n\t".contains(*c));
    escapes.map(|rest| rest.chars().take(20).collect()).chain(controls.map(String::from)).collect()
}

/// A run whose every text tries to take the terminal over.
fn env_with_tricks() -> TestEnv {
    let env = TestEnv::new();
    let script = r#"printf '\033]0;title\007\033[2J\033[31mred\033[0m\n'
printf '{"step": 1, "lo\\u001b[2Jss": 1}\n' >>"$TRAINYARD_METRICS_PATH"
exit 0
"#;
    env.write("code\u{1b}[2J/train.sh", script);
    env.write(
        "tricks.toml",
        "experiment = \"e\\u001b[2J\"\n[code]\npath = \"code\\u001b[2J\"\nentry_point = \"train.sh\"\n\
         [distributed]\nstrategy = \"s\\u001b[2J\"\n",
    );
    drop(env.run(["submit", "tricks.toml", "--wait"]).success());
    env
}

#[test]
fn text_of_others_is_shown_and_not_obeyed() {
    let env = env_with_tricks();
    let broken = "[code]\npath = \"\u{1b}[2J\u{7}\"\nnodse = 1\nentry_point = \"a.sh\"\n";
    env.write("broken.toml", broken);
    for words in [
        "list",
        "show 1",
        "events 1",
        "metrics 1",
        "logs 1",
        "logs 1 -f",
        "check broken.toml",
        "submit broken.toml",
        "check \"$(printf 'a\\033[2Jb')\"",
        "show \"$(printf 'a\\033[2Jb')\"",
        "metrics 1 --name \"$(printf 'a\\033[2Jb')\"",
        "submit tricks.toml --dry-run --name \"$(printf 'a\\033[2Jb')\"",
        "list --state \"$(printf 'a\\033[2Jb')\"",
    ] {
        let shown = at_a_terminal(&env, words);
        assert!(!shown.trim().is_empty(), "{words}");
        assert_eq!(tricks(&shown), Vec::<String>::new(), "{words}: {}", shown.escape_debug());
    }
    assert!(at_a_terminal(&env, "metrics 1").contains(r"lo\u{1b}[2Jss"));
    let logged = at_a_terminal(&env, "logs 1");
    assert!(logged.contains("\u{1b}[31mred\u{1b}[0m"), "colours of a log are kept: {logged:?}");
    assert!(
        env.line("logs 1").success().stdout.contains("\u{1b}]0;title"),
        "a file gets what was written"
    );
}

#[test]
fn colour_is_for_terminals_that_want_it() {
    let env = TestEnv::new();
    let has_colour = |text: &str| text.contains('\u{1b}');
    assert!(has_colour(&at_a_terminal(&env, "show 1")));
    assert!(!has_colour(&at_a_terminal(&env, "show 1 --color never")));
    assert!(has_colour(&at_a_terminal(&env, "--help")));
    assert!(!has_colour(&at_a_terminal(&env, "--help --color never")));
    let with = |key: &str, value: &str, words: &[&str]| {
        let said = Said::of(env.command().env_remove("NO_COLOR").env(key, value).args(words));
        has_colour(&said.stderr)
    };
    let plain: &[&str] = &["show", "1"];
    assert!(!with("UNUSED", "", plain), "a pipe is no terminal");
    assert!(with("TRAINYARD_COLOR", "always", plain));
    assert!(with("UNUSED", "", &["show", "1", "--color", "always"]));
    assert!(!with("TRAINYARD_COLOR", "always", &["show", "1", "--color=never"]), "a flag wins");
    assert!(!has_colour(&env.line("show 1").stderr), "NO_COLOR is set in the sealed world");
}

#[test]
fn waiting_shows_one_live_line() {
    let env = TestEnv::new();
    env.bash_spec("quick", "exit 0\n");
    // Run directories are asked for at a terminal unless the site says where.
    env.write("site.toml", &format!("[site]\nrun_root = \"{}\"\n", env.run_root().display()));
    let shown = at_a_terminal(&env, "--site site.toml submit quick.toml --wait");
    assert!(shown.contains("run 1 quick: "), "{shown:?}");
    assert!(shown.contains("run 1 `quick` completed after"), "{shown:?}");
}
