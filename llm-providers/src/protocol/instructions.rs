use llm_core::{Extra, Message, Part, Role};

/// Returns `true` if a message has the role of instructions and no content. Codecs leave it out, because vendors refuse
/// empty blocks.
pub(crate) fn is_blank_instruction(message: &Message) -> bool {
    let is_blank = |part: &Part| matches!(part, Part::Text { text, extra } if text.is_empty() && is_bare(extra));
    matches!(message.role, Role::System | Role::Developer)
        && message.parts.iter().all(is_blank)
        && is_bare(&message.extra)
}

/// Returns `true` if there are no unknown fields other than `cache_control`.
fn is_bare(extra: &Extra) -> bool {
    extra.iter().all(|(name, _)| name == "cache_control")
}
