//! Events of `tracing` about packed responses and, with the feature `metrics`, their metrics.

use super::form::Answers;

/// Reports the number of answers in a packed response, and whether the decoy was answered correctly.
pub(super) fn read(answers: &Answers) {
    let (items, answered) = (answers.responses.len(), answers.responses.iter().flatten().count());
    tracing::debug!(items, answered, trusted = answers.is_trusted, "a packed response is read");
    #[cfg(feature = "metrics")]
    {
        metrics::counter!("llm_pack_items_total", "outcome" => "answered").increment(answered as u64);
        metrics::counter!("llm_pack_items_total", "outcome" => "missing").increment((items - answered) as u64);
        metrics::counter!("llm_pack_decoys_failed_total").increment(u64::from(!answers.is_trusted));
    }
}

/// Reports a comparison of a packed response with the response to the request alone.
pub(super) fn compared(place: usize, agrees: bool) {
    tracing::debug!(place, agrees, "a packed response is compared");
    #[cfg(feature = "metrics")]
    metrics::counter!("llm_pack_comparisons_total", "agrees" => if agrees { "1" } else { "0" }).increment(1);
}
