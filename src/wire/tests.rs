//! Any bytes give an answer, and what is formatted can be parsed.

use proptest::prelude::*;

use super::*;
use crate::time::Timestamp;

proptest! {
    #[test]
    fn every_line_gives_an_answer(line in proptest::collection::vec(any::<u8>(), 0..200)) {
        parse(&line);
    }

    #[test]
    fn lines_made_of_fields_give_an_answer(fields in proptest::collection::vec("[A-Z0-9+.?-]{0,8}", 0..8), gap in "[ \t\r\x0b\x0c]{1,3}") {
        parse(fields.join(&gap).as_bytes());
    }

    #[test]
    fn a_report_made_of_an_iamat_is_an_at_line_with_the_clients_fields(
        client in "[^\\s]{1,20}",
        latitude in "[+-]([0-8]?[0-9])(\\.[0-9]{1,9})?",
        longitude in "[+-](1[0-7][0-9]|[0-9]{1,2})(\\.[0-9]{1,9})?",
        stated in "[0-9]{1,18}(\\.[0-9]{1,9})?",
        received in any::<i64>(),
    ) {
        prop_assume!(!client.contains(|c: char| c.is_whitespace()));
        let location = format!("{latitude}{longitude}");
        let line = format!("IAMAT {client} {location} {stated}");
        let Command::Iamat { time, .. } = parse(line.as_bytes()) else { panic!("{line}") };
        let report = Report::of_iamat("Clark", Timestamp::from_nanoseconds(received), &client, &location, &stated, time);
        let Command::At(at) = parse(report.line().as_bytes()) else { panic!("{report:?}") };
        prop_assert_eq!(at.to_report(), report.clone());
        prop_assert_eq!((at.origin(), at.client(), at.location(), at.stated_time()), ("Clark", &*client, &*location, &*stated));
        let skew = parse_nanoseconds(at.skew());
        prop_assert_eq!(skew, i128::from(received) - i128::from(time.seconds) * 1_000_000_000 - i128::from(time.nanoseconds));
    }

    #[test]
    fn the_order_of_versions_is_total(lines in proptest::collection::vec("AT (A|B)  ?[+-]0\\.[12] a [+-]1(\\.0)?[+-]1 [12](\\.[05]0?)?", 3)) {
        let reports: Vec<_> = lines.iter().map(|line| match parse(line.as_bytes()) {
            Command::At(at) => at,
            other => panic!("{line}: {other:?}"),
        }).collect();
        let [a, b, c] = [reports[0], reports[1], reports[2]];
        prop_assert_eq!(a.version_cmp(b), b.version_cmp(a).reverse());
        prop_assert_eq!(a.version_cmp(b).is_eq(), a == b);
        if a.version_cmp(b).is_le() && b.version_cmp(c).is_le() {
            prop_assert!(a.version_cmp(c).is_le());
        }
    }
}

fn parse_nanoseconds(skew: &str) -> i128 {
    let (whole, decimals) = skew[1..].split_once('.').expect("a skew has decimals");
    assert_eq!(decimals.len(), 9);
    let magnitude = format!("{whole}{decimals}").parse::<i128>().expect("a skew is a number");
    if skew.starts_with('-') { -magnitude } else { magnitude }
}
