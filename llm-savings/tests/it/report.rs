use serde_json::{Value, json};

use crate::{analysed, chat};

#[test]
fn html_loads_nothing_and_escapes_names() {
    let mut line = chat(0, "a", "x");
    line["request"]["model"] = json!("<script src=https://example.com>");
    let page = analysed(&[line, chat(1, "a", "x"), chat(2, "a", "x")]).to_html();
    assert!(page.starts_with("<!doctype html>") && page.ends_with("</html>\n"));
    for part in ["<script", "src=", "href=", "@import", "url("] {
        let found = page.replace("&lt;script src=https://example.com&gt;", "").contains(part);
        assert!(!found, "{part}");
    }
    for part in ["prefers-color-scheme:dark", "max-width:40rem", "width=device-width", "exact cache", "33.3\u{a0}%"] {
        assert!(page.contains(part), "{part}");
    }
}

#[test]
fn json_states_money_in_nano_dollars() {
    let report = analysed(&[chat(0, "a", "x"), chat(1, "a", "x")]);
    let json: Value = serde_json::to_value(&report).expect("it can be written");
    assert_eq!(json["log"]["spent"], 900_000);
    assert_eq!(json["levers"][0]["name"], "exact cache");
    assert_eq!(json["levers"][0]["effect"], "same_responses");
    assert_eq!(json["levers"][0]["finding"]["rows"][0]["money"], 450_000);
    assert!(json["levers"][1]["finding"]["not_provable"].is_string());
}

#[test]
fn report_holds_no_text_of_requests() {
    let mut line = chat(0, "a", "my-secret-text");
    line["request"]["tools"] = json!([{"name": "my-secret-text"}]);
    let lines = [chat(0, "a", "my-secret-text"), line, json!({"my-secret-text": "my-secret-text"})];
    let report = analysed(&lines);
    let json = serde_json::to_string(&report).expect("it can be written");
    for text in [report.to_string(), report.to_html(), json] {
        assert!(!text.contains("my-secret-text"), "{text}");
    }
}
