use llm_core::{Error, Extra, Message, Part, Role};
use serde::{Serialize, Serializer, ser::SerializeMap};
use serde_json::Value;

use super::{
    super::Options,
    block::{self, Block},
    unsupported::unsupported,
};
use crate::protocol::encode::no_shadow;
use crate::protocol::is_blank_instruction;

/// Conversation in Anthropic's form, which has two fields: the system prompt (`system`) and the turns (`messages`).
pub(super) struct Prompt<'a> {
    pub(super) system: Vec<Block<'a>>,
    pub(super) turns: Vec<Turn<'a>>,
}

/// Consecutive messages of one role, which are sent as one.
pub(super) struct Turn<'a> {
    role: &'static str,
    blocks: Vec<Block<'a>>,
    extra: Option<&'a Extra>,
}

impl<'a> Prompt<'a> {
    pub(super) fn of(messages: &'a [Message], options: Options) -> Result<Self, Error> {
        let mut prompt = Self { system: Vec::new(), turns: Vec::new() };
        for (at, message) in messages.iter().enumerate().filter(|(_, message)| !is_blank_instruction(message)) {
            let blocks = blocks(message, at, options)?;
            let has_more = message.extra.iter().any(|(name, _)| name != "cache_control");
            let instructs = matches!(message.role, Role::System | Role::Developer);
            if instructs && prompt.turns.is_empty() {
                if has_more {
                    return Err(unsupported(format!(
                        "messages[{at}].extra of instructions at the beginning has no place"
                    )));
                }
                prompt.system.extend(blocks);
            } else if !blocks.is_empty() {
                prompt.say(Turn { role: role(message.role), blocks, extra: has_more.then_some(&message.extra) });
            }
        }
        if prompt.turns.is_empty() {
            return Err(Error::invalid("messages holds nothing but instructions: add what the user says"));
        }
        Ok(prompt)
    }

    fn say(&mut self, turn: Turn<'a>) {
        match self.turns.last_mut() {
            Some(last) if last.role == turn.role && last.extra.is_none() && turn.extra.is_none() => {
                last.blocks.extend(turn.blocks);
            }
            _ => self.turns.push(turn),
        }
    }
}

fn role(role: Role) -> &'static str {
    match role {
        Role::System | Role::Developer => "system",
        Role::User | Role::Tool => "user",
        Role::Assistant => "assistant",
    }
}

/// Checks the parts of a message and returns its blocks.
fn blocks<'a>(message: &'a Message, at: usize, options: Options) -> Result<Vec<Block<'a>>, Error> {
    let of = format!("messages[{at}].");
    no_shadow(&of, &message.extra, &["role", "content"])?;
    if message.name.is_some() && !options.approximate {
        return Err(unsupported(format!("{of}name has no place")));
    }
    let mut blocks = Vec::with_capacity(message.parts.len());
    for (nth, part) in message.parts.iter().enumerate() {
        let here = format!("{of}parts[{nth}]");
        let fits = match part {
            Part::Text { .. } | Part::Other { .. } => true,
            Part::Image(_) => matches!(message.role, Role::User | Role::Tool),
            Part::ToolResult(_) => message.role == Role::Tool,
            Part::ToolCall(_) | Part::Reasoning(_) | Part::Refusal { .. } => message.role == Role::Assistant,
        };
        if !fits {
            let (what, role) = (block::kind(part), message.role.name());
            return Err(unsupported(format!("{here}, {what} in a message of {role}, has no place")));
        }
        blocks.extend(Block::of(part, &here, options)?);
    }
    if blocks.len() > 1 {
        let says = |block: &Block<'_>| !block.is_empty();
        if blocks.iter().any(says) {
            blocks.retain(says);
        }
    }
    mark(&mut blocks, message.extra.get("cache_control"), &of)?;
    Ok(blocks)
}

/// Moves the message's `cache_control` to the last block of the message that can have a `cache_control`.
fn mark<'a>(blocks: &mut [Block<'a>], mark: Option<&'a Value>, of: &str) -> Result<(), Error> {
    let (Some(mark), Some(last)) = (mark, blocks.last_mut()) else { return Ok(()) };
    if last.mark(mark) {
        return Ok(());
    }
    Err(Error::invalid(format!("{of}extra.cache_control has no place: its last part has one, or can have none")))
}

impl Serialize for Turn<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self { role, blocks, extra } = self;
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("role", role)?;
        match blocks.as_slice() {
            [block] if block.plain().is_some() => map.serialize_entry("content", &block.plain())?,
            blocks => map.serialize_entry("content", blocks)?,
        }
        if let Some(extra) = extra {
            extra
                .iter()
                .filter(|(name, _)| *name != "cache_control")
                .try_for_each(|(name, value)| map.serialize_entry(name, value))?;
        }
        map.end()
    }
}
