//! The fleet's tables follow from their seed, and its steps save.

use examples::{
    fleet::{Model, answers},
    report::{Cell, Report},
};

fn reports() -> Vec<Report> {
    let size = answers::Size { organisations: [2, 3], calls_a_month: 20, warm_up: 1, days: 3, tried: vec![3] };
    answers::reports(&Model::stated(7), &size, 7).expect("the accounts agree")
}

#[test]
fn fleet_seed_decides_tables() {
    let text = |reports: &[Report]| reports.iter().map(ToString::to_string).collect::<String>();
    let reports = reports();
    assert_eq!(text(&reports), text(&self::reports()));
    assert!(reports.len() == 5 && text(&reports).contains("seed 7"));

    let steps = &reports[0];
    let paid = |row| match steps.cell(row, "paid a month") {
        Some(Cell::Money(amount)) => amount.nanos(),
        other => panic!("{other:?}"),
    };
    let hits = |row| steps.cell(row, "hit rate").cloned();
    assert!(matches!(hits(0), Some(Cell::Share(0, 1..))), "{steps}");
    assert!(matches!(hits(1), Some(Cell::Share(1.., _))), "{steps}");
    assert!(paid(1) < paid(0), "{steps}");
}
