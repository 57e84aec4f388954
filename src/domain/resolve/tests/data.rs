//! Datasets: of the catalogue or by their path, and what refers to them.

use std::path::Path;

use super::{CODE, LOCAL_ONLY, SITE, check_problems, outcome, resolved};
use crate::domain::dataset::Dataset;
use crate::domain::resolve::Expected;
use crate::domain::spec::{OnDrift, Stage};

fn datasets(spec: &str) -> Vec<Dataset> {
    resolved(SITE, &format!("{CODE}{spec}")).datasets
}

/// Problems of a spec that ends in these lines, the fifth and on.
#[track_caller]
fn check(spec: &str, told: &[&str]) {
    check_problems(&format!("{CODE}\n[[dataset]]\n{spec}\n"), told);
}

#[test]
fn data_is_of_the_catalogue_or_has_a_path() {
    let all = datasets(
        "[[dataset]]\nname = 'folding'\nversion = '12'\nstage = 'local'\n\
         [[dataset]]\npath = 'my data'\ncontent = true\non_drift = 'fail'\n\
         [[dataset]]\npath = '~/x/'\nname = 'other'\nversion = 'as I say'\n",
    );
    let folding = Dataset {
        name: "folding".into(),
        path: "/data/folding/v12".into(),
        version: Some("12".into()),
        immutable: true,
        stage: Stage::Local,
        content: false,
        on_drift: OnDrift::Warn,
    };
    assert_eq!(all[0], folding);
    assert_eq!((all[1].name.as_str(), all[1].path.ends_with("my data")), ("my_data", true));
    assert_eq!((all[1].content, all[1].on_drift, all[1].stage), (true, OnDrift::Fail, Stage::None));
    assert_eq!(all[2].path, Path::new("/home/anna/x"));
    assert_eq!(all[2].version.as_deref(), Some("as I say"));
}

#[test]
fn data_that_can_be_seen_from_here_must_be_here() {
    let expected = |site: &str, spec: &str| -> Vec<Expected> {
        let outcome = outcome(site, &format!("{CODE}{spec}"));
        let expected = outcome.expectations.into_iter().map(|expected| expected.what);
        let of_data =
            |what: &Expected| matches!(what, Expected::Dataset | Expected::DatasetOfNodes);
        expected.filter(of_data).collect()
    };
    let spec = "[[dataset]]\npath = '/lustre/x'\n[[dataset]]\npath = 'here'\n";
    assert_eq!(expected(SITE, spec), [Expected::DatasetOfNodes, Expected::Dataset]);
    assert_eq!(expected(LOCAL_ONLY, spec), [Expected::Dataset, Expected::Dataset]);
    let listed = "[[dataset]]\nname = 'text'\n";
    assert_eq!(expected(SITE, listed), [Expected::DatasetOfNodes]);
}

#[test]
fn what_is_no_dataset_is_told_at_its_place() {
    check("name = 'foldng'", &["5:8 dataset `foldng` is not in the site's catalogue"]);
    check(
        "name = 'folding'\nversion = '11'",
        &["6:11 dataset `folding` is at version `12` here, not `11`"],
    );
    check("name = 'text'\nversion = '1'", &["6:11 dataset `text` has no version here"]);
    check("stage = 'none'", &["4:1 a dataset without `name` and `path`"]);
    check("path = ''", &["5:8 `` is no path of a dataset"]);
    check("path = 's3://bucket/x'", &["5:8 `s3://bucket/x` is no path of a dataset"]);
    check("path = \"a\\nb\"", &["5:8 `a\\nb` is no path of a dataset"]);
    check("path = 'x'\nname = 'a b'", &["6:8 `a b` cannot be the name of a dataset"]);
    check("path = 'a/x'\n[[dataset]]\npath = 'b/x'", &["6:1 there are two datasets `x`"]);
    check(
        "path = 'a-b'\n[[dataset]]\npath = 'a_b'",
        &["6:1 the datasets `a-b` and `a_b` would both be $TRAINYARD_DATA_PATH_A_B"],
    );
    let one = |all: String, n: u32| all + &format!("[[dataset]]\npath = 'd{n}'\n");
    let many = (0..33).fold(String::new(), one);
    check_problems(&format!("{CODE}{many}"), &["67:1 more than 32 datasets"]);
    check_problems(
        &format!("dataset = 'folding'\n{CODE}"),
        &["1:11 `dataset` must be an array, not a string"],
    );
}

#[test]
fn words_refer_to_data_that_there_is() {
    let spec = "[[dataset]]\nname = 'text'\n[args]\na = '{data}/x'\nb = '{data.text}'\n";
    let args: Vec<String> = resolved(SITE, &format!("{CODE}{spec}"))
        .code
        .args
        .iter()
        .map(ToString::to_string)
        .collect();
    assert_eq!(args, ["--a", "{data}/x", "--b", "{data.text}"]);
    check_problems(
        &format!("{CODE}[args]\na = '{{data}}'\nb = '{{data}}'\n"),
        &[
            "4:5 `{data}` stands for the first dataset, and the spec has none",
            "5:5 `{data}` stands for the first dataset, and the spec has none",
        ],
    );
    check(
        "name = 'text'\n[environment.variables]\nX = '{data.txt}'",
        &["7:5 `{data.txt}`: the spec has no dataset `txt`"],
    );
    // One mistake is one problem.
    check(
        "name = 'tecst'\n[args]\na = '{data}'",
        &["5:8 dataset `tecst` is not in the site's catalogue"],
    );
}
