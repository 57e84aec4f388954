//! Whose a job is that is shown, and what stays known of a cluster.

use std::collections::BTreeMap;

use tokio::runtime::Handle;

use super::*;
use crate::domain::document::parse;
use crate::domain::problem::SourceId;
use crate::domain::site::{Layer, LayerKind, effective};
use crate::hands::{InProcess, SystemClock};

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

/// A cluster whose scontrol prints what the file `says` holds, whatever it is asked.
fn that_says(dir: &std::path::Path) -> SlurmScheduler {
    let scontrol = dir.join("scontrol");
    let script = format!("#!/bin/sh\nexec cat {}\n", dir.join("says").display());
    fs_err::write(&scontrol, script).unwrap();
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    fs_err::set_permissions(&scontrol, mode).unwrap();
    let text = format!("[cluster.main]\nscontrol = '{}'\npoll_burst = 9\n", scontrol.display());
    let (table, faults) = parse(&text, SourceId(0));
    assert_eq!(faults, vec![]);
    let layer = Layer { kind: LayerKind::User, source: SourceId(0), table };
    let site = effective(vec![layer]).0;
    let settings = site.cluster.as_ref().and_then(|clusters| clusters.get("main")).unwrap();
    let account =
        Account { user: "ada".into(), uid: 1000, home: dir.into(), shell: "/bin/sh".into() };
    let hands = Arc::new(InProcess::new(Handle::current()));
    SlurmScheduler::new(hands, Arc::new(SystemClock), ("main", settings), account, &[])
}

/// What counts nothing may be mended; until then how long its jobs run on is known all the same.
#[tokio::test]
async fn what_is_known_of_a_cluster_that_counts_nothing_stays_known() {
    let dir = tempfile::tempdir().unwrap();
    let scheduler = that_says(dir.path());
    let says = |name: &str| {
        let data = format!("{}/tests/data/slurm/22.05", env!("CARGO_MANIFEST_DIR"));
        let text = fs_err::read_to_string(format!("{data}/{name}.out")).unwrap();
        let killed_late = text.lines().map(|line| match line.split_once('=') {
            Some((key, _)) if key.trim() == "KillWait" => "KillWait = 77 sec\n".to_owned(),
            Some(_) | None => format!("{line}\n"),
        });
        fs_err::write(dir.path().join("says"), killed_late.collect::<String>()).unwrap();
    };
    let accounts = BTreeSet::from(["ml".to_owned()]);
    for name in ["no-accounting-show-config", "show-config"] {
        says(name);
        assert!(scheduler.figures(&accounts).await.is_err(), "{name}");
        assert!(scheduler.ends_late_by() >= Seconds(77), "{name}");
    }
    says("multifactor-show-config");
    assert_eq!(scheduler.figures(&accounts).await.unwrap(), Some(BTreeMap::new()));
    // One that cannot be asked may be another when it is back.
    fs_err::remove_file(dir.path().join("says")).unwrap();
    assert!(scheduler.figures(&accounts).await.is_err());
    assert!(scheduler.known_config().is_none());
}
