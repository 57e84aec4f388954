//! Code, command line and environment.

use crate::domain::code::CodeSource;
use crate::domain::request::{Change, SpecRequest};
use crate::domain::resolve::Expected;
use crate::domain::resolve::tests::{
    CODE, LOCAL_ONLY, SITE, asker, check_problems, check_problems_at, outcome, resolved, site,
};
use crate::domain::resolved::Program;

/// The words that `[args]` come to.
#[track_caller]
fn check_args(style: &str, args: &str, expected: &[&str]) {
    let spec = format!("{CODE}args_style = '{style}'\n[args]\n{args}\n");
    let words: Vec<String> =
        resolved(LOCAL_ONLY, &spec).code.args.iter().map(ToString::to_string).collect();
    assert_eq!(words, expected, "{style}: {args}");
}

#[test]
fn arguments_are_spelled_in_the_style_of_the_program() {
    check_args("flags", "lr = 1e-4", &["--lr", "1e-4"]);
    check_args("flags", "b = 2\na = 'x y'", &["--b", "2", "--a", "x y"]);
    check_args("flags", "on = true\noff = false", &["--on"]);
    check_args("flags", "layers = [1, 2]", &["--layers", "1", "2"]);
    check_args("flags", "layers = []", &["--layers"]);
    check_args("flags", "text = ''", &["--text", ""]);
    check_args("flags", "date = 2026-01-02", &["--date", "2026-01-02"]);
    check_args("equals", "lr = 1e-4", &["--lr=1e-4"]);
    check_args("equals", "on = true\noff = false", &["--on"]);
    check_args("equals", "layers = [1, 2]", &["--layers=1", "--layers=2"]);
    check_args("hydra", "lr = 1e-4", &["lr=1e-4"]);
    check_args("hydra", "on = true\noff = false", &["on=true", "off=false"]);
    check_args("hydra", "layers = [1, 2]", &["layers=[1,2]"]);
    check_args("hydra", "layers = [1]", &["layers=[1]"]);
    check_args("hydra", "layers = []", &["layers=[]"]);
    check_args("hydra", "\"model.depth\" = 3", &["model.depth=3"]);
}

#[test]
fn placeholders_stand_wherever_a_word_does() {
    check_args("flags", "out = '{output}/m'", &["--out", "{output}/m"]);
    check_args("equals", "out = ['{work}', '{id}']", &["--out={work}", "--out={id}"]);
    check_args("hydra", "out = ['{run_dir}', 'b']", &["out=[{run_dir},b]"]);
    check_args("flags", "json = '{{\"a\": 1}}'", &["--json", "{{\"a\": 1}}"]);
    let spec = "[code]\ncommand = ['./run', '{name}', '{checkpoints}']\n\
                [environment.variables]\nOUT = '{output}'\n";
    let resolved = resolved(LOCAL_ONLY, spec);
    let Program::Command(words) = &resolved.code.program else { panic!("a command") };
    let words: Vec<String> = words.iter().map(ToString::to_string).collect();
    assert_eq!(words, ["./run", "{name}", "{checkpoints}"]);
    assert_eq!(resolved.environment.variables[0].1.to_string(), "{output}");
    let args = |args: &str| format!("{CODE}[args]\n{args}\n");
    check_problems(&args("out = '{outptu}'"), &["4:7 unknown placeholder `{outptu}`"]);
    check_problems(
        &args("out = '{output'"),
        &["4:7 a `{` without its `}`; write `{{` for a brace"],
    );
    let message = "4:7 `{resume_from}` can stand only in `checkpoint.resume_args`, which are left out on a fresh start";
    check_problems(&args("out = '{resume_from}'"), &[message]);
}

#[test]
fn what_cannot_be_an_argument_is_told() {
    let args = |args: &str| format!("{CODE}[args]\n{args}\n");
    check_problems(&args("'' = 1"), &["4:1 `` cannot be the name of an argument"]);
    check_problems(&args("'a b' = 1"), &["4:1 `a b` cannot be the name of an argument"]);
    check_problems(&args("'a=b' = 1"), &["4:1 `a=b` cannot be the name of an argument"]);
    check_problems(&args("\"a\\nb\" = 1"), &["4:1 `a\\nb` cannot be the name of an argument"]);
    check_problems(
        &args("a = { b = 1 }"),
        &["4:5 `args.a` must be a string, a number, a boolean or a flat array, not a table"],
    );
    check_problems(
        &args("a = [[1]]"),
        &["4:6 `args.a[0]` must be a string, a number, a boolean or a flat array, not an array"],
    );
    check_problems(&args("a = \"x\\u0000\""), &["4:5 `args.a` holds a NUL character"]);
    let long = format!("a = '{}'", "x".repeat(200_000));
    check_problems(
        &args(&long),
        &[
            "4:5 it is 200000 bytes long, more than the 131071 that a program can be given in one word",
        ],
    );
    let (key, values) = ("k".repeat(1_000), "1, ".repeat(2_000));
    let spec = format!("{CODE}args_style = 'equals'\n[args]\n{key} = [{values}]\n");
    let problems = outcome(SITE, &spec).problems;
    assert_eq!(problems.len(), 1, "{problems:?}");
    assert!(problems[0].message.contains("more than the 1048576 a program can be given"));
}

#[test]
fn code_is_found_beside_the_spec() {
    let code = |path: &str| format!("[code]\npath = '{path}'\nentry_point = 'train.py'\n");
    let path = |text: &str| resolved(SITE, &code(text)).code.path.display().to_string();
    assert_eq!(resolved(SITE, CODE).code.path.display().to_string(), "/home/anna/llama");
    assert_eq!(path("."), "/home/anna/llama");
    assert_eq!(path("src/"), "/home/anna/llama/src");
    assert_eq!(path("../other"), "/home/anna/llama/../other", "it may cross a link");
    assert_eq!(path("/opt/code"), "/opt/code");
    assert_eq!(path("~/code"), "/home/anna/code");
    let outcome = outcome(SITE, &code("src"));
    let expected: Vec<(Expected, String)> = outcome
        .expectations
        .iter()
        .map(|expected| (expected.what, expected.path.display().to_string()))
        .collect();
    assert_eq!(
        expected,
        vec![
            (Expected::CodeDirectory, "/home/anna/llama/src".into()),
            (Expected::EntryPoint, "/home/anna/llama/src/train.py".into()),
        ]
    );
}

#[test]
fn an_archive_is_known_by_its_ending_and_an_address_by_its_scheme() {
    let code = |keys: &str| format!("[code]\n{keys}\nentry_point = 'train.py'\n");
    let hex = "a".repeat(64);
    for name in ["code.tar.gz", "Code.TGZ", "a.zip"] {
        let outcome = outcome(SITE, &code(&format!("path = '{name}'\ndigest = 'sha256:{hex}'")));
        let expected = &outcome.expectations[0];
        assert_eq!(expected.what, Expected::CodeArchive);
        assert_eq!(expected.path.display().to_string(), format!("/home/anna/llama/{name}"));
        let source = outcome.capture.unwrap().source;
        assert!(matches!(source, CodeSource::Archive { digest: Some(_), .. }), "{source:?}");
    }
    let spec = code("path = 'https://me:pw@example.org/a.zip?sig=hidden'");
    let outcome = outcome(SITE, &spec);
    assert_eq!(outcome.expectations, []);
    let resolved = outcome.resolved.unwrap();
    assert_eq!(resolved.code.path.display().to_string(), "https://example.org/a.zip");
    let all = format!("{resolved:?} {}", serde_json::to_string(&resolved).unwrap());
    assert!(!all.contains("hidden") && !all.contains("pw@"), "{all}");
    for (keys, problem) in [
        ("path = 'ftp://h/a.zip'", "2:8 only http:// and https:// addresses are supported"),
        ("path = 'a.zip'\ndigest = 'sha256:1'", "3:10 `sha256:1` is no digest"),
        ("exclude = ['a[']", "2:12 `a[` is no glob: unclosed character class; missing ']'"),
    ] {
        check_problems(&code(keys), &[problem]);
    }
    let digest = format!("digest = 'blake3:{hex}'");
    let message = "2:10 `code.digest` is of an archive, and `code.path` is a directory";
    check_problems(&code(&digest), &[message]);
}

#[test]
fn a_spec_says_one_thing_to_run_inside_its_code() {
    check_problems("", &["- the spec does not say what to run"]);
    check_problems(
        "[code]\nentry_point = 'a.py'\ncommand = ['b']\n",
        &["3:11 `code.command` stands beside `code.entry_point`: give one of them"],
    );
    check_problems("[code]\ncommand = []\n", &["2:11 `code.command` is empty"]);
    check_problems("[code]\ncommand = ['', 'x']\n", &["2:11 `code.command` is empty"]);
    for outside in ["../train.py", "/opt/train.py", "", "a/../../b.py"] {
        let spec = format!("[code]\nentry_point = '{outside}'\n");
        let message = format!("2:15 `{outside}` is no path inside the code's directory");
        check_problems(&spec, &[&message]);
    }
}

#[test]
fn the_environment_is_the_classs_and_then_the_specs() {
    let spec = format!(
        "{CODE}[environment]\nmodules = ['b']\nvenv = '.venv'\n[environment.variables]\n\
         A = 1\nB = true\nNCCL_SOCKET_IFNAME = 'lo'\nC = 1.50\n"
    );
    let environment = resolved(SITE, &spec).environment;
    assert_eq!(environment.modules, ["cuda", "b"]);
    assert_eq!(environment.venv.as_deref(), Some("/home/anna/llama/.venv"));
    assert_eq!(environment.conda_root.as_deref(), Some("/opt/conda"));
    let variables: Vec<(&str, String)> = environment
        .variables
        .iter()
        .map(|(name, word)| (name.as_str(), word.to_string()))
        .collect();
    let expected = [("NCCL_SOCKET_IFNAME", "lo"), ("A", "1"), ("B", "true"), ("C", "1.50")];
    assert_eq!(variables, expected.map(|(name, value)| (name, value.to_owned())));
    let conda = |text: &str| {
        let spec = format!("{CODE}[environment]\nconda = '{text}'\n");
        resolved(SITE, &spec).environment.conda
    };
    assert_eq!(conda("torch25").as_deref(), Some("torch25"));
    assert_eq!(conda("envs/torch").as_deref(), Some("/home/anna/llama/envs/torch"));
    assert_eq!(conda("~/envs/torch").as_deref(), Some("/home/anna/envs/torch"));
    check_problems(
        &format!("{CODE}[environment]\nconda = 'a'\nvenv = 'b'\n"),
        &["4:9 `environment.conda` stands beside `environment.venv`: give one of them"],
    );
    for wrong in ["", "-r x"] {
        let spec = format!("{CODE}[environment]\nmodules = ['{wrong}']\n");
        check_problems(&spec, &[&format!("4:12 `{wrong}` cannot be the name of an environment")]);
    }
}

#[test]
fn variables_that_others_own_are_refused() {
    let variable = |name: &str| format!("{CODE}[environment.variables]\n'{name}' = 'x'\n");
    let check = |name: &str, why: &str| {
        check_problems(&variable(name), &[&format!("4:1 `{name}` cannot be set here: {why}")]);
    };
    let set_themselves = "Trainyard and Slurm set it themselves";
    for name in [
        "RANK",
        "LOCAL_RANK",
        "LOCAL_WORLD_SIZE",
        "NODE_RANK",
        "WORLD_SIZE",
        "MASTER_ADDR",
        "MASTER_PORT",
        "TRAINYARD_RUN_DIR",
        "SLURM_JOB_ID",
        "SBATCH_ACCOUNT",
        "SRUN_DEBUG",
    ] {
        check(name, set_themselves);
    }
    for name in ["BASH_ENV", "BASHOPTS", "IFS", "SHELLOPTS", "UID", "EUID", "PPID", "ENV", "GROUPS"]
    {
        check(name, "bash keeps it for itself");
    }
    let letters =
        "a variable's name is made of letters, digits and `_` and does not begin with a digit";
    for name in ["", "1A", "A-B", "A B", "A=B", "Ä", "$(x)"] {
        check(name, letters);
    }
    check_problems(&variable("PATH"), &[]);
    check_problems(&variable("_private"), &[]);
    check_problems(
        &format!("{CODE}[environment.variables]\nA = ['x']\n"),
        &["4:5 `A` must be one value, not an array"],
    );
    // A class is held to the same.
    let site = SITE.replace("NCCL_SOCKET_IFNAME", "RANK");
    let told: Vec<String> = outcome(&site, CODE).problems.into_iter().map(|p| p.message).collect();
    assert_eq!(told, ["`RANK` cannot be set here: Trainyard and Slurm set it themselves"]);
}

#[test]
fn checkpoints_and_metrics_stay_inside_or_are_absolute() {
    let spec = |directory: &str| format!("{CODE}[checkpoint]\ndirectory = '{directory}'\n");
    assert_eq!(resolved(SITE, CODE).checkpoint_directory, "checkpoints");
    assert_eq!(resolved(SITE, &spec("a/b")).checkpoint_directory, "a/b");
    assert_eq!(resolved(SITE, &spec("/fast/x")).checkpoint_directory, "/fast/x");
    for wrong in ["", "../x", "a/../../x", "/a/../b"] {
        let message =
            format!("4:13 `{wrong}` is no path inside the run directory, nor an absolute one");
        check_problems(&spec(wrong), &[&message]);
    }
    let metrics = format!("{CODE}[metrics]\nfile = '../m'\n");
    let message = "4:8 `../m` is no path inside the run directory, nor an absolute one";
    check_problems_at(LOCAL_ONLY, &metrics, &[message]);
}

#[test]
fn words_that_no_program_can_be_given_are_refused() {
    let spec = |args: &str| format!("{CODE}args_style = 'equals'\n[args]\n{args}\n");
    let message = |bytes: usize| {
        format!(
            "it is {bytes} bytes long, more than the 131071 that a program can be given in one word"
        )
    };
    // `--x=` counts.
    let fits = "x".repeat(131_071 - 4);
    check_problems(&spec(&format!("x = '{fits}'")), &[]);
    let told = format!("5:5 `args.x`: {}", message(131_072));
    check_problems(&spec(&format!("x = 'x{fits}'")), &[&told]);
    let key = "k".repeat(131_070);
    let outcome = outcome(SITE, &spec(&format!("{key} = true")));
    assert!(outcome.resolved.is_none(), "a name alone may be too long");
    let long = "x".repeat(4096);
    for table in ["[checkpoint]\ndirectory", "[metrics]\nfile"] {
        let problems = super::outcome(SITE, &format!("{CODE}{table} = '{long}'\n")).problems;
        assert_eq!(problems.len(), 1, "{table}");
    }
    for key in ["conda = ", "modules = ["] {
        let end = if key.ends_with('[') { "]" } else { "" };
        let text = format!("{CODE}[environment]\n{key}'{long}'{end}\n");
        assert_eq!(super::outcome(SITE, &text).problems.len(), 1, "{key}");
    }
    let mut many = String::new();
    for number in 0..10_001 {
        many.push_str(&format!("k{number} = 1\n"));
    }
    check_problems(&spec(&many), &["4:1 `args` has 10001 items, more than 10000"]);
}

#[test]
fn a_container_is_what_the_sites_runtime_can_start() {
    let site = |runtime: &str| {
        SITE.replace("conda_root", &format!("container_runtime = '{runtime}'\nconda_root"))
    };
    let spec = |keys: &str| format!("[code]\nentry_point = 'train.py'\n[environment]\n{keys}\n");
    let image = |runtime: &str, image: &str| {
        let outcome = outcome(&site(runtime), &spec(&format!("container = '{image}'")));
        let problems: Vec<String> = outcome.problems.iter().map(|it| it.message.clone()).collect();
        match outcome.resolved {
            Some(resolved) => Ok(resolved.environment.container.unwrap().image),
            None => Err(problems.join("; ")),
        }
    };
    assert_eq!(image("apptainer", "a.sif"), Ok("/home/anna/llama/a.sif".into()));
    assert_eq!(image("apptainer", "docker://a/b:c"), Ok("docker://a/b:c".into()));
    assert_eq!(image("singularity", "oras://h/b"), Ok("oras://h/b".into()));
    assert_eq!(image("pyxis", "docker://me@h#a/b"), Ok("docker://me@h#a/b".into()));
    for (runtime, text, told) in [
        ("charliecloud", "docker://a/b", "`charliecloud` starts no `docker://` image"),
        ("pyxis", "library://a/b", "`pyxis` starts no `library://` image"),
        ("apptainer", "http://a/b", "`apptainer` starts no `http://` image"),
        ("apptainer", "docker://me:pw@h/b", "holds a password"),
        ("apptainer", "docker://", "no address of an image"),
        ("apptainer", "-x", "`-x` is no image"),
    ] {
        let problem = image(runtime, text).unwrap_err();
        assert!(problem.contains(told) && !problem.contains("pw"), "{text}: {problem}");
    }
    let told = |site: &str, keys: &str| {
        let problems = outcome(site, &spec(keys)).problems;
        problems.into_iter().map(|it| it.message).collect::<Vec<_>>().join("; ")
    };
    assert!(told(SITE, "container = 'a'").contains("does not say what runs containers"));
    let beside = told(&site("apptainer"), "container = 'a'\nvenv = 'v'");
    assert!(
        beside.contains("`environment.container` stands beside `environment.venv`"),
        "{beside}"
    );
    let local = format!("{}\n[local]\ncontainer_runtime = 'pyxis'\n", site("apptainer"));
    let here = told(&local, "container = 'a'\n[compute]\ntarget = 'local'");
    assert!(here.contains("Pyxis is a part of Slurm's srun"), "{here}");
}

#[test]
fn gpus_are_told_by_their_label() {
    use crate::domain::resolved::Gpus;
    for (label, gpus) in [
        ("a100", Gpus::Nvidia),
        ("gh200", Gpus::Nvidia),
        ("ampere-mini", Gpus::Nvidia),
        ("mi250x", Gpus::Amd),
        ("AMD", Gpus::Amd),
        ("gfx90a", Gpus::Amd),
    ] {
        assert_eq!(Gpus::labelled(label), gpus, "{label}");
    }
}

#[test]
fn what_is_secret_in_an_address_is_not_recorded_however_it_was_given() {
    let code = |path: &str| format!("[code]\npath = {path}\nentry_point = 'train.py'\n");
    let change = |key: &str, value: &str| Change {
        shown: format!("--set {key}={value}"),
        key: key.to_owned(),
        value: value.to_owned(),
    };
    let secret = "https://example.org/a.zip?signature=hush";
    // As it stands, with the letters of its secret escaped, and behind another change.
    for (text, changes) in [
        (code(&format!("'{secret}'")), vec![]),
        (code(r#""https://example.org/a.zip?signature=\u0068ush""#), vec![]),
        (code("'.'"), vec![change("code.args_style", "'equals'"), change("code.path", secret)]),
    ] {
        let (file, stem) = ("run.toml".to_owned(), "run".to_owned());
        let base = "/home/anna/llama".into();
        let request = SpecRequest { file, text, base, stem, changes, points: None, point: None };
        let capture = request.check(&site(SITE), &asker()).outcome.capture.unwrap();
        assert!(format!("{:?}", capture.source).contains("example.org/a.zip"));
        let recorded = request.without_secrets(&capture);
        let all = format!("{recorded:?} {}", recorded.recorded());
        assert!(!all.contains("ush") && all.contains("https://example.org/a.zip"), "{all}");
        // What is recorded can be handed in again.
        let again = recorded.check(&site(SITE), &asker()).outcome;
        assert_eq!(again.problems, []);
    }
}
