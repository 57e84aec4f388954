//! The script that tells what a compute node sees.

use std::fs;
use std::path::Path;
use std::process::Command;

use trainyard::domain::resolved::SbatchOption;
use trainyard::script::{Probe, render_probe};

const HOSTILE: &str = "/it's $(touch here) `x`\n#SBATCH --uid=0";

fn probe<'a>(options: &'a [SbatchOption], dir: &'a str) -> Probe<'a> {
    Probe {
        options,
        dir,
        conda_root: Some("/opt/no conda"),
        local_scratch: Some("/tmp/scratch-$USER/$SLURM_JOB_ID"),
        login: "localhost",
        port: None,
    }
}

#[test]
fn the_script_reads_well_and_bash_and_shellcheck_agree() {
    let options: Vec<SbatchOption> = ["--partition=main", "--comment=a \"b\""]
        .iter()
        .map(|option| SbatchOption::parse(option).unwrap())
        .collect();
    let usual = Probe { port: Some(4711), ..probe(&options, "/scratch/anna/.probe-1") };
    insta::assert_snapshot!(render_probe(&usual));
    let hostile = Probe {
        conda_root: Some(HOSTILE),
        local_scratch: Some(HOSTILE),
        login: HOSTILE,
        ..probe(&options, HOSTILE)
    };
    let bare = Probe { conda_root: None, local_scratch: None, ..probe(&[], "/x") };
    let directory = tempfile::tempdir().unwrap();
    for probe in [&usual, &hostile, &bare] {
        let text = render_probe(probe);
        assert_eq!(text.matches("\n#SBATCH").count(), probe.options.len(), "{text}");
        let file = directory.path().join("probe.sh");
        fs::write(&file, text).unwrap();
        for (program, words) in [("shellcheck", &[][..]), ("bash", &["-n"])] {
            let said = Command::new(program).args(words).arg(&file).output().unwrap();
            assert!(said.status.success(), "{}", String::from_utf8_lossy(&said.stdout));
        }
    }
}

#[test]
fn a_node_without_the_directory_tells_by_its_exit_code() {
    let world = tempfile::tempdir().unwrap();
    // Nobody waits here.
    let sleep = world.path().join("sleep");
    fs::write(&sleep, "#!/bin/bash\n").unwrap();
    fs::set_permissions(&sleep, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let path = format!("{}:/usr/bin:/bin", world.path().display());
    let run = |dir: &Path| {
        let script = world.path().join("probe.sh");
        fs::write(&script, render_probe(&probe(&[], dir.to_str().unwrap()))).unwrap();
        Command::new("bash").arg(script).env("PATH", &path).status().unwrap().code()
    };
    assert_eq!(run(&world.path().join("none")), Some(71));
    let dir = world.path().join("it's there");
    fs::create_dir(&dir).unwrap();
    fs::create_dir(dir.join(".report")).unwrap();
    assert_eq!(run(&dir), Some(72));
    fs::remove_dir(dir.join(".report")).unwrap();
    assert_eq!(run(&dir), Some(0));
    let report = fs::read_to_string(dir.join("report")).unwrap();
    for line in ["conda=no", "scratch.writable=yes", "resolves=yes"] {
        assert!(report.lines().any(|it| it == line), "{line}: {report}");
    }
    assert!(!report.contains("seen."), "nobody answered: {report}");
}
