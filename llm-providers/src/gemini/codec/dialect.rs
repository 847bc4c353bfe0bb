/// Options of writing requests.
///
/// ```
/// use llm_providers::gemini::{Dialect, GeminiProtocol};
///
/// let mut dialect = Dialect::default();
/// dialect.include_thoughts = true;
/// let protocol = GeminiProtocol::new(dialect);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Dialect {
    /// Asks for summaries of the model's thoughts: `includeThoughts`. They come as
    /// [`Reasoning`](llm_core::chat::Reasoning). Models that do not think refuse it.
    pub include_thoughts: bool,
    /// Writes schemas as `parameters` and `responseSchema`, which take a part of OpenAPI's schemas, instead of
    /// `parametersJsonSchema` and `responseJsonSchema`, which take JSON schemas. Schemas are sent as they are.
    pub openapi_schemas: bool,
    /// Leaves out, in place of an error, what another vendor's responses left in the conversation and has no place here:
    ///
    /// | field | instead |
    /// |---|---|
    /// | reasoning with another vendor's signature | left out |
    /// | other unknown fields of a part that prove or annotate it (`citations`, `caller`) | left out |
    pub approximate: bool,
}
