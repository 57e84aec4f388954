//! Scripts of the shapes that people have, and the specs they come to.

use super::*;
use crate::domain::problem::SourceId;

fn made(script: &str) -> Translation {
    let made = translate("job.sbatch", script, None).expect("a translation");
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
        "#  line 6: #SBATCH --array=1-3\n#    sweeps are not supported",
        "#  line 14: --mem=1G\n#    Slurm ignores it too",
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
    assert_eq!(translate("x", "#!/bin/bash\n\0", None), Err(Refused::Nul));
    assert_eq!(translate("x", "print()\n", None), Err(Refused::NoShell));
    let large = "x".repeat(SCRIPT_BYTES_MAX + 1);
    assert!(matches!(translate("x", &large, None), Err(Refused::TooLarge(_))));
    let long = format!("#!/bin/bash\n{}", "a\n".repeat(200_000));
    assert!(matches!(translate("x", &long, None), Err(Refused::Command(_))));
}
