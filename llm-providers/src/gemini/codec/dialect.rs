/// Options for the encoding of requests.
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
    /// Requests summaries of the model's thoughts (`includeThoughts`), which arrive as
    /// [`Reasoning`](llm_core::chat::Reasoning). Models that do not think refuse the option.
    pub include_thoughts: bool,
    /// Sends schemas in the fields `parameters` and `responseSchema`, which accept a subset of OpenAPI's schemas,
    /// instead of `parametersJsonSchema` and `responseJsonSchema`, which accept JSON schemas. The schemas themselves
    /// are sent unchanged.
    pub openapi_schemas: bool,
    /// Leaves out fields of another vendor's responses in the conversation that Gemini's format does not have, instead
    /// of returning an error:
    ///
    /// | field | instead |
    /// |---|---|
    /// | reasoning with another vendor's signature | left out |
    /// | other unknown fields of a part that prove or annotate it (`citations`, `caller`) | left out |
    pub approximate: bool,
}
