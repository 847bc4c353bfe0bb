use std::{ffi::OsString, fs::File, path::PathBuf, time::Duration};

use lexopt::{
    Arg::{Long, Short, Value},
    Parser, ValueExt,
};
use llm_core::price::PriceTable;
use llm_providers::prices;
use llm_savings::Options;

pub(crate) type Failure = Box<dyn std::error::Error + Send + Sync>;

pub(crate) const USAGE: &str = "\
usage: llm-savings [OPTIONS] LOG…
       llm-savings [OPTIONS] --git DIRECTORY [--glob GLOB]…

LOG is a file of JSON lines or CSV, packed with gzip or not; - is the standard input. A git history stands for requests about
the items of each changed file: in Rust public functions, elsewhere unindented lines with what follows indented.

  --ttl LIST           times to live of the exact cache to try (1h,24h,7d,30d)
  --cache-ttl TIME     that of the cache above other levers, or none (7d)
  --capacity LIST      capacities to try, in entries (1000,10000,100000)
  --pack N             prompts in one packed request (10)
  --pack-window TIME   longest wait of a prompt for others (1s)
  --compare LIST       models whose prices are compared with those of the logged ones
  --rpm N              requests a minute of one key
  --tpm N              tokens a minute of one key
  --prices FILE        LiteLLM's list of prices, or a table of this project, over the built-in one
  --key COLUMN         CSV: identifies the request (key)
  --frame COLUMN       CSV: identifies what stands before the request's own text
  --git DIRECTORY      reads the history of the repository that the directory is in
  --glob GLOB          its files, such as **/*.py (**/*.rs)
  --html FILE          writes the report as one page
  --json FILE          writes the report as JSON
";

/// Command that the arguments of the program state.
#[derive(Debug)]
pub(crate) enum Command {
    Help,
    Analyse { options: Box<Options>, inputs: Vec<Input>, globs: Vec<String>, outputs: Vec<Output> },
}

/// Log or git repository to read.
#[derive(Debug)]
pub(crate) enum Input {
    File(PathBuf),
    Git(PathBuf),
}

/// File into which the report is written.
#[derive(Debug)]
pub(crate) struct Output {
    pub(crate) form: Form,
    pub(crate) file: PathBuf,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    Html,
    Json,
}

impl Command {
    /// Parses the arguments. The first of them is the program's name.
    pub(crate) fn parse(args: impl IntoIterator<Item = OsString>) -> Result<Self, Failure> {
        let mut args = Parser::from_iter(args);
        let (mut options, mut inputs, mut outputs) = (Options::default(), Vec::new(), Vec::new());
        let mut globs = Vec::new();
        while let Some(arg) = args.next()? {
            match arg {
                Short('h') | Long("help") => return Ok(Self::Help),
                Value(file) => inputs.push(Input::File(file.into())),
                Long("git") => inputs.push(Input::Git(args.value()?.into())),
                Long("glob") => globs.push(args.value()?.string()?),
                Long("html") => outputs.push(Output { form: Form::Html, file: args.value()?.into() }),
                Long("json") => outputs.push(Output { form: Form::Json, file: args.value()?.into() }),
                Long(name) => {
                    let name = name.to_owned();
                    let known = set(&mut options, &name, &mut || Ok(args.value()?.string()?))?;
                    if !known {
                        return Err(format!("`--{name}` is no option: see --help").into());
                    }
                }
                arg => return Err(arg.unexpected().into()),
            }
        }
        if inputs.is_empty() {
            return Err("no log: name a file, - for the standard input, or --git and a directory".into());
        }
        if globs.is_empty() {
            globs.push("**/*.rs".to_owned());
        } else if !inputs.iter().any(|input| matches!(input, Input::Git(_))) {
            return Err("--glob needs --git".into());
        }
        Ok(Self::Analyse { options: Box::new(options), inputs, globs, outputs })
    }
}

/// Sets an option. Returns `false` if there is no option of this name.
fn set(options: &mut Options, name: &str, value: &mut dyn FnMut() -> Result<String, Failure>) -> Result<bool, Failure> {
    match name {
        "ttl" => options.ttls = list(&value()?, time)?,
        "cache-ttl" => {
            let text = value()?;
            options.cache_ttl = if text == "none" { None } else { Some(time(&text)?) };
        }
        "capacity" => options.capacities = list(&value()?, number)?,
        "pack" => options.pack = number(&value()?)?,
        "pack-window" => options.pack_window = time(&value()?)?,
        "compare" => options.cheaper_models = list(&value()?, |model| Ok(model.to_owned()))?,
        "rpm" => options.requests_per_minute = Some(number(&value()?)?),
        "tpm" => options.tokens_per_minute = Some(number(&value()?)?),
        "key" => options.key_column = value()?,
        "frame" => options.frame_column = Some(value()?),
        "prices" => {
            let file = value()?;
            let given = match prices::load(&file) {
                Ok(table) if table.models().next().is_some() => table,
                Ok(_) => return Err(format!("{file}: it holds no price").into()),
                Err(own) => litellm(&file, options.prices.as_of())
                    .map_err(|listed| format!("{own}; as LiteLLM's list: {listed}"))?,
            };
            // The first of the merged tables determines the day, and the last one determines the prices.
            options.prices = given.clone().merged(&options.prices).merged(&given);
        }
        _ => return Ok(false),
    }
    Ok(true)
}

/// Vendors whose price applies to a model that a log names without its provider although several providers list it. The
/// price of the first vendor that lists the model is used.
const VENDORS: [&str; 7] = ["openai", "anthropic", "gemini", "mistral", "deepseek", "groq", "xai"];

/// Reads LiteLLM's price list. Each model gets a name with the provider as a prefix, and its plain name if a vendor of
/// [`VENDORS`] lists it. Models that the list lacks have the prices of the day `else_of`, because the built-in table
/// supplies them.
fn litellm(file: &str, else_of: &str) -> Result<PriceTable, Failure> {
    let list = prices::litellm(File::open(file)?, &format!("{file}, else of {else_of}"))?;
    let mut table = list.all();
    let vendors = VENDORS.into_iter().rev().map(|vendor| (vendor, true));
    for (provider, is_vendor) in list.providers().map(|provider| (provider, false)).chain(vendors) {
        let listed = list.provider(provider);
        for (model, price) in listed.models().filter_map(|model| Some((model, listed.model(model)?))) {
            let name = if is_vendor { model.to_owned() } else { format!("{provider}/{model}") };
            table = table.with(name, price.clone())?;
        }
    }
    if table.models().next().is_none() {
        return Err("it holds no price that can be taken".into());
    }
    if let Some(first) = list.omissions().first() {
        eprintln!("llm-savings: {file}: {} rows or fields are not taken, the first: {first}", list.omissions().len());
    }
    Ok(table)
}

fn list<T>(text: &str, item: impl Fn(&str) -> Result<T, Failure>) -> Result<Vec<T>, Failure> {
    text.split(',').map(|text| item(text.trim())).collect()
}

/// Parses a whole number above zero.
fn number<T: std::str::FromStr + Default + PartialEq>(text: &str) -> Result<T, Failure> {
    match text.parse::<T>() {
        Ok(number) if number != T::default() => Ok(number),
        _ => Err(format!("`{text}` is no whole number above zero").into()),
    }
}

/// Parses a duration such as `250ms`, `15m`, `24h` or `7d`.
fn time(text: &str) -> Result<Duration, Failure> {
    let error = || format!("`{text}` is no time: write it like 90s, 15m, 24h or 7d");
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let number: u64 = digits.parse().map_err(|_| error())?;
    let unit = match &text[digits.len()..] {
        "ms" => return Ok(Duration::from_millis(number)),
        "s" => 1,
        "m" => 60,
        "h" => 3_600,
        "d" => 86_400,
        _ => return Err(error().into()),
    };
    number.checked_mul(unit).map(Duration::from_secs).ok_or_else(|| error().into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(args: &str) -> Result<Command, String> {
        let args = ["llm-savings"].into_iter().chain(args.split_whitespace()).map(OsString::from);
        Command::parse(args).map_err(|error| error.to_string())
    }

    #[test]
    fn options_reach_the_analysis() {
        let args = "a.jsonl --ttl 1h,90s --cache-ttl none --capacity 5,6 --pack 20 --pack-window 250ms --rpm 2000 --key k - --html h";
        let Ok(Command::Analyse { options, inputs, outputs, .. }) = parsed(args) else { panic!("it parses") };
        assert_eq!(options.ttls, [Duration::from_secs(3_600), Duration::from_secs(90)]);
        assert_eq!((options.cache_ttl, options.capacities, options.pack), (None, vec![5, 6], 20));
        assert_eq!((options.pack_window, options.requests_per_minute), (Duration::from_millis(250), Some(2_000)));
        assert_eq!((options.key_column.as_str(), inputs.len()), ("k", 2));
        assert!(matches!(&outputs[..], [Output { form: Form::Html, .. }]));
    }

    #[test]
    fn wrong_arguments_name_the_way_out() {
        for (args, part) in [
            ("", "no log"),
            ("--ttl week a", "write it like 90s"),
            ("--ttl 7w a", "write it like 90s"),
            ("--ttl 99999999999999999999d a", "write it like 90s"),
            ("--pack 0 a", "no whole number above zero"),
            ("--capacity 1,x a", "no whole number above zero"),
            ("--prices /no/such/file a", "/no/such/file"),
            ("--colour a", "--help"),
            ("--glob *.py a", "--glob needs --git"),
            ("a --html", "missing argument"),
        ] {
            let error = parsed(args).expect_err(args);
            assert!(error.contains(part), "{args}: {error}");
        }
    }
}
