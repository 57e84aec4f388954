//! Every verb's help.

use clap::CommandFactory as _;
use trainyard::cli::Cli;

use crate::env::TestEnv;

/// Every way to a command that help can be asked for, the hidden ones left out.
fn ways(command: &clap::Command, way: &str) -> Vec<String> {
    let mut all = vec![way.to_owned()];
    for inner in command.get_subcommands().filter(|inner| !inner.is_hide_set()) {
        all.extend(ways(inner, &format!("{way} {}", inner.get_name())));
    }
    all
}

#[test]
fn every_verb_explains_itself() {
    const COMMON: &str = "Options of every verb:";
    let env = TestEnv::new();
    let whole = env.line("--help").success().stdout;
    for way in ways(&Cli::command(), "") {
        let said = env.line(&format!("{way} --help")).success();
        assert_eq!(said.stderr, "", "help that was asked for is data");
        let (own, common) = said.stdout.split_once(COMMON).unwrap();
        assert!(way.is_empty() || whole.contains(common), "{said}");
        let shown = if way.is_empty() { &whole } else { own };
        insta::assert_snapshot!(format!("help{}", way.replace(' ', "_")), shown);
    }
}

#[test]
fn the_program_alone_shows_what_it_can_do() {
    let env = TestEnv::new();
    let said = env.line("").ended(2);
    assert_eq!(said.stdout, "");
    assert!(said.stderr.contains("Usage: trainyard"), "{said}");
    assert_eq!(
        env.line("--version").success().stdout,
        concat!("trainyard ", env!("CARGO_PKG_VERSION"), "\n")
    );
}

#[test]
fn ps_is_list() {
    let env = TestEnv::new();
    assert_eq!(env.line("ps --json").success().stdout, env.line("list --json").success().stdout);
}
