//! Report as one HTML page that loads nothing from elsewhere.

use std::fmt::Write;

use super::{Finding, Lever, Log, Report, Row, grouped, percent, table::cells};

/// Style sheet. Colours follow the colour scheme of the browser. On a phone the numbers of a row are below its name.
const STYLE: &str = "\
:root{color-scheme:light dark;--ink:#1b1f24;--soft:#57606a;--page:#fff;--card:#f6f8fa;--line:#d0d7de;--bar:#2da44e;--cost:#cf222e}
@media(prefers-color-scheme:dark){:root{--ink:#e6edf3;--soft:#9198a1;--page:#0d1117;--card:#161b22;--line:#30363d;--bar:#3fb950;--cost:#f85149}}
*{box-sizing:border-box}
body{margin:0 auto;max-width:60rem;padding:1.5rem 1rem;background:var(--page);color:var(--ink);font:16px/1.5 system-ui,sans-serif}
h1{font-size:1.5rem}h2{font-size:1.15rem;margin:0}
section{background:var(--card);border:1px solid var(--line);border-radius:.5rem;padding:1rem;margin:1rem 0}
.effect,.note,li{color:var(--soft);font-size:.9rem}.effect{margin:.1rem 0 .8rem}
.row{display:grid;grid-template-columns:16rem 1fr 15rem;gap:.2rem 1rem;align-items:center;padding:.35rem 0;border-top:1px solid var(--line)}
.bar{height:.8rem;border-radius:.2rem;background:var(--line);overflow:hidden}
.bar i{display:block;height:100%;background:var(--bar)}.bar i.cost{background:var(--cost)}
.figures{text-align:right;font-variant-numeric:tabular-nums;font-size:.9rem;overflow-wrap:anywhere}
.row .detail{grid-column:1/-1;color:var(--soft);font-size:.85rem}
dl{display:grid;grid-template-columns:repeat(auto-fit,minmax(9rem,1fr));gap:.8rem;margin:0}
dt{color:var(--soft);font-size:.85rem}dd{margin:0;font-size:1.2rem;font-variant-numeric:tabular-nums}
@media(max-width:40rem){.row{grid-template-columns:1fr}.figures{text-align:left}}";

impl Report {
    /// Returns the report as one HTML page with charts, for a browser or a phone, light or dark. It loads nothing from
    /// elsewhere.
    pub fn to_html(&self) -> String {
        let mut page = format!(
            "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" \
             content=\"width=device-width,initial-scale=1\"><title>What this log could have saved</title><style>{STYLE}</style></head><body>\
             <h1>What this log could have saved</h1>"
        );
        page += &summary(&self.log);
        self.levers.iter().for_each(|lever| page += &section(lever, &self.log));
        page += "</body></html>\n";
        page
    }
}

fn summary(log: &Log) -> String {
    let spent = format!("{:.2}", log.spent);
    let figures = [
        ("calls", grouped(log.calls)),
        ("failed", grouped(log.failed)),
        ("distinct requests", grouped(log.distinct)),
        ("tokens", grouped(log.tokens)),
        ("list price", spent),
    ];
    let mut html = "<section><dl>".to_owned();
    for (name, figure) in figures {
        html += &format!("<div><dt>{name}</dt><dd>{figure}</dd></div>");
    }
    html += "</dl><ul>";
    let prices = format!("Prices of {} ({}).", log.prices_as_of, log.prices_source);
    for caveat in log.caveats().into_iter().chain([prices]) {
        html += &format!("<li>{}</li>", escaped(&caveat));
    }
    html + "</ul></section>"
}

fn section(lever: &Lever, log: &Log) -> String {
    let mut html = format!("<section><h2>{}</h2><p class=\"effect\">{}</p>", lever.name, lever.effect.word());
    match &lever.finding {
        Finding::NotProvable(reason) => html += &format!("<p>Not provable from this log: {}.</p>", escaped(reason)),
        Finding::Rows(rows) => rows.iter().for_each(|row| html += &line(row, log)),
    }
    for note in &lever.notes {
        html += &format!("<p class=\"note\">{}</p>", escaped(note));
    }
    html + "</section>"
}

/// Returns a row with a bar for its share of the money, or of the calls if no money is known.
fn line(row: &Row, log: &Log) -> String {
    let by_money = row.money.filter(|_| !log.spent.is_zero()).map(|money| log.money_per_mille(money));
    let share = by_money.or_else(|| row.calls.map(|calls| i64::try_from(log.per_mille(calls)).unwrap_or(0)));
    let [setting, calls, calls_share, tokens, amount, detail] = cells(row, log);
    let figures: Vec<&str> =
        [&*amount, &*calls, &*calls_share, &*tokens].into_iter().filter(|cell| !cell.is_empty()).collect();
    let mut html = format!("<div class=\"row\"><span>{}</span>", escaped(&setting));
    match share {
        Some(share) => {
            let class = if share < 0 { " class=\"cost\"" } else { "" };
            let width = percent(share.abs().min(1_000)).replace('\u{a0}', "");
            let _ = write!(html, "<div class=\"bar\"><i{class} style=\"width:{width}\"></i></div>");
        }
        None => html += "<span></span>",
    }
    let _ = write!(html, "<span class=\"figures\">{}</span>", escaped(&figures.join(" · ")));
    if !detail.is_empty() {
        let _ = write!(html, "<span class=\"detail\">{}</span>", escaped(&detail));
    }
    html + "</div>"
}

/// Escapes the characters that have a meaning in HTML.
fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
