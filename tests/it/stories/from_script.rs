//! Somebody comes with a batch script.

use crate::env::TestEnv;

#[test]
fn a_batch_script_becomes_a_run() {
    let env = TestEnv::new();
    env.write("lab/train.py", "import os, sys\nprint(sys.argv[1:], os.environ['MODE'])\n");
    let script = "#!/bin/bash\n#SBATCH --job-name=Lab\n#SBATCH --time=10:00\n#SBATCH --output=x\n\
                  export MODE=quick\npython3 train.py --epochs 2 --dry\n";
    env.write("lab/job.sbatch", script);
    let said = env.line("init --from lab/job.sbatch lab/run.toml").success();
    assert!(said.stderr.contains("line 4: #SBATCH --output=x"), "{said}");
    assert!(said.stderr.lines().all(|line| line.chars().count() <= 80), "{said}");
    drop(env.line("check lab/run.toml").success());
    drop(env.line("submit lab/run.toml --wait").success());
    let log = env.line("logs 1").success().stdout;
    assert!(log.contains("['--epochs', '2', '--dry'] quick"), "{log}");
    drop(env.line("init --from lab/job.sbatch lab/run.toml").ended(11));
    let json = env.line("init --json --from lab/job.sbatch lab/two.toml").success().json();
    assert_eq!(json["not_taken"][0]["line"], 4, "{json:#}");
    assert_eq!(json["taken"][0]["key"], "name", "{json:#}");
}

#[test]
fn what_stays_a_command_is_told_line_by_line() {
    let env = TestEnv::new();
    let long = "x".repeat(100);
    let script = format!(
        "#!/bin/bash\n#SBATCH --gpus=4\nmkdir -p out/{long}\nfor i in 1 2; do\n  echo $i\ndone\n\
         accelerate launch train.py\n"
    );
    env.write("job.sbatch", &script);
    let said = env.line("init --from job.sbatch").success();
    for told in [
        "taken over, but look:\n  line 2: #SBATCH --gpus=4\n    without `--nodes` Slurm chooses",
        "kept as they are, in `code.command`:\n  line 3: mkdir -p out/xxx",
        "…\n  line 4: for i in 1 2; do (and 2 lines more)\n  line 7: accelerate launch train.py\n",
        "    what `accelerate` is told is not taken apart; see `[distributed] launcher`\n",
    ] {
        assert!(said.stderr.contains(told), "{told}\n{said}");
    }
    assert!(said.stderr.lines().all(|line| line.chars().count() <= 80), "{said}");
    let json = env.line("init --json --from job.sbatch two.toml").success().json();
    let lines: Vec<_> = json["kept"].as_array().unwrap().iter().map(|kept| &kept["line"]).collect();
    assert_eq!(lines, [3, 4, 7], "{json:#}");
    assert_eq!(json["kept"][2]["key"], "code.command", "{json:#}");
}
