//! Python environments that `tests/launchers/environment` makes, once for all runs of the tests.

use std::path::Path;
use std::process::Command;

/// Where it is; it is made where there is none.
pub(crate) fn environment(name: &str) -> String {
    asked(&[name])
}

/// Where it is; none where it was not made: it may be too large to be made for the asking.
pub(crate) fn made_environment(name: &str) -> Option<String> {
    Some(asked(&[name, "--if-made"])).filter(|path| !path.is_empty())
}

#[expect(clippy::disallowed_methods, reason = "tests make what they need")]
fn asked(words: &[&str]) -> String {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/launchers/environment");
    let output = Command::new(script).args(words).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}
