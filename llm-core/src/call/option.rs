/// An option that the application sets for one call and a layer of the stack reads:
/// [`Call::with_option`](crate::Call::with_option).
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
    /// Returns what the option means in a stack without a layer that reads it.
    fn unread(&self) -> Unread;
}

/// Meaning of a [`CallOption`] that no layer has read when the call reaches the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Unread {
    /// The call does what the option asks for without any layer.
    Met,
    /// The call is sent without it. A ledger reports that as a fault of the stack.
    Ineffective,
    /// The call must not be sent without it. A client refuses it.
    Refused {
        /// Change of the stack or the call, as the second half of a sentence.
        way_out: &'static str,
    },
}
