//! Lines of JSON about requests, without texts of requests and responses unless the operator enabled them.

use std::{collections::BTreeMap, sync::Arc};

use llm_core::{Origin, Usd};
use serde::Serialize;

use super::{
    call_outcome::{BookedResponse, CallOutcome},
    keys::Keys,
    month::timestamp,
    texts::Texts,
};

/// Largest number of bytes in lines that wait for a flush.
const MAX_BYTES: usize = 16 << 20;

/// Lines that wait for a flush.
#[derive(Debug, Default)]
pub(super) struct RequestLog {
    pub(super) lines: String,
    /// Number of lines that were dropped because of the bound.
    pub(super) lost: u64,
}

#[derive(Serialize)]
struct Line<'a> {
    time: Option<String>,
    tenant: &'a str,
    labels: BTreeMap<&'a str, &'a str>,
    model: &'a str,
    outcome: &'static str,
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    response: Option<Response<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    texts: Option<Texts>,
}

#[derive(Serialize)]
struct Response<'a> {
    origin: &'static str,
    response_model: &'a Option<Arc<str>>,
    provider: &'a Option<Arc<str>>,
    request_id: &'a Option<Arc<str>>,
    units: u32,
    input_tokens: Option<u64>,
    output_tokens: Option<u64>,
    paid_nano_usd: Usd,
    saved_nano_usd: Usd,
    list_nano_usd: Option<Usd>,
}

impl RequestLog {
    pub(super) fn push(&mut self, line: &str) {
        if self.lines.len() + line.len() >= MAX_BYTES {
            self.lost += 1;
            return;
        }
        self.lines.extend([line, "\n"]);
    }

    /// Returns lines that were taken and could not be written to the log, before the lines that were added meanwhile.
    pub(super) fn put_back(&mut self, lines: String) {
        let newer = std::mem::replace(&mut self.lines, lines);
        newer.lines().for_each(|line| self.push(line));
    }

    /// Removes and returns the waiting lines. If lines were dropped, the last line states their number.
    pub(super) fn take(&mut self) -> String {
        let Self { mut lines, lost } = std::mem::take(self);
        if lost > 0 {
            tracing::error!(lost, "the request log was full between two flushes: flush more often");
            lines.push_str(&format!("{{\"lost_lines\":{lost}}}\n"));
        }
        lines
    }
}

/// Returns the line of a request that ended, without a line break.
pub(super) fn line(keys: &Keys, outcome: &CallOutcome, texts: Option<Texts>) -> String {
    let (outcome, response) = match outcome {
        CallOutcome::Completed(booked) => ("completed", Some(response(booked))),
        CallOutcome::Failed => ("failed", None),
        CallOutcome::Dropped => ("dropped", None),
    };
    let line = Line {
        time: keys.began.map(timestamp),
        tenant: &keys.tenant,
        labels: keys.labels.iter().collect(),
        model: &keys.model,
        outcome,
        response,
        texts,
    };
    serde_json::to_string(&line).expect("texts and numbers can be written as JSON")
}

fn response(booked: &BookedResponse) -> Response<'_> {
    let BookedResponse { response_model, provider, request_id, .. } = booked;
    Response {
        origin: match booked.origin {
            Origin::Vendor => "vendor",
            Origin::Cache { .. } => "cache",
            Origin::Coalesced => "coalesced",
            _ => "other",
        },
        response_model,
        provider,
        request_id,
        units: booked.units,
        input_tokens: booked.usage.map(|usage| usage.input),
        output_tokens: booked.usage.map(|usage| usage.output),
        paid_nano_usd: booked.useful,
        saved_nano_usd: booked.saved.total(),
        list_nano_usd: booked.list.as_ref().ok().copied(),
    }
}
