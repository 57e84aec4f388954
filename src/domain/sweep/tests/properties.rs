//! What holds for every sweep.

use std::collections::HashSet;

use proptest::prelude::*;

use super::{checked, listed};

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn a_grid_is_the_product_of_its_parameters(
        lengths in prop::collection::vec(1_usize..5, 1..5),
        zipped in prop::collection::vec(1_usize..5, 0..3),
    ) {
        let mut text = "[sweep.parameters]\n".to_owned();
        for (number, length) in lengths.iter().enumerate() {
            text += &format!("args.p{number} = {{ range = [0, {length}] }}\n");
        }
        for (number, length) in zipped.iter().enumerate() {
            text += "[[sweep.zip]]\n";
            text += &format!("args.z{number} = {{ range = [0, {length}] }}\n");
            text += &format!("args.y{number} = {{ range = [{length}, {}] }}\n", 2 * length);
        }
        let (family, outcome) = checked(&text);
        prop_assert_eq!(outcome.problems, vec![]);
        let points = listed(&family);
        let product = lengths.iter().chain(&zipped).product::<usize>();
        prop_assert_eq!(points.len(), product);
        prop_assert_eq!(points.iter().collect::<HashSet<_>>().len(), product, "each is there once");
        for (number, length) in zipped.iter().enumerate() {
            for row in 0..*length {
                let one = format!("z{number}={row} y{number}={}", row + length);
                let times = points.iter().filter(|point| point.contains(&one)).count();
                prop_assert_eq!(times, product / length, "{} always stand together", one);
            }
        }
    }

    #[test]
    fn what_is_drawn_is_where_it_may_be(seed in any::<u32>(), low in -1000_i64..1000, width in 1_i64..1000) {
        let high = low + width;
        let text = format!(
            "[sweep]\nmethod = 'random'\nsamples = 20\nseed = {seed}\n[sweep.parameters]\n\
             args.i = {{ integer = [{low}, {high}] }}\nargs.u = {{ uniform = [{low}, {high}] }}\n\
             args.l = {{ log_uniform = [1e-6, {width}e-6] }}\nargs.c = ['a', 'b']\n",
        );
        let text = if width == 1 { text.replace("1e-6, 1e-6", "1e-6, 2e-6") } else { text };
        let (family, outcome) = checked(&text);
        prop_assert_eq!(outcome.problems, vec![]);
        prop_assert_eq!(family.points.points.len(), 20);
        for point in &family.points.points {
            let drawn = family.points.parameters(point);
            let whole = drawn["args.i"].as_i64().unwrap();
            prop_assert!((low..=high).contains(&whole));
            #[expect(clippy::cast_precision_loss, reason = "small numbers")]
            let ends = (low as f64, high as f64);
            let float = drawn["args.u"].as_f64().unwrap();
            prop_assert!(ends.0 <= float && float <= ends.1);
            let log = drawn["args.l"].as_f64().unwrap();
            prop_assert!((1e-6..=1e-3).contains(&log));
        }
        prop_assert_eq!(listed(&checked(&text).0), listed(&family), "the same every time");
    }
}
