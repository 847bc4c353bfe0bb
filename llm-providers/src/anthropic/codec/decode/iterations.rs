use std::sync::Arc;

use llm_core::{Usage, layer::SideCall};
use serde_json::Value;

use super::counts::{counts, usage};
use crate::protocol::{fields::Fields, usage::StatedUsage};

/// Model calls behind one response (`usage.iterations`). The counts of `usage` itself omit some of them.
pub(super) struct Iterations(Vec<Iteration>);

struct Iteration {
    kind: Kind,
    model: Option<Arc<str>>,
    usage: Usage,
}

#[derive(Clone, Copy, PartialEq)]
enum Kind {
    /// Call of a model that produced the response, or that declined to respond.
    Message,
    /// Call of the fallback model that responded.
    Fallback,
    /// Compaction, advisor or another call that the vendor counts separately from the response.
    Apart,
}

impl Iterations {
    /// Reads the list of iterations, if there is one. An iteration without usable counts is left out.
    pub(super) fn read(fields: &Fields, stated: &mut StatedUsage) -> Option<Self> {
        let list = fields.get("iterations")?.as_array()?;
        let read = |iteration: &Value| {
            let fields = iteration.as_object()?;
            let text = |name: &str| fields.get(name).and_then(Value::as_str);
            let kind = match text("type") {
                Some("message") | None => Kind::Message,
                Some("fallback_message") => Kind::Fallback,
                Some(_) => Kind::Apart,
            };
            let usage = usage(counts(fields, stated).ok()?)?;
            Some(Iteration { kind, model: text("model").map(Arc::from), usage })
        };
        Some(Self(list.iter().filter_map(read).collect()))
    }

    /// Returns the fallback model that responded, if one did.
    pub(super) fn served_by(&self) -> Option<Arc<str>> {
        self.0.iter().find(|one| one.kind == Kind::Fallback)?.model.clone()
    }

    /// Returns the calls that the vendor made in addition to the response's own, and the part of their tokens that the
    /// `stated` usage does not include.
    pub(super) fn side_calls(&self, stated: &Usage) -> (Vec<SideCall>, Usage) {
        let messages: Usage = self.0.iter().filter(|one| one.kind != Kind::Apart).map(|one| one.usage).sum();
        let included = messages.input <= stated.input && messages.output <= stated.output;
        let served_by = self.served_by();
        let (mut calls, mut beside) = (Vec::new(), Usage::default());
        for Iteration { kind, model, usage } in &self.0 {
            let declined = *kind == Kind::Message && served_by.is_some() && model.is_some() && *model != served_by;
            // The vendor does not charge for a model that declined before it produced any output.
            let charged = included || usage.output > 0;
            if !(*kind == Kind::Apart || declined && charged) {
                continue;
            }
            if *kind == Kind::Apart || !included {
                beside += *usage;
            }
            let mut call = SideCall::new(*usage);
            call.model.clone_from(model);
            calls.push(call);
        }
        (calls, beside)
    }
}
