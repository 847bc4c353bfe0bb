/// An option that the application sets for one call by [`Call::with_option`](crate::Call::with_option), and that a
/// layer of the stack reads.
///
/// ```
/// use llm_core::{Call, ChatRequest, layer::{CallOption, Unread}};
///
/// /// The region that a router of one's own sends the call to.
/// #[derive(Clone)]
/// struct Region(&'static str);
///
/// impl CallOption for Region {
///     fn unread(&self) -> Unread {
///         Unread::Refused { way_out: "put `RegionLayer` above the client" }
///     }
/// }
///
/// let call = Call::new("acme", ChatRequest::new("gpt-4o").user("hello")).with_option(Region("eu"));
/// assert_eq!(call.extensions.get::<Region>().map(|region| region.0), Some("eu"));
/// ```
pub trait CallOption: Clone + Send + Sync + 'static {
    /// Returns the effect of the option in a stack in which no layer reads it.
    fn unread(&self) -> Unread;
}

/// Effect of a [`CallOption`] that no layer has read when the call reaches the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Unread {
    /// The call does what the option asks for even if no layer reads the option.
    Met,
    /// The call is sent although the option has no effect. A ledger reports the unread option as a fault of the stack.
    Ineffective,
    /// The client refuses the call, which must not be sent without the option's effect.
    Refused {
        /// Remedy for the error message: the change of the stack or the call that makes the option work, as the second
        /// half of a sentence.
        way_out: &'static str,
    },
}
