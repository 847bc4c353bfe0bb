/// A marker in [`Call::extensions`](super::Call::extensions): a layer above asks again where it makes sense, so layers
/// below must not.
///
/// Retries under retries multiply: three under three are nine calls for one question, just when the vendor has no room.
/// Whoever retries or fails over sets this before it hands a call down, and passes a call on untouched that has it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NestedRetry;
