//! Drawing of a report's bars, as SVG.

use std::fmt::Write;

use super::{Cell, Report};

const NAMES: usize = 200;
const BARS: u128 = 400;
const ROW: usize = 24;

/// Draws the columns one below the other. Each has a bar for each row, in proportion to the column's largest value.
pub(super) fn draw(report: &Report, columns: &[&str]) -> String {
    let height = 40 + columns.len() * (ROW * (report.rows.len() + 1) + 12);
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"760\" height=\"{height}\" font-family=\"sans-serif\" font-size=\"13\">\n"
    );
    text(&mut svg, 8, 22, "start", &report.title);
    let mut y = 40;
    for column in columns {
        text(&mut svg, NAMES, y + 16, "start", column);
        y += ROW;
        let cells = || (0..report.rows.len()).map(|row| report.cell(row, column).unwrap_or(&Cell::None));
        let largest = cells().map(Cell::size).max().unwrap_or(0).max(1);
        for ((name, _), cell) in report.rows.iter().zip(cells()) {
            let width = cell.size() * BARS / largest;
            text(&mut svg, NAMES - 8, y + 16, "end", name);
            // Writing to a `String` cannot fail.
            let _ = writeln!(
                svg,
                "<rect x=\"{NAMES}\" y=\"{}\" width=\"{width}\" height=\"{}\" fill=\"#4878a8\"/>",
                y + 3,
                ROW - 6
            );
            let end = NAMES + 6 + usize::try_from(width).unwrap_or(0);
            text(&mut svg, end, y + 16, "start", &cell.to_string());
            y += ROW;
        }
        y += 12;
    }
    svg + "</svg>\n"
}

fn text(svg: &mut String, x: usize, y: usize, anchor: &str, text: &str) {
    let text = text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    let _ = writeln!(svg, "<text x=\"{x}\" y=\"{y}\" text-anchor=\"{anchor}\">{text}</text>");
}
