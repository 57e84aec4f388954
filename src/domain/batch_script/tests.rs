//! Scripts of the shapes that people have, and the specs they come to.

use super::*;
use crate::domain::problem::SourceId;
use crate::domain::text::is_dangerous;

fn translated(script: &str) -> Result<Translation, Refused> {
    let asker = Asker {
        user: "ada".into(),
        uid: 1000,
        group: "lab".into(),
        groups: Vec::new(),
        home: "/home/ada".into(),
    };
    let directory = Path::new("/home/ada/lab");
    translate(script, Origin { name: "job.sbatch", directory, asker: &asker, site: None })
}

fn made(script: &str) -> Translation {
    let made = translated(script).expect("a translation");
    let (_, problems) = crate::domain::document::parse(&made.spec, SourceId(0));
    assert!(problems.is_empty(), "{}\n{problems:?}", made.spec);
    made
}

#[test]
fn one_launch_becomes_keys() {
    let made = made(
        "#!/bin/bash\n#SBATCH -J My_Job -N 2 # two\n#SBATCH --time=1:00:00\n#SBATCH --gres=gpu:a100:4\n\
         #SBATCH --output=x.log\n#SBATCH --array=1-3\nmodule purge\nmodule load cuda/12.4 gcc\n\
         conda activate torch\nexport NCCL_DEBUG=WARN\necho hello\n\
         torchrun --nproc_per_node=4 \\\n  train.py --lr 1e-4 --amp\n#SBATCH --mem=1G\n",
    );
    for part in [
        "name = \"my_job\"",
        "nodes = 2",
        "time_limit = \"1h\"",
        "gpus_per_node = 4",
        "modules = [\"cuda/12.4\", \"gcc\"]",
        "conda = \"torch\"",
        "NCCL_DEBUG = \"WARN\"",
        "entry_point = \"train.py\"",
        "lr = \"1e-4\"\namp = true",
        "launcher = \"torchrun\"\nprocesses_per_node = 4",
        "#  line 6: #SBATCH --array=1-3\n#    this is the run of index 1",
        "#  line 14: #SBATCH --mem=1G\n#    Slurm ignores it too",
    ] {
        assert!(made.spec.contains(part), "no {part} in\n{}", made.spec);
    }
}

#[test]
fn what_is_not_understood_is_kept_as_it_is() {
    let made = made(
        "#!/bin/bash\r\n#SBATCH --ntasks-per-node=4\r\nmkdir -p out\r\nfor i in 1 2; do\r\n  srun python a.py ${i}\r\ndone\r\n",
    );
    assert!(made.spec.contains("launcher = \"none\""), "{}", made.spec);
    assert!(made.spec.contains("--ntasks-per-node=4"), "{}", made.spec);
    assert!(made.spec.contains("srun python a.py ${{i}"), "{}", made.spec);
    assert!(made.spec.contains("mkdir -p out"), "{}", made.spec);
}

#[test]
fn hostile_scripts_break_nothing() {
    for body in [
        "cat <<EOF\n'''\nEOF\n",
        "echo 'open\n",
        "export A='\u{1b}[31m\u{202e}'\n",
        "\\",
        "python\t\u{7}x\n",
    ] {
        drop(made(&format!("#!/bin/bash\n#SBATCH --comment='\u{7}'\n{body}")));
    }
    assert_eq!(translated("#!/bin/bash\n\0"), Err(Refused::Nul));
    assert_eq!(translated("print()\n"), Err(Refused::NoShell));
    let large = "x".repeat(SCRIPT_BYTES_MAX + 1);
    assert!(matches!(translated(&large), Err(Refused::TooLarge(_))));
    let long = format!("#!/bin/bash\n{}", "a\n".repeat(200_000));
    assert!(matches!(translated(&long), Err(Refused::Command(_))));
}

/// The fate of the stretch that begins with `text`.
#[track_caller]
fn check_fate(script: &str, text: &str, became: Became, part: &str) {
    let made = made(&format!("#!/bin/bash\n{script}"));
    let fate = made.fates.iter().find(|fate| fate.text.starts_with(text));
    let fate = fate.unwrap_or_else(|| panic!("{text} has no fate in {:#?}", made.fates));
    assert_eq!(fate.became, became, "{fate:?}");
    let told = format!("{:?} {:?}", fate.key, fate.why);
    assert!(told.contains(part), "{told}");
}

#[test]
fn counts_that_cannot_be_counted_are_told() {
    let check = |line: &str, became, part: &str| {
        check_fate(&format!("#SBATCH {line}\npython a.py\n"), "#SBATCH", became, part);
    };
    check("--mem-per-cpu=4G", Became::Left, "no number of CPUs");
    check("--mem-per-gpu=40G", Became::Left, "no number of GPUs");
    check("--cpus-per-gpu=8", Became::Left, "no number of GPUs");
    check("--ntasks=4", Became::Taken, "without `--nodes`");
    check("--gpus=4", Became::Taken, "without `--nodes`");
    check("--gpus=1", Became::Taken, "compute.gpus_per_node\") None");
    check("-G 3 -N 2", Became::Left, "does not spread evenly");
    check("-G 8 -N 2", Became::Taken, "4 on each node");
    check("--ntasks=3 --nodes=2", Became::Taken, "2 on each");
    check("--nodes=2-4", Became::Left, "a fixed number of nodes");
    check("--account=", Became::Left, "it has no value");
    check("--time=UNLIMITED", Became::Left, "no time limit");
    check("--gres=gpu:2,lustre:1", Became::Left, "several resources");
    check("--gres=lustre:1", Became::Taken, "compute.sbatch");
    check("--time=1:00\n#SBATCH -t 5", Became::Left, "line 3 says it again");
    check("--comment='open", Became::Left, "quotes do not close");
    check("-J a#b", Became::Taken, "name");
    check("hetjob", Became::Left, "another part of the job");
}

#[test]
fn a_start_that_is_kept_says_why() {
    let check = |script: &str, part: &str| {
        let first = script.lines().next().unwrap();
        check_fate(&format!("{script}\n"), first, Became::Kept, part);
    };
    check("accelerate launch a.py", "what `accelerate` is told is not taken apart");
    check("deepspeed a.py", "what `deepspeed` is told is not taken apart");
    check("mpirun -np 4 python a.py", "what `mpirun` is told is not taken apart");
    check("srun --cpu-bind=cores python a.py", "srun's `--cpu-bind` has no key");
    check("srun -N 3 python a.py", "srun's `--nodes=3` is not what the job has");
    check("torchrun --nnodes=2 a.py", "`--nnodes` is 2, and the job has 1");
    check("torchrun --tee 3 a.py", "torchrun's `--tee` has no key");
    check("torchrun --nproc_per_node $N a.py", "what `$N` is, only the job knows");
    check("python a.py --seed $RANDOM", "what `$RANDOM` is, only the job knows");
    check("python -m torch.distributed.launch a.py", "has no key");
    check("apptainer exec --nv a.sif python a.py", "container_runtime");
    check("srun bash -c 'accelerate launch a.py'", "starts processes itself");
    check("python a.py > log", "more than one plain command");
    check("python a.py\n./report", "they stay together");
    check("mpirun python a.py\n./report", "what `mpirun` is told");
}

#[test]
fn a_start_is_taken_apart_however_it_is_spelt() {
    let check = |script: &str, part: &str| {
        let made = made(&format!("#!/bin/bash\n#SBATCH -N 2 --ntasks-per-node=1\n{script}\n"));
        assert!(made.spec.contains(part), "no {part} in\n{}", made.spec);
        assert!(made.fates.iter().all(|fate| fate.became != Became::Kept), "{:#?}", made.fates);
    };
    let two = "launcher = \"torchrun\"\nprocesses_per_node = 2";
    check("srun torchrun --nproc_per_node 2 a.py", two);
    check("srun -l torchrun --nnodes=2 --nproc-per-node=2 --rdzv_endpoint $H:1 a.py", two);
    check("N=2\nsrun python -m torch.distributed.run --nproc_per_node $N a.py", two);
    check("srun -n 4 --export=ALL python -u a.py", "\"srun\"\nprocesses_per_node = 2");
    check("srun torchrun --nproc_per_node=gpu a.py", "launcher = \"torchrun\"\n");
    check("A=1 B=\"$USER x\" exec python a.py", "A = \"1\"\nB = \"ada x\"");
    check("srun torchrun -m pkg.fit --lr 1", "[\"python\", \"-m\", \"pkg.fit\"");
    check("env A=1 ./fit", "command = [\"env\", \"A=1\", \"./fit\"]");
    check("srun torchrun --no-python ./fit", "command = [\"./fit\"]");
}

#[test]
fn values_are_those_that_the_job_would_see() {
    let check = |script: &str, part: &str| {
        let made =
            made(&format!("#!/bin/bash\n#SBATCH -c 4 -J Big --array=7-9\n{script}\npython a.py\n"));
        assert!(made.spec.contains(part), "no {part} in\n{}", made.spec);
    };
    check("A=1\nB=${A}2\nexport C=\"$B-${D:-${A:-x}y}\"", "C = \"12-1y\"");
    check("export C=$SLURM_CPUS_PER_TASK:$SLURM_ARRAY_TASK_ID", "C = \"4:7\"");
    check("export C=~/x:$SLURM_SUBMIT_DIR", "C = \"/home/ada/x:/home/ada/lab\"");
    check("export D=a~b", "D = \"a~b\"");
    check("if true; then A=1; fi\nexport C=${A:-2}", "export C=${{A:-2}");
    check(". ./settings\nexport C=${A:-2}", "export C=${{A:-2}");
    check("read -r A B < f\nexport C=${B:-2}", "export C=${{B:-2}");
    check("export C=1\nexport C=${C}2", "C = \"12\"");
    check("export C=1\n./a\nexport C=2", "./a\nexport C=2");
    check("export PATH=/x:$PATH", "export PATH=/x:$PATH");
    check("mkdir $SLURM_JOB_NAME", "export SLURM_JOB_NAME=Big\n");
    check("srun hostname", "unset RANK LOCAL_RANK WORLD_SIZE");
    check("module use /m\nmodule load a", "module use /m\nmodule load a");
}

#[test]
fn directories_become_where_the_code_is() {
    let check = |script: &str, part: &str| {
        let made = made(&format!("#!/bin/bash\n{script}\npython a.py\n"));
        assert!(made.spec.contains(part), "no {part} in\n{}", made.spec);
    };
    check("#SBATCH -D /p\ncd src", "path = \"/p/src\"");
    check("cd $HOME/p || exit 1\nsource venv/bin/activate", "venv = \"/home/ada/p/venv\"");
    check("cd \"$SLURM_SUBMIT_DIR\"", "the code's own directory\n\n[code]\nentry_point");
    check("cd $TMPDIR", "cd $TMPDIR\npython a.py");
    check("./prepare\ncd /p", "./prepare\ncd /p");
}

#[test]
fn what_spans_lines_is_one_stretch_and_no_more() {
    for (stretch, lines) in [
        ("for i in 1 2; do\n  echo $i\ndone", 3),
        ("if [ -f a ]; then\n  case $b in\n    (c) true ;;\n    d) true\n  esac\nfi", 6),
        ("cat > f <<'EOF'\nexport A=2\n  EOF\nEOF", 4),
        ("f() {\n  echo ${x%\\}}\n}", 3),
        ("a=$(\n  ls # )\n  )", 3),
        ("echo 'one\ntwo'", 2),
        ("ls |\n  wc", 2),
        ("mkdir a \\\n  b", 2),
        ("let x=$((1<<3)); cat <<<EOF", 1),
    ] {
        let made = made(&format!("#!/bin/bash\n{stretch}\nexport LAST=1\n./run\n"));
        assert_eq!(made.fates[0].text, stretch);
        assert_eq!(made.fates[1].line, 2 + lines, "{stretch}");
        assert!(made.spec.contains("LAST = \"1\""), "{}", made.spec);
    }
}

#[test]
fn nothing_hidden_gets_into_the_file() {
    let made = made("#!/bin/bash\nexport A='x\u{202e}y'\necho \u{202e}\nmodule list\u{2066}; a\n");
    assert!(!made.spec.contains(|c| is_dangerous(c) && c != '\n'), "{:?}", made.spec);
    assert!(made.spec.contains("A = \"x\\u202Ey\""), "{}", made.spec);
}

/// Pieces of scripts in any order.
const LINE: &str = r#"(#SBATCH |export |srun |python a\.py |cd |A=|if |fi|done|do |for x in |\$A|\$\{A:-|\}|\$\(|\)|"|'|`|\\|<<E|E|;|\||&&|\{|--gpus=|--nodes 2|-n|torchrun |--nproc_per_node | |=|\*|~|1|é){0,8}"#;

proptest::proptest! {
    /// Whatever the lines are: the spec can be read, and each line is in one stretch.
    #[test]
    fn any_script_becomes_a_spec(lines in proptest::collection::vec(LINE, 0..12)) {
        let script = format!("#!/bin/bash\n{}", lines.join("\n"));
        let made = made(&script);
        let last = |fate: &Fate| fate.line + fate.text.matches('\n').count();
        let mut at = 0;
        for fate in made.fates.iter().filter(|fate| !fate.text.starts_with("#SBATCH")) {
            proptest::prop_assert!(fate.line > at, "{:?}", fate);
            at = last(fate);
        }
        for (number, line) in (1..).zip(script.lines()).skip(1) {
            let is_in = |fate: &Fate| (fate.line..=last(fate)).contains(&number);
            let directive = line.starts_with("#SBATCH");
            let says = !line.trim().is_empty() && !line.trim_start().starts_with('#');
            let is_told = made.fates.iter().any(is_in);
            proptest::prop_assert!(!(says || directive) || is_told, "line {}: {}", number, line);
        }
    }
}
