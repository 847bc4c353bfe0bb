use llm_core::{
    Error, Extra, Tool,
    chat::{FunctionTool, ToolChoice},
};
use serde::Serialize;
use serde_json::{Value, json};

use super::{super::Dialect, unsupported::unsupported};
use crate::protocol::encode::no_shadow;

/// Names of known fields of a function, which unknown fields must not have.
const TAKEN: [&str; 5] = ["name", "description", "parameters", "parametersJsonSchema", "parameters_json_schema"];

/// Entry of `tools`: consecutive functions, or a tool of the vendor.
#[derive(Serialize)]
#[serde(untagged)]
pub(super) enum ToolEntry<'a> {
    Functions(Functions<'a>),
    Other(&'a Value),
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Functions<'a> {
    function_declarations: Vec<Declaration<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Declaration<'a> {
    name: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    description: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    parameters: Option<&'a Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    parameters_json_schema: Option<&'a Value>,
    #[serde(flatten)]
    extra: &'a Extra,
}

/// Encodes the tools in their order.
pub(super) fn entries(tools: &[Tool], dialect: Dialect) -> Result<Vec<ToolEntry<'_>>, Error> {
    let mut entries = Vec::new();
    for (at, tool) in tools.iter().enumerate() {
        match tool {
            Tool::Other(value) => entries.push(ToolEntry::Other(value)),
            Tool::Function(function) => {
                let declaration = declaration(function, at, dialect)?;
                match entries.last_mut() {
                    Some(ToolEntry::Functions(functions)) => functions.function_declarations.push(declaration),
                    _ => entries.push(ToolEntry::Functions(Functions { function_declarations: vec![declaration] })),
                }
            }
        }
    }
    Ok(entries)
}

/// Encodes the tool choice as `toolConfig`. A choice that this library does not know is sent unchanged as the whole
/// `toolConfig`.
pub(super) fn config(choice: &ToolChoice) -> Value {
    let mode = |mode: &str| json!({"functionCallingConfig": {"mode": mode}});
    match choice {
        ToolChoice::Auto => mode("AUTO"),
        ToolChoice::None => mode("NONE"),
        ToolChoice::Required => mode("ANY"),
        ToolChoice::Function(name) => {
            json!({"functionCallingConfig": {"mode": "ANY", "allowedFunctionNames": [&**name]}})
        }
        ToolChoice::Other(value) => (**value).clone(),
    }
}

fn declaration(function: &FunctionTool, at: usize, dialect: Dialect) -> Result<Declaration<'_>, Error> {
    let FunctionTool { name, description, parameters, strict, extra } = function;
    no_shadow(&format!("tools[{at}]."), extra, &TAKEN)?;
    if *strict == Some(true) {
        return Err(unsupported(format!(
            "tools[{at}].strict has no place (a tool_choice of mode VALIDATED holds for all of them)"
        )));
    }
    let (parameters, parameters_json_schema) =
        if dialect.openapi_schemas { (parameters.as_deref(), None) } else { (None, parameters.as_deref()) };
    Ok(Declaration { name, description: description.as_deref(), parameters, parameters_json_schema, extra })
}
