//! Arguments of the program, and the stores that they name.

use std::{ffi::OsString, fs, path::PathBuf};

use lexopt::{
    Arg::{Long, Short, Value},
    Parser, ValueExt,
};
use llm_cache::{Cache, CacheBuilder, Cursor, KeyRing, Partition, Secret, StoreUrl, Tag};

pub(crate) const USAGE: &str = "\
usage: llm-cache migrate FROM TO [--after CURSOR] [--to-secret FILE] [--to-keys FILE]
       llm-cache inspect URL [--limit N] [--after CURSOR]
       llm-cache purge URL (--tenant NAME | --tag TAG | --key NAME | --all)
       llm-cache stats URL

FROM, TO and URL are addresses such as file:///var/cache/answers?max_bytes=4gb or redis://host:6379?prefix=shop.
TAG is tenant:NAME, model:NAME, tag:NAME, or label:NAME=VALUE.
NAME of a key is what inspect shows.

  --secret FILE     the store's secret: 64 hexadecimal digits
  --keys FILE       the keys: on each line 64 digits, a space, and tenant:NAME or scope:NAME
  --to-secret FILE  the secret of TO, if it is another
  --to-keys FILE    the keys of TO, if they are others
  --after CURSOR    goes on where an earlier run stopped
  --limit N         lists at most N entries (100)
";

pub(crate) type Failure = Box<dyn std::error::Error + Send + Sync>;

/// Command of the program, with its parsed arguments.
pub(crate) enum Command {
    Help,
    Migrate { from: Access, to: Access, after: Option<Cursor> },
    Inspect { store: Access, limit: usize, after: Option<Cursor> },
    Purge { store: Access, what: Purge },
    Stats { store: Access },
}

/// Entries to remove.
pub(crate) enum Purge {
    Tenant(String),
    Tag(Tag),
    Key(String),
    All,
}

/// URL of a store, and the files of its secret and its keys.
#[derive(Clone)]
pub(crate) struct Access {
    url: StoreUrl,
    secret: Option<PathBuf>,
    keys: Option<PathBuf>,
}

#[derive(Default)]
struct Options {
    words: Vec<String>,
    what: Vec<Purge>,
    limit: Option<usize>,
    after: Option<Cursor>,
    secret: Option<PathBuf>,
    keys: Option<PathBuf>,
    to_secret: Option<PathBuf>,
    to_keys: Option<PathBuf>,
}

impl Command {
    pub(crate) fn parse(args: impl Iterator<Item = OsString>) -> Result<Self, Failure> {
        let Some(options) = Options::parse(Parser::from_args(args))? else { return Ok(Self::Help) };
        let Options { words, mut what, limit, after, secret, keys, to_secret, to_keys } = options;
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let store = |url: &str| -> Result<Access, Failure> {
            Ok(Access { url: url.parse()?, secret: secret.clone(), keys: keys.clone() })
        };
        if !matches!(words[..], ["purge", ..]) && !what.is_empty() {
            return Err("only `purge` takes --tenant, --tag, --key and --all".into());
        }
        match words[..] {
            ["migrate", from, to] => {
                let (from, to) = (store(from)?, store(to)?);
                let to = Access { secret: to_secret.or(to.secret), keys: to_keys.or(to.keys), ..to };
                Ok(Self::Migrate { from, to, after })
            }
            ["inspect", url] => Ok(Self::Inspect { store: store(url)?, limit: limit.unwrap_or(100), after }),
            ["stats", url] => Ok(Self::Stats { store: store(url)? }),
            ["purge", url] => match (what.pop(), what.is_empty()) {
                (Some(what), true) => Ok(Self::Purge { store: store(url)?, what }),
                _ => Err("`purge` takes one of --tenant, --tag, --key and --all".into()),
            },
            ["migrate", ..] => Err("`migrate` takes two addresses: FROM and TO".into()),
            ["inspect" | "purge" | "stats", ..] => Err(format!("`{}` takes one address", words[0]).into()),
            [] => Err("no command".into()),
            [word, ..] => Err(format!("`{word}` is no command").into()),
        }
    }
}

impl Options {
    /// Parses the arguments; `None` if the user asks for help.
    fn parse(mut args: Parser) -> Result<Option<Self>, Failure> {
        let mut options = Self::default();
        while let Some(arg) = args.next()? {
            match arg {
                Short('h') | Long("help") => return Ok(None),
                Long("tenant") => options.what.push(Purge::Tenant(args.value()?.string()?)),
                Long("tag") => options.what.push(Purge::Tag(tag(&args.value()?.string()?)?)),
                Long("key") => options.what.push(Purge::Key(args.value()?.string()?)),
                Long("all") => options.what.push(Purge::All),
                Long("limit") => options.limit = Some(args.value()?.parse()?),
                Long("after") => options.after = Some(args.value()?.parse()?),
                Long("secret") => options.secret = Some(args.value()?.into()),
                Long("keys") => options.keys = Some(args.value()?.into()),
                Long("to-secret") => options.to_secret = Some(args.value()?.into()),
                Long("to-keys") => options.to_keys = Some(args.value()?.into()),
                Value(word) => options.words.push(word.string()?),
                arg => return Err(arg.unexpected().into()),
            }
        }
        Ok(Some(options))
    }
}

impl Access {
    /// Opens the store. If it is a file, the file must exist.
    pub(crate) fn open(&self) -> Result<Cache, Failure> {
        match self.url.path() {
            Some(path) if !path.exists() => Err(format!("{} does not exist", path.display()).into()),
            _ => self.create(),
        }
    }

    /// Opens the store. If it is a file that does not exist, creates the file.
    pub(crate) fn create(&self) -> Result<Cache, Failure> {
        let mut builder: CacheBuilder = Cache::builder("llm-cache admin").store(self.url.clone());
        #[cfg(feature = "redis")]
        {
            // The timeout is longer than that of a cache, because an operator prefers a late reply to none.
            builder = builder.redis(llm_cache::RedisOptions::new().redis_timeout(std::time::Duration::from_secs(20)));
        }
        if let Some(file) = &self.secret {
            let digits = read(file)?;
            let secret = Secret::from_hex(digits.trim());
            builder = builder.secret(secret.ok_or_else(|| format!("{}: no 64 hexadecimal digits", file.display()))?);
        }
        if let Some(file) = &self.keys {
            builder = builder.encryption_keys(keys(file)?);
        }
        Ok(builder.build()?)
    }
}

fn keys(file: &PathBuf) -> Result<KeyRing, Failure> {
    let keys = KeyRing::new();
    for (at, line) in read(file)?.lines().enumerate().filter(|(_, line)| !line.is_empty()) {
        let key = line.split_once(' ').and_then(|(digits, name)| Some((partition(name)?, Secret::from_hex(digits)?)));
        let (partition, key) = key.ok_or_else(|| {
            let reason = "not 64 digits, a space, and tenant:NAME or scope:NAME";
            format!("{}: line {}: {reason}", file.display(), at + 1)
        })?;
        keys.insert(partition, key);
    }
    Ok(keys)
}

fn partition(text: &str) -> Option<Partition> {
    match text.split_once(':')? {
        ("tenant", name) => Some(Partition::tenant(name)),
        ("scope", name) => Some(Partition::scope(name)),
        _ => None,
    }
}

fn read(file: &PathBuf) -> Result<String, Failure> {
    fs::read_to_string(file).map_err(|error| format!("{}: {error}", file.display()).into())
}

fn tag(text: &str) -> Result<Tag, Failure> {
    let tag = match text.split_once(':') {
        Some(("tenant", name)) => Some(Tag::tenant(name)),
        Some(("model", name)) => Some(Tag::model(name)),
        Some(("tag", name)) => Some(Tag::named(name)),
        Some(("label", label)) => label.split_once('=').map(|(name, value)| Tag::label(name, value)),
        _ => None,
    };
    tag.ok_or_else(|| format!("`{text}` is no tag: it is tenant:, model:, tag: or label: and a name").into())
}
