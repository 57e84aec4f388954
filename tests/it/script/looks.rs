//! How the script reads: snapshots of typical ones, and bash's and shellcheck's word on every kind.

use std::fs;
use std::process::{Command, Stdio};

use trainyard::domain::dataset::Dataset;
use trainyard::domain::resolved::{Container, Gpus, Program, Resolved};
use trainyard::domain::site::ContainerRuntime;
use trainyard::domain::spec::{Launcher, OnDrift, Stage, WorkStyle};
use trainyard::script::{render, render_points};

use super::world::{launched, on_slurm, spec, word};

/// A spec that uses everything.
fn full(mut spec: Resolved) -> Resolved {
    spec.name = "llama-sft".into();
    spec.code.program = Program::EntryPoint("train.py".into());
    spec.code.args = ["--output_dir", "{output}/model", "--prompt", "it's", "--seeds", "1", "2"]
        .map(word)
        .into();
    spec.environment.modules = vec!["cuda/12.4".into(), "nccl".into()];
    spec.environment.variables =
        vec![("NCCL_DEBUG".into(), word("WARN")), ("CACHE".into(), word("{run_dir}/cache dir"))];
    spec.script.prologue = vec![
        "for f in /etc/profile.d/modules.sh /etc/profile.d/lmod.sh; do [ -r $f ] && . $f; done"
            .into(),
        "ulimit -l unlimited".into(),
    ];
    spec.script.epilogue = vec!["rm -rf /dev/shm/$USER".into()];
    spec.compute.local_scratch = Some("/local/$SLURM_JOB_ID".into());
    spec.distributed.node_address = "{node}i".into();
    spec
}

#[test]
fn local_none() {
    insta::assert_snapshot!(render(&spec()));
}

#[test]
fn local_srun() {
    let mut spec = launched(spec(), Launcher::Srun, 2);
    spec.environment.venv = Some("/home/ada/my venv".into());
    insta::assert_snapshot!(render(&spec));
}

#[test]
fn slurm_none() {
    let mut spec = launched(on_slurm(full(spec()), 1), Launcher::None, 1);
    spec.environment.conda = Some("torch25".into());
    spec.environment.conda_root = Some("/opt/conda".into());
    insta::assert_snapshot!(render(&spec));
}

#[test]
fn slurm_srun() {
    let mut spec = launched(on_slurm(full(spec()), 2), Launcher::Srun, 4);
    spec.environment.venv = Some("/home/ada/venv".into());
    spec.code.program = Program::Command(vec![word("./bin/train"), word("{name}")]);
    spec.distributed.srun_args = vec!["--mpi=none".into()];
    spec.datasets = vec![dataset("folding_v12", Stage::Local), dataset("text", Stage::None)];
    insta::assert_snapshot!(render(&spec));
}

#[test]
fn slurm_torchrun() {
    let mut spec = launched(on_slurm(full(spec()), 2), Launcher::Torchrun, 4);
    spec.environment.conda = Some("torch25".into());
    insta::assert_snapshot!(render(&spec));
}

#[test]
fn slurm_mpi() {
    let mut spec = launched(on_slurm(full(spec()), 2), Launcher::Mpi, 4);
    spec.code.program = Program::Command(vec![word("./bin/train")]);
    let script = render(&spec);
    insta::assert_snapshot!(&script[script.find("# --- Starting it").unwrap()..]);
}

#[test]
fn slurm_deepspeed() {
    let script = render(&launched(on_slurm(full(spec()), 2), Launcher::Deepspeed, 4));
    insta::assert_snapshot!(&script[script.find("# --- Starting it").unwrap()..]);
}

fn dataset(name: &str, stage: Stage) -> Dataset {
    Dataset {
        name: name.into(),
        path: format!("/data/{name}/it's all").into(),
        version: None,
        immutable: false,
        stage,
        content: false,
        on_drift: OnDrift::Warn,
    }
}

/// With modules and one environment, or without any.
fn in_environment(mut spec: Resolved, kind: &str, as_command: bool) -> Resolved {
    spec.environment.modules.clear();
    match kind {
        "modules" => {
            spec.environment.modules = vec!["a'b/$c".into(), "d".into()];
            spec.datasets = vec![dataset("far", Stage::None)];
        }
        "conda" if as_command => {
            spec.environment.conda = Some("/e/f".into());
            spec.environment.conda_root = Some("/opt/mini conda".into());
        }
        "conda" => spec.environment.conda = Some("e f".into()),
        "venv" => {
            spec.environment.venv = Some("/v/$x".into());
            spec.datasets = vec![dataset("near", Stage::Local), dataset("far", Stage::None)];
        }
        "bare" => {}
        runtime => {
            spec.environment.secrets = Some("/home/ada/secrets.env".into());
            spec.environment.container = Some(Container {
                runtime: ContainerRuntime::from_word(runtime).unwrap(),
                image: if as_command { "docker://a/b:c".into() } else { "/i/it's.sif".into() },
                args: vec!["--x y".into()],
                binds: vec!["/a b".into(), "/c:/d".into()],
                gpus: Gpus::Amd,
            });
        }
    }
    spec
}

const ENVIRONMENTS: [&str; 7] =
    ["bare", "modules", "conda", "venv", "apptainer", "pyxis", "charliecloud"];

/// Each is rendered with everything.
const LAUNCHERS: [Launcher; 3] = [Launcher::None, Launcher::Srun, Launcher::Torchrun];

/// These differ from the others in how they launch alone: each with what that depends on.
const FURTHER: [Launcher; 4] =
    [Launcher::Accelerate, Launcher::Deepspeed, Launcher::Mpi, Launcher::Jax];

/// Every launcher × target × program × environment × with and without the site's code, named by which it is.
fn every_kind() -> Vec<(String, String)> {
    let mut scripts = Vec::new();
    for launcher in LAUNCHERS.into_iter().chain(FURTHER) {
        for bits in 0..8 {
            let (slurm, as_command, site) = (bits & 1 > 0, bits & 2 > 0, bits & 4 > 0);
            for environment in ENVIRONMENTS {
                let further = FURTHER.contains(&launcher);
                let matters = site && ["bare", "apptainer", "pyxis"].contains(&environment);
                // Pyxis is a part of srun.
                if further && !matters || environment == "pyxis" && !slurm {
                    continue;
                }
                let made = if site { full(spec()) } else { spec() };
                let mut made = in_environment(made, environment, as_command);
                made.code.program = if as_command {
                    Program::Command(vec![word("./a b")])
                } else {
                    Program::EntryPoint("train.py".into())
                };
                let made = if slurm { on_slurm(made, 2) } else { made };
                let mut made = launched(made, launcher, 2);
                let target = made.compute.target.kind();
                let name = format!("{target}-{launcher}-{environment}-{bits}.sh");
                scripts.push((name, render(&made)));
                let matters = ["bare", "venv", "apptainer", "pyxis"].contains(&environment);
                if site && !as_command && !further && matters {
                    if launcher == Launcher::Srun {
                        made.code.work = WorkStyle::Copy;
                    }
                    let name = format!("points-{target}-{launcher}-{environment}-{bits}.sh");
                    scripts.push((name, render_points(&made, &["CACHE".to_owned()].into())));
                }
            }
        }
    }
    scripts
}

#[test]
fn bash_and_shellcheck_find_no_fault() {
    let directory = tempfile::tempdir().unwrap();
    let scripts = every_kind();
    let (full, further) = (LAUNCHERS.len() * 2 * 2 * (2 * ENVIRONMENTS.len() - 1), FURTHER.len());
    let points = LAUNCHERS.len() * (2 * 4 - 1);
    assert_eq!(scripts.len(), full + further * 2 * (2 * 3 - 1) + points);
    for (name, script) in &scripts {
        let path = directory.path().join(name);
        fs::write(&path, script).unwrap();
        let checked = Command::new("/bin/bash").arg("-n").arg(path).output().unwrap();
        assert!(checked.status.success() && checked.stderr.is_empty(), "{name}: {checked:?}");
    }
    // Those without the site's code have less of the same. It takes most of a second for each, so all processors work.
    let has_site = |name: &str| name.trim_end_matches(".sh").ends_with(['4', '5', '6', '7']);
    let mut checked = scripts;
    checked.retain(|(name, _)| has_site(name) || name.contains("-bare-"));
    let at_once = std::thread::available_parallelism().unwrap().get();
    let shellchecks: Vec<_> = checked
        .chunks(checked.len().div_ceil(at_once))
        .map(|chunk| {
            Command::new("shellcheck")
                .args(["-s", "bash", "--format=gcc"])
                .args(chunk.iter().map(|(name, _)| name))
                .current_dir(directory.path())
                .stdout(Stdio::piped())
                .spawn()
                .expect("shellcheck is needed for this test: apt-get install shellcheck")
        })
        .collect();
    for shellcheck in shellchecks {
        let told = shellcheck.wait_with_output().unwrap();
        let lines = String::from_utf8_lossy(&told.stdout).into_owned();
        assert!(told.status.success(), "{}", lines.lines().take(40).collect::<Vec<_>>().join("\n"));
    }
}

#[test]
fn the_directives_come_first_and_only_on_slurm() {
    let script = render(&on_slurm(spec(), 2));
    let lines: Vec<&str> = script.lines().take(5).collect();
    let expected = [
        "#!/bin/bash",
        "#SBATCH --nodes=2",
        "#SBATCH --constraint=\"(a100)&(nvme)\"",
        "#SBATCH --exclusive",
        "#",
    ];
    assert_eq!(lines, expected);
    assert!(!render(&spec()).contains("#SBATCH"));
}
