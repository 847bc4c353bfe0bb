//! Property tests of prices for every model, service tier and usage.

use llm_core::{
    Estimate, Usage, Usd,
    price::{ModelPrice, PriceOptions, PriceTable, ServiceTier},
};
use llm_providers::prices::all;
use proptest::prelude::*;

/// Returns every model with each service class for which it has a price.
fn offers(table: &PriceTable) -> Vec<(String, ServiceTier)> {
    let tiers = |price: &ModelPrice| -> Vec<ServiceTier> {
        std::iter::once(ServiceTier::Standard).chain(price.tiers.keys().cloned()).collect()
    };
    let models = table.models().filter_map(|name| Some((name, table.model(name)?)));
    models.flat_map(|(name, price)| tiers(price).into_iter().map(move |tier| (name.to_owned(), tier))).collect()
}

/// Returns the service class without surcharges, and with all surcharges of the model.
fn ways(table: &PriceTable, model: &str, tier: &ServiceTier) -> [PriceOptions; 2] {
    let plain = PriceOptions::from(tier.clone());
    let names = table.model(model).into_iter().flat_map(|price| price.surcharges.keys());
    let all = names.fold(plain.clone(), |options, way| options.surcharge(way.as_str()));
    [plain, all]
}

/// Generates small numbers of tokens, and numbers around the thresholds of long prompts.
fn tokens() -> impl Strategy<Value = u64> {
    prop_oneof![0u64..2_000, 95_000u64..105_000, 190_000u64..210_000, 265_000u64..280_000]
}

fn usage() -> impl Strategy<Value = Usage> {
    (tokens(), tokens(), 0u64..3_000, 0u64..3_000, 0u64..4_000, 0u64..9_000, 0u64..4_000).prop_map(
        |(plain, cache_read, cache_write, cache_write_long, audio, output, audio_read)| {
            let input = plain + cache_read + cache_write + cache_write_long;
            Usage {
                cache_read,
                cache_write,
                cache_write_long,
                audio_input: audio.min(plain + cache_read),
                audio_cache_read: audio_read.min(audio).min(cache_read),
                reasoning: output / 2,
                ..Usage::new(input, output)
            }
        },
    )
}

/// Returns the usage with more tokens of one kind.
fn grown(usage: Usage, kind: usize, by: u64) -> Usage {
    let more = match kind {
        0 => Usage::new(by, 0),
        1 => Usage { cache_read: by, ..Usage::new(by, 0) },
        2 => Usage { cache_write: by, ..Usage::new(by, 0) },
        3 => Usage { cache_write_long: by, ..Usage::new(by, 0) },
        4 => Usage { audio_input: by, ..Usage::new(by, 0) },
        _ => Usage::new(0, by),
    };
    usage + more
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn cost_never_falls_with_tokens(usage in usage(), by in 1u64..100_000) {
        let table = all();
        for (model, tier) in offers(&table) {
            let list = table.cost_with(&model, &usage, &tier.clone().into());
            for options in ways(&table, &model, &tier) {
                let Ok(cost) = table.cost_with(&model, &usage, &options) else { continue };
                prop_assert!(cost >= Usd::ZERO && Ok(cost) >= list);
                for kind in 0..6 {
                    let Ok(more) = table.cost_with(&model, &grown(usage, kind, by), &options) else { continue };
                    prop_assert!(more >= cost, "{} {:?}: {} < {}", model, options, more, cost);
                }
            }
        }
    }

    #[test]
    fn batch_cost_is_at_most_standard(usage in usage()) {
        let table = all();
        let mut batches = 0;
        for (model, tier) in offers(&table) {
            if tier == ServiceTier::Batch {
                let standards = ways(&table, &model, &ServiceTier::Standard);
                for (batch, standard) in ways(&table, &model, &tier).into_iter().zip(standards) {
                    let batch = table.cost_with(&model, &usage, &batch).unwrap();
                    let standard = table.cost_with(&model, &usage, &standard).unwrap();
                    prop_assert!(batch <= standard, "{}: {} > {}", model, batch, standard);
                }
                batches += 1;
            }
        }
        prop_assert_eq!(batches, 83);
    }

    #[test]
    fn estimate_bound_covers_every_usage(usage in usage(), slack in 0u64..5_000) {
        // At first, the audio input has no upper bound.
        let usage = Usage { audio_input: 0, audio_cache_read: 0, ..usage };
        let table = all();
        let estimate = Estimate {
            input_bound: Some(usage.input + slack),
            output_bound: Some(usage.output + slack),
            ..Estimate::default()
        };
        for (model, tier) in offers(&table) {
            for options in ways(&table, &model, &tier) {
                let Ok(bound) = table.bound_with(&model, &estimate, &options) else { continue };
                prop_assert!(table.cost_with(&model, &usage, &options).unwrap() <= bound, "{} {:?}", model, options);
                if options.tier != ServiceTier::Batch {
                    prop_assert!(table.cost(&model, &usage).unwrap() <= bound, "{} {:?}", model, options);
                }
            }
        }
    }

    #[test]
    fn bill_lines_add_up(usage in usage()) {
        let table = all();
        for (model, tier) in offers(&table) {
            let [_, options] = ways(&table, &model, &tier);
            let Ok(bill) = table.bill(&model, &usage, &options) else { continue };
            let extra: Usd = bill.surcharges.iter().map(|line| line.amount).sum();
            prop_assert_eq!(bill.lines.iter().map(|line| line.amount).sum::<Usd>() + extra, bill.total);
            prop_assert_eq!(bill.surcharges.len(), options.surcharges.len());
            prop_assert_eq!(bill.lines.iter().map(|line| line.tokens).sum::<u64>(), usage.total());
            prop_assert!(bill.lines.iter().all(|line| line.amount >= Usd::ZERO));
        }
    }
}
