//! The applications run at a small size, with accounts that agree with the vendors' bills in every step, and save.

use examples::{
    photo_scoring::{
        self,
        uploads::{Customers, Size},
    },
    proposal_drafting,
    report::{Cell, Report},
};

fn count(report: &Report, row: usize, column: &str) -> u64 {
    match report.cell(row, column) {
        Some(Cell::Count(count)) => *count,
        other => panic!("{column} of {row} is {other:?} in {report}"),
    }
}

#[test]
fn photo_scoring_steps_save_and_pace() {
    let few = |plan, a_minute| Customers { plan, count: 1, a_minute };
    let customers = [few("basic", 1), few("pro", 1), few("unlimited", 1)];
    let size = Size { customers, minutes: 6, spike: 2..4, limit: 18 };
    let report = photo_scoring::report(&size, &[], 7).expect("the accounts agree");
    let count = |row, column| count(&report, row, column);
    assert!(count(0, "429s") > 0 && count(1, "answered") > count(0, "answered"), "{report}");
    assert_eq!([1, 2, 3, 4, 5].map(|row| count(row, "429s")), [0; 5], "{report}");
    assert!(count(2, "sent") < count(1, "sent") && count(4, "sent") < count(3, "sent"), "{report}");
}

#[test]
fn proposal_drafting_steps_save_and_survive_outage() {
    let size = proposal_drafting::Size { days: 3, tenders: 4, free: 1, pro: 1, unlimited: 1 };
    let [report, background] = proposal_drafting::reports(&size, &[], 7).expect("the accounts agree");
    let count = |row, column| count(&report, row, column);
    assert!(count(1, "tokens") < count(0, "tokens"), "{report}");
    assert!(count(2, "sent") < count(1, "sent"), "{report}");
    assert!(count(4, "answered") > count(3, "answered"), "{report}");
    let last = |column| self::count(&background, 4, column);
    assert_eq!(
        (last("failed"), last("1 retry") + last("2 retries") + last("3 retries") > 0),
        (0, true),
        "{background}"
    );
    assert!(last("waits for budget") > 0 && last("alerts") > 0, "{background}");
}
