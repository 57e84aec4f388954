//! Points that are listed in a file.

use super::{checked_of, listed, request, told};

#[track_caller]
fn check(name: &str, file: &str, expected: &[&str]) {
    let request = request(&format!("[sweep]\nmethod = 'list'\nfile = '{name}'\n"), Some(file));
    let (family, outcome) = checked_of(&request);
    let told = told(&family.sources, &outcome.problems);
    assert_eq!(if told.is_empty() { listed(&family) } else { told }, expected, "{file}");
}

#[test]
fn csv_has_a_point_a_line() {
    check(
        "p.csv",
        "args.lr, args.opt,compute.nodes\n1e-4,adam w,2\n\n3e-4,\"a,b\",\ntrue,'7',1\n",
        &["lr=1e-4 opt=\"adam w\" nodes=2", "lr=3e-4 opt=\"a,b\"", "lr=true opt=\"7\" nodes=1"],
    );
    check("P.CSV", "\u{feff}args.a\r\n1\r\n", &["a=1"]);
}

#[test]
fn what_is_wrong_in_csv_is_told_at_its_line() {
    check("p.csv", "", &["3:2 the sweep has no points"]);
    check("p.csv", "args.a\n", &["3:2 the sweep has no points"]);
    check(
        "p.csv",
        "args.a,args.b\n1,2\n3\n",
        &["p.csv 3:1 1 values, and the first line names 2 parameters"],
    );
    check(
        "p.csv",
        "args.a,,args.a\n1,2,3\n",
        &[
            "p.csv 1:1 a column has no name of a parameter",
            "p.csv 1:1 two columns are called `args.a`",
        ],
    );
    check(
        "p.csv",
        "args.a,compute.nodes\n1,2\n1,0\n",
        &[
            "p.csv 3:1 `compute.nodes` is 0, outside 1 … 1000000 (point 1: args.a = 1, compute.nodes = 0)",
        ],
    );
    check("p.csv", "compute.nodez\n1\n", &["p.csv 1:1 unknown key `compute.nodez`"]);
    check("p.txt", "args.a\n1\n", &["5:8 `p.txt` is no file of points"]);
}

#[test]
fn json_lines_have_a_point_each() {
    check(
        "p.jsonl",
        "{\"args.a\": 1, \"args\": {\"b\": [true, \"x\"]}}\n\n{\"args.b\": null, \"args.c\": 1e-4}\n",
        &["a=1 b=[true, \"x\"]", "c=1e-4"],
    );
}

#[test]
fn numbers_of_json_lines_stay_as_they_are_written() {
    check(
        "p.jsonl",
        "{\"args.a\": \"1e-5 \\\" 2\", \"args.b3\": [1, -2.50, {\"x\": 7}], \"args.c\": null}\n",
        &["p.jsonl 1:1 `args.b3` is no value that a spec could have"],
    );
    check(
        "p.jsonl",
        "{\"args.a\": \"1e-5 \\\" 2\", \"args.b3\": [1, -2.50], \"args.c\": null, \"args.d\": 1E+2}\n",
        &["a=\"1e-5 \\\" 2\" b3=[1, -2.50] d=1E+2"],
    );
}

#[test]
fn lines_behind_the_most_points_are_not_read() {
    let more = "3:2 the sweep has more than 100000 points";
    let lines = "{\"args.a\": 1}\n".repeat(100_001);
    check("p.jsonl", &format!("{lines}no JSON\n"), &[more]);
    check("p.csv", &format!("args.a\n{}1,2\n", "1\n".repeat(100_001)), &[more]);
}

#[test]
fn a_cell_cannot_say_where_the_code_is() {
    check(
        "p.csv",
        "code\n\"{ path = 'a' }\"\n",
        &["p.csv 1:1 `code` cannot be a parameter: the code of a sweep is captured once"],
    );
}

#[test]
fn what_is_wrong_in_json_lines_is_told_at_its_line() {
    check(
        "p.jsonl",
        "{\"args.a\": 1}\n[1]\n",
        &["p.jsonl 2:1 each line must be an object, as in {\"args.lr\": 0.1}"],
    );
    check(
        "p.jsonl",
        "{\"args.a\": 1, \"args\": {\"a\": 2}}\n",
        &["p.jsonl 1:1 `args.a` is given twice at one point"],
    );
    check(
        "p.jsonl",
        "{\"args.a\": 1, \"args.a\": 2}\n",
        &["p.jsonl 1:1 `args.a` is given twice at one point"],
    );
    check(
        "p.jsonl",
        "{\"args.a\": {\"x\": 1}}\n",
        &["p.jsonl 1:1 `args.a` is no value that a spec could have"],
    );
    check(
        "p.jsonl",
        "{\"args.a\": 1\n",
        &["p.jsonl 1:1 this line is no JSON: EOF while parsing an object"],
    );
}

#[test]
fn a_file_that_cannot_be_read_is_told_where_it_is_named() {
    let mut request = request("[sweep]\nmethod = 'list'\nfile = 'p.csv'\n", None);
    request.points = Some(Err("it is not there".into()));
    let (family, outcome) = checked_of(&request);
    assert_eq!(
        told(&family.sources, &outcome.problems),
        ["5:8 cannot read `p.csv`: it is not there"]
    );
}
