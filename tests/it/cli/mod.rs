//! The command line as people and scripts meet it: every text, every exit code, every key.

mod bad_nodes;
mod estimate;
mod help;
mod json;
mod mistakes;
mod refusals;
mod shown;
mod site;
mod sweeps;
mod terminal;
mod waiting;

use crate::env::{Said, TestEnv};

/// What differs from day to day and from machine to machine, and what stands for it in a snapshot.
const FILTERS: &[(&str, &str)] = &[
    (r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d", "<moment>"),
    (r"(?m)^  got .*$", "  got <environment>"),
    (r"\b(\d+\.\d|\d+)s\b", "<span>"),
    (r"\bunder 0\.0001|\b0\.0\d{3}\b", "<node-hours>"),
    (r"daemon \d+\.\d+\.\d+", "daemon <version>"),
    (r"(process|daemon) \d+", "$1 <pid>"),
    (r"(process <pid> on) \S+", "$1 <host>"),
    (r"(owner +|submitted by |cancelled by )\S+", "$1<user>"),
];

/// The same for tables: the widths of columns follow from what stands in them.
const TABLE_FILTERS: &[(&str, &str)] = &[(r" {2,}", "  "), (r"(  0  )\S+(  <span>)", "$1<host>$2")];

/// What a command said, as a snapshot keeps it.
fn told(env: &TestEnv, said: &Said) -> String {
    let Said { code, stdout, stderr, .. } = said;
    env.masked(&format!("--- exit {code}\n--- stdout\n{stdout}--- stderr\n{stderr}"))
}

/// Compares what a command said with its snapshot.
macro_rules! assert_told {
    ($env:expr, $said:expr) => {
        insta::with_settings!({ filters => crate::cli::FILTERS.to_vec() }, {
            insta::assert_snapshot!(crate::cli::told(&$env, &$said));
        })
    };
}
pub(crate) use assert_told;

/// The same for a table with times in it.
macro_rules! assert_table {
    ($env:expr, $said:expr) => {{
        let filters = [crate::cli::FILTERS, crate::cli::TABLE_FILTERS].concat();
        insta::with_settings!({ filters => filters }, {
            insta::assert_snapshot!(crate::cli::told(&$env, &$said));
        })
    }};
}
pub(crate) use assert_table;

/// A run that has reported five losses and ended well, as run 1.
fn env_with_a_run() -> TestEnv {
    let env = TestEnv::new();
    let lines = "for i in 0 1 2 3 4; do\n\
                 echo '{\"step\": '$i', \"steps\": 4, \"loss\": 0.'$((9 - i))'}' >>\"$TRAINYARD_METRICS_PATH\"\n\
                 done\necho trained\n";
    let spec = env.bash_spec("steps", lines);
    drop(env.run(["submit", spec.to_str().unwrap(), "--wait"]).success());
    env
}

/// A spec whose run lives until somebody makes the file `go` in its directory.
fn endless(env: &TestEnv) -> std::path::PathBuf {
    env.bash_spec("endless", "until [ -e \"$TRAINYARD_RUN_DIR/go\" ]; do sleep 0.02; done\n")
}
