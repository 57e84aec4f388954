//! Options of sbatch, as they are carried.

use super::*;

#[test]
fn an_option_stays_one_option() {
    let check = |text: &str, shown: Result<&str, OptionError>| {
        assert_eq!(
            SbatchOption::parse(text).map(|o| o.to_string()),
            shown.map(str::to_owned),
            "{text:?}"
        );
    };
    check("--switches=1", Ok("--switches=1"));
    check("--comment=a b # \"c\"", Ok("--comment=a b # \"c\""));
    check("--exclusive", Ok("--exclusive"));
    check("-N2", Ok("-N2"));
    check("switches", Err(OptionError::NoOption));
    check("--", Err(OptionError::NoOption));
    check("--switches 1", Err(OptionError::NoOption));
    check("--comment=a\n#SBATCH --uid=0", Err(OptionError::Control));
    check("--comment=\r", Err(OptionError::Control));
    check("--comment=ü", Err(OptionError::NotAscii));
    check(&format!("--comment={}", "x".repeat(5000)), Err(OptionError::TooLong));
}
