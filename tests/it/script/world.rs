//! A directory with code, a run root and everything else that a script finds around it, and a way to run scripts there.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use trainyard::domain::charge::Terms;
use trainyard::domain::code::SourceKind;
use trainyard::domain::inbox::{ScriptEvent, ScriptEventKind};
use trainyard::domain::resolved::{
    Code, Compute, Distributed, Environment, Failure, Program, Resolved, SbatchOption, Script,
    Target,
};
use trainyard::domain::site::Mode;
use trainyard::domain::spec::{Launcher, WorkStyle};
use trainyard::domain::units::Seconds;
use trainyard::domain::word::Word;
use trainyard::script::{render, render_points};

pub(super) const TOKEN: &str = "tyabcdefghijklmnopqrst";
pub(super) const JOB_NAME: &str = "42-demo.1.tyabcdefghijklmnopqrst";
pub(super) const RUN_DIR: &str = "42-demo";

/// A spec for one process on this machine.
pub(super) fn spec() -> Resolved {
    Resolved {
        name: "demo".into(),
        project: None,
        experiment: None,
        code: Code {
            kind: SourceKind::Directory,
            work: WorkStyle::Link,
            path: "/home/ada/code".into(),
            program: Program::EntryPoint("train.sh".into()),
            args: Vec::new(),
        },
        datasets: Vec::new(),
        environment: Environment {
            modules: Vec::new(),
            conda: None,
            conda_root: None,
            venv: None,
            secrets: None,
            container: None,
            requirements: None,
            variables: Vec::new(),
        },
        compute: Compute {
            target: Target::Local,
            class: "local".into(),
            nodes: 1,
            gpus_per_node: 0,
            time_limit: None,
            options: Vec::new(),
            rate: None,
            terms: Terms::default(),
            local_scratch: None,
        },
        distributed: Distributed {
            launcher: Launcher::None,
            processes_per_node: 1,
            world_size: 1,
            strategy: None,
            rank_logs: false,
            srun_args: Vec::new(),
            node_address: "{node}".into(),
            ports: (20_000, 29_999),
        },
        checkpoint_directory: "checkpoints".into(),
        checkpoint: None,
        metrics_file: "metrics.jsonl".into(),
        failure: Failure::default(),
        script: Script {
            prologue: Vec::new(),
            epilogue: Vec::new(),
            umask: Mode(0o077),
            kill_wait: Seconds(30),
        },
        run_root: "/scratch/ada/trainyard".into(),
        run_dir_mode: Mode(0o700),
        repeats: None,
    }
}

pub(super) fn on_slurm(mut spec: Resolved, nodes: u32) -> Resolved {
    spec.compute.target = Target::Slurm { cluster: "main".into() };
    spec.compute.nodes = nodes;
    spec.compute.options = ["--nodes=2", "--constraint=(a100)&(nvme)", "--exclusive"]
        .map(|option| SbatchOption::parse(option).unwrap())
        .into();
    spec
}

pub(super) fn launched(mut spec: Resolved, launcher: Launcher, processes: u32) -> Resolved {
    spec.distributed.launcher = launcher;
    spec.distributed.processes_per_node = processes;
    spec.distributed.world_size = spec.compute.nodes * processes;
    spec
}

pub(super) fn word(text: &str) -> Word {
    Word::parse(text).unwrap()
}

/// A run directory `42-demo` below a fresh run root, with `train.sh` as its code.
pub(super) struct World {
    directory: tempfile::TempDir,
    pub(super) spec: Resolved,
    /// For the points of a sweep: which of their variables vary.
    pub(super) varying: Option<BTreeSet<String>>,
    pub(super) job_name: String,
    pub(super) environment: BTreeMap<String, String>,
}

/// How a script ended.
#[derive(Debug)]
pub(super) struct Ended {
    pub(super) code: Option<i32>,
    pub(super) stderr: String,
}

impl World {
    /// With this training, in bash.
    pub(super) fn new(training: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let mut world = Self {
            spec: spec(),
            varying: None,
            job_name: JOB_NAME.into(),
            environment: BTreeMap::new(),
            directory,
        };
        world.spec.run_root = world.path("runs");
        world.spec.code.path = world.path("code");
        for made in
            ["runs/.inbox", "runs/42-demo/claims", "runs/42-demo/work", "code", "bin", "tmp"]
        {
            fs::create_dir_all(world.path(made)).unwrap();
        }
        world.write("code/train.sh", training);
        symlink(world.path("code/train.sh"), world.path("runs/42-demo/work/train.sh")).unwrap();
        let path = format!("{}:/usr/local/bin:/usr/bin:/bin", world.path("bin").display());
        world.set("PATH", &path);
        world.set("HOME", &world.path("").display().to_string());
        world.set("TMPDIR", &world.path("tmp").display().to_string());
        world.set("TRAINYARD_JOB_ID", "7");
        // The nodes of these tests are nowhere, and each knows the name of the first.
        world.install("getent", "true");
        world
    }

    pub(super) fn set(&mut self, variable: &str, value: &str) {
        self.environment.insert(variable.into(), value.into());
    }

    pub(super) fn path(&self, inside: &str) -> PathBuf {
        self.directory.path().join(inside)
    }

    pub(super) fn write(&self, path: &str, text: &str) {
        fs::create_dir_all(self.path(path).parent().unwrap()).unwrap();
        fs::write(self.path(path), text).unwrap();
    }

    /// A program on PATH, in bash.
    pub(super) fn install(&self, name: &str, text: &str) {
        let path = format!("bin/{name}");
        self.write(&path, &format!("#!/bin/bash\n{text}\n"));
        fs::set_permissions(self.path(&path), fs::Permissions::from_mode(0o755)).unwrap();
    }

    pub(super) fn in_run(&self, path: &str) -> PathBuf {
        self.spec.run_root.join(RUN_DIR).join(path)
    }

    pub(super) fn start(&self) -> Child {
        let script = self.path("job.sh");
        let text = match &self.varying {
            Some(varying) => render_points(&self.spec, varying),
            None => render(&self.spec),
        };
        fs::write(&script, text).unwrap();
        Command::new("/bin/bash")
            .arg(script)
            .env_clear()
            .env("TRAINYARD_JOB_NAME", &self.job_name)
            .env("SLURM_JOB_NAME", &self.job_name)
            .envs(&self.environment)
            .current_dir(self.path("tmp"))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap()
    }

    /// As a job that has not ended before, whatever this world saw.
    pub(super) fn run(&self) -> Ended {
        fs::remove_dir_all(self.in_run("exits")).ok();
        self.run_again()
    }

    pub(super) fn run_again(&self) -> Ended {
        Ended::of(&self.start().wait_with_output().unwrap())
    }

    /// Runs the script, and sends it a signal once the training has written `ready` to its log.
    pub(super) fn run_and_signal(&self, signal: Signal) -> Ended {
        let child = self.start();
        wait_until(|| self.log().contains("ready"));
        kill(Pid::from_raw(child.id().try_into().unwrap()), signal).unwrap();
        Ended::of(&child.wait_with_output().unwrap())
    }

    /// What attempt 1 wrote.
    pub(super) fn log(&self) -> String {
        fs::read_to_string(self.in_run("logs/1.out")).unwrap_or_default()
    }

    pub(super) fn events(&self) -> Vec<ScriptEvent> {
        let text = fs::read_to_string(self.in_run("events.jsonl")).unwrap_or_default();
        text.lines().map(|line| ScriptEvent::parse(line).expect(line)).collect()
    }

    pub(super) fn kinds(&self) -> Vec<ScriptEventKind> {
        self.events().into_iter().map(|event| event.event).collect()
    }

    pub(super) fn last_event(&self) -> ScriptEvent {
        self.events().pop().unwrap()
    }

    /// Names and contents of the inbox's files.
    pub(super) fn inbox(&self) -> BTreeMap<String, ScriptEvent> {
        let entries = fs::read_dir(self.spec.run_root.join(".inbox")).unwrap();
        entries
            .map(|entry| {
                let entry = entry.unwrap();
                let text = fs::read_to_string(entry.path()).unwrap();
                let name = entry.file_name().into_string().unwrap();
                (name, ScriptEvent::parse(&text).expect(&text))
            })
            .collect()
    }

    pub(super) fn marker(&self, attempt: u32) -> Option<ScriptEvent> {
        let text = fs::read_to_string(self.in_run(&format!("exits/{attempt}.json"))).ok()?;
        Some(ScriptEvent::parse(&text).expect(&text))
    }
}

impl Ended {
    fn of(output: &Output) -> Self {
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        Self { code: output.status.code(), stderr }
    }

    /// The script gave up, and said so on stderr, in the event and in the marker.
    #[track_caller]
    pub(super) fn launch_failed(&self, world: &World, told: &str) {
        use trainyard::domain::inbox::ScriptReason::LaunchFailed;
        assert_eq!(self.code, Some(i32::from(trainyard::script::LAUNCH_FAILED_EXIT)), "{self:?}");
        assert!(self.stderr.contains(told), "{told}\n{}", self.stderr);
        let event = world.last_event();
        assert!(event.message.contains(told), "{told}\n{event:?}");
        assert_eq!((event.event, event.reason), (ScriptEventKind::Ended, Some(LaunchFailed)));
        assert_eq!(world.marker(1), Some(event));
        assert!(!world.kinds().contains(&ScriptEventKind::Launched));
    }
}

#[track_caller]
pub(super) fn wait_until(mut done: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !done() {
        assert!(Instant::now() < deadline, "it did not happen within 20 seconds");
        std::thread::sleep(Duration::from_millis(10));
    }
}
