//! Levers are ways to pay less. Each has its own state and its own rows in the report.

mod breaks;
mod call;
mod cheaper_model;
mod coalescing;
mod exact_cache;
mod headroom;
mod packing;
mod prefix;
mod priced;
mod prompt_cache;
mod tiers;

use llm_core::price::PriceTable;

use crate::{options::Options, report::Lever};

pub(crate) use call::Call;
pub(crate) use exact_cache::ExactCache;

/// All levers except the exact cache. Each observes all calls, and some have further rows for the calls that the exact
/// cache does not serve.
#[derive(Debug)]
pub(crate) struct Levers {
    coalescing: coalescing::Coalescing,
    packing: packing::Packing,
    prompt_cache: prompt_cache::PromptCache,
    tiers: tiers::Tiers,
    cheaper_model: cheaper_model::CheaperModel,
    headroom: headroom::Headroom,
}

impl Levers {
    pub(crate) fn new(options: &Options) -> Self {
        Self {
            coalescing: coalescing::Coalescing::default(),
            packing: packing::Packing::new(options),
            prompt_cache: prompt_cache::PromptCache::default(),
            tiers: tiers::Tiers::default(),
            cheaper_model: cheaper_model::CheaperModel::new(&options.cheaper_models),
            headroom: headroom::Headroom::new(options),
        }
    }

    pub(crate) fn observe(&mut self, call: &Call<'_>, prices: &PriceTable) {
        self.coalescing.observe(call);
        self.packing.observe(call, prices);
        self.prompt_cache.observe(call, prices);
        self.tiers.observe(call, prices);
        self.cheaper_model.observe(call, prices);
        self.headroom.observe(call);
    }

    pub(crate) fn finish(self) -> Vec<Lever> {
        let Self { coalescing, packing, prompt_cache, tiers, cheaper_model, headroom } = self;
        vec![
            coalescing.finish(),
            packing.finish(),
            prompt_cache.finish(),
            tiers.finish(),
            cheaper_model.finish(),
            headroom.finish(),
        ]
    }
}
