//! Lever that sends the calls to a cheaper model, with the same number of tokens.

use llm_core::{Usd, price::PriceTable};

use super::call::Call;
use crate::report::{Effect, Finding, Lever, Row, grouped};

#[derive(Debug)]
pub(super) struct CheaperModel {
    /// Models to compare with. For each of them, the number of calls of other models that it has a price for, and the
    /// money that it would save on these calls.
    models: Vec<(String, u64, Usd)>,
}

impl CheaperModel {
    pub(super) fn new(models: &[String]) -> Self {
        Self { models: models.iter().map(|model| (model.clone(), 0, Usd::ZERO)).collect() }
    }

    pub(super) fn observe(&mut self, call: &Call<'_>, prices: &PriceTable) {
        let Some(standard) = call.cost.filter(|_| call.record.usage.is_some()) else { return };
        for (model, calls, money) in self.models.iter_mut().filter(|(model, ..)| *model != call.record.model) {
            let Ok(other) = prices.cost(model, &call.usage) else { continue };
            *calls += 1;
            *money += standard - other;
        }
    }

    pub(super) fn finish(self) -> Lever {
        let mut lever = Lever::new("cheaper model", Effect::OtherResponses);
        let rows = self.models.into_iter().filter(|(_, calls, _)| *calls > 0).map(|(model, calls, money)| Row {
            money: Some(money),
            detail: Some(format!("{} calls of other models", grouped(calls))),
            ..Row::new(model)
        });
        let rows: Vec<Row> = rows.collect();
        lever.finding = match rows.is_empty() {
            true => {
                Finding::NotProvable("no model to compare with has a known price beside calls of a known price".into())
            }
            false => Finding::Rows(rows),
        };
        lever.notes.push(
            "The same number of tokens is assumed. Models count and answer differently, so measure the responses before you \
             rely on it."
                .into(),
        );
        lever
    }
}
