//! Creation of providers from URLs.

use std::sync::Arc;

use llm_core::{Error, Provider, into_provider};
use secrecy::SecretString;

use crate::{
    Client, OpenAi, anthropic::AnthropicProtocol, gemini::GeminiProtocol, openai::Dialect, protocol::VendorProtocol,
    transport::Reqwest,
};

/// Vendors and servers: name in the URL, environment variable of the key, format.
const VENDORS: [Vendor; 12] = [
    Vendor::keyed("openai", "OPENAI_API_KEY", Format::OpenAi(Dialect::OPENAI)),
    Vendor::keyed("anthropic", "ANTHROPIC_API_KEY", Format::Anthropic),
    Vendor::keyed("gemini", "GEMINI_API_KEY", Format::Gemini),
    Vendor::keyed("gemini-openai", "GEMINI_API_KEY", Format::OpenAi(Dialect::GEMINI)),
    Vendor::keyed("azure", "AZURE_OPENAI_API_KEY", Format::Azure),
    Vendor::keyed("azure-foundry", "AZURE_OPENAI_API_KEY", Format::AzureFoundry),
    Vendor::keyed("mistral", "MISTRAL_API_KEY", Format::OpenAi(Dialect::MISTRAL)),
    Vendor::keyed("groq", "GROQ_API_KEY", Format::OpenAi(Dialect::GROQ)),
    Vendor::keyed("deepseek", "DEEPSEEK_API_KEY", Format::OpenAi(Dialect::DEEPSEEK)),
    Vendor::keyed("openrouter", "OPENROUTER_API_KEY", Format::OpenAi(Dialect::OPENROUTER)),
    Vendor { name: "ollama", variable: None, format: Format::OpenAi(Dialect::OLLAMA) },
    Vendor { name: "vllm", variable: None, format: Format::OpenAi(Dialect::VLLM) },
];

struct Vendor {
    name: &'static str,
    /// Name of the environment variable that holds the key; `None` for servers that usually need none.
    variable: Option<&'static str>,
    format: Format,
}

enum Format {
    OpenAi(Dialect),
    Azure,
    AzureFoundry,
    Anthropic,
    Gemini,
}

/// Parts of a provider's URL.
#[derive(Default)]
struct Options<'a> {
    base_url: Option<&'a str>,
    key: Option<&'a str>,
    api_version: Option<&'a str>,
}

/// Creates a provider from one line of configuration: the name of a vendor, and a base URL unless it is the vendor's
/// own.
///
/// | URL | provider | environment variable of the key |
/// |---|---|---|
/// | `openai:` | OpenAI | `OPENAI_API_KEY` |
/// | `anthropic:` | Anthropic | `ANTHROPIC_API_KEY` |
/// | `gemini:` | Gemini | `GEMINI_API_KEY` |
/// | `gemini-openai:` | Gemini behind OpenAI's format | `GEMINI_API_KEY` |
/// | `mistral:`, `groq:`, `deepseek:`, `openrouter:` | the vendor of that name | `MISTRAL_API_KEY`, … |
/// | `azure+https://example.openai.azure.com` | Azure OpenAI; with `?api-version=…` by deployments | `AZURE_OPENAI_API_KEY` |
/// | `azure-foundry+https://example.services.ai.azure.com?api-version=…` | models at Azure | `AZURE_OPENAI_API_KEY` |
/// | `ollama:`, `vllm:` | the server of that name, on this machine | none |
/// | `openai+https://llm.internal/v1` | another server that speaks OpenAI's format | `OPENAI_API_KEY` |
///
/// Each takes a base URL after a plus: `openai+https://eu.api.openai.com/v1`, `ollama+http://ollama.internal:11434/v1`.
/// `?key=NAME` names another variable, in capitals. `lookup` returns the value of a variable, usually from the
/// environment. Over plain `http` a key is sent only if the URL names its variable, so that a vendor's key is not sent
/// unencrypted by accident.
///
/// ```
/// # #[cfg(feature = "reqwest")]
/// # fn example() -> Result<(), llm_core::Error> {
/// use llm_core::{into_provider, into_service};
///
/// let lookup = |name: &str| (name == "OPENAI_API_KEY").then(|| "sk-secret".to_owned());
/// let openai = llm_providers::from_url("openai:", lookup)?;
/// let local = llm_providers::from_url("openai+http://localhost:11434/v1", lookup)?;
/// // Under a stack of layers:
/// let stack = tower::ServiceBuilder::new().timeout(std::time::Duration::from_secs(60)).service(into_service(openai));
/// let provider = into_provider(stack);
/// # Ok(()) }
/// # example().unwrap();
/// ```
///
/// # Errors
///
/// [`ErrorKind::InvalidRequest`](llm_core::ErrorKind::InvalidRequest) if the URL names no vendor of the table, has an
/// unknown option, lacks a base URL or a version that the vendor needs, or if the variable of the key is not set.
/// Messages do not quote the URL, which may hold a secret.
pub fn from_url(url: &str, lookup: impl Fn(&str) -> Option<String>) -> Result<Arc<dyn Provider>, Error> {
    let (head, query) = url.trim().split_once('?').unwrap_or((url.trim(), ""));
    let (name, base_url) = match (head.split_once('+'), head.strip_suffix(':')) {
        (Some((name, address)), _) => (name, Some(address)),
        (None, Some(name)) => (name, None),
        (None, None) => return Err(unknown_vendor()),
    };
    let vendor = VENDORS.iter().find(|vendor| vendor.name.eq_ignore_ascii_case(name)).ok_or_else(unknown_vendor)?;
    let mut options = Options { base_url, ..Options::default() };
    for option in query.split('&').filter(|option| !option.is_empty()) {
        let previous = match option.split_once('=') {
            Some(("key", variable)) if is_variable(variable) => options.key.replace(variable),
            Some(("key", _)) => return Err(Error::invalid(NO_VARIABLE)),
            Some(("api-version", version)) => options.api_version.replace(version),
            _ => return Err(Error::invalid("the provider's URL has an option other than key=… and api-version=…")),
        };
        if previous.is_some() {
            return Err(Error::invalid("the provider's URL has an option twice: leave one out"));
        }
    }
    if options.api_version.is_some() && !matches!(vendor.format, Format::Azure | Format::AzureFoundry) {
        return Err(Error::invalid(format!("{} has no api-version: leave it out of the URL", vendor.name)));
    }
    let key = vendor.key(&options, lookup)?;
    vendor.provider(&options, key)
}

impl Options<'_> {
    /// Sets the base URL of a client, if the provider's URL has one.
    fn place<W: VendorProtocol>(&self, client: Client<W>) -> Result<Client<W>, Error> {
        match self.base_url {
            Some(address) => client.base_url(address),
            None => Ok(client),
        }
    }
}

impl Vendor {
    const fn keyed(name: &'static str, variable: &'static str, format: Format) -> Self {
        Self { name, variable: Some(variable), format }
    }

    /// Returns the key; `None` if the server needs none.
    fn key(
        &self,
        options: &Options<'_>,
        lookup: impl Fn(&str) -> Option<String>,
    ) -> Result<Option<SecretString>, Error> {
        // Every scheme except https counts as unencrypted. A scheme may be written in upper or lower case.
        let is_plain = options
            .base_url
            .is_some_and(|address| !address.get(..8).is_some_and(|start| start.eq_ignore_ascii_case("https://")));
        let Some(variable) = options.key.or(self.variable.filter(|_| !is_plain)) else { return Ok(None) };
        match lookup(variable).filter(|key| !key.trim().is_empty()) {
            Some(key) => Ok(Some(key.trim().to_owned().into())),
            None => Err(Error::invalid(format!(
                "there is no key for {}: set {variable}, or name another variable in the URL with ?key=NAME",
                self.name
            ))),
        }
    }

    fn provider(&self, options: &Options<'_>, key: Option<SecretString>) -> Result<Arc<dyn Provider>, Error> {
        let lacks = |what: &str, example: &str| {
            let Self { name, .. } = self;
            Error::invalid(format!("{name} needs {what} in the URL: {name}{example}"))
        };
        let address = |example| options.base_url.ok_or_else(|| lacks("an address", example));
        let transport = Reqwest::new()?;
        let azure = || key.clone().ok_or_else(|| lacks("https, or ?key=NAME", "+https://example.openai.azure.com"));
        Ok(match &self.format {
            Format::OpenAi(dialect) => into_provider(options.place(OpenAi::with_dialect(*dialect, key, transport)?)?),
            Format::Azure => {
                let address = address("+https://example.openai.azure.com")?;
                into_provider(match options.api_version {
                    Some(version) => OpenAi::azure_deployments(address, version, azure()?)?,
                    None => OpenAi::azure(address, azure()?)?,
                })
            }
            Format::AzureFoundry => {
                let example = "+https://example.services.ai.azure.com?api-version=2024-05-01-preview";
                let version = options.api_version.ok_or_else(|| lacks("a version", example))?;
                into_provider(OpenAi::azure_foundry(address(example)?, version, azure()?)?)
            }
            Format::Anthropic => {
                into_provider(options.place(Client::with_protocol(AnthropicProtocol::default(), key, transport)?)?)
            }
            Format::Gemini => {
                into_provider(options.place(Client::with_protocol(GeminiProtocol::default(), key, transport)?)?)
            }
        })
    }
}

/// Message for an option `key` that does not name a variable. It does not quote the option, which may be the key
/// itself.
const NO_VARIABLE: &str = "?key= in the provider's URL names no variable: write the name of an environment variable in capitals, \
                           such as ?key=OPENAI_API_KEY, and put the key itself into that variable";

/// Returns `true` if the text has the usual form of an environment variable's name. No vendor's key has that form.
fn is_variable(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|byte| matches!(byte, b'A'..=b'Z' | b'0'..=b'9' | b'_'))
}

fn unknown_vendor() -> Error {
    let names: Vec<_> = VENDORS.iter().map(|vendor| vendor.name).collect();
    Error::invalid(format!(
        "the provider's URL names no known vendor: write openai: or openai+https://…/v1, with one of {}",
        names.join(", ")
    ))
}
