//! Every launcher, by stand-ins (`tests/launchers`) that take the documented options and start the ranks as the real ones do.

use std::os::unix::fs::symlink;

use trainyard::domain::resolved::Program;
use trainyard::domain::spec::Launcher;

use super::slurm::SRUN;
use super::world::{World, launched, on_slurm, word};

pub(crate) const STAND_INS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/launchers");

/// Tells what a rank knows, and what it was given.
pub(crate) const TRAINING: &str = "import os, sys
names = 'RANK LOCAL_RANK LOCAL_WORLD_SIZE NODE_RANK WORLD_SIZE MASTER_ADDR MASTER_PORT'.split()
line = ' '.join(['knows:', *[os.environ.get(name, 'nothing') for name in names], *sys.argv[1:]])
os.write(1, f'{line}\\n'.encode())
";

/// Two processes on each of so many nodes of Slurm, or with 0 on this machine.
fn world(launcher: Launcher, nodes: u32) -> World {
    let mut world = World::new("");
    world.write("code/train.py", TRAINING);
    symlink(world.path("code/train.py"), world.in_run("work/train.py")).unwrap();
    if nodes > 0 {
        world.spec = on_slurm(world.spec, nodes);
    }
    world.spec = launched(world.spec, launcher, 2);
    world.spec.distributed.ports = (20_000, 20_000);
    world.spec.code.program = Program::EntryPoint("train.py".into());
    world.spec.code.args = vec![word("--lr"), word("a 'b'")];
    world.install(
        "scontrol",
        "case $* in
          'show hostnames n1') echo n1 ;;
          'show hostnames n[1-2]') printf 'n1\\nn2\\n' ;;
          'show config') printf 'MinJobAge = 300 sec\\nMpiDefault              = pmix\\n' ;;
          *) exit 1 ;;
        esac",
    );
    world.install("srun", SRUN);
    world.set("SLURM_JOB_ID", "100");
    world.set("SLURM_JOB_NODELIST", if nodes == 2 { "n[1-2]" } else { "n1" });
    let path = format!("{}:{STAND_INS}/bin:/usr/bin:/bin", world.path("bin").display());
    world.set("PATH", &path);
    world.set("PYTHONPATH", &format!("{STAND_INS}/python"));
    world.set("PYTHONDONTWRITEBYTECODE", "1");
    world
}

/// The lines of the log that begin so, in order.
#[track_caller]
fn lines(world: &World, start: &str) -> Vec<String> {
    let ended = world.run();
    let log = world.log();
    assert_eq!(ended.code, Some(0), "{ended:?}\n{log}");
    let mut lines: Vec<String> =
        log.lines().filter_map(|line| line.strip_prefix(start)).map(str::to_owned).collect();
    lines.sort_unstable();
    lines
}

const LAUNCHERS: [Launcher; 6] = [
    Launcher::Srun,
    Launcher::Torchrun,
    Launcher::Accelerate,
    Launcher::Deepspeed,
    Launcher::Mpi,
    Launcher::Jax,
];

#[test]
fn every_rank_knows_its_place_whatever_the_launcher() {
    for launcher in LAUNCHERS {
        for nodes in 0..=2 {
            let ranks = 2 * nodes.max(1);
            let address = if nodes == 0 { "127.0.0.1" } else { "n1" };
            let expected: Vec<String> = (0..ranks)
                .map(|rank| {
                    let (local, node) = (rank % 2, rank / 2);
                    // As DeepSpeed's own launcher does.
                    let own = if launcher == Launcher::Deepspeed {
                        format!("--local_rank={local} ")
                    } else {
                        String::new()
                    };
                    format!("{rank} {local} 2 {node} {ranks} {address} 20000 {own}--lr a 'b'")
                })
                .collect();
            assert_eq!(lines(&world(launcher, nodes), "knows: "), expected, "{launcher} {nodes}");
        }
    }
}

#[test]
fn a_program_that_is_not_pythons_is_started_as_it_is() {
    for launcher in LAUNCHERS {
        for nodes in [0, 2] {
            let mut world = world(launcher, nodes);
            world.spec.code.program = Program::EntryPoint("train.sh".into());
            world.write("code/train.sh", "echo \"shell: $RANK $*\"");
            let expected: Vec<String> =
                (0..2 * nodes.max(1)).map(|rank| format!("{rank} --lr a 'b'")).collect();
            assert_eq!(lines(&world, "shell: "), expected, "{launcher} {nodes}");
        }
    }
}

#[test]
fn what_a_rank_ends_with_is_what_the_run_ends_with() {
    for launcher in LAUNCHERS {
        for nodes in [0, 2] {
            let world = world(launcher, nodes);
            world.write(
                "code/train.py",
                "import os, sys; sys.exit(7 * (os.environ['RANK'] == '1'))",
            );
            assert_eq!(world.run().code, Some(7), "{launcher} {nodes}\n{}", world.log());
        }
    }
    // The elastic agents tell a signal by its number.
    for launcher in [Launcher::Torchrun, Launcher::Accelerate] {
        let world = world(launcher, 2);
        world.write(
            "code/train.py",
            "import os; os.environ['RANK'] == '3' and os.kill(os.getpid(), 9)",
        );
        assert_eq!(world.run().code, Some(128 + 9), "{launcher}\n{}", world.log());
    }
}

#[test]
fn each_rank_has_a_log_of_its_own_where_that_is_asked_for() {
    for launcher in LAUNCHERS {
        for nodes in [0, 2] {
            let mut world = world(launcher, nodes);
            world.spec.distributed.rank_logs = true;
            let all = lines(&world, "knows: ");
            assert_eq!(all.len(), 2 * nodes.max(1) as usize, "{launcher} {nodes} {all:?}");
            for (rank, known) in all.iter().enumerate() {
                assert!(known.starts_with(&format!("{rank} ")), "{launcher} {nodes} {known}");
                assert!(known.contains("--lr a 'b'"), "{launcher} {nodes} {known}");
                let has_local_rank = known.contains(&format!("--local_rank={}", rank % 2));
                assert_eq!(has_local_rank, launcher == Launcher::Deepspeed, "{known}");
                let own = std::fs::read_to_string(world.in_run(&format!("logs/1.rank{rank}.out")));
                // srun labels what the ranks print that it starts.
                let is_labelled = nodes > 0 && launcher.has_task_per_rank();
                let expected = (!is_labelled).then(|| format!("knows: {known}\n"));
                assert_eq!(own.ok(), expected, "{launcher} {nodes}");
            }
        }
    }
}

#[test]
fn a_rank_s_own_log_has_what_it_says_at_its_end_and_its_exit_code_stands() {
    // The first that fails takes the others with it, which may not have come so far.
    let dies = "import os, sys, time
log = os.environ['TRAINYARD_RUN_DIR'] + '/logs/1.rank0.out'
while os.environ['RANK'] != '0' and not (os.path.exists(log) and os.path.getsize(log)):
    time.sleep(0.05)
os.write(1, b'10%\\r20%')
sys.exit(7)";
    for (launcher, nodes) in [(Launcher::Torchrun, 2), (Launcher::Srun, 0)] {
        let mut world = world(launcher, nodes);
        world.spec.distributed.rank_logs = true;
        world.write("code/train.py", dies);
        let ended = world.run();
        assert_eq!(ended.code, Some(7), "{launcher} {ended:?} {}", world.log());
        let own = std::fs::read_to_string(world.in_run("logs/1.rank0.out")).unwrap();
        assert_eq!(own, "10%\r20%", "{launcher}");
    }
}

#[test]
fn accelerate_is_told_the_machine_and_where_to_meet() {
    let line = |machines, address, rank| {
        format!(
            "launch --num_machines={machines} --num_processes={} --main_process_ip={address} \
             --main_process_port=20000 --rdzv_backend=static --max_restarts=0 --multi_gpu \
             --machine_rank={rank} train.py --lr a 'b'",
            machines * 2
        )
    };
    let told = |nodes| lines(&world(Launcher::Accelerate, nodes), "told: ");
    assert_eq!(told(2), [line(2, "n1", 0), line(2, "n1", 1)]);
    assert_eq!(told(1), [line(1, "n1", 0)]);
    let local = line(1, "127.0.0.1", 0).replace(" --machine_rank=0", "");
    let local = local.replace("=20000", "=20000 --machine_rank=0");
    assert_eq!(told(0), [local]);
    let mut alone = world(Launcher::Accelerate, 0);
    alone.spec = launched(alone.spec, Launcher::Accelerate, 1);
    let told = lines(&alone, "told: ").join("\n");
    assert!(!told.contains("--multi_gpu") && told.contains("--num_processes=1 "), "{told}");
}

#[test]
fn deepspeed_is_told_the_world_and_keeps_to_the_gpus_that_a_node_gives() {
    let line = |address, rank, world| {
        format!(
            "--master_addr={address} --master_port=20000 --node_rank={rank} --world_info={world} \
             train.py --lr a 'b'"
        )
    };
    let told = |nodes| lines(&world(Launcher::Deepspeed, nodes), "told: ");
    // {"n1":[0,1],"n2":[0,1]}
    let two = "eyJuMSI6WzAsMV0sIm4yIjpbMCwxXX0=";
    assert_eq!(told(2), [line("n1", 0, two), line("n1", 1, two)]);
    assert_eq!(told(1), [line("n1", 0, "eyJuMSI6WzAsMV19")]);
    let of = |gpus: Option<&str>, nodes| {
        let mut world = world(Launcher::Deepspeed, nodes);
        if let Some(gpus) = gpus {
            world.set("CUDA_VISIBLE_DEVICES", gpus);
        }
        lines(&world, "world: ").pop().unwrap()
    };
    assert_eq!(of(None, 2), r#"{"n1": [0, 1], "n2": [0, 1]}"#);
    assert_eq!(of(Some("2,3"), 2), r#"{"n1": [2, 3], "n2": [2, 3]}"#);
    assert_eq!(of(Some("GPU-5a,MIG-6b"), 1), r#"{"n1": ["GPU-5a", "MIG-6b"]}"#);
    // More or fewer than there are processes are not shared out here.
    assert_eq!(of(Some("0,1,2,3"), 1), r#"{"n1": [0, 1]}"#);
    assert_eq!(of(Some(""), 1), r#"{"n1": [0, 1]}"#);
}

#[test]
fn without_its_launcher_nothing_is_trained() {
    for launcher in ["torchrun", "accelerate", "deepspeed"] {
        for nodes in [0, 1] {
            let mut world = world(Launcher::from_word(launcher).unwrap(), nodes);
            let path = format!("{}:/usr/bin:/bin", world.path("bin").display());
            world.set("PATH", &path);
            world.run().launch_failed(&world, &format!("there is no `{launcher}` on "));
        }
    }
}

#[test]
fn jax_finds_where_to_meet_and_which_process_it_is() {
    let training = "import os
names = 'JAX_COORDINATOR_ADDRESS JAX_NUM_PROCESSES JAX_PROCESS_ID JAX_LOCAL_DEVICE_IDS'.split()
print('jax:', *[os.environ.get(name, 'none') for name in names])
names = 'SLURM_STEP_NODELIST SLURM_NTASKS SLURM_PROCID SLURM_LOCALID SLURM_JOB_ID'.split()
print('slurm:', *[os.environ.get(name) for name in names[1:]])
";
    let told = |nodes, gpus, start| {
        let mut world = world(Launcher::Jax, nodes);
        world.spec.compute.gpus_per_node = gpus;
        world.write("code/train.py", training);
        lines(&world, start)
    };
    let two_nodes =
        ["n1:20000 4 0 none", "n1:20000 4 1 none", "n1:20000 4 2 none", "n1:20000 4 3 none"];
    assert_eq!(told(2, 2, "jax: "), two_nodes);
    let own_half = ["n1:20000 2 0 0,1,2", "n1:20000 2 1 3,4,5"];
    assert_eq!(told(1, 6, "jax: "), own_half);
    assert_eq!(told(0, 0, "jax: "), ["127.0.0.1:20000 2 0 none", "127.0.0.1:20000 2 1 none"]);
    assert_eq!(told(0, 0, "slurm: "), ["2 0 0 7", "2 1 1 7"], "what JAX takes for a cluster");
}

#[test]
fn mpi_is_refused_where_srun_would_start_worlds_of_one() {
    let mut world = world(Launcher::Mpi, 2);
    world.install(
        "scontrol",
        "case $* in 'show config') echo 'MpiDefault              = none' ;; *) printf 'n1\\nn2\\n' ;; esac",
    );
    world.run().launch_failed(&world, "Slurm's MpiDefault is none");
    world.spec.distributed.srun_args = vec!["--mpi=pmi2".into()];
    std::fs::remove_file(world.in_run("claims").join(super::world::TOKEN)).unwrap();
    assert_eq!(world.run().code, Some(0), "{}", world.log());
    assert!(world.log().contains("--mpi=pmi2\n"), "{}", world.log());
}

#[test]
fn mpirun_tells_the_ranks_in_the_words_of_each_mpi() {
    for variable in ["PMI_RANK", "PMIX_RANK", "OMPI_COMM_WORLD_RANK"] {
        let mut world = world(Launcher::Mpi, 0);
        world.set("STAND_IN_MPI", variable);
        assert_eq!(lines(&world, "knows: ").len(), 2);
        assert!(world.log().contains("told: -n 2 /bin/bash -c"), "{}", world.log());
    }
    let mut mute = world(Launcher::Mpi, 0);
    mute.set("STAND_IN_MPI", "NOTHING");
    assert_eq!(mute.run().code, Some(95));
    assert!(mute.log().contains("does not tell its processes their ranks"), "{}", mute.log());
}

#[test]
fn without_mpirun_the_ranks_are_processes_and_that_is_told() {
    let mut world = world(Launcher::Mpi, 0);
    let path = format!("{}:/usr/bin:/bin", world.path("bin").display());
    world.set("PATH", &path);
    let ended = world.run();
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert!(ended.stderr.contains("there is no `mpirun` on "), "{ended:?}");
    assert_eq!(world.log().matches("knows: ").count(), 2, "{}", world.log());
}

#[test]
fn a_world_of_another_size_is_not_trained() {
    for launcher in LAUNCHERS {
        let mut other = world(launcher, 2);
        other.set("SLURM_JOB_NODELIST", "n1");
        other
            .run()
            .launch_failed(&other, "the job's nodes are 1, and the world of 4 ranks is for 2");
    }
    let mut tasks = world(Launcher::Jax, 2);
    tasks.install("srun", &format!("export SLURM_STEP_NUM_TASKS=3\n{SRUN}"));
    tasks.set("SLURM_STEP_NUM_TASKS", "3");
    assert_eq!(tasks.run().code, Some(95), "{}", tasks.log());
    let event = tasks.last_event();
    assert!(event.message.contains("srun started 3 tasks for a world of 4"), "{event:?}");
}
