//! Model that is read from public traces.

use std::{collections::HashMap, path::Path, time::Duration};

use super::model::{Client, Model, WINDOW, WINDOWS};
use crate::{error::Error, lines};

/// Model in the trace of arrivals whose clients are used.
const CLIENTS_OF: &str = "language_m-large";
/// Largest coefficient of variation that is accepted for a client. Above it, a single window decides the value.
const MOST_VARIATION: f64 = 10.0;
/// Largest number of scenarios in a change. A larger change is the import of a whole project.
const MOST_SCENARIOS: usize = 200;

impl Model {
    /// Reads the skew and the arrivals of `servegen_clients.csv.gz`, and the changes and repeats of `bdd_regen_trace.csv.gz`,
    /// in a directory.
    ///
    /// # Errors
    ///
    /// A file cannot be read or lacks a column.
    pub fn from_traces(directory: &Path) -> Result<Self, Error> {
        let (changes, ages) = repeats(&directory.join("bdd_regen_trace.csv.gz"))?;
        let clients = clients(&directory.join("servegen_clients.csv.gz"))?;
        let source = format!(
            "public traces: skew, hours and variation of {} clients ({CLIENTS_OF} of servegen_clients), changes of at most \
             {MOST_SCENARIOS} scenarios and ages of repeats of {} requests (bdd_regen_trace)",
            clients.len(),
            ages.len()
        );
        Ok(Self { source, clients, changes, ages })
    }
}

fn clients(path: &Path) -> Result<Vec<Client>, Error> {
    let mut clients: HashMap<String, (Vec<f64>, Vec<f64>)> = HashMap::new();
    for row in rows(path, ["model", "client", "t_s", "rate_rps", "cv"])? {
        let (line, [model, client, at, rate, cv]) = row?;
        if model != CLIENTS_OF {
            continue;
        }
        let number = |column, field: &str| number(path, line, column, field);
        let (at, rate, cv) = (number("t_s", &at)?, number("rate_rps", &rate)?, number("cv", &cv)?);
        let (rates, variations) = clients.entry(client).or_insert_with(|| (vec![0.0; WINDOWS], Vec::new()));
        let window = (at / WINDOW.as_secs_f64()) as usize;
        if let Some(slot) = rates.get_mut(window) {
            *slot = rate;
        }
        variations.push(cv);
    }
    let mut clients: Vec<_> = clients.into_iter().collect();
    // Sorted by name, so that clients with equal totals have a fixed order.
    clients.sort_by(|one, other| one.0.cmp(&other.0));
    let median = |mut values: Vec<f64>| {
        values.sort_by(f64::total_cmp);
        values.get(values.len() / 2).copied().unwrap_or(1.0)
    };
    let mut clients: Vec<Client> = clients
        .into_iter()
        .map(|(_, (rates, variations))| Client { rates, cv: median(variations).clamp(1.0, MOST_VARIATION) })
        .filter(|client| client.total() > 0.0)
        .collect();
    clients.sort_by(|one, other| other.total().total_cmp(&one.total()));
    if clients.is_empty() {
        return Err(Error::content(path, format!("there is no client of {CLIENTS_OF}")));
    }
    Ok(clients)
}

/// Sizes of changes, and for each request the age of the latest equal request.
type Repeats = (Vec<usize>, Vec<Option<Duration>>);

fn repeats(path: &Path) -> Result<Repeats, Error> {
    let mut latest: HashMap<(String, String), u64> = HashMap::new();
    let mut changes: HashMap<(String, String), usize> = HashMap::new();
    let (mut order, mut ages) = (Vec::new(), Vec::new());
    for row in rows(path, ["ts", "tenant", "commit", "key_full"])? {
        let (line, [ts, tenant, commit, key]) = row?;
        let wrong = || Error::content(path, format!("ts is not a whole number: {ts:?}")).on_line(line);
        let ts = ts.parse::<u64>().map_err(|_| wrong())?;
        let before = latest.insert((tenant.clone(), key), ts);
        ages.push(before.map(|before| Duration::from_secs(ts.saturating_sub(before))));
        let change = (tenant, commit);
        let size = changes.entry(change.clone()).or_insert_with(|| {
            order.push(change);
            0
        });
        *size += 1;
    }
    let sizes = order.iter().filter_map(|change| changes.get(change)).map(|size| (*size).min(MOST_SCENARIOS));
    let sizes: Vec<usize> = sizes.collect();
    if sizes.is_empty() {
        return Err(Error::content(path, "there is no row".to_owned()));
    }
    Ok((sizes, ages))
}

/// Parses a number that is not negative.
fn number(path: &Path, line: u64, column: &str, field: &str) -> Result<f64, Error> {
    let number = field.parse::<f64>().ok().filter(|number| number.is_finite() && *number >= 0.0);
    number.ok_or_else(|| {
        Error::content(path, format!("{column} is not a number of zero or more: {field:?}")).on_line(line)
    })
}

/// Returns these columns of each row of a CSV file, with the number of the row's line.
fn rows<const N: usize>(
    path: &Path,
    columns: [&'static str; N],
) -> Result<impl Iterator<Item = Result<(u64, [String; N]), Error>>, Error> {
    let mut lines = lines::read(path)?;
    let head = lines.next().unwrap_or_else(|| Ok(String::new())).map_err(|error| Error::io(path, error))?;
    let mut places = [0; N];
    for (place, column) in places.iter_mut().zip(columns) {
        let found = head.trim_end().split(',').position(|name| name == column);
        *place = found.ok_or_else(|| Error::content(path, format!("there is no column {column}")))?;
    }
    let path = path.to_owned();
    Ok((2..).zip(lines).map(move |(number, line)| {
        let line = line.map_err(|error| Error::io(&path, error).on_line(number))?;
        let fields: Vec<&str> = line.trim_end().split(',').collect();
        Ok((number, places.map(|place| fields.get(place).copied().unwrap_or_default().to_owned())))
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn traces_give_changes_and_ages() {
        let directory = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| std::fs::write(directory.path().join(name), text).unwrap();
        write("bdd_regen_trace.csv.gz", "ts,tenant,commit,key_full\n10,0,1,5\n10,0,1,6\n70,0,2,5\n80,1,1,5\n");
        let servegen = "model,client,t_s,rate_rps,cv\nother,1,0,9,1\nlanguage_m-large,3,600,2,1.5\n\
                        language_m-large,4,0,5,0.5\n";
        write("servegen_clients.csv.gz", servegen);
        let model = Model::from_traces(directory.path()).unwrap();
        assert_eq!(model.changes, [2, 1, 1]);
        assert_eq!(model.ages, [None, None, Some(Duration::from_secs(60)), None]);
        let found: Vec<_> = model.clients.iter().map(|client| (client.rates[0], client.rates[1], client.cv)).collect();
        assert_eq!(found, [(5.0, 0.0, 1.0), (0.0, 2.0, 1.5)]);
    }

    #[test]
    fn traces_that_are_wrong_are_refused() {
        let (head, client) = ("ts,tenant,commit,key_full\n", "model,client,t_s,rate_rps,cv\nlanguage_m-large,3,");
        let good = format!("{head}10,0,1,5\n");
        for (trace, clients, part) in [
            ("ts,tenant\n", String::new(), "no column commit"),
            ("", String::new(), "no column ts"),
            (head, String::new(), "there is no row"),
            (&format!("{head}10,0,1,5\nten,0,1,5\n"), String::new(), "line 3: ts is not a whole number: \"ten\""),
            (&good, format!("{client}600,fast,1\n"), "line 2: rate_rps is not a number of zero or more: \"fast\""),
            (&good, format!("{client}600,NaN,1\n"), "line 2: rate_rps"),
            (&good, format!("{client}-1,2,1\n"), "line 2: t_s"),
            (&good, format!("{client}600,2\n"), "line 2: cv is not a number of zero or more: \"\""),
            (
                &good,
                "model,client,t_s,rate_rps,cv\nother,1,0,9,1\n".to_owned(),
                "there is no client of language_m-large",
            ),
        ] {
            let directory = tempfile::tempdir().unwrap();
            std::fs::write(directory.path().join("bdd_regen_trace.csv.gz"), trace).unwrap();
            std::fs::write(directory.path().join("servegen_clients.csv.gz"), clients).unwrap();
            let error = Model::from_traces(directory.path()).unwrap_err().to_string();
            assert!(error.contains(part), "{error}");
        }
    }
}
