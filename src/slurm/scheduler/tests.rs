//! Whose a job is that is shown.

use super::*;

#[test]
fn a_job_is_still_of_its_submission_as_long_as_its_name_and_its_user_say_so() {
    let seer = Seer { cluster: "main", slurm_cluster: None, user: "anna", uid: 1000 };
    let (token, other) = (Token::from_bits(1), Token::from_bits(2));
    let row = |id: &str, task: &str, uid: u32, name: &str| {
        let columns = format!("{id}|{task}|RUNNING|0|0|1795239000|1795239000|1795239001|N/A|n1");
        let more = format!("cpu=1|10:00|debug|normal|lab|{uid}|priv");
        format!("{id}|n0nce|{columns}|{more}|n0nce|None|n0nce|{name}|n0nce|\n")
    };
    let check = |job: &str, text: &str| {
        let rows = squeue::parse(text.as_bytes(), "n0nce").rows;
        is_still_of(&job.parse().unwrap(), &token, &rows, &seer)
    };
    let name = format!("site-42-llama.1.{token}");
    assert_eq!(check("main:7", &row("7", "N/A", 1000, &name)), Some(true));
    assert_eq!(check("main:7_3", &row("7", "3", 1000, &name)), Some(true));
    // The id was given out again: to another run of ours, to a job of the user's own, to somebody else.
    assert_eq!(check("main:7", &row("7", "N/A", 1000, &format!("43-gpt.1.{other}"))), Some(false));
    assert_eq!(check("main:7", &row("7", "N/A", 1000, "bash")), Some(false));
    assert_eq!(check("main:7", &row("7", "N/A", 1001, &name)), Some(false));
    // A queue that does not show it says nothing.
    assert_eq!(check("main:7", ""), None);
    assert_eq!(check("main:7", &row("8", "N/A", 1000, &name)), None);
    assert_eq!(check("main:7", &row("7", "3", 1000, &name)), None);
}
